"""What one more costs when there are many: ``python -m bench.scale [--plot FILE.svg]``.

Processes alive at once, pages touched, areas alive: the cost of one item, for nopage and qemu, at each number.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Optional

from bench.peers import missing
from bench.runner import Bench, number
from bench.workloads import Workload


@dataclass(frozen=True)
class Series:
    name: str
    program: str
    counts: tuple[int, ...]
    item: str
    arguments: tuple[str, ...] = ()
    """After the count."""
    options: tuple[str, ...] = ()

    def workload(self, count: int) -> Workload:
        words = (str(count), *self.arguments)
        peers = ("qemu", "nopage")
        return Workload(f"{self.name}-{count}", "", self.item, self.program, words, peers, options=self.options)


MORE_AREAS = "sh -c 'echo 200000 >/proc/sys/vm/max_map_count'"
"""The host keeps its own 65,530, so there qemu can't."""
SERIES = (
    Series("processes", "processes", (1, 10, 100, 1000), "ns/process"),
    Series("pages", "anonymous", (256, 4096, 65536, 262144), "ns/page", options=("--ram", "2G")),
    Series("areas", "areas", (100, 1000, 10_000, 100_000), "ns/round", ("300",), ("--ram", "1G", "--exec", MORE_AREAS)),
)


def measure(rounds: int, progress: bool) -> dict[str, dict[str, list[Optional[float]]]]:
    """Series -> peer -> the median at each count; None where the peer can't."""
    every = [series.workload(count) for series in SERIES for count in series.counts]
    bench = Bench(every, rounds)
    bench.run(sys.stderr if progress else None)
    for (name, peer), why in bench.problems.items():
        print(f"{name} on {peer}: {why}", file=sys.stderr)
    return {
        series.name: {
            peer: [bench.median(f"{series.name}-{count}", peer) for count in series.counts]
            for peer in ("qemu", "nopage")
            if missing(peer) is None
        }
        for series in SERIES
    }


def table(figures: dict[str, dict[str, list[Optional[float]]]]) -> str:
    """One row a number of items, and how far the cost of one is from flat."""
    rows = [["items", "unit", "qemu", "nopage"], ["---", "---", "---:", "---:"]]
    for series in SERIES:
        peers = figures[series.name]
        for i, count in enumerate(series.counts):
            cells = [peers[peer][i] if peer in peers else None for peer in ("qemu", "nopage")]
            shown = ["failed" if cell is None else number(cell) for cell in cells]
            rows.append([f"{count:,} {series.name}", series.item, *shown])
    return "".join("| " + " | ".join(row) + " |\n" for row in rows)


def plot(figures: dict[str, dict[str, list[Optional[float]]]], path: str) -> None:
    """A picture of the table; needs matplotlib (the extra `bench`)."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 3.2), layout="constrained")
    axes: Any = figure.subplots(1, len(SERIES))
    for axis, series in zip(axes, SERIES, strict=True):
        for peer, values in figures[series.name].items():
            known = [(count, value / 1000) for count, value in zip(series.counts, values, strict=True) if value]
            axis.plot([count for count, _ in known], [value for _, value in known], marker="o", label=peer)
        axis.set(xscale="log", yscale="log", xlabel=series.name, ylabel=series.item.replace("ns", "µs"))
        axis.set_ylim(bottom=0.1)
        axis.grid(alpha=0.3)
    axes[0].legend()
    figure.savefig(path)


def main(arguments: Optional[Sequence[str]] = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.scale", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3, help="how often each is measured (default 3)")
    parser.add_argument("--plot", metavar="FILE", help="also draw it (needs: pip install 'nopage[bench]')")
    options = parser.parse_args(arguments)
    figures = measure(options.rounds, sys.stderr.isatty())
    print(table(figures), end="")
    if options.plot:
        plot(figures, options.plot)
    return 0


if __name__ == "__main__":
    sys.exit(main())
