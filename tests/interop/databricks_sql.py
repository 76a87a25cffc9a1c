"""Reads every table of a workspace by SQL with Databricks' own connector, in each form of results, and compares the rows.

usage: databricks_sql.py URL HTTP_PATH TOKEN CATALOG SCHEMA EXPECTED

EXPECTED is a folder with a folder of Parquet files for each table, named like it.
Prints one line "ok ..." and exits with 0, or prints what differs.
"""

import math
import pathlib
import sys

import pyarrow.parquet as parquet
from databricks import sql
from databricks.sql.exc import Error

FORMS = [(True, True), (False, True), (False, False)]


def fail(message):
    sys.exit(f"databricks-sql: {message}")


def connect(url, path, token, links=True, lz4=True):
    return sql.connect(
        server_hostname="127.0.0.1",
        http_path=path,
        access_token=token,
        _connection_uri=f"{url}/{path}",
        use_cloud_fetch=links,
        enable_query_result_lz4_compression=lz4,
        enable_telemetry=False,
        _retry_stop_after_attempts_count=1,
    )


def plain(value):
    """A form of a value for comparison: NaN equals NaN, and 0.0 differs from -0.0."""
    if isinstance(value, float):
        return "NaN" if math.isnan(value) else (value, math.copysign(1, value))
    if isinstance(value, dict):
        return {key: plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(inner) for inner in value]
    return value


def rows(table):
    names = sorted(table.column_names)
    return sorted(repr([plain(row[name]) for name in names]) for row in table.to_pylist())


def query(connection, text):
    with connection.cursor() as cursor:
        cursor.execute(text)
        return cursor.fetchall_arrow()


def main():
    url, path, token, catalog, schema, folder = sys.argv[1:7]
    tables = sorted(entry.name for entry in pathlib.Path(folder).iterdir())
    count = 0
    for links, lz4 in FORMS:
        with connect(url, path, token, links, lz4) as connection:
            for table in tables:
                name = f"`{catalog}`.`{schema}`.`{table}`"
                found = query(connection, f"SELECT * FROM {name}")
                expected = parquet.read_table(f"{folder}/{table}")
                if sorted(found.column_names) != sorted(expected.column_names):
                    fail(f"{table}: columns {found.column_names}, expected {expected.column_names}")
                if rows(found) != rows(expected):
                    differ = [pair for pair in zip(rows(found), rows(expected)) if pair[0] != pair[1]][:2]
                    fail(f"{table} (links {links}, lz4 {lz4}): {found.num_rows} rows differ: {differ}")
                counted = query(connection, f"SELECT COUNT(*) FROM {name}").to_pylist()[0]
                if list(counted.values()) != [expected.num_rows]:
                    fail(f"{table}: counted {counted}")
                count += found.num_rows
            versions = query(connection, f"DESCRIBE HISTORY `{catalog}`.`{schema}`.`{tables[0]}`").to_pylist()
            if versions[-1]["version"] != 0:
                fail(f"history {versions}")
            try:
                query(connection, f"SELECT * FROM `{catalog}`.`{schema}`.`nothing`")
                fail("a table that is not there was read")
            except Error as error:
                if "TABLE_OR_VIEW_NOT_FOUND" not in str(error):
                    fail(f"a table that is not there: {error}")
    try:
        connect(url, path, "dapi-wrong")
        fail("a wrong token was taken")
    except Error as error:
        if "Invalid access token" not in str(error) and "403" not in str(error):
            fail(f"a wrong token: {error}")
    print(f"ok {len(tables)} tables, {count} rows")


main()
