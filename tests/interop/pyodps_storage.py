"""PyODPS's client of the Storage API against a project.

Arguments: endpoint project access_id access_key.
Writes and reads with every compression, and timestamps of all years; writes that are not committed must not be visible. Exit code 0
only if all checks pass.

With `--read schema.table column...` it prints the table's rows as JSON instead: each row a list of cells, ordered by the first column;
timestamps of any year as text with microseconds.
"""

import datetime
import json
import sys

import pyarrow as pa
from odps import ODPS, errors
from odps.apis.storage_api import (
    ArrowOptions,
    Compression,
    DataFormat,
    ReadRowsRequest,
    SessionRequest,
    SessionStatus,
    SplitOptions,
    StorageApiArrowClient,
    TableBatchScanRequest,
    TableBatchWriteRequest,
    WriteRowsRequest,
)

SCHEMA = "pyodps_storage"
MICRO = ArrowOptions.TimestampUnit.MICRO
FAR = [
    datetime.datetime(1, 1, 1),
    datetime.datetime(9999, 12, 31, 23, 59, 59, 999999),
    datetime.datetime(2024, 2, 29, 12, 34, 56, 789012),
    None,
]


def micro(datetime_unit=ArrowOptions.TimestampUnit.MILLI):
    return ArrowOptions(timestamp_unit=MICRO, date_time_unit=datetime_unit)


def batch(times):
    return pa.RecordBatch.from_arrays(
        [
            pa.array(list(range(len(times))), pa.int64()),
            pa.array(times, pa.timestamp("us")),
            pa.array([f"row {i}" for i in range(len(times))]),
            pa.array([None if t is None else [t, None] for t in times], pa.list_(pa.timestamp("us"))),
        ],
        names=["c", "at", "s", "times"],
    )


def write(client, session, rows, block=0, attempt=0, compression=Compression.LZ4_FRAME):
    request = WriteRowsRequest(
        session_id=session.session_id,
        block_number=block,
        attempt_number=attempt,
        compression=compression,
        data_format=DataFormat(type="ARROW", version="V5"),
    )
    writer = client.write_rows_arrow(request)
    assert writer.write(rows)
    message, done = writer.finish()
    assert done and message
    return message


def create(client, partition=""):
    session = client.create_write_session(TableBatchWriteRequest(arrow_options=micro(), partition_spec=partition))
    assert session.session_status == SessionStatus.NORMAL, session.session_status
    assert [c.name for c in session.data_schema.data_columns] == ["c", "at", "s", "times"]
    return session


def read(client, partitions=(), columns=()):
    request = TableBatchScanRequest(
        arrow_options=micro(),
        required_partitions=list(partitions),
        required_data_columns=list(columns),
        split_options=SplitOptions.get_default_options(SplitOptions.SplitMode.SIZE),
    )
    session = client.create_read_session(request)
    assert session.session_status == SessionStatus.NORMAL
    rows = []
    for split in range(session.split_count):
        reader = client.read_rows_arrow(ReadRowsRequest(session_id=session.session_id, split_index=split))
        while True:
            found = reader.read()
            if found is None:
                break
            rows += zip(*(column.to_pylist() for column in found.columns))
    assert len(rows) == session.record_count, (len(rows), session.record_count)
    return [list(row) for row in rows]


def same(what, got, want):
    if got != want:
        raise SystemExit(f"FAILED {what}\n  got  {got!r}\n  want {want!r}")
    print(f"ok {what}")


def refused(what, call):
    try:
        call()
    except errors.ODPSError as error:
        print(f"ok {what}: {type(error).__name__} {error.code}")
        return
    raise SystemExit(f"FAILED {what}: nothing was refused")


def wanted(times):
    return [[i, t, f"row {i}", None if t is None else [t, None]] for i, t in enumerate(times)]


def checks(o):
    o.execute_sql(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}")
    for name in ("plain", "parted"):
        o.delete_table(name, schema=SCHEMA, if_exists=True)
    columns = "c bigint, at timestamp, s string, times array<timestamp>"
    table = o.create_table("plain", columns, schema=SCHEMA)
    client = StorageApiArrowClient(o, table)
    for compression in Compression:
        session = create(client)
        write(client, session, batch(FAR[:1]), attempt=0)
        messages = [
            write(client, session, batch(FAR), attempt=1, compression=compression),
            write(client, session, batch(FAR[1:2]), block=1, compression=compression),
        ]
        done = client.commit_write_session(SessionRequest(session.session_id), messages)
        assert done.session_status == SessionStatus.COMMITTED
        assert client.get_write_session(SessionRequest(session.session_id)).session_status == SessionStatus.COMMITTED
        same(f"{compression.name} written and read", read(client), wanted(FAR) + wanted(FAR[1:2]))
    same("some columns", read(client, columns=["s", "at"])[:1], [["row 0", FAR[0]]])

    refused("no message", lambda: client.commit_write_session(SessionRequest(create(client).session_id), []))
    nanos = pa.RecordBatch.from_arrays(
        [pa.array([1]), pa.array([1], pa.timestamp("ns")), pa.array(["x"]), pa.array([None], pa.list_(pa.timestamp("us")))],
        names=["c", "at", "s", "times"],
    )
    refused("another unit than the session's", lambda: write(client, create(client), nanos))
    same("nothing of that is seen", read(client), wanted(FAR) + wanted(FAR[1:2]))

    parted = o.create_table("parted", (columns, "pt string, n int"), schema=SCHEMA)
    parted.create_partition("pt='a',n=1")
    parted.create_partition("pt='b',n=2")
    client = StorageApiArrowClient(o, parted)
    for partition, times in (("pt=a,n=1", FAR[:2]), ("pt=b,n=2", FAR[2:]), ("pt=a,n=1", FAR[1:3])):
        session = create(client, partition)
        client.commit_write_session(SessionRequest(session.session_id), [write(client, session, batch(times))])
        same(f"{partition} written", read(client, [partition]), wanted(times))
    same("the other is as it was", read(client, ["pt=b,n=2"]), wanted(FAR[2:]))
    refused("a missing partition", lambda: create(client, "pt=z,n=1"))
    regional = ODPS(o.account.access_id, o.account.secret_access_key, project=o.project, endpoint=o.endpoint,
                    region_name="cn-hangzhou")
    client = StorageApiArrowClient(regional, regional.get_table("plain", schema=SCHEMA))
    same("V4 signatures", read(client), wanted(FAR) + wanted(FAR[1:2]))
    print("ALL OK")


def plain(value):
    if isinstance(value, datetime.datetime):
        return value.replace(tzinfo=None).isoformat(sep=" ", timespec="microseconds")
    if isinstance(value, list):
        return [plain(item) for item in value]
    return value


def show(o, name, columns):
    schema, table = name.split(".")
    client = StorageApiArrowClient(o, o.get_table(table, schema=schema))
    rows = read(client, columns=columns)
    print(json.dumps(sorted(([plain(cell) for cell in row] for row in rows), key=lambda row: row[0])))


def main():
    endpoint, project, access_id, access_key, *more = sys.argv[1:]
    o = ODPS(access_id, access_key, project=project, endpoint=endpoint)
    if more[:1] == ["--read"]:
        show(o, more[1], more[2:])
    else:
        checks(o)


if __name__ == "__main__":
    main()
