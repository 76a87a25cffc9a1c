"""Reads one table, all partitions, with PyODPS and writes it as Parquet.

Arguments: endpoint project access_id access_key schema table out.parquet [records|arrow].
Columns come in the table's order with the partition columns as values at the end. The default, records, is PyODPS's
own default and carries every type and year. Types of the Parquet file: timestamps in UTC with nanoseconds where all
of them fit, else microseconds; DATETIME milliseconds; maps and structs as such. Prints one JSON line: rows, columns.
"""

import datetime
import json
import sys

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from odps import ODPS, options, types
from odps.tunnel.io.types import odps_type_to_arrow_type

CHUNK = 50_000


def arrow_type(data_type, unit):
    """The Arrow type of an ODPS type. JSON is text; timestamps have the given unit."""
    if data_type in (types.timestamp, types.timestamp_ntz):
        return pa.timestamp(unit, "UTC" if data_type == types.timestamp else None)
    if data_type == types.datetime:
        return pa.timestamp("ms", "UTC")
    if data_type == types.json:
        return pa.string()
    if isinstance(data_type, types.Array):
        return pa.list_(arrow_type(data_type.value_type, unit))
    if isinstance(data_type, types.Map):
        return pa.map_(arrow_type(data_type.key_type, unit), arrow_type(data_type.value_type, unit))
    if isinstance(data_type, types.Struct):
        return pa.struct([(k, arrow_type(v, unit)) for k, v in data_type.field_types.items()])
    return odps_type_to_arrow_type(data_type)


EPOCH = datetime.datetime(1970, 1, 1)


def since_epoch(value, per_second):
    """An instant as a whole number, exactly, whatever the year."""
    if isinstance(value, pd.Timestamp):
        value = value.tz_convert(None) if value.tzinfo else value
        nanos = value.nanosecond
        value = value.to_pydatetime(warn=False)
    else:
        nanos = 0
        value = value.astimezone(datetime.timezone.utc).replace(tzinfo=None) if value.tzinfo else value
    delta = value - EPOCH
    total = (delta.days * 86_400 + delta.seconds) * 1_000_000_000 + delta.microseconds * 1000 + nanos
    return total // (1_000_000_000 // per_second)


def cell(value, data_type, per_second):
    """A value in the form that pyarrow builds its type from."""
    if value is None:
        return None
    if data_type in (types.timestamp, types.timestamp_ntz):
        return since_epoch(value, per_second)
    if data_type == types.datetime:
        return since_epoch(value, 1000)
    if data_type == types.json:
        return value if isinstance(value, str) else json.dumps(value)
    if isinstance(data_type, types.Array):
        return [cell(v, data_type.value_type, per_second) for v in value]
    if isinstance(data_type, types.Map):
        pairs = value.items() if isinstance(value, dict) else value
        return [
            (cell(k, data_type.key_type, per_second), cell(v, data_type.value_type, per_second)) for k, v in pairs
        ]
    if isinstance(data_type, types.Struct):
        return {k: cell(value[k], v, per_second) for k, v in data_type.field_types.items()}
    if isinstance(data_type, (types.Char, types.Varchar)) or data_type == types.string:
        return value.decode() if isinstance(value, bytes) else value
    return value


def read(table, partition, carrier):
    """Chunks of rows as lists of values, without partition columns."""
    count = len(table.table_schema.simple_columns)
    if carrier == "arrow":
        with table.open_reader(partition, arrow=True) as reader:
            for batch in reader:
                columns = [c.to_pylist() for c in batch.columns[:count]]
                yield [list(row) for row in zip(*columns)]
        return
    with table.open_reader(partition) as reader:
        chunk = []
        for record in reader:
            chunk.append(list(record.values[:count]))
            if len(chunk) == CHUNK:
                yield chunk
                chunk = []
        if chunk:
            yield chunk


def main():
    endpoint, project, access_id, access_key, schema, name, out = sys.argv[1:8]
    carrier = sys.argv[8] if len(sys.argv) > 8 else "records"
    options.local_timezone = False
    options.allow_antique_date = True
    options.struct_as_dict = True
    o = ODPS(access_id, access_key, project=project, endpoint=endpoint)
    table = o.get_table(name, schema=schema)
    columns = table.table_schema.simple_columns
    keys = table.table_schema.partitions
    partitions = [p.partition_spec for p in table.partitions] if keys else [None]

    def batches(unit, per_second):
        schema = pa.schema([(c.name, arrow_type(c.type, unit)) for c in list(columns) + list(keys)])
        for spec in partitions:
            tail = []
            for k in keys:
                value = spec[k.name]
                tail.append(int(value) if k.type in (types.tinyint, types.smallint, types.int_, types.bigint) else value)
            for chunk in read(table, None if spec is None else str(spec), carrier):
                arrays = [
                    pa.array([cell(row[i], c.type, per_second) for row in chunk], type=schema.field(i).type)
                    for i, c in enumerate(columns)
                ]
                for i, value in enumerate(tail, start=len(columns)):
                    arrays.append(pa.array([value] * len(chunk), type=schema.field(i).type))
                yield pa.RecordBatch.from_arrays(arrays, schema=schema)
        yield pa.RecordBatch.from_pylist([], schema=schema)

    def write(unit, per_second):
        rows, writer = 0, None
        for batch in batches(unit, per_second):
            writer = writer or pq.ParquetWriter(out, batch.schema)
            writer.write_batch(batch)
            rows += batch.num_rows
        writer.close()
        return rows

    try:
        rows = write("ns", 1_000_000_000)
    except (pa.ArrowInvalid, OverflowError):
        rows = write("us", 1_000_000)
    print(json.dumps({
        "schema": schema, "table": name, "rows": rows,
        "columns": {c.name: str(c.type) for c in columns}, "partition_columns": {k.name: str(k.type) for k in keys},
    }))


if __name__ == "__main__":
    main()
