"""The cost of a script that does for each small table what a job does: deltalake reads it, PyODPS creates, fills and counts its target.
It stores no state, cannot resume and checks nothing twice. Prints its own processor time as JSON.
"""

import json
import sys
import time
from pathlib import Path

from deltalake import DeltaTable
from odps import ODPS, options
from odps.models import TableSchema
from odps.tunnel import TableTunnel

SCHEMA = "peer"
TYPES = {"int64": "bigint", "string": "string"}


def move(odps, tunnel, folder):
    source = DeltaTable(str(folder))
    rows = source.to_pyarrow_table()
    columns = ", ".join(f"{field.name} {TYPES[str(field.type)]}" for field in rows.schema)
    table = odps.create_table(folder.name, columns, schema=SCHEMA, if_not_exists=True)
    session = tunnel.create_upload_session(table, overwrite=True)
    with session.open_arrow_writer(0) as writer:
        writer.write(rows)
    session.commit([0])
    with odps.execute_sql(f"SELECT COUNT(*) FROM {SCHEMA}.{folder.name}").open_reader(tunnel=False) as reader:
        found = int(reader[0][0])
    assert found == rows.num_rows, f"{folder.name}: {found} rows of {rows.num_rows}"


def main():
    endpoint, project, access_id, access_key, root, count = sys.argv[1:7]
    options.sql.settings = {"odps.sql.type.system.odps2": "true", "odps.namespace.schema": "true"}
    odps = ODPS(access_id, access_key, project, endpoint=endpoint)
    odps.execute_sql(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}")
    tunnel = TableTunnel(odps)
    folders = sorted(folder for folder in Path(root).iterdir() if folder.is_dir())[: int(count)]
    # The first table is not measured: it includes the loading of libraries.
    move(odps, tunnel, folders[0])
    began, busy = time.monotonic(), time.process_time()
    for folder in folders[1:]:
        move(odps, tunnel, folder)
    moved = len(folders) - 1
    print(json.dumps({
        "tables": moved,
        "cpu_ms": (time.process_time() - busy) * 1000 / moved,
        "wall_ms": (time.monotonic() - began) * 1000 / moved,
    }))


if __name__ == "__main__":
    main()
