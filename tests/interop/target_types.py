"""The type that each column of a target table must have, from the schema of Spark's Parquet. Written without our mapping's code.

A type is a text (`bigint`), or a tuple: ("decimal", precision, scale), ("array", T), ("map", K, V), and
("struct", ((name, T), ...)) in the order of the fields.
"""

import json
import re

import pyarrow.types as arrow
from odps import types as odps

SPARK = {
    "byte": "tinyint", "short": "smallint", "integer": "int", "long": "bigint", "float": "float", "double": "double",
    "boolean": "boolean", "string": "string", "binary": "binary", "date": "date", "timestamp": "timestamp",
    "timestamp_ntz": "timestamp_ntz",
}
INTEGERS = ("tinyint", "smallint", "int", "bigint")


def mapped(name):
    """A name by the demo's mapping of characters, in lower case as the target stores it."""
    return re.sub(r"[^A-Za-z0-9_]", "_", name).lower()


def of_spark(kind):
    """The type for one in Spark's own JSON."""
    if isinstance(kind, str):
        decimal = re.fullmatch(r"decimal\((\d+),(\d+)\)", kind)
        return ("decimal", int(decimal[1]), int(decimal[2])) if decimal else SPARK[kind]
    if kind["type"] == "array":
        return ("array", of_spark(kind["elementType"]))
    if kind["type"] == "map":
        return ("map", of_spark(kind["keyType"]), of_spark(kind["valueType"]))
    return ("struct", tuple((mapped(f["name"]), of_spark(f["type"])) for f in kind["fields"]))


def of_arrow(kind):
    """The type for an Arrow type, for files that Spark did not write."""
    if arrow.is_list(kind) or arrow.is_large_list(kind):
        return ("array", of_arrow(kind.value_type))
    if arrow.is_map(kind):
        return ("map", of_arrow(kind.key_type), of_arrow(kind.item_type))
    if arrow.is_struct(kind):
        return ("struct", tuple((mapped(f.name), of_arrow(f.type)) for f in kind))
    if arrow.is_decimal(kind):
        return ("decimal", kind.precision, kind.scale)
    if arrow.is_timestamp(kind):
        return "timestamp" if kind.tz else "timestamp_ntz"
    names = {
        "int8": "tinyint", "int16": "smallint", "int32": "int", "int64": "bigint", "float": "float",
        "double": "double", "bool": "boolean", "string": "string", "large_string": "string", "binary": "binary",
        "large_binary": "binary", "date32[day]": "date",
    }
    return names[str(kind)]


def of_parquet(schema):
    """{source column: type}, in order. Spark's own schema in the file is the only place that tells TIMESTAMP from TIMESTAMP_NTZ
    where instants are stored in Spark's legacy way, which has no time zone."""
    own = (schema.metadata or {}).get(b"org.apache.spark.sql.parquet.row.metadata")
    if own:
        return {f["name"]: of_spark(f["type"]) for f in json.loads(own)["fields"]}
    return {f.name: of_arrow(f.type) for f in schema}


def of_partition(kind, has_null):
    """The type of a partition column: texts stay, integers stay unless there is a NULL, all others become text."""
    return kind if kind in INTEGERS and not has_null else "string"


def of_target(kind):
    """The type for one of PyODPS's types."""
    if isinstance(kind, odps.Array):
        return ("array", of_target(kind.value_type))
    if isinstance(kind, odps.Map):
        return ("map", of_target(kind.key_type), of_target(kind.value_type))
    if isinstance(kind, odps.Struct):
        return ("struct", tuple((name.lower(), of_target(inner)) for name, inner in kind.field_types.items()))
    if isinstance(kind, odps.Decimal):
        return ("decimal", kind.precision, kind.scale)
    return str(kind).lower()
