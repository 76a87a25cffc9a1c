"""Writes the log of a random Delta table, as different writers do: commits, statistics, deletion vectors, checkpoints."""

import json
import re
import uuid
import zlib
from datetime import date, datetime, timedelta
from urllib.parse import quote

import pyarrow as pa
import pyarrow.parquet as pq

from deltalog import Log, bitmap, z85_encode

EPOCH = datetime(1970, 1, 1)
VECTOR = pa.struct([("storageType", pa.string()), ("pathOrInlineDv", pa.string()), ("offset", pa.int32()),
                    ("sizeInBytes", pa.int32()), ("cardinality", pa.int64())])
TEXTS = pa.map_(pa.string(), pa.string())
ADD = pa.struct([("path", pa.string()), ("partitionValues", TEXTS), ("size", pa.int64()),
                 ("modificationTime", pa.int64()), ("dataChange", pa.bool_()), ("stats", pa.string()), ("deletionVector", VECTOR)])
METADATA = pa.struct([("id", pa.string()), ("format", pa.struct([("provider", pa.string()), ("options", TEXTS)])),
                      ("schemaString", pa.string()), ("partitionColumns", pa.list_(pa.string())),
                      ("configuration", TEXTS), ("createdTime", pa.int64())])
PROTOCOL = pa.struct([("minReaderVersion", pa.int32()), ("minWriterVersion", pa.int32()),
                      ("readerFeatures", pa.list_(pa.string())), ("writerFeatures", pa.list_(pa.string()))])


def write_commit(root, version, actions):
    folder = root / "_delta_log"
    folder.mkdir(parents=True, exist_ok=True)
    text = "".join(json.dumps(action, ensure_ascii=version % 2 == 0) + "\n" for action in actions)
    (folder / f"{version:020}.json").write_text(text, "utf-8")


def write_checkpoint(rng, root, version, quirks):
    """Writes a classic checkpoint of the newest version; sometimes deletes the commits before it."""
    log = Log(root)
    pairs = lambda values: list((values or {}).items())
    metadata = dict(log.metadata, configuration=pairs(log.metadata["configuration"]))
    metadata["format"] = {"provider": "parquet", "options": []}
    protocol = {"readerFeatures": None, "writerFeatures": None} | log.protocol
    rows = [{"protocol": protocol}, {"metaData": metadata}]
    rows += [{"add": dict(add, partitionValues=pairs(add["partitionValues"]))} for add in log.live.values()]
    schema = pa.schema([("protocol", PROTOCOL), ("metaData", METADATA), ("add", ADD)])
    folder = root / "_delta_log"
    pq.write_table(pa.Table.from_pylist(rows, schema), folder / f"{version:020}.checkpoint.parquet")
    quirks.add("checkpoint")
    if rng.random() < 0.7:
        (folder / "_last_checkpoint").write_text(json.dumps({"version": version, "size": len(rows)}))
    if rng.random() < 0.4:
        quirks.add("old commits gone")
        for old in range(version):
            (folder / f"{old:020}.json").unlink(missing_ok=True)


def spelled(rng, root, path, quirks):
    """One of the spellings that a file's path can have in a log."""
    way = rng.choice(["plain"] * 5 + ["encoded", "dot", "file:/", "file:///"])
    if way != "plain":
        quirks.add(f"path {way}")
    if way == "encoded":
        # One character more than necessary is encoded.
        return quote(path).replace("part", "%70art")
    if way == "dot":
        return "./" + quote(path)
    if way.startswith("file"):
        return way.removesuffix("/") + quote(str(root.resolve() / path))
    return quote(path)


def deletion_vector(rng, root, rows, quirks):
    data = bitmap(rows)
    sizes = {"sizeInBytes": len(data), "cardinality": len(rows)}
    if rng.random() < 0.5:
        quirks.add("vector inline")
        return {"storageType": "i", "pathOrInlineDv": z85_encode(data)} | sizes
    quirks.add("vector in a file")
    name = uuid.UUID(int=rng.getrandbits(128))
    prefix = rng.choice(["", "ab"])
    (root / prefix).mkdir(exist_ok=True)
    framed = b"\1" + len(data).to_bytes(4, "big") + data + zlib.crc32(data).to_bytes(4, "big")
    (root / prefix / f"deletion_vector_{name}.bin").write_bytes(framed)
    return {"storageType": "u", "pathOrInlineDv": prefix + z85_encode(name.bytes), "offset": 1} | sizes


def statistics(writer, fields, table, wide):
    """The text of `stats`: correct, as Spark would write it."""
    parts = {"minValues": {}, "maxValues": {}, "nullCount": {}}
    for field, array in zip(writer.orders[id(fields)], table.columns):
        column(writer, field, array.combine_chunks(), [True] * table.num_rows, parts, wide)
    text = json.dumps({"numRecords": table.num_rows, **parts} | ({"tightBounds": False} if wide else {}))
    return re.sub(r'"@@(.*?)@@"', r"\1", text)


def column(writer, field, array, present, parts, wide):
    name = field["name"] if writer.mapping == "none" else field["metadata"]["delta.columnMapping.physicalName"]
    kind = field["type"]
    valid = [a and b for a, b in zip(present, array.is_valid().to_pylist())]
    if isinstance(kind, dict):
        if kind["type"] == "struct":
            inner = {part: {} for part in parts}
            for at, child in enumerate(writer.orders[id(kind["fields"])]):
                column(writer, child, array.field(at), valid, inner, wide)
            for part, found in inner.items():
                if found:
                    parts[part][name] = found
        else:
            parts["nullCount"][name] = valid.count(False)
        return
    parts["nullCount"][name] = valid.count(False)
    values = [value for value, there in zip(plain(array, kind), valid) if there]
    if kind in ("binary", "boolean") or not values:
        return
    if kind in ("float", "double") and any(value != value or abs(value) == float("inf") for value in values):
        return
    least, most = min(values), max(values)
    if wide and kind == "integer":
        least, most = least - 3, most + 3
    parts["minValues"][name], parts["maxValues"][name] = shown(kind, least, False), shown(kind, most, True)


def plain(array, kind):
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if pa.types.is_date(array.type):
        return array.view(pa.int32()).to_pylist()
    if pa.types.is_timestamp(array.type):
        times, under = {"ms": (1000, 1), "us": (1, 1), "ns": (1, 1000)}[array.type.unit]
        return [v if v is None else v * times // under for v in array.view(pa.int64()).to_pylist()]
    values = array.to_pylist()
    return [v.decode() if kind == "string" and isinstance(v, bytes) else v for v in values]


def shown(kind, value, most):
    if kind == "date":
        return date.fromordinal(value + 719_163).isoformat()
    if kind.startswith("timestamp"):
        text = (EPOCH + timedelta(milliseconds=value // 1000)).isoformat(timespec="milliseconds")
        return text + ("Z" if kind == "timestamp" else "")
    if kind.startswith("decimal"):
        return f"@@{value:f}@@"
    if kind == "string" and len(value) > 32:
        cut = value[:32]
        return cut + ("\x7f" if value[32] < "\x7f" else "\U0010ffff") if most else cut
    return value
