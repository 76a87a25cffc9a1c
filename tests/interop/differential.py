"""The independent half of the differential test of our reader; `crates/delta/tests/it/differential.rs` starts it.

    differential.py make DIR SEED FIRST COUNT   writes random tables, and what an independent reader reads of each
    differential.py read DIR TABLE...           writes what the independent reader reads of existing tables

DIR gets `tables.jsonl`, a line per table ({name, table, verdict, quirks, says}), and `rows/NAME.jsonl`: the columns, then each row
as the texts of its cells, in any order of rows.
"""

import json
import random
import sys
from pathlib import Path

from differential_faults import make_fault
from differential_reader import read_table
from differential_tables import TableMaker

# Of twenty tables, this many have a fault.
FAULTY = 5


def write_rows(folder, name, table):
    columns, rows = read_table(table)
    (folder / "rows").mkdir(exist_ok=True)
    with (folder / "rows" / f"{name}.jsonl").open("w", encoding="utf-8") as out:
        for line in [columns, *rows]:
            out.write(json.dumps(line, ensure_ascii=False) + "\n")


def make_one(folder, seed, at):
    rng = random.Random(f"{seed}/{at}")
    name = f"t{at:05}"
    table = folder / "diff" / name
    if at % 20 < FAULTY:
        fault, reason, says = make_fault(table, rng, at // 20 * FAULTY + at % 20)
        return {"name": name, "table": str(table), "verdict": "must_refuse", "quirks": [fault, reason], "says": says}
    maker = TableMaker(table, rng).make()
    write_rows(folder, name, table)
    return {"name": name, "table": str(table), "verdict": "must_equal", "quirks": sorted(maker.quirks)}


def main(way, folder, *args):
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "tables.jsonl").open("w", encoding="utf-8") as out:
        if way == "make":
            seed, first, count = args[0], int(args[1]), int(args[2])
            for at in range(first, first + count):
                try:
                    line = make_one(folder, seed, at)
                except Exception as error:
                    raise RuntimeError(f"table {at} of seed {seed} cannot be made or read here") from error
                out.write(json.dumps(line) + "\n")
        elif way == "read":
            for at, table in enumerate(args):
                name = f"r{at}-{Path(table).name}"
                write_rows(folder, name, table)
                out.write(json.dumps({"name": name, "table": table, "verdict": "must_equal", "quirks": []}) + "\n")
        else:
            raise SystemExit(__doc__)


if __name__ == "__main__":
    main(*sys.argv[1:])
