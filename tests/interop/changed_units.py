"""A table partitioned by `p`, and what happens to it between two migrations, written by deltalake.

    changed_units.py TABLE make|change|append|expire

Prints the table's version.
"""

import sys
from pathlib import Path

import pyarrow as pa
from deltalake import DeltaTable, write_deltalake


def rows(*pairs):
    """Rows of ids, each with its partition."""
    ids = pa.array([row for row, _ in pairs], pa.int64())
    return pa.table({"id": ids, "p": pa.array([part for _, part in pairs], pa.string())})


def append(table, *pairs):
    """One commit, with a file of each partition."""
    write_deltalake(table, rows(*pairs), mode="append", partition_by=["p"])


def make(table):
    """Five partitions, one of them in two files."""
    append(table, (10, "1"), (20, "2"), (21, "2"), (30, "3"), (40, "4"), (60, "6"))
    append(table, (41, "4"))


def change(table):
    """1 gets a row and 2 loses one, 3 is dropped, 4 is compacted, 5 is new, and nothing happens to 6."""
    append(table, (11, "1"))
    there = DeltaTable(table)
    there.delete("p = '2' AND id = 21")
    there.delete("p = '3'")
    there.optimize.compact(partition_filters=[("p", "=", "4")])
    append(table, (50, "5"))


def expire(table):
    """One more row in 5, and a log of which only a checkpoint is left."""
    append(table, (51, "5"))
    there = DeltaTable(table)
    there.create_checkpoint()
    for commit in Path(table, "_delta_log").glob("*.json"):
        if int(commit.stem) < there.version():
            commit.unlink()


def main():
    """Does one step."""
    table, step = sys.argv[1:]
    steps = {"make": make, "change": change, "expire": expire, "append": lambda table: append(table, (12, "1"))}
    steps[step](table)
    print(DeltaTable(table).version())


if __name__ == "__main__":
    main()
