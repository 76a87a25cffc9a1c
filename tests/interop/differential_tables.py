"""Creates one random Delta table that every correct reader can read: random schema, evolution, writers and log. The choices are recorded
as quirks, for the message of a failure. It keeps no rows: the expected rows are those that `differential_reader` reads.
"""

import copy
import json
import uuid
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from differential_log import deletion_vector, spelled, statistics, write_checkpoint, write_commit
from differential_types import PRIMITIVES, Ids, Writer, digits, primitive, random_type

CODECS = ["none", "snappy", "gzip", "zstd", "lz4", "brotli"]
PARTITION_TEXTS = {
    "boolean": ["true", "false", "TRUE", "False"],
    "byte": ["0", "-128", "127", "007"],
    "short": ["-32768", "12", "+5"],
    "integer": ["2147483647", "-1", "0010"],
    "long": ["-9223372036854775808", "42"],
    "float": ["1.5", "1", "-0.0", "1e10", "NaN", "Infinity", "-Infinity", "0.1", "3.4028235E38"],
    "double": ["1.5", "1", "1E-7", "NaN", "-Infinity", "0.1", "1.7976931348623157E308", "4.9E-324"],
    "string": ["a", "null", "NULL", "a b", "é/%", "p=1,q", "\U0001f600", "__HIVE_DEFAULT_PARTITION__", "1"],
    "date": ["1970-01-01", "0001-01-01", "9999-12-31", "2024-02-29", "1582-10-10"],
    "timestamp": ["2024-01-01 00:00:00", "1969-12-31 23:59:59.999999", "2024-01-01T01:02:03.5Z",
                  "2024-01-01T01:02:03+02:00", "9999-12-31 23:59:59.000001"],
    "timestamp_ntz": ["2024-01-01 00:00:00", "0001-01-01 00:00:00.000001", "1969-12-31 23:59:59.9"],
}


def partition_texts(kind):
    if not kind.startswith("decimal"):
        return PARTITION_TEXTS[kind]
    precision, scale = digits(kind)
    return ["0", "0.0", "-0"] + (["1", "-1", "1.0"] if precision > scale and scale else []) + ([f"0E-{scale}"])


class TableMaker:
    """A table that is being created."""

    def __init__(self, root, rng):
        self.root, self.rng, self.quirks = Path(root), rng, set()
        self.mapping = rng.choice(["none", "none", "name", "name", "id"])
        # Without named table features: column mapping is possible, timestamps without a time zone are not.
        self.legacy = rng.random() < 0.3
        self.ids = Ids(rng, [kind for kind in PRIMITIVES if not self.legacy or kind != "timestamp_ntz"])
        self.widening = not self.legacy and rng.random() < 0.4
        self.mapped = ["columnMapping"] if self.mapping != "none" else []
        self.features = self.mapped + ["deletionVectors", "timestampNtz"] + (["typeWidening"] if self.widening else [])
        self.version, self.live = 0, []
        self.fields = [self.ids.field("keeper", primitive(rng, self.ids))]
        for name in rng.sample(["a", "B", "c_d", "market", "Ñandú", "x1", "y", "T"], rng.randint(1, 5)):
            self.fields.append(self.ids.field(name, random_type(rng, self.ids)))
        self.table_id = str(uuid.UUID(int=rng.getrandbits(128)))
        self.partitions = [self.ids.field(f"p{at}", primitive(rng, self.ids)) for at in range(rng.choice([0, 0, 1, 2]))]
        self.partitions = [field for field in self.partitions if field["type"] != "binary"]
        for field in self.partitions:
            self.fields.insert(rng.randint(0, len(self.fields)), field)
            self.quirks.add(f"partition by {field['type'].split('(')[0]}")
        self.quirks.add(f"mapping {self.mapping}")

    def make(self, steps=None):
        rng = self.rng
        steps = rng.choice([0, 1, 2, 3, 4, 6]) if steps is None else steps
        self.commit([self.protocol(), self.metadata()] + [self.add() for _ in range(rng.choice([0, 1, 1, 2]))])
        for _ in range(steps):
            self.commit(rng.choice([self.append, self.append, self.evolve, self.remove, self.delete])())
            if rng.random() < 0.15:
                write_checkpoint(rng, self.root, self.version - 1, self.quirks)
        if not self.live:
            self.quirks.add("no files")
        return self

    def commit(self, actions):
        info = {"commitInfo": {"operation": "WRITE", "timestamp": 1_700_000_000_000 + self.version}}
        write_commit(self.root, self.version, ([info] if self.rng.random() < 0.7 else []) + actions)
        self.version += 1

    def protocol(self):
        if self.legacy:
            self.quirks.add("legacy protocol")
            reader, writer = (2, 5) if self.mapped else (1, 2)
            return {"protocol": {"minReaderVersion": reader, "minWriterVersion": writer}}
        return {"protocol": {"minReaderVersion": 3, "minWriterVersion": 7, "readerFeatures": self.features,
                             "writerFeatures": self.features}}

    def metadata(self):
        def bare(node):
            if isinstance(node, list):
                return [bare(item) for item in node]
            if not isinstance(node, dict):
                return node
            return {key: {} if key == "metadata" and not self.mapped else bare(part) for key, part in node.items()}

        mode = self.mapping
        if mode != "none" and self.rng.random() < 0.3:
            mode = self.rng.choice([mode.upper(), mode.title()])
            self.quirks.add("capitals of the mode")
        properties = {}
        if mode != "none":
            properties = {"delta.columnMapping.mode": mode, "delta.columnMapping.maxColumnId": str(self.ids.last)}
        if not self.legacy:
            properties["delta.enableDeletionVectors"] = "true"
        if self.widening:
            properties["delta.enableTypeWidening"] = "true"
        schema = {"type": "struct", "fields": bare(self.fields)}
        return {"metaData": {"id": self.table_id, "format": {"provider": "parquet", "options": {}},
                             "schemaString": json.dumps(schema),
                             "partitionColumns": [f["name"] for f in self.fields if f in self.partitions],
                             "configuration": properties, "createdTime": 1}}

    def add(self):
        """Writes a file and returns its add action."""
        rng = self.rng
        count = rng.choice([0, 1, 2, 5, 20, 20, 40, 300])
        int96 = rng.random() < 0.15 and "timestamp_ntz" not in json.dumps(self.fields)
        writer = Writer(rng, self.mapping, self.quirks, not int96, self.widening)
        stored = [field for field in self.fields if field not in self.partitions]
        made = writer.fields(stored, count)
        table = pa.Table.from_arrays([array for _, array in made], schema=pa.schema([field for field, _ in made]))
        wide = rng.random() < 0.2
        stats = statistics(writer, stored, table, wide) if rng.random() < 0.7 else None
        if self.partitions and rng.random() < 0.2:
            self.quirks.add("partition columns in the file")
            name = self.name(self.partitions[0])
            table = table.append_column(name, pa.array(["other"] * count, pa.string()))
        elif rng.random() < 0.15:
            self.quirks.add("a column that the table lacks")
            table = table.append_column("another one", pa.array([7] * count, pa.int64()))
        path = self.path()
        self.write(table, path, int96)
        values = {self.name(field): self.partition_value(field) for field in self.partitions}
        size = (self.root / path).stat().st_size
        if stats and rng.random() < 0.1:
            self.quirks.add("wrong size")
            size += rng.choice([-1, 1, 1000])
        add = {"path": spelled(rng, self.root, path, self.quirks), "partitionValues": values, "size": size,
               "modificationTime": 1_700_000_000_000, "dataChange": True}
        if stats:
            add["stats"] = stats
            self.quirks.add("wide statistics" if wide else "tight statistics")
        self.live.append((path, add, count, wide))
        return {"add": add}

    def name(self, field):
        return field["name"] if self.mapping == "none" else field["metadata"]["delta.columnMapping.physicalName"]

    def partition_value(self, field):
        if self.rng.random() < 0.2:
            self.quirks.add("NULL partition")
            return self.rng.choice([None, ""]) if field["type"] != "string" else None
        return self.rng.choice(partition_texts(field["type"]))

    def path(self):
        folder = self.rng.choice(["", "", "", "p=a b/", "x%20y/", "é+/", "c:d/", "k={1}/"])
        name = f"{folder}part-{self.version:05}-{self.rng.getrandbits(32):08x}.parquet"
        (self.root / name).parent.mkdir(parents=True, exist_ok=True)
        return name

    def write(self, table, path, int96):
        rng = self.rng
        options = {
            "compression": rng.choice(CODECS),
            "data_page_version": rng.choice(["1.0", "2.0"]),
            "use_dictionary": rng.random() < 0.6,
            "version": rng.choice(["1.0", "2.4", "2.6", "2.6"]),
            "write_page_checksum": rng.random() < 0.3,
            "store_schema": rng.random() < 0.5,
            "use_compliant_nested_type": rng.random() < 0.5,
            "store_decimal_as_integer": rng.random() < 0.4,
            "use_deprecated_int96_timestamps": int96,
            "write_page_index": rng.random() < 0.2,
        }
        nested = [field.type for field in table.schema if pa.types.is_nested(field.type)]
        if any(has(there, pa.types.is_dictionary) for there in nested):
            # pyarrow 26 cannot read nested dictionaries back with its stored schema.
            options["store_schema"] = False
        if rng.random() < 0.3:
            options["row_group_size"] = rng.choice([1, 3, 7, 50])
        if rng.random() < 0.3:
            options |= {"data_page_size": 16, "write_batch_size": rng.choice([1, 4])}
        pq.write_table(table, self.root / path, **options)
        if nested and "data_page_size" in options and not reads_back(table, self.root / path):
            del options["data_page_size"], options["write_batch_size"]
            pq.write_table(table, self.root / path, **options)
        self.quirks.add(f"codec {options['compression']}")
        self.quirks.update(f"{name}={options[name]}" for name in sorted(options.keys() - {"compression"}))

    def append(self):
        return [self.add() for _ in range(self.rng.choice([1, 1, 2]))]

    def remove(self):
        """Removes a file, under another spelling of its path; sometimes adds it again."""
        if not self.live:
            return self.append()
        path, add, count, wide = self.live.pop(self.rng.randrange(len(self.live)))
        remove = {"path": spelled(self.rng, self.root, path, self.quirks), "deletionTimestamp": 1, "dataChange": True}
        if "deletionVector" in add:
            remove["deletionVector"] = add["deletionVector"]
        if self.rng.random() < 0.3:
            self.quirks.add("a file that comes back")
            self.commit([{"remove": remove}])
            self.live.append((path, add, count, wide))
            return [{"add": dict(add, path=spelled(self.rng, self.root, path, self.quirks))}]
        return [{"remove": remove}]

    def delete(self):
        """Deletes some rows of a file by a deletion vector."""
        able = [(path, add, count, wide) for path, add, count, wide in self.live
                if count and wide and "stats" in add and "deletionVector" not in add]
        if not able or self.legacy:
            return self.append()
        entry = self.rng.choice(able)
        path, add, count, wide = entry
        self.live.remove(entry)
        rows = sorted(self.rng.sample(range(count), self.rng.randint(1, count)))
        vector = deletion_vector(self.rng, self.root, rows, self.quirks)
        new = dict(add, path=spelled(self.rng, self.root, path, self.quirks), deletionVector=vector)
        self.live.append((path, new, count, wide))
        remove = {"path": spelled(self.rng, self.root, path, self.quirks), "deletionTimestamp": 1, "dataChange": True}
        return self.rng.sample([{"remove": remove}, {"add": new}], 2)

    def evolve(self):
        """Changes the schema and writes a file with the new one."""
        self.fields = copy.deepcopy(self.fields)
        self.partitions = [f for f in self.fields if any(f["name"] == p["name"] for p in self.partitions)]
        for _ in range(self.rng.randint(1, 3)):
            self.change(self.rng.choice(structs(self.fields)))
        self.partitions = [f for f in self.fields if any(f is p for p in self.partitions)]
        return [self.metadata()] + ([self.add()] if self.rng.random() < 0.8 else [])

    def change(self, fields):
        rng = self.rng
        ways = ["add", "add", "reorder"] + (["rename", "drop"] if self.mapped else [])
        ways += ["widen"] * 3 if self.widening else []
        way = rng.choice(ways)
        free = [field for field in fields if field["name"] != "keeper" and not any(field is p for p in self.partitions)]
        if way == "add":
            added = self.ids.field(f"new_{self.ids.last}", random_type(rng, self.ids, 1))
            fields.insert(rng.randint(0, len(fields)), added)
        elif way == "reorder":
            rng.shuffle(fields)
        elif way == "rename" and free:
            # The new name may be one that another column had before.
            names = {field["name"].lower() for field in fields}
            others = [name for name in ["was_a", "a", "B", "market", "swapped"] if name.lower() not in names]
            rng.choice(free)["name"] = rng.choice(others or [f"n{self.ids.last}"])
        elif way == "drop" and len(free) > 1:
            dropped = rng.choice(free)
            fields[:] = [field for field in fields if field is not dropped]
        elif way == "widen":
            for field in fields:
                if not any(field is p for p in self.partitions):
                    field["type"] = self.widened(field["type"])
        else:
            return
        self.quirks.add(f"evolved: {way}" + ("" if fields is self.fields else " inside"))

    def widened(self, kind):
        if isinstance(kind, dict):
            for part in ("elementType", "valueType"):
                if part in kind:
                    kind[part] = self.widened(kind[part])
            return kind
        wider = {"byte": ["short", "integer", "double", "decimal(12,2)"], "short": ["integer", "long"],
                 "integer": ["long", "double", "decimal(11,1)"], "long": ["decimal(22,2)"], "float": ["double"],
                 "date": ["timestamp_ntz"]}
        if kind.startswith("decimal"):
            precision, scale = digits(kind)
            return f"decimal({min(38, precision + 3)},{scale + (1 if precision <= 35 else 0)})"
        return self.rng.choice(wider.get(kind, [kind]))


def reads_back(table, path):
    """Whether pyarrow reads what it wrote: pyarrow 26 loses lists and maps in some files with tiny pages."""
    try:
        back = pq.ParquetFile(path).read()
        pairs = zip(back.columns, table.columns)
        return all(repr(found.to_pylist()) == repr(column.to_pylist()) for found, column in pairs)
    except (pa.ArrowException, OSError, ValueError, OverflowError):
        return False


def has(there, kind):
    """Whether a type of this kind is nested in a type."""
    if pa.types.is_map(there):
        return has(there.key_type, kind) or has(there.item_type, kind)
    if pa.types.is_nested(there):
        return any(has(there.field(at).type, kind) for at in range(there.num_fields))
    return kind(there)


def structs(fields):
    """Every list of struct fields, from these to the innermost ones."""
    found = [fields]

    def below(kind):
        if isinstance(kind, dict):
            if kind["type"] == "struct":
                found.extend(structs(kind["fields"]))
            for part in ("elementType", "valueType"):
                below(kind.get(part))

    for field in fields:
        below(field["type"])
    return found
