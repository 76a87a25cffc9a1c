"""Compares target tables, as PyODPS reads them, with what Spark reads from their sources: types, order of columns, every cell.

usage: compare_with_spark.py ENDPOINT PROJECT ACCESS_ID ACCESS_KEY  < CASES

CASES is JSON, a list of objects:
  schema, table       the names at the target
  expected            Parquet file or folder with the rows that Spark reads; folders named KEY=VALUE in it are partitions
  rows                the number of rows that the table must have
  partition_columns   those of the source, by level; the first six partition the target
  shifted             {column: hours} by which Spark's value differs, for values without a time zone
  characters          {character: replacement} in partition values

Prints one line per table; exit code 1 if any table differs.
"""

import datetime
import decimal
import glob
import json
import math
import os
import sys

import numpy
import pandas
import pyarrow
import pyarrow.dataset
import pyarrow.types
from odps import ODPS, options

from target_types import mapped, of_parquet, of_partition, of_target

LEVELS_MAX = 6
NULL_PARTITION = "__HIVE_DEFAULT_PARTITION__"
# From this many rows on, tables of plain types are compared column by column: the same comparison, in a hundredth of the time.
MANY = 100_000

# Instants are compared in UTC, whatever the time zone of this machine.
options.local_timezone = False
options.allow_antique_date = True
options.struct_as_dict = True
# Enough precision for every digit of a DECIMAL(38).
decimal.getcontext().prec = 80


def instant(value):
    stamp = pandas.Timestamp(value)
    if stamp.tzinfo is not None:
        stamp = stamp.tz_convert("UTC").tz_localize(None)
    return stamp


def canonical(value, kind):
    """The canonical text of a value, the same whichever library read it. Fields of a struct keep their order."""
    if value is None or value is pandas.NaT:
        return None
    if kind[0] == "map":
        pairs = value.items() if isinstance(value, dict) else value
        return ["map", sorted(([canonical(k, kind[1]), canonical(v, kind[2])] for k, v in pairs), key=json.dumps)]
    if kind[0] == "struct":
        names, values = [mapped(name) for name in value], list(value.values())
        return ["struct", [[name, canonical(v, inner)] for name, v, (_, inner) in zip(names, values, kind[1], strict=True)]]
    if kind[0] == "array":
        return ["array", [canonical(v, kind[1]) for v in value]]
    if kind == "boolean":
        return f"{bool(value)}"
    if kind[0] == "decimal":
        return f"{decimal.Decimal(value).quantize(decimal.Decimal(1).scaleb(-kind[2])):f}"
    if kind in ("float", "double"):
        return "NaN" if math.isnan(value) else repr(float(value))
    if kind == "binary":
        return bytes(value).hex()
    if kind in ("timestamp", "timestamp_ntz"):
        return instant(value).isoformat()
    if kind == "date":
        return value.isoformat()
    if kind == "string":
        return value if isinstance(value, str) else bytes(value).decode()
    return f"{int(value)}"


def partition_text(value, kind, source):
    """A partition value as the target spells it: the canonical text of its type."""
    if value is None:
        return NULL_PARTITION
    if kind == "boolean":
        return "true" if value else "false"
    if kind in ("timestamp", "timestamp_ntz"):
        stamp = instant(value)
        micros = f"{stamp.microsecond:06d}".rstrip("0")
        return stamp.strftime("%Y-%m-%d %H:%M:%S") + (f".{micros}" if micros else "")
    if kind == "date":
        return value.isoformat()
    if kind[0] == "decimal":
        return f"{value:f}"
    if kind in ("float", "double"):
        return java_text(float(str(numpy.float32(value))) if pyarrow.types.is_float32(source) else value)
    return str(value)


def java_text(value):
    """A float as Delta, whose writers are Java, spells it: with an exponent from ten million up and below a thousandth."""
    if value == 0 or not math.isfinite(value):
        return {math.inf: "Infinity", -math.inf: "-Infinity"}.get(value, "NaN" if value != value else repr(value))
    if 1e-3 <= abs(value) < 1e7:
        return repr(value)
    sign, digits, exponent = decimal.Decimal(repr(value)).as_tuple()
    text = "".join(map(str, digits)).rstrip("0") or "0"
    return f"{'-' if sign else ''}{text[0]}.{text[1:] or '0'}E{exponent + len(digits) - 1}"


class Expected:
    """What Spark reads, and the shape that its target must have."""

    def __init__(self, case):
        path = case["expected"]
        files = [path] if os.path.isfile(path) else sorted(glob.glob(f"{path}/**/*.parquet", recursive=True))
        files = [file for file in files if "/_delta_log/" not in file]
        self.data = pyarrow.dataset.dataset(files, format="parquet", partitioning="hive").to_table()
        self.kinds = of_parquet(self.data.schema)
        self.levels = (case.get("partition_columns") or [])[:LEVELS_MAX]
        self.shifted = case.get("shifted") or {}
        self.characters = case.get("characters") or {}
        self.columns = [(mapped(n), kind) for n, kind in self.kinds.items() if n not in self.levels]
        self.partitions = [(mapped(n), of_partition(self.kinds[n], self.data[n].null_count > 0)) for n in self.levels]

    def rows(self):
        for row in self.data.to_pylist():
            out = {}
            for name, kind in self.kinds.items():
                value = row[name]
                if name in self.shifted and value is not None:
                    value = value - datetime.timedelta(hours=self.shifted[name])
                if name in self.levels:
                    text = partition_text(value, kind, self.data.schema.field(name).type)
                    out[mapped(name)] = "partition:" + "".join(self.characters.get(c, c) for c in text)
                else:
                    out[mapped(name)] = canonical(value, kind)
            yield out


def shape(columns):
    return [(c.name.lower(), of_target(c.type)) for c in columns]


def read_target(table, kinds, levels):
    """The rows as {target column: value}, partition columns as text."""
    for partition in table.partitions if levels else [None]:
        spec = {} if partition is None else {k.lower(): f"partition:{v}" for k, v in partition.partition_spec.kv.items()}
        with table.open_reader(partition=partition and str(partition.partition_spec)) as reader:
            for record in reader:
                yield {name: canonical(record[name], kind) for name, kind in kinds} | spec


def whole(table, expected):
    """Compares a table of many rows: both sides as Arrow, sorted in the same order."""
    parts = []
    for partition in table.partitions if expected.levels else [None]:
        with table.open_reader(partition=partition and str(partition.partition_spec), arrow=True) as reader:
            part = pyarrow.Table.from_batches(list(reader)).select([c.name for c in table.table_schema.simple_columns])
        for name, value in partition.partition_spec.kv.items() if partition else []:
            part = part.append_column(name, pyarrow.array([value] * part.num_rows, pyarrow.string()))
        parts.append(part.rename_columns([name.lower() for name in part.column_names]))
    found = pyarrow.concat_tables(parts)
    wanted = expected.data.rename_columns([mapped(name) for name in expected.data.column_names])
    if found.num_rows != wanted.num_rows:
        return f"{found.num_rows} rows in the target, {wanted.num_rows} of Spark"
    order = [(name, "ascending") for name in wanted.column_names]
    found = found.select(wanted.column_names).cast(wanted.schema.remove_metadata()).sort_by(order)
    wanted = wanted.sort_by(order)
    differ = [name for name in wanted.column_names if not found[name].equals(wanted[name])]
    return f"cells differ in {differ}" if differ else None


def compare(project, case):
    table = project.get_table(case["table"], schema=case["schema"])
    expected = Expected(case)
    for what, found, wanted in [
        ("partition columns", shape(table.table_schema.partitions), expected.partitions),
        ("columns", shape(table.table_schema.simple_columns), expected.columns),
    ]:
        if found != wanted:
            return f"{what} are\n  {found}, expected\n  {wanted}"
    if expected.data.num_rows != case["rows"]:
        return f"{expected.data.num_rows} rows of Spark, {case['rows']} promised"
    if case["rows"] >= MANY:
        return whole(table, expected)
    text = lambda row: json.dumps(row, sort_keys=True)
    left, right = sorted(map(text, read_target(table, expected.columns, expected.levels))), sorted(map(text, expected.rows()))
    if len(left) != len(right):
        return f"{len(left)} rows in the target, {len(right)} of Spark"
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
        equal = f"equal, {case['rows']} rows"
        print(f"{case['schema']}.{case['table']}: {difference or equal}", flush=True)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
