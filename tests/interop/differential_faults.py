"""Creates tables that no reader can read correctly, each with one fault, and says why each must be refused."""

import decimal
import json

import pyarrow as pa
import pyarrow.parquet as pq

from deltalog import bitmap, z85_encode
from differential_log import write_commit
from differential_types import Ids

US = pa.timestamp("us", "UTC")


class Fault:
    """A table of one file that is valid except for its fault."""

    def __init__(self, root, rng):
        self.root, self.rng, self.ids = root, rng, Ids(rng)
        self.rows = rng.choice([1, 3, 20])
        self.mapping, self.properties, self.partitions = "none", {}, {}
        self.reader, self.stats, self.extra, self.vector, self.options = None, None, [], None, {}
        self.path = "part-0.parquet"
        self.fields = [self.ids.field("id", "long"), self.ids.field("t", "string")]
        texts = pa.array([f"t{i}" for i in range(self.rows)])
        self.columns = [("id", pa.array(range(self.rows), pa.int64())), ("t", texts)]

    def column(self, kind, array, nullable=True):
        """Adds a column of this type, stored as the given array."""
        self.fields.insert(self.rng.randint(0, len(self.fields)), self.ids.field("odd", kind, nullable))
        self.columns.append(("odd", array))

    def one(self, there, good, bad):
        """A column of good values with one bad value at a random row."""
        values = [good] * self.rows
        values[self.rng.randrange(self.rows)] = bad
        return pa.array(values, there)

    def with_ids(self, mode):
        self.mapping = mode
        self.properties["delta.columnMapping.mode"] = mode

    def write(self):
        self.root.mkdir(parents=True, exist_ok=True)
        table = pa.Table.from_arrays([array for _, array in self.columns], names=[name for name, _ in self.columns])
        pq.write_table(table, self.root / self.path, **self.options)
        reader = self.reader or {"minReaderVersion": 3, "minWriterVersion": 7,
                                 "readerFeatures": ["columnMapping", "deletionVectors", "timestampNtz"],
                                 "writerFeatures": ["columnMapping", "deletionVectors", "timestampNtz"]}
        fields = [field | ({"metadata": {}} if self.mapping == "none" else {}) for field in self.fields]
        schema = json.dumps({"type": "struct", "fields": fields})
        metadata = {"id": "x", "format": {"provider": "parquet", "options": {}}, "schemaString": schema,
                    "partitionColumns": list(self.partitions), "configuration": self.properties, "createdTime": 1}
        add = {"path": self.path, "partitionValues": self.partitions, "size": (self.root / self.path).stat().st_size,
               "modificationTime": 1, "dataChange": True}
        if self.stats is not None:
            add["stats"] = json.dumps(self.stats)
        self.added = add | ({"deletionVector": self.vector} if self.vector else {})
        write_commit(self.root, 0, [{"protocol": reader}, {"metaData": metadata}, {"add": self.added}])
        for at, actions in enumerate(self.extra):
            write_commit(self.root, at + 1, actions(self.added))


def two_names(fault):
    fault.columns.append(("T", pa.array(["other"] * fault.rows)))
    return "the file has two columns that are one but for case"


def overflow(fault):
    kind, there, bad = fault.rng.choice([
        ("byte", pa.int32(), 300), ("byte", pa.uint8(), 200), ("short", pa.int32(), -40_000),
        ("short", pa.uint16(), 65_535),
        ("integer", pa.int64(), 1 << 31), ("integer", pa.uint32(), 1 << 31), ("long", pa.uint64(), 1 << 63)])
    fault.column(kind, fault.one(there, 1, bad))
    return f"{bad} is no {kind}"


def decimal_digits(fault):
    bad, scale = fault.rng.choice([("1.001", 3), ("10000000", 2), ("-0.001", 3)])
    good = decimal.Decimal(10)
    fault.column("decimal(9,2)", fault.one(pa.decimal128(38, scale), good, decimal.Decimal(bad)))
    return f"{bad} is no decimal(9,2)"


def finer(fault):
    kind, there = fault.rng.choice([("timestamp", pa.timestamp("ns", "UTC")), ("timestamp_ntz", pa.timestamp("ns"))])
    fault.column(kind, fault.one(there, 1000, fault.rng.choice([1, -1, 1_700_000_000_000_000_001])))
    fault.options["version"] = "2.6"
    return "a time is finer than a microsecond"


def double_key(fault):
    row = [[("a", 1), ("b", 2), ("a", 3)]]
    fault.column({"type": "map", "keyType": "string", "valueType": "long", "valueContainsNull": True},
                 pa.array(row * fault.rows, pa.map_(pa.string(), pa.int64())))
    return "a key stands twice in a map"


def wrong_count(fault):
    fault.stats = {"numRecords": fault.rows + fault.rng.choice([-1, 1]) if fault.rows > 1 else 2}
    return "the log counts other rows"


def wrong_nulls(fault):
    nulls = {fault.rng.choice(["id", "t"]): fault.rng.choice([1, fault.rows])}
    fault.stats = {"numRecords": fault.rows, "nullCount": nulls}
    return "the log counts NULLs that are not there"


def wrong_bounds(fault):
    wide = fault.rng.random() < 0.5
    part, column, value = fault.rng.choice([("minValues", "id", 1), ("maxValues", "id", -1), ("minValues", "t", "u"),
                                            ("maxValues", "t", "a")])
    fault.stats = {"numRecords": fault.rows, part: {column: value}, "tightBounds": not wide}
    return f"{column} lies outside of {part}"


def wrong_nested(fault):
    inner = {"type": "struct", "fields": [fault.ids.field("n", "long")]}
    fault.column(inner, pa.array([{"n": None}] * fault.rows, pa.struct([("n", pa.int64())])))
    fault.stats = {"numRecords": fault.rows, "nullCount": {"odd": {"n": 0}}}
    return "the log says that a field of a struct is never NULL"


def unknown_mode(fault):
    fault.with_ids("none")
    fault.properties["delta.columnMapping.mode"] = fault.rng.choice(["nmae", " ", "physical", "name id"])
    return "the mapping mode is none that there is"


def mode_without_protocol(fault):
    fault.with_ids("name")
    names = [field["metadata"]["delta.columnMapping.physicalName"] for field in fault.fields]
    fault.columns = [(name, array) for name, (_, array) in zip(names, fault.columns)]
    fault.reader = {"minReaderVersion": 1, "minWriterVersion": 2}
    return "the protocol has no column mapping"


def added_and_removed(fault):
    remove = {"path": fault.path, "dataChange": True}
    fault.extra = [lambda add: fault.rng.sample([{"add": add}, {"remove": remove}], 2)]
    return "a commit adds and removes one file"


def two_vectors(fault):
    vector = inline([0])
    path = fault.rng.choice(["./", ""]) + fault.path
    fault.extra = [lambda add: [{"add": dict(add, deletionVector=vector, path=path)}]]
    fault.stats = {"numRecords": fault.rows}
    return "one file is live twice, with and without a deletion vector"


def inline(rows):
    data = bitmap(rows)
    return {"storageType": "i", "pathOrInlineDv": z85_encode(data), "sizeInBytes": len(data), "cardinality": len(rows)}


def beyond_the_end(fault):
    fault.vector = inline([fault.rows + 5])
    return "a deleted row lies behind the end of the file"


def wrong_cardinality(fault):
    fault.vector = dict(inline([0]), cardinality=2)
    return "the vector has fewer rows than the log says"


def flipped(fault):
    fault.options |= {"write_page_checksum": True, "compression": "none", "use_dictionary": False}
    fault.columns[1] = ("t", pa.array(["needle"] * fault.rows))
    write = fault.write

    def write_and_flip():
        write()
        path = fault.root / fault.path
        data = bytearray(path.read_bytes())
        data[data.index(b"needle") + 2] ^= 1
        path.write_bytes(bytes(data))

    fault.write = write_and_flip
    fault.options["write_statistics"] = False
    return "a byte of a page with a checksum was flipped"


def cut(fault):
    write = fault.write

    def write_and_cut():
        write()
        path = fault.root / fault.path
        path.write_bytes(path.read_bytes()[:-fault.rng.randint(1, 30)])

    fault.write = write_and_cut
    return "the file was cut"


def instant_as_clock(fault):
    fault.column("timestamp_ntz", fault.one(US, 0, 1))
    return "an instant lies under a clock without a zone"


def bare_number(fault):
    kind, there = fault.rng.choice([
        ("timestamp", pa.int64()), ("integer", pa.float64()), ("float", pa.float64()), ("double", pa.int64()),
        ("string", pa.int64()), ("boolean", pa.int32()), ("date", pa.int64()), ("long", pa.string()),
        ("decimal(9,2)", pa.float64()), ("binary", pa.int64())])
    fault.column(kind, fault.one(pa.int64(), 1, 0).cast(there))
    return f"{there} lies under {kind}"


def ids_missing(fault):
    fault.with_ids("id")
    return "the table maps by ids, and the file has none"


def nothing_found(fault):
    fault.columns = [(f"other_{name}", array) for name, array in fault.columns]
    return "the file has no column of the table"


def null_in_not_null(fault):
    fault.column("long", fault.one(pa.int64(), 1, None), nullable=False)
    return "a NULL lies in a NOT NULL column"


def partition_text(fault):
    kind, text = fault.rng.choice([
        ("integer", "abc"), ("byte", "300"), ("decimal(4,2)", "1.234"), ("decimal(4,2)", "100"), ("date", "2024-02-30"),
        ("boolean", "yes"), ("timestamp", "noon"), ("double", "1,5")])
    fault.fields.append(fault.ids.field("p", kind))
    fault.partitions = {"p": text}
    return f"{text!r} is no {kind}"


def no_text(fault):
    fault.column("string", fault.one(pa.binary(), b"a", fault.rng.choice([b"\xff", b"a\xc3", b"\xed\xa0\x80"])))
    return "bytes under a text are not UTF-8"


def gap(fault):
    fault.extra = [lambda add: [{"commitInfo": {}}]] * 2
    write = fault.write

    def write_and_lose():
        write()
        (fault.root / "_delta_log" / f"{1:020}.json").unlink()

    fault.write = write_and_lose
    return "a commit of the log is gone"


# Each fault, with words that the refusal must contain.
FAULTS = [
    (two_names, "whatever the case"), (overflow, "column `odd`"), (decimal_digits, "does not fit into DECIMAL(9,2)"),
    (finer, "finer than a microsecond"), (double_key, "a key stands twice"), (wrong_count, "its log says"),
    (wrong_nulls, "another NULLs"), (wrong_bounds, "st value"), (wrong_nested, "`odd.n`"),
    (unknown_mode, "delta.columnMapping.mode"), (mode_without_protocol, "has no column mapping"),
    (added_and_removed, "adds and removes part-0.parquet"), (two_vectors, "two live entries"),
    (beyond_the_end, "behind its end"), (wrong_cardinality, "deleted rows"), (flipped, "checksum"),
    (cut, "part-0.parquet"), (instant_as_clock, "an instant is not a clock"), (bare_number, "column `odd`"),
    (ids_missing, "have no ids"), (nothing_found, "part-0.parquet"), (null_in_not_null, "NOT NULL"),
    (partition_text, "its partition value"), (no_text, "not UTF-8"), (gap, "version"),
]


def make_fault(root, rng, at):
    """Writes a table with one fault. Returns its name, why the table must be refused, and what the refusal must say."""
    draw, says = FAULTS[at % len(FAULTS)]
    fault = Fault(root, rng)
    reason = draw(fault)
    fault.write()
    return draw.__name__, reason, says
