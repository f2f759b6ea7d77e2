"""A program of the bench under gdb, which is attached and lets it run.

    python -m bench.under_gdb PROGRAM [ARG...]

Prints what the program prints.  Exit status 1 without gdb (Debian: apt install gdb).
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile


def main(words: list[str]) -> int:
    gdb = shutil.which("gdb")
    if gdb is None:
        print("gdb is not installed (Debian: apt install gdb)", file=sys.stderr)
        return 1
    with tempfile.TemporaryFile("w+") as output:
        command = [sys.executable, "-m", "machine", "run", "--gdb=0", "--", *words]
        nopage = subprocess.Popen(command, stdout=output, stderr=subprocess.PIPE, text=True)
        assert nopage.stderr is not None
        first = nopage.stderr.readline()
        found = re.search(r"127\.0\.0\.1:(\d+)", first)
        if found is None:
            print(first, file=sys.stderr)
            return 1
        orders = ("set debuginfod enabled off", f"target remote 127.0.0.1:{found[1]}", "continue")
        line = [gdb, "-nx", "-batch", *(word for order in orders for word in ("-ex", order))]
        subprocess.run(line, capture_output=True, timeout=200, check=False, env={**os.environ, "TERM": "dumb"})
        status = nopage.wait(timeout=60)
        output.seek(0)
        print(output.read(), end="")
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
