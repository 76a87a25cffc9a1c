"""Opens a Delta table with the `deltalake` package and lists its files: what it takes is what our planning is compared with.

  deltalake_files.py TABLE    prints the files, the seconds of CPU and the most MiB of memory
"""
import resource
import sys

from deltalake import DeltaTable

table = DeltaTable(sys.argv[1])
files = table.get_add_actions(flatten=False).num_rows
used = resource.getrusage(resource.RUSAGE_SELF)
print(files, used.ru_utime + used.ru_stime, used.ru_maxrss // 1024)
