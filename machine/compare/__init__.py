"""One program on two kernels: run natively and in a machine, on the same inputs, and compared.

from machine.compare import compare

result = compare(["sort", "-n", "numbers"], files={"numbers": "3\\n1\\n2\\n"})
assert result.same, result.text()

The working directory of either side is a copy of `files`.  Compared are standard output and error, the exit status or
the deadly signal, names, modes, link counts and contents of the files in the working directory, and, where strace is
installed, the sequence of system calls of each task.  Not compared: time, owners and times of files, files elsewhere,
the order of output against errors, terminals.
"""

from machine.compare.compare import Comparison, compare, default_environment
from machine.compare.difference import Difference
from machine.compare.sides import FenceError, Run

__all__ = ["Comparison", "Difference", "FenceError", "Run", "compare", "default_environment"]
