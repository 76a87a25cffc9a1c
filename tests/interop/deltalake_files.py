"""Opens a Delta table with the `deltalake` package and lists its files. Our planning is compared with the time and memory that takes.

  deltalake_files.py TABLE    prints the number of files, the CPU seconds and the peak memory in MiB
"""
import resource
import sys

from deltalake import DeltaTable

table = DeltaTable(sys.argv[1])
files = table.get_add_actions(flatten=False).num_rows
used = resource.getrusage(resource.RUSAGE_SELF)
print(files, used.ru_utime + used.ru_stime, used.ru_maxrss // 1024)
