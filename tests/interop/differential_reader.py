"""Reads a Delta table with pyarrow and the replay of `deltalog`, as canonical texts of cells: the independent reader of the
differential test. It has its own rules to find columns, and fails where pyarrow cannot return a value exactly.
"""

import decimal
import json
import re
from datetime import date, datetime, timezone

import pyarrow as pa
import pyarrow.parquet as pq

from deltalog import Log

EXACT = decimal.Context(prec=90, traps=[decimal.Inexact, decimal.InvalidOperation])
BOUNDS = {"byte": 7, "short": 15, "integer": 31, "long": 63}
SUFFIX = {"byte": "i8", "short": "i16", "integer": "i32", "long": "i64"}


def read_table(root):
    """The names of the columns, and each row as a list of cell texts."""
    log = Log(root)
    fields = log.schema["fields"]
    rows = []
    for place, add, deleted in log.files():
        table = pq.ParquetFile(place, coerce_int96_timestamp_unit="us", page_checksum_verification=True).read()
        stored = [f for f in fields if f["name"] not in log.partition_columns]
        child = lambda at: table.column(at).combine_chunks()
        columns = part_cells(stored, table.schema, child, log.mapping, table.num_rows)
        made = []
        for field in fields:
            if field["name"] in log.partition_columns:
                values = dict(add["partitionValues"])
                text = partition_cell(field["type"], values[stored_name(field, log.mapping)])
                made.append([text] * table.num_rows)
            else:
                made.append(next(columns))
        rows += [row for at, row in enumerate(zip(*made)) if at not in deleted]
    return [field["name"] for field in fields], rows


def stored_name(field, mapping):
    return field["name"] if mapping == "none" else field["metadata"]["delta.columnMapping.physicalName"]


def find(field, there, mapping):
    """The index of a field among the fields of a file; None if the file does not have it."""
    def same(other):
        if mapping == "id":
            told = (other.metadata or {}).get(b"PARQUET:field_id")
            return told is not None and int(told) == field["metadata"]["delta.columnMapping.id"]
        return other.name.lower() == stored_name(field, mapping).lower()

    places = [at for at, other in enumerate(there) if same(other)]
    assert len(places) < 2, f"{field['name']} is there more than once"
    return places[0] if places else None


def part_cells(fields, there, child, mapping, count):
    """The cells of each field; NULL for fields that the file does not have."""
    for field in fields:
        at = find(field, there, mapping)
        yield ["NULL"] * count if at is None else cells(child(at), field["type"], mapping)


def cells(array, kind, mapping):
    """The text of each value in an array, read as the table's type."""
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if pa.types.is_null(array.type):
        return ["NULL"] * len(array)
    texts = nested(array, kind, mapping) if isinstance(kind, dict) else leaf(array, kind)
    return [text if valid else "NULL" for text, valid in zip(texts, array.is_valid().to_pylist())]


def nested(array, kind, mapping):
    if kind["type"] == "struct":
        there = list(array.type)
        columns = part_cells(kind["fields"], there, lambda at: array.field(at), mapping, len(array))
        names = [field["name"] for field in kind["fields"]]
        columns = [[f"{name}: {text}" for text in column] for name, column in zip(names, columns)]
        return [f"({', '.join(row)})" for row in zip(*columns)] if columns else ["()"] * len(array)
    offsets = array.offsets.to_pylist()
    spans = list(zip(offsets, offsets[1:]))
    if kind["type"] == "array":
        items = cells(array.values, kind["elementType"], mapping)
        return [f"[{', '.join(items[start:end])}]" for start, end in spans]
    keys, values = cells(array.keys, kind["keyType"], mapping), cells(array.items, kind["valueType"], mapping)
    out = []
    for start, end in spans:
        assert len(set(keys[start:end])) == end - start, "a key stands twice in a map"
        out.append(f"{{{', '.join(sorted(f'{k} => {v}' for k, v in zip(keys[start:end], values[start:end])))}}}")
    return out


def leaf(array, kind):
    there = array.type
    integer = pa.types.is_integer(there)
    if kind == "boolean":
        assert pa.types.is_boolean(there), there
        return ["true" if value else "false" for value in array.to_pylist()]
    if kind in BOUNDS:
        assert integer, there
        return [whole(value, kind) for value in array.to_pylist()]
    if kind in ("float", "double"):
        assert pa.types.is_float32(there) or (kind == "double" and (pa.types.is_float64(there) or integer)), there
        width, bits = (8, pa.uint32()) if kind == "float" else (16, pa.uint64())
        array = array if kind == "float" else array.cast(pa.float64())
        return [f"{value or 0:0{width}x}f{4 * width}" for value in array.view(bits).to_pylist()]
    if kind.startswith("decimal"):
        assert integer or pa.types.is_decimal(there), there
        return [value if value is None else decimal_cell(kind, value) for value in array.to_pylist()]
    if kind == "date":
        assert pa.types.is_date32(there), there
        return [f"{value}date" for value in array.view(pa.int32()).to_pylist()]
    if kind == "string":
        assert pa.types.is_string(there) or pa.types.is_large_string(there) or binary(there), there
        return [text_cell(value.decode() if isinstance(value, bytes) else value) for value in array.to_pylist()]
    if kind == "binary":
        assert pa.types.is_string(there) or binary(there), there
        return [bytes_cell(value.encode() if isinstance(value, str) else value) for value in array.to_pylist()]
    return [f"{value}{'instant' if kind == 'timestamp' else 'ntz'}" for value in micros(array, kind)]


def binary(there):
    return pa.types.is_binary(there) or pa.types.is_large_binary(there) or pa.types.is_fixed_size_binary(there)


def micros(array, kind):
    there = array.type
    if pa.types.is_date32(there) and kind == "timestamp_ntz":
        return [value and value * 86_400_000_000 for value in array.view(pa.int32()).to_pylist()]
    assert pa.types.is_timestamp(there), there
    assert kind == "timestamp" or there.tz is None, "an instant is no clock"
    times, under = {"ms": (1000, 1), "us": (1, 1), "ns": (1, 1000)}[there.unit]
    found = array.view(pa.int64()).to_pylist()
    assert all(value is None or value % under == 0 for value in found), "finer than a microsecond"
    return [value and value * times // under for value in found]


def whole(value, kind):
    limit = 1 << BOUNDS[kind]
    assert value is None or -limit <= value < limit, f"{value} is no {kind}"
    return f"{value}{SUFFIX[kind]}"


def decimal_cell(kind, value):
    precision, scale = map(int, re.fullmatch(r"decimal\((\d+),(\d+)\)", kind).groups())
    unscaled = int(EXACT.to_integral_exact(EXACT.scaleb(decimal.Decimal(value), scale)))
    assert abs(unscaled) < 10**precision, f"{value} is no {kind}"
    return f"{unscaled}e-{scale}"


def text_cell(value):
    return json.dumps(value, ensure_ascii=False)


def bytes_cell(value):
    return value if value is None else f"[{', '.join(f'{byte:02x}' for byte in value)}]"


def partition_cell(kind, text):
    """The text of a partition column's cell, from the value in the log."""
    if text is None or (text == "" and kind not in ("string", "binary")):
        return "NULL"
    if kind == "string":
        return text_cell(text)
    if kind == "binary":
        return bytes_cell(text.encode())
    if kind == "boolean":
        return {"true": "true", "false": "false"}[text.lower()]
    if kind in BOUNDS:
        return whole(int(text), kind)
    if kind in ("float", "double"):
        return leaf(pa.array([float(text)], pa.float32() if kind == "float" else pa.float64()), kind)[0]
    if kind.startswith("decimal"):
        return decimal_cell(kind, text)
    if kind == "date":
        return f"{(date.fromisoformat(text) - date(1970, 1, 1)).days}date"
    at = datetime.fromisoformat(text)
    at = at if at.tzinfo else at.replace(tzinfo=timezone.utc)
    span = at - datetime(1970, 1, 1, tzinfo=timezone.utc)
    number = (span.days * 86_400 + span.seconds) * 1_000_000 + span.microseconds
    return f"{number}{'instant' if kind == 'timestamp' else 'ntz'}"
