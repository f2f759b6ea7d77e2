"""Figures by commit: ``python -m bench --record`` fills `history.jsonl`, ``python -m bench.history`` shows it.

Ratios only: two runs were made on a busy computer at different times, and on different ones.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from bench.runner import Bench, number
from bench.workloads import WORKLOADS, Workload

FILE = Path(__file__).resolve().parent / "history.jsonl"
AGAINST = ("qemu", "host", "import unicorn", "floor", "without")
"""What nopage's figure is divided by: the first of them that was measured."""


def commit() -> str:
    """The commit that is checked out, with a + where files differ from it."""
    say = ["git", "-C", str(FILE.parent), "describe", "--always", "--dirty=+", "--exclude=*"]
    done = subprocess.run(say, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


def record(bench: Bench, file: Path = FILE) -> None:
    """Add the medians of a run."""
    figures = {
        workload.name: {peer: median for peer in workload.peers if (median := bench.median(workload.name, peer))}
        for workload in bench.workloads
    }
    line = {
        "commit": commit(),
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "computer": bench.computer(),
        "rounds": bench.rounds,
        "medians": figures,
        "missed": bench.missed(),
    }
    with open(file, "a") as history:
        history.write(json.dumps(line, ensure_ascii=False) + "\n")


def ratio(workload: Workload, medians: dict[str, float]) -> str:
    """``2.4 × qemu``, or the figure itself where there is nothing to compare with."""
    ours = medians.get("nopage")
    if ours is None:
        return ""
    base = next((peer for peer in AGAINST if peer in medians), None)
    return f"{number(ours)} {workload.unit}" if base is None else f"{ours / medians[base]:.2f} × {base}"


def table(lines: list[dict[str, Any]]) -> str:
    """A row a workload, a column a commit, the newest last."""
    rows = [["workload", *(f"{line['commit']} ({line['date']})" for line in lines)]]
    rows.append(["---"] * len(rows[0]))
    for workload in WORKLOADS:
        cells = [ratio(workload, line["medians"].get(workload.name, {})) for line in lines]
        if any(cells):
            rows.append([workload.name, *cells])
    return "".join("| " + " | ".join(row) + " |\n" for row in rows)


def main(file: Path = FILE) -> int:
    if not file.exists():
        print(f"no {file.name} yet: python -m bench --record", file=sys.stderr)
        return 1
    print(table([json.loads(line) for line in file.read_text().splitlines()]), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
