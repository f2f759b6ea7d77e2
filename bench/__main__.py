"""``python -m bench``: run the workloads and print the table.

Exit code: 0; 1 when nopage failed at a workload; 2 for a mistake in the arguments.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Optional

from bench.history import record
from bench.runner import Bench, write_json
from bench.workloads import WORKLOADS


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """Parse, measure, print."""
    names = [workload.name for workload in WORKLOADS]
    parser = argparse.ArgumentParser(
        prog="python -m bench", description="Time the host, qemu's user mode, Qiling and nopage side by side."
    )
    parser.add_argument("--rounds", type=int, default=9, help="how often each is measured (default 9)")
    parser.add_argument("--only", action="append", choices=names, metavar="NAME", help=f"one of {', '.join(names)}")
    parser.add_argument("--json", metavar="FILE", help="also write every sample to FILE")
    parser.add_argument(
        "--record", action="store_true", help="add the medians to bench/history.jsonl, under the commit"
    )
    options = parser.parse_args(arguments)
    if options.rounds < 1:
        parser.error("--rounds must be at least 1")
    chosen = [workload for workload in WORKLOADS if not options.only or workload.name in options.only]
    bench = Bench(chosen, options.rounds)
    bench.run(sys.stderr if sys.stderr.isatty() else None)
    print(bench.table(), end="")
    if options.json:
        write_json(bench, options.json)
    if options.record:
        record(bench)
    return 1 if any(peer == "nopage" for _, peer in bench.problems) else 0


if __name__ == "__main__":
    sys.exit(main())
