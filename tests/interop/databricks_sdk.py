"""Lists catalogs, schemas and tables of a workspace with Databricks' own SDK, and compares them with what is expected.

usage: databricks_sdk.py URL TOKEN CATALOG CLIENT_ID CLIENT_SECRET < expected.json

expected.json: {"schema": {"table": {"columns": [[name, type_name, type_text, partition_index or null], ...]}}}
Prints one line "ok ..." and exits with 0, or prints what differs.
"""

import json
import sys

from databricks.sdk import WorkspaceClient
from databricks.sdk.errors import NotFound, PermissionDenied, Unauthenticated


def fail(message):
    sys.exit(f"databricks-sdk: {message}")


def shown(table):
    return [
        [c.name, c.type_name.value if c.type_name else None, c.type_text, c.partition_index]
        for c in table.columns or []
    ]


def same(what, found, expected):
    if found != expected:
        fail(f"{what}: found {found!r}, expected {expected!r}")


def counted(client):
    """Counts the objects on each page that the SDK requests, by path."""
    pages, do = {}, client.api_client.do

    def doing(method, path, *args, **kw):
        answer = do(method, path, *args, **kw)
        for key in ("catalogs", "schemas", "tables"):
            if isinstance(answer, dict) and key in answer:
                pages.setdefault(path, []).append(len(answer[key]))
        return answer

    client.api_client.do = doing
    return pages


def as_client(url, client_id, client_secret, catalog, schemas):
    """The same workspace by machine-to-machine OAuth; the SDK finds the token endpoint by itself."""
    client = WorkspaceClient(host=url, client_id=client_id, client_secret=client_secret)
    same("way in", client.config.auth_type, "oauth-m2m")
    same("user", client.current_user.me().user_name, client_id)
    listed = sorted(s.name for s in client.schemas.list(catalog_name=catalog))
    same("schemas as a client", listed, schemas)
    try:
        WorkspaceClient(host=url, client_id=client_id, client_secret=client_secret + "x").current_user.me()
        fail("a wrong secret was accepted")
    except ValueError as error:
        if "invalid_client: Client authentication failed" not in str(error):
            fail(f"a wrong secret was refused with {error}")


def main():
    url, token, catalog, client_id, client_secret = sys.argv[1:6]
    expected = json.load(sys.stdin)
    client = WorkspaceClient(host=url, token=token)
    pages = counted(client)

    same("catalogs", [c.name for c in client.catalogs.list()], [catalog])
    same("catalog", client.catalogs.get(catalog).name, catalog)
    schemas = sorted(s.name for s in client.schemas.list(catalog_name=catalog))
    same("schemas", schemas, sorted([*expected, "information_schema"]))
    count = 0
    for schema, tables in expected.items():
        listed = {t.name: t for t in client.tables.list(catalog_name=catalog, schema_name=schema)}
        same(f"tables of {schema}", sorted(listed), sorted(tables))
        for name, table in tables.items():
            full_name = f"{catalog}.{schema}.{name}"
            one = client.tables.get(full_name)
            same(f"full name of {full_name}", one.full_name, full_name)
            same(f"id of {full_name}", one.table_id, listed[name].table_id)
            same(f"columns of {full_name} in the list", shown(listed[name]), shown(one))
            if not (one.storage_location or "").startswith("file:///"):
                fail(f"{full_name} lies at {one.storage_location!r}, not at a file URL")
            for column in one.columns or []:
                same(f"type_json of {full_name}.{column.name}", json.loads(column.type_json)["name"], column.name)
            same(f"columns of {full_name}", shown(one), table["columns"])
            if not client.tables.exists(full_name).table_exists:
                fail(f"{full_name} does not exist, though it lists")
            count += 1
    crossed = [path for path, sizes in pages.items() if sum(1 for size in sizes if size) > 1]
    for path in ("/schemas", "/tables"):
        if not any(called.endswith(path) for called in crossed):
            fail(f"{path} came on one page: nothing was crossed")
    if not any(0 in sizes for sizes in pages.values()):
        fail("no page was empty")
    inventory = sum(1 for _ in client.tables.list_summaries(catalog_name=catalog))
    same("inventory", inventory, count)
    same("metastore", client.metastores.summary().metastore_id, client.metastores.current().metastore_id)
    states = [c.state.value for c in client.clusters.list()]
    same("clusters", states, ["RUNNING"])

    try:
        client.tables.get(f"{catalog}.nowhere.nothing")
        fail("a table that is not there was found")
    except NotFound:
        pass
    try:
        WorkspaceClient(host=url, token=token + "x").catalogs.get(catalog)
        fail("a wrong token was accepted")
    except (PermissionDenied, Unauthenticated):
        pass
    as_client(url, client_id, client_secret, catalog, schemas)
    print(f"ok {len(expected)} schemas, {count} tables, and as {client_id}")


main()
