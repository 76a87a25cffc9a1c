"""A minimal replay of a Delta log: what is live at the newest version. Written from the protocol, for the differential test only. It
must never share code with the reader that it judges, nor be used elsewhere.
"""

import json
import re
import struct
import uuid
from pathlib import Path
from urllib.parse import unquote

import pyarrow.parquet as pq

Z85 = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#"
DV_MAGIC = 1681511377


class Log:
    """The newest version of a table: schema, partition columns, properties and live files."""

    def __init__(self, root):
        self.root = Path(root).resolve()
        self.metadata = self.protocol = None
        self.live = {}
        folder = self.root / "_delta_log"
        names = sorted(path.name for path in folder.iterdir())
        start, parts = newest_checkpoint(names)
        for part in parts:
            for action in checkpoint_actions(folder, folder / part):
                self.apply(action)
        version = start
        for name in names:
            if re.fullmatch(r"\d{20}\.json", name) and int(name[:20]) > start:
                assert int(name[:20]) == version + 1, f"commit {version + 1} of {root} is missing"
                version += 1
                actions = [json.loads(line) for line in (folder / name).read_text("utf-8").splitlines() if line.strip()]
                # Actions of one commit have no order, so removals come first: they concern files of earlier versions.
                for action in sorted(actions, key=lambda action: "add" in action):
                    self.apply(action)

    def apply(self, action):
        if action.get("metaData"):
            self.metadata = action["metaData"]
        if action.get("protocol"):
            self.protocol = action["protocol"]
        if action.get("remove"):
            self.live.pop(self.key(action["remove"]), None)
        if action.get("add"):
            self.live[self.key(action["add"])] = action["add"]

    def key(self, action):
        vector = action.get("deletionVector") or None
        vector = vector and (vector["storageType"], vector["pathOrInlineDv"], vector.get("offset"))
        return self.place(action["path"]), vector

    def place(self, path):
        """The file that a path in the log refers to."""
        path = re.sub(r"^file:/+", "/", unquote(path))
        return (self.root / path).resolve()

    @property
    def schema(self):
        return json.loads(self.metadata["schemaString"])

    @property
    def partition_columns(self):
        return list(self.metadata["partitionColumns"] or [])

    @property
    def mapping(self):
        properties = dict(self.metadata.get("configuration") or {})
        return (properties.get("delta.columnMapping.mode") or "none").lower()

    def files(self):
        """Each live file, its add action, and the positions of its deleted rows."""
        for (place, _), add in sorted(self.live.items(), key=lambda item: str(item[0])):
            vector = add.get("deletionVector")
            yield place, add, set(deleted_rows(self.root, vector)) if vector else set()


def newest_checkpoint(names):
    """The version of the newest complete checkpoint, and its files."""
    found = {}
    for name in names:
        match = re.fullmatch(r"(\d{20})\.checkpoint(?:\.(\d{10})\.(\d{10})|\.[0-9a-f-]{36})?\.(parquet|json)", name)
        if match:
            parts = int(match[3] or 1)
            found.setdefault((int(match[1]), parts), []).append(name)
    whole = [(version, files[:parts]) for (version, parts), files in found.items() if len(files) >= parts]
    return max(whole, default=(-1, []))


def checkpoint_actions(folder, path):
    if path.suffix == ".json":
        rows = [json.loads(line) for line in path.read_text("utf-8").splitlines() if line.strip()]
    else:
        rows = pq.read_table(path).to_pylist(maps_as_pydicts="strict")
    for row in rows:
        yield row
        if row.get("sidecar"):
            yield from checkpoint_actions(folder, folder / "_sidecars" / unquote(row["sidecar"]["path"]))


def z85_decode(text):
    out = bytearray()
    for at in range(0, len(text), 5):
        number = 0
        for character in text[at:at + 5]:
            number = number * 85 + Z85.index(character)
        out += number.to_bytes(4, "big")
    return bytes(out)


def z85_encode(data):
    data += b"\0" * (-len(data) % 4)
    out = []
    for at in range(0, len(data), 4):
        number = int.from_bytes(data[at:at + 4], "big")
        out.append("".join(Z85[number // 85**place % 85] for place in (4, 3, 2, 1, 0)))
    return "".join(out)


def deleted_rows(root, vector):
    """The positions of the rows that a deletion vector deletes."""
    kind, text, size = vector["storageType"], vector["pathOrInlineDv"], vector["sizeInBytes"]
    if kind == "i":
        return bitmap_rows(z85_decode(text)[:size])
    if kind == "u":
        prefix, name = text[:-20], uuid.UUID(bytes=z85_decode(text[-20:]))
        path = root / prefix / f"deletion_vector_{name}.bin"
    else:
        path = Path(re.sub(r"^file:/+", "/", unquote(text)))
    data, at = path.read_bytes(), vector.get("offset") or 1
    assert int.from_bytes(data[at:at + 4], "big") == size, f"{path}: size of the vector at {at}"
    return bitmap_rows(data[at + 4:at + 4 + size])


def bitmap_rows(data):
    magic, count = struct.unpack_from("<iq", data)
    assert magic == DV_MAGIC, f"the vector has magic {magic}"
    at, rows = 12, []
    for _ in range(count):
        (high,) = struct.unpack_from("<I", data, at)
        low, at = roaring(data, at + 4)
        rows += [(high << 32) | value for value in low]
    return rows


def roaring(data, at):
    """The numbers in a 32-bit bitmap of Roaring's portable format, and the offset of its end."""
    (cookie,) = struct.unpack_from("<I", data, at)
    at += 4
    if cookie & 0xffff == 12347:
        containers = (cookie >> 16) + 1
        flags, at = data[at:at + (containers + 7) // 8], at + (containers + 7) // 8
        runs = [bool(flags[i // 8] & (1 << i % 8)) for i in range(containers)]
    else:
        assert cookie == 12346, f"the bitmap has cookie {cookie}"
        (containers,) = struct.unpack_from("<I", data, at)
        runs, at = [False] * containers, at + 4
    heads = [struct.unpack_from("<HH", data, at + 4 * i) for i in range(containers)]
    at += 4 * containers
    if cookie == 12346 or containers >= 4:
        at += 4 * containers
    out = []
    for (key, cardinality), run in zip(heads, runs):
        base, count = key << 16, cardinality + 1
        if run:
            (pairs,) = struct.unpack_from("<H", data, at)
            for i in range(pairs):
                first, more = struct.unpack_from("<HH", data, at + 2 + 4 * i)
                out += range(base + first, base + first + more + 1)
            at += 2 + 4 * pairs
        elif count > 4096:
            out += [base + i for i in range(65536) if data[at + i // 8] & (1 << i % 8)]
            at += 8192
        else:
            out += [base + low for low in struct.unpack_from(f"<{count}H", data, at)]
            at += 2 * count
    return out, at


def bitmap(rows):
    """The bytes of a deletion vector with at most 4,096 rows, at positions below 65,536."""
    rows = sorted(rows)
    body = struct.pack("<II", 12346, 1) + struct.pack("<HH", 0, len(rows) - 1) + struct.pack("<I", 16)
    return struct.pack("<iqI", DV_MAGIC, 1, 0) + body + struct.pack(f"<{len(rows)}H", *rows)
