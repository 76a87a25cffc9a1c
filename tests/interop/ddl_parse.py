"""Parses MaxCompute statements with sqlglot, which knows the dialect and shares no code with mms.

Each line of standard input is a statement as a JSON text. For each, a line of standard output says in JSON what it creates: the parts
of the table's name, and the names of columns and partition columns, each with the names of all fields inside its type.
For a statement that sqlglot cannot parse the line is {"error": ...}.
"""

import json
import logging
import sys

import sqlglot
from sqlglot import exp

logging.disable(logging.CRITICAL)


def fields(kind):
    return [one.name for one in kind.find_all(exp.ColumnDef)] if kind else []


def columns(schema):
    return [[one.name, fields(one.args.get("kind"))] for one in schema.expressions if isinstance(one, exp.ColumnDef)]


def parsed(statement):
    tree = sqlglot.parse_one(statement, read="maxcompute")
    if not isinstance(tree, exp.Create):
        return {"error": f"{type(tree).__name__} and no CREATE"}
    table = tree.this.this
    partitioned = tree.find(exp.PartitionedByProperty)
    properties = {one.name: one.args["value"].name for one in tree.find_all(exp.Property) if type(one) is exp.Property}
    return {
        "table": [table.catalog, table.db, table.name],
        "columns": columns(tree.this),
        "partition_columns": columns(partitioned.this) if partitioned else [],
        "properties": properties,
    }


for line in sys.stdin:
    try:
        answer = parsed(json.loads(line))
    except sqlglot.errors.SqlglotError as error:
        answer = {"error": str(error)}
    print(json.dumps(answer), flush=True)
