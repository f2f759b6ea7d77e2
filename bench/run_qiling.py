"""Run one static program under Qiling; started by the Python of the virtual environment that has it.

    python run_qiling.py PROGRAM [ARG...]

Its clock counts whole seconds; the bench's programs time themselves, so here it tells the time of this computer.
"""

from __future__ import annotations

import os
import struct
import sys
import time
from typing import Any


def main() -> int:
    from qiling import Qiling  # type: ignore[import-not-found, unused-ignore]
    from qiling.const import QL_VERBOSE  # type: ignore[import-not-found, unused-ignore]

    ql: Any = Qiling(sys.argv[1:], "/", verbose=QL_VERBOSE.DISABLED)

    def clock_gettime(ql: Any, clock: int, where: int) -> int:
        now = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
        ql.mem.write(where, struct.pack("<QQ", *divmod(now, 1_000_000_000)))
        return 0

    ql.os.set_syscall("clock_gettime", clock_gettime)
    ql.run()
    sys.stdout.flush()
    os._exit(ql.os.exit_code)


if __name__ == "__main__":
    main()
