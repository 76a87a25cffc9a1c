"""PyODPS against a project: everything that it writes must be read back, cell by cell.

Arguments: endpoint project access_id access_key.
Needs pyodps 0.13.2, pyarrow, pandas, zstandard and lz4. Prints one line per check; exit code 0 only if all pass.
"""

import datetime
import decimal
import json
import sys

import pandas as pd
import pyarrow as pa
import pyodps_lz4
from odps import ODPS, errors, options
from odps.tunnel import TableTunnel
from odps.tunnel.io.stream import CompressOption

D = decimal.Decimal
SCHEMA = "pyodps_interop"
UTC = datetime.timezone.utc
DDL = (
    "c_tinyint tinyint, c_smallint smallint, c_int int, c_bigint bigint not null comment 'the ''key''', "
    "c_float float, c_double double, c_boolean boolean, c_decimal decimal(38,18), c_dec10 decimal(10,2), "
    "c_string string, c_varchar varchar(10), c_char char(5), c_binary binary, c_date date, c_datetime datetime, "
    "c_timestamp timestamp, c_ntz timestamp_ntz, c_array array<bigint>, c_map map<string,bigint>, "
    "c_struct struct<x:bigint,y:string>, "
    "c_nested array<struct<k:string,v:map<string,array<decimal(10,2)>>>>, c_times array<timestamp>"
).replace("''", "\\'")


def rows(with_antique=True):
    """Ordinary values, extremes, and NULLs."""
    stamp = pd.Timestamp("2024-02-29 12:34:56.789012345")
    half = pd.Timestamp("2001-01-01 00:00:00.5")
    first = datetime.date(1, 1, 1) if with_antique else datetime.date(1970, 1, 1)
    return [
        [1, 2, 3, 4, 1.5, 2.5, True, D("1.5"), D("12345678.90"), "abc", "varchar", "ab", b"\x00\xff",
         datetime.date(2024, 2, 29), datetime.datetime(2024, 2, 29, 12, 34, 56, 789000), stamp, stamp,
         [1, None, -3], {"k1": 1, "k2": None}, {"x": 1, "y": "s"},
         [{"k": "a", "v": {"m": [D("1.10"), None]}}, None], [stamp, None]],
        [-128, -32768, -(2**31), -(2**63) + 1, 3.4028234663852886e38, -1e-300, False,
         D("-99999999999999999999.999999999999999999"), D("-1.00"), "中文🙂\t\n", "", "abcde", b"",
         first, datetime.datetime(1970, 1, 1), half, half, [], {}, {"x": None, "y": ""}, [], []],
        [127, 32767, 2**31 - 1, 2**63 - 1, float("inf"), float("-inf"), True,
         D("0.000000000000000001"), D("0.01"), "", "0123456789", "", b"x" * 1000,
         datetime.date(9999, 12, 31), datetime.datetime(9999, 12, 30, 23, 59, 59, 999000), stamp, stamp,
         [2**63 - 1], {"": 0}, None, [None], None],
        [None, None, None, 0] + [None] * 18,
    ]


def plain(value):
    """A value in a form that compares equal however it was transported."""
    if isinstance(value, pd.Timestamp):
        value = value.tz_convert(None) if value.tzinfo else value
        return ("ts", value.value)
    if isinstance(value, datetime.datetime):
        value = value.astimezone(UTC).replace(tzinfo=None) if value.tzinfo else value
        return ("dt", value.isoformat())
    if isinstance(value, (bytes, bytearray)):
        return ("bytes", bytes(value).hex())
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    if hasattr(value, "_asdict"):
        return {k: plain(v) for k, v in value._asdict().items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if isinstance(value, float):
        return ("f", repr(value))
    if isinstance(value, D):
        return ("dec", str(value.normalize()))
    return value


def normal(row):
    return [plain(v) for v in row]


def same(what, got, want):
    if got != want:
        for g, w in [(g, w) for g, w in zip(got, want) if g != w][:3]:
            print(f"  got  {g!r}\n  want {w!r}", file=sys.stderr)
        raise SystemExit(f"FAILED {what}: {len(got)} rows, wanted {len(want)}")
    print(f"ok {what}")


def key(row):
    return row[3]


def read_records(table):
    # Without `reopen`, PyODPS reads from its previous session, which keeps its snapshot.
    with table.open_reader(reopen=True) as reader:
        return sorted((normal(r.values[:22]) for r in reader), key=key)


def arrow_table(table, values):
    """The rows as an Arrow table with the types that PyODPS sends."""
    from odps.tunnel.io.types import odps_schema_to_arrow_schema

    schema = odps_schema_to_arrow_schema(table.table_schema)
    columns = []
    for i, field in enumerate(schema):
        cells = [r[i] for r in values]
        if pa.types.is_map(field.type):
            cells = [None if c is None else list(c.items()) for c in cells]
        if field.name == "c_nested":
            cells = [
                None if c is None else
                [None if e is None else {"k": e["k"], "v": list(e["v"].items())} for e in c]
                for c in cells
            ]
        columns.append(pa.array(cells, type=field.type))
    return pa.Table.from_arrays(columns, schema=schema)


def from_arrow(cells, name):
    if cells is None:
        return None
    if name == "c_map":
        return dict(cells)
    if name == "c_nested":
        return [None if e is None else {"k": e["k"], "v": dict(e["v"])} for e in cells]
    return cells


def arrow_rows(data):
    names = data.schema.names[:22]
    columns = [data.column(n).to_pylist() for n in names]
    out = (normal(from_arrow(cell, n) for n, cell in zip(names, row)) for row in zip(*columns))
    return sorted(out, key=key)


def read_arrow(table):
    with table.open_reader(arrow=True, reopen=True) as reader:
        return arrow_rows(pa.Table.from_batches(list(reader)))


def expect_error(what, kinds, call):
    try:
        call()
    except kinds as error:
        print(f"ok {what}: {type(error).__name__}")
        return
    raise SystemExit(f"FAILED {what}: nothing was refused")


def main():
    endpoint, project, access_id, access_key = sys.argv[1:5]
    options.local_timezone = False
    options.allow_antique_date = True
    options.struct_as_dict = True
    o = ODPS(access_id, access_key, project=project, endpoint=endpoint)

    expect_error("a wrong key is refused", (errors.ODPSError,),
                 lambda: ODPS(access_id, access_key + "x", project=project, endpoint=endpoint).exist_table("t"))

    assert o.get_project().name == project
    o.execute_sql(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}")
    assert SCHEMA in [s.name for s in o.list_schemas()] and o.exist_schema(SCHEMA)
    for name in ("plain", "parted", "empty"):
        o.delete_table(name, schema=SCHEMA, if_exists=True)
    table = o.create_table("plain", DDL, schema=SCHEMA, comment="a 'quoted' comment", lifecycle=7)
    assert o.exist_table("plain", schema=SCHEMA) and not o.exist_table("nosuch", schema=SCHEMA)
    assert [t.name for t in o.list_tables(schema=SCHEMA)] == ["plain"]
    table.reload()
    assert table.comment == "a 'quoted' comment" and table.lifecycle == 7, (table.comment, table.lifecycle)
    assert not table.table_schema["c_bigint"].nullable and table.table_schema["c_bigint"].comment == "the 'key'"
    print("ok schemas and tables")

    values = rows()
    want = sorted((normal(r) for r in values), key=key)
    with table.open_writer() as writer:
        writer.write([table.new_record(r) for r in values])
    same("records written, records read", read_records(table), want)
    with table.open_writer() as writer:
        writer.write([table.new_record(r) for r in values[:1]])
    same("append adds", read_records(table), sorted(want + [normal(values[0])], key=key))
    with table.open_writer(overwrite=True) as writer:
        writer.write([table.new_record(r) for r in values])
    same("overwrite replaces", read_records(table), want)
    same("records written, Arrow read", read_arrow(table), want)

    with table.open_writer(arrow=True, overwrite=True) as writer:
        writer.write(arrow_table(table, values))
    same("Arrow written, records read", read_records(table), want)
    same("Arrow written, Arrow read", read_arrow(table), want)

    tunnel = TableTunnel(o)
    for algorithm in ("ODPS_ZLIB", "ODPS_ZSTD"):
        option = CompressOption(CompressOption.CompressAlgorithm[algorithm], 1, 0)
        session = tunnel.create_upload_session(table, overwrite=True, compress_option=option)
        with session.open_record_writer(0, compress=True) as writer:
            writer.write(table.new_record(values[0]))
        with session.open_arrow_writer(1, compress=True) as writer:
            writer.write(arrow_table(table, values[1:]))
        session.commit([0, 1])
        same(f"{algorithm} up", read_records(table), want)
        down = tunnel.create_download_session(table, compress_option=option)
        with down.open_record_reader(0, down.count, compress=True) as reader:
            same(f"{algorithm} down", sorted((normal(r.values) for r in reader), key=key), want)
        with down.open_arrow_reader(0, down.count, compress=True) as reader:
            same(f"{algorithm} down by Arrow", arrow_rows(pa.Table.from_batches(list(reader))), want)
        with down.open_record_reader(1, 2, columns=["c_string", "c_bigint"]) as reader:
            same(f"{algorithm} range and columns", [r.values for r in reader],
                 [[r[9], r[3]] for r in values[1:3]])

    many = [row for _ in range(500) for row in values]
    pyodps_lz4.upload(tunnel, table, [table.new_record(row) for row in many], arrow_table(table, many))
    wanted = sorted(want * 2000, key=key)
    same("LZ4 up", read_records(table), wanted)
    records, arrow = pyodps_lz4.download(tunnel, table)
    same("LZ4 down", sorted((normal(r) for r in records), key=key), wanted)
    same("LZ4 down by Arrow", arrow_rows(arrow), wanted)
    with table.open_writer(overwrite=True) as writer:
        writer.write([table.new_record(r) for r in values])

    expect_error("NULL in a NOT NULL column", (errors.ODPSError,), lambda: write_null(o, table))

    parted = o.create_table("parted", ("c bigint, s string", "pt string, n int"), schema=SCHEMA)
    with parted.open_writer("pt=a,n=1", create_partition=True) as writer:
        writer.write([parted.new_record([i, f"row {i}"]) for i in range(20000)])
    parted.create_partition("pt='b c',n=2", if_not_exists=True)
    parted.create_partition("pt='b c',n=2", if_not_exists=True)
    batch = pa.RecordBatch.from_arrays([pa.array([1, 2, None]), pa.array(["x", None, "z"])], names=["c", "s"])
    with parted.open_writer("pt='b c',n=2", arrow=True, overwrite=True) as writer:
        writer.write(batch)
    assert [str(p.partition_spec) for p in parted.partitions] == ["pt='a',n='1'", "pt='b c',n='2'"]
    assert parted.exist_partition("pt=a,n=1") and not parted.exist_partition("pt=z,n=1")
    assert parted.get_partition("pt=a,n=1").record_num == 20000
    with parted.open_reader("pt=a,n=1") as reader:
        assert reader.count == 20000
        same("a partition of 20,000 records", [r.values for r in reader],
             [[i, f"row {i}", "a", "1"] for i in range(20000)])  # PyODPS itself adds the partition's text
    with parted.open_reader("pt='b c',n=2", arrow=True) as reader:
        same("a partition by Arrow", pa.Table.from_batches(list(reader)).to_pydict(), {"c": [1, 2, None], "s": ["x", None, "z"]})
    with o.execute_sql(f"SELECT pt, COUNT(*) AS n FROM {SCHEMA}.parted GROUP BY pt").open_reader(tunnel=False) as r:
        same("SQL counts by ?result", [list(x.values) for x in r], [["a", 20000], ["b c", 3]])
    with o.execute_sql(f"SELECT COUNT(*) FROM {project}.{SCHEMA}.parted WHERE n = 2").open_reader(tunnel=True) as r:
        same("SQL counts by the instance tunnel", [list(x.values) for x in r], [[3]])
    parted.truncate("pt=a,n=1")
    parted.delete_partition("pt='b c',n=2")
    with o.execute_sql(f"SELECT COUNT(*) FROM {SCHEMA}.parted").open_reader() as reader:
        same("truncated and dropped", [list(x.values) for x in reader], [[0]])
    expect_error("a missing partition", (errors.ODPSError,), lambda: parted.open_writer("pt=z,n=1").close())
    expect_error("an unsupported statement", (errors.ParseError, errors.ODPSError),
                 lambda: o.execute_sql(f"SELECT c + 1 FROM {SCHEMA}.parted"))

    empty = o.create_table("empty", "c json", schema=SCHEMA)
    with empty.open_writer() as writer:
        writer.write([empty.new_record([{"a": [1, None]}]), empty.new_record([None])])
    with empty.open_reader() as reader:
        same("JSON as records", [json.dumps(r[0]) for r in reader], ['{"a": [1, null]}', "null"])
    texts = ['{"a": [1, null]}', None, '"中文"']
    same("JSON by Arrow", pyodps_lz4.json_there_and_back(tunnel, empty, texts), texts)
    empty.drop()
    assert not o.exist_table("empty", schema=SCHEMA)

    regional = ODPS(access_id, access_key, project=project, endpoint=endpoint, region_name="cn-hangzhou")
    regional_table = regional.get_table("plain", schema=SCHEMA)
    same("V4 signatures", read_records(regional_table), want)
    print("ALL OK")


def write_null(o, table):
    session = TableTunnel(o).create_upload_session(table)
    row = rows()[0]
    row[3] = None
    values = arrow_table(table, [row])
    with session.open_arrow_writer(0) as writer:
        writer.write(values)


if __name__ == "__main__":
    main()
