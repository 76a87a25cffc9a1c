"""Random types, values and stored forms for the differential test. A schema is Delta's own JSON; `stored` chooses how a writer stores a
type in a file, `Writer` creates values that fit both. All choices come from the given `random.Random`.
"""

import decimal
import re

import pyarrow as pa

PRIMITIVES = ["byte", "short", "integer", "long", "float", "double", "boolean", "string", "binary", "date", "timestamp",
              "timestamp_ntz", "decimal"]
KEYS = ["string", "integer", "long", "short", "date", "boolean", "decimal(9,2)"]
BITS = {"byte": 8, "short": 16, "integer": 32, "long": 64}
LIMIT_US = (-62_135_596_800_000_000, 253_402_300_799_999_999)
TEXTS = ["", "a", "null", "NULL", "é", "漢字", "\U0001f600", "a\"b\\c", "tab\t\n", " padded ", "\x00\x1f\x7f", "x" * 40,
         "日" * 33, "z\U0010ffff", "\ud7ff\uffff"]


class Ids:
    """The field ids and physical names of one table, and the primitive types that it may have."""

    def __init__(self, rng, kinds=PRIMITIVES):
        self.rng, self.last, self.kinds = rng, 0, kinds

    def field(self, name, kind, nullable=True):
        self.last += 1
        physical = f"col-{self.rng.getrandbits(32):08x}-{self.last}"
        metadata = {"delta.columnMapping.id": self.last, "delta.columnMapping.physicalName": physical}
        return {"name": name, "type": kind, "nullable": nullable, "metadata": metadata}


def primitive(rng, ids):
    kind = rng.choice(ids.kinds)
    if kind != "decimal":
        return kind
    precision = rng.choice([1, 4, 9, 10, 18, 19, 28, 38])
    return f"decimal({precision},{rng.randint(0, precision)})"


def random_type(rng, ids, depth=2):
    kind = rng.choice(["struct", "array", "map"]) if depth and rng.random() < 0.35 else None
    if kind == "struct":
        return struct(rng, ids, depth - 1, rng.randint(1, 3))
    if kind == "array":
        return {"type": "array", "elementType": random_type(rng, ids, depth - 1), "containsNull": True}
    if kind == "map":
        value = random_type(rng, ids, depth - 1)
        return {"type": "map", "keyType": rng.choice(KEYS), "valueType": value, "valueContainsNull": True}
    return primitive(rng, ids)


def struct(rng, ids, depth, count):
    names = rng.sample(["a", "B", "c_d", "Item", "key", "value", "element", "über", "x1"], count)
    return {"type": "struct", "fields": [ids.field(name, random_type(rng, ids, depth)) for name in names]}


def digits(kind):
    return tuple(map(int, re.fullmatch(r"decimal\((\d+),(\d+)\)", kind).groups()))


def stored(rng, kind, quirks, plain=False):
    """The Arrow type in which a writer stores a leaf; with `plain`, always the usual one."""
    def one(usual, **odd):
        if plain or rng.random() < 0.7:
            return usual
        name = rng.choice(sorted(odd))
        quirks.add(f"{kind.split('(')[0]} as {name}")
        return odd[name]

    if kind in BITS:
        wider = {f"int{bits}": getattr(pa, f"int{bits}")() for bits in (8, 16, 32, 64)}
        wider |= {f"uint{bits}": getattr(pa, f"uint{bits}")() for bits in (8, 16, 32, 64)}
        return one(getattr(pa, f"int{BITS[kind]}")(), **wider)
    if kind.startswith("decimal"):
        precision, scale = digits(kind)
        less = rng.randint(0, min(scale, precision - 1))
        return one(pa.decimal128(precision, scale), lower_scale=pa.decimal128(precision - less, scale - less))
    if kind == "string":
        dictionary = pa.dictionary(pa.int32(), pa.string())
        return one(pa.string(), large=pa.large_string(), dictionary=dictionary, bytes=pa.binary())
    if kind == "binary":
        return one(pa.binary(), large=pa.large_binary(), fixed=pa.binary(3), text=pa.string())
    if kind == "timestamp":
        units = {unit: pa.timestamp(unit, "UTC") for unit in ("ms", "ns")}
        return one(pa.timestamp("us", "UTC"), clock=pa.timestamp("us"), zone=pa.timestamp("us", "+05:00"), **units)
    if kind == "timestamp_ntz":
        return one(pa.timestamp("us"), ms=pa.timestamp("ms"), ns=pa.timestamp("ns"))
    if kind == "double":
        return one(pa.float64(), float=pa.float32())
    return {"float": pa.float32(), "boolean": pa.bool_(), "date": pa.date32()}[kind]


def leaf(rng, kind, there, count, nulls, distinct=False, old_times=True):
    """Random values of a leaf, in its stored type."""
    if pa.types.is_integer(there):
        bits = BITS[kind] - 1
        least, most = -(1 << bits), (1 << bits) - 1
        signed = pa.types.is_signed_integer(there)
        least = max(least, -(1 << there.bit_width - 1)) if signed else 0
        most = min(most, (1 << there.bit_width - (1 if signed else 0)) - 1)
        draw = lambda: rng.choice([least, most, max(least, -1), 0, min(most, 7), rng.randint(least, most)])
    elif pa.types.is_floating(there):
        wide = there == pa.float64()
        special = [0.0, -0.0, 1.5, float("inf"), float("-inf"), float("nan"), 5e-324 if wide else 1.4e-45, 1e15]
        draw = lambda: rng.choice(special + [rng.uniform(-1e6, 1e6)] * 8)
    elif pa.types.is_boolean(there):
        draw = lambda: rng.random() < 0.5
    elif pa.types.is_decimal(there):
        most = 10**there.precision - 1
        exact = decimal.Context(prec=80)
        number = lambda: decimal.Decimal(rng.choice([0, most, -most, rng.randint(-most, most)]))
        draw = lambda: exact.scaleb(number(), -there.scale)
    elif pa.types.is_date(there):
        draw = lambda: rng.choice([0, -1, 18_000, -719_162, 2_932_896, rng.randint(-719_162, 2_932_896)])
    elif pa.types.is_timestamp(there):
        return times(rng, there, count, nulls, old_times)
    elif kind == "string":
        draw = lambda: rng.choice(TEXTS + [f"t{rng.randint(0, 10**6)}"] * 8)
    else:
        length = there.byte_width if pa.types.is_fixed_size_binary(there) else None
        data = lambda: bytes(rng.getrandbits(8) for _ in range(length if length else rng.randint(0, 9)))
        draw = (lambda: rng.choice(TEXTS)) if pa.types.is_string(there) else data
    values = [None if rng.random() < nulls else draw() for _ in range(count)]
    if distinct:
        values = list(dict.fromkeys(values))
    if pa.types.is_dictionary(there):
        return pa.array(values, pa.string()).dictionary_encode()
    if pa.types.is_date(there):
        return pa.array(values, pa.int32()).view(pa.date32())
    if there == pa.binary() and kind == "string":
        values = [value if value is None else value.encode() for value in values]
    return pa.array(values, there)


def times(rng, there, count, nulls, old):
    least, most = LIMIT_US if there.unit != "ns" else (-9_000_000_000_000_000, 9_000_000_000_000_000)
    least = least if old else 0

    def draw():
        us = rng.choice([0, 1, least, most, max(least, -1), rng.randint(least, most)])
        return {"ms": us // 1000, "us": us, "ns": us * 1000}[there.unit]

    values = [None if rng.random() < nulls else draw() for _ in range(count)]
    return pa.array(values, pa.int64()).view(there)


class Writer:
    """How one writer stores the rows of one file."""

    def __init__(self, rng, mapping, quirks, old_times=True, plain=False):
        self.rng, self.mapping, self.quirks, self.old_times, self.plain = rng, mapping, quirks, old_times, plain
        # The order of fields in the file, by the id() of their list.
        self.orders = {}
        self.odd_case = mapping != "id" and rng.random() < 0.25
        self.foreign_ids = mapping != "id" and rng.random() < 0.25
        self.odd_names = mapping == "id" and rng.random() < 0.3
        self.shuffled = rng.random() < 0.3
        self.element = rng.choice(["element", "item", "array", "bag", "list", "Element"])
        self.nulls = rng.choice([0, 0.1, 0.3, 1])
        names = {"case": self.odd_case, "foreign ids": self.foreign_ids, "names of its own": self.odd_names,
                 "columns in another order": self.shuffled, "only NULLs": self.nulls == 1}
        quirks.update(name for name, drawn in names.items() if drawn)

    def stored_name(self, field):
        name = field["name"] if self.mapping == "none" else field["metadata"]["delta.columnMapping.physicalName"]
        if self.odd_names:
            return f"n{self.rng.getrandbits(40)}"
        return self.rng.choice([name.upper(), name.lower(), name.title()]) if self.odd_case else name

    def fields(self, fields, count):
        """The Arrow fields and arrays of a struct's fields, or of a table's columns."""
        order = list(fields)
        if self.shuffled:
            self.rng.shuffle(order)
        self.orders[id(fields)] = order
        made = []
        for field in order:
            nullable = field["nullable"]
            array = self.array(field["type"], count, self.nulls if nullable else 0)
            number = field["metadata"]["delta.columnMapping.id"] if self.mapping == "id" else None
            if self.foreign_ids:
                number = self.rng.randint(1, 6) * 1000 + len(made)
                number = len(order) - len(made) if self.rng.random() < 0.9 else number
            metadata = {"PARQUET:field_id": str(number)} if number is not None else None
            made.append((pa.field(self.stored_name(field), array.type, nullable, metadata), array))
        return made

    def array(self, kind, count, nulls, distinct=False):
        if not isinstance(kind, dict):
            there = stored(self.rng, kind, self.quirks, self.plain)
            return leaf(self.rng, kind, there, count, nulls, distinct, self.old_times)
        mask = [self.rng.random() < nulls for _ in range(count)]
        absent = pa.array(mask, pa.bool_())
        if kind["type"] == "struct":
            made = self.fields(kind["fields"], count)
            arrays, fields = [array for _, array in made], [field for field, _ in made]
            return pa.StructArray.from_arrays(arrays, fields=fields, mask=absent)
        lengths = [0 if gone else self.rng.choice([0, 1, 1, 2, 5]) for gone in mask]
        if kind["type"] == "map":
            return self.map(kind, lengths, absent)
        offsets = pa.array([sum(lengths[:at]) for at in range(count + 1)], pa.int32())
        values = self.array(kind["elementType"], sum(lengths), self.nulls if kind["containsNull"] else 0)
        there = pa.list_(pa.field(self.element, values.type, kind["containsNull"]))
        return pa.ListArray.from_arrays(offsets, values, type=there, mask=absent)

    def map(self, kind, lengths, absent):
        """A map whose keys are distinct within each row, because all keys are drawn at once."""
        keys = self.array(kind["keyType"], sum(lengths) + 1, 0, distinct=True)
        pool = len(keys)
        spans = [min(length, pool) for length in lengths]
        total = sum(spans)
        picked = [self.rng.sample(range(pool), span) for span in spans]
        keys = keys.take(pa.array([at for row in picked for at in row], pa.int32()))
        offsets = pa.array([sum(spans[:at]) for at in range(len(spans) + 1)], pa.int32())
        values = self.array(kind["valueType"], total, self.nulls if kind["valueContainsNull"] else 0)
        there = pa.map_(pa.field("key", keys.type, False), pa.field("value", values.type, kind["valueContainsNull"]))
        return pa.MapArray.from_arrays(offsets, keys, values, type=there, mask=absent)
