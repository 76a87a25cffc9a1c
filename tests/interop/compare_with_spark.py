"""Compares a target table, read with PyODPS, with what Spark reads from its source, cell by cell.

usage: compare_with_spark.py ENDPOINT PROJECT ACCESS_ID ACCESS_KEY  < CASES

CASES is JSON, a list of objects:
  schema, table       of the target
  expected            folder or file of Parquet with Spark's rows; null: only the count is compared
  rows                the number of rows
  partition_columns   of the source, by level
  shifted             {column: hours} that Spark's own value is off, for values that carry no zone
  characters          {character: replacement} of partition values

Prints one line a table and ends with status 1 if any differs.
"""

import datetime
import decimal
import glob
import json
import math
import os
import re
import sys

import numpy
import pandas
import pyarrow.dataset
import pyarrow.types
from odps import ODPS, options

LEVELS_MAX = 6
NULL_PARTITION = "__HIVE_DEFAULT_PARTITION__"

# Instants are compared in UTC, wherever this runs.
options.local_timezone = False
options.allow_antique_date = True


def mapped(name):
    """The demo's character mapping; the target keeps names in lower case."""
    return re.sub(r"[^A-Za-z0-9_]", "_", name).lower()


def instant(value):
    stamp = pandas.Timestamp(value)
    if stamp.tzinfo is not None:
        stamp = stamp.tz_convert("UTC").tz_localize(None)
    return stamp


def canonical(value, kind=None):
    """One text for one value, whichever library read it. `kind` is the Arrow type, where there is one."""
    import pyarrow.types as t

    if value is None or value is pandas.NaT:
        return None
    if kind is not None and t.is_map(kind):
        pairs = [[canonical(k, kind.key_type), canonical(v, kind.item_type)] for k, v in value]
        return sorted(pairs, key=json.dumps)
    if isinstance(value, dict):
        # Spark's struct: its field names are mapped as columns are. The target's own names are mapped already.
        kinds = {f.name: f.type for f in kind} if kind is not None else {}
        name = mapped if kind is not None else lambda key: key
        pairs = [[canonical(name(k)), canonical(v, kinds.get(k))] for k, v in value.items()]
        return sorted(pairs, key=json.dumps)
    if isinstance(value, bool):
        return f"bool:{value}"
    if isinstance(value, int):
        return f"int:{value}"
    if isinstance(value, float):
        return "float:NaN" if math.isnan(value) else f"float:{value!r}"
    if isinstance(value, decimal.Decimal):
        return f"decimal:{value.normalize():f}"
    if isinstance(value, (bytes, bytearray)):
        return f"bytes:{bytes(value).hex()}"
    if isinstance(value, (datetime.datetime, pandas.Timestamp)):
        return f"instant:{instant(value).isoformat()}"
    if isinstance(value, datetime.date):
        return f"date:{value.isoformat()}"
    if isinstance(value, str):
        return f"text:{value}"
    if hasattr(value, "_asdict"):
        return canonical(dict(value._asdict()), kind)
    if isinstance(value, (list, tuple)):
        item = kind.value_type if kind is not None and hasattr(kind, "value_type") else None
        return [canonical(v, item) for v in value]
    raise TypeError(f"{type(value)}: {value!r}")


def partition_text(value, kind):
    """A partition value as the target spells it (canonical text of every type)."""
    if value is not None and pyarrow.types.is_float32(kind):
        value = float(str(numpy.float32(value)))
    if value is None:
        return NULL_PARTITION
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime.datetime):
        stamp = instant(value)
        text = stamp.strftime("%Y-%m-%d %H:%M:%S")
        micros = f"{stamp.microsecond:06d}".rstrip("0")
        return f"{text}.{micros}" if micros else text
    if isinstance(value, datetime.date):
        return value.isoformat()
    if isinstance(value, decimal.Decimal):
        return f"{value:f}"
    if isinstance(value, float):
        return java_text(value)
    return str(value)


def java_text(value):
    """A float as Delta, which is Java, writes it: with an exponent from ten millions up and below a thousandth."""
    if value == 0 or not math.isfinite(value):
        return {math.inf: "Infinity", -math.inf: "-Infinity"}.get(value, "NaN" if value != value else repr(value))
    if 1e-3 <= abs(value) < 1e7:
        return repr(value)
    sign, digits, exponent = decimal.Decimal(repr(value)).as_tuple()
    text = "".join(map(str, digits)).rstrip("0") or "0"
    return f"{'-' if sign else ''}{text[0]}.{text[1:] or '0'}E{exponent + len(digits) - 1}"


def read_target(table, levels):
    """Rows as {target column: value}, partition columns as their text."""
    columns = [c.name for c in table.table_schema.simple_columns]

    def rows(partition, spec):
        with table.open_reader(partition=partition) as reader:
            for record in reader:
                row = {name.lower(): canonical(record[name]) for name in columns}
                row.update(spec)
                yield row

    if not levels:
        yield from rows(None, {})
        return
    for partition in table.partitions:
        spec = dict(partition.partition_spec.kv)
        yield from rows(str(partition.partition_spec), {k.lower(): f"partition:{v}" for k, v in spec.items()})


def read_expected(path, levels, shifted, characters):
    files = [path] if os.path.isfile(path) else sorted(glob.glob(f"{path}/*.parquet"))
    data = pyarrow.dataset.dataset(files, format="parquet").to_table()
    for row in data.to_pylist():
        out = {}
        for field in data.schema:
            value = row[field.name]
            if field.name in shifted and value is not None:
                value = value - datetime.timedelta(hours=shifted[field.name])
            if field.name in levels:
                text = "".join(characters.get(c, c) for c in partition_text(value, field.type))
                out[mapped(field.name)] = f"partition:{text}"
            else:
                out[mapped(field.name)] = canonical(value, field.type)
        yield out
    yield [field.name for field in data.schema]


def compare(project, case):
    table = project.get_table(case["table"], schema=case["schema"])
    levels = [c for c in case.get("partition_columns") or []][:LEVELS_MAX]
    found_levels = [c.name.lower() for c in table.table_schema.partitions]
    if found_levels != [mapped(c) for c in levels]:
        return f"partition columns are {found_levels}, expected {levels}"
    if not case.get("expected"):
        specs = [str(p.partition_spec) for p in table.partitions] if levels else [None]
        count = 0
        for spec in specs:
            with table.open_reader(partition=spec) as reader:
                count += reader.count
        return None if count == case["rows"] else f"{count} rows, expected {case['rows']}"
    *expected, names = list(read_expected(case["expected"], levels, case.get("shifted") or {}, case.get("characters") or {}))
    order = [mapped(name) for name in names if name not in levels]
    found_order = [c.name.lower() for c in table.table_schema.simple_columns]
    if found_order != order:
        return f"columns are {found_order}, expected {order}"
    found = list(read_target(table, levels))
    if len(found) != case["rows"] or len(expected) != case["rows"]:
        return f"{len(found)} rows in the target, {len(expected)} of Spark, {case['rows']} promised"
    text = lambda row: json.dumps(row, sort_keys=True)
    left, right = sorted(map(text, found)), sorted(map(text, expected))
    for ours, theirs in zip(left, right):
        if ours != theirs:
            return f"a row differs:\n  target {ours}\n  Spark  {theirs}"
    return None


def main():
    endpoint, project, access_id, access_key = sys.argv[1:5]
    odps = ODPS(access_id, access_key, project, endpoint=endpoint)
    failed = 0
    for case in json.load(sys.stdin):
        difference = compare(odps, case)
        failed += difference is not None
        print(f"{case['schema']}.{case['table']}: {difference or 'equal'}", flush=True)
    sys.exit(1 if failed else 0)


main()
