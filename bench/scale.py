"""What one more costs when there are many: ``python -m bench.scale [--plot FILE.svg]``.

Processes alive at once, pages touched, areas alive: the cost of one item, for nopage and qemu, at each number.  What is
done for the first time in a machine (parts of the kernel loaded, the program's code translated) is measured apart.
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
    first: bool = False
    """Whether the lowest count is measured without the arguments, too: the first in the machine."""

    def workload(self, count: int, first: bool = False) -> Workload:
        words = (str(count),) if first else (str(count), *self.arguments)
        name = f"{self.name}-first" if first else f"{self.name}-{count}"
        return Workload(name, "", self.item, self.program, words, PEERS, options=self.options)


PEERS = ("qemu", "nopage")
MORE_AREAS = "sh -c 'echo 200000 >/proc/sys/vm/max_map_count'"
"""The host keeps its own 65,530, so there qemu can't."""
SERIES = (
    Series("processes", "processes", (1, 10, 100, 1000), "ns/process", ("after",), first=True),
    Series("pages", "anonymous", (256, 4096, 65536, 262144), "ns/page", ("after",), ("--ram", "2G"), first=True),
    Series("areas", "areas", (100, 1000, 10_000, 100_000), "ns/round", ("300",), ("--ram", "1G", "--exec", MORE_AREAS)),
)


Figures = dict[str, dict[str, list[Optional[float]]]]


def measure(rounds: int, progress: bool) -> tuple[Figures, Figures]:
    """Series -> peer -> the median at each count, and of the first ones; None where the peer can't."""
    every = [series.workload(count) for series in SERIES for count in series.counts]
    every += [series.workload(series.counts[0], True) for series in SERIES if series.first]
    bench = Bench(every, rounds)
    bench.run(sys.stderr if progress else None)
    for (name, peer), why in bench.problems.items():
        print(f"{name} on {peer}: {why}", file=sys.stderr)
    peers = [peer for peer in PEERS if missing(peer) is None]
    figures = {
        series.name: {peer: [bench.median(f"{series.name}-{count}", peer) for count in series.counts] for peer in peers}
        for series in SERIES
    }
    firsts = {
        series.name: {peer: [bench.median(f"{series.name}-first", peer)] for peer in peers}
        for series in SERIES
        if series.first
    }
    return figures, firsts


def table(figures: Figures, firsts: Figures) -> str:
    """One row a number of items, before them what the first ones cost."""
    rows = [["items", "unit", *PEERS], ["---", "---", "---:", "---:"]]

    def add(items: str, unit: str, peers: dict[str, list[Optional[float]]], i: int) -> None:
        cells = [peers[peer][i] if peer in peers else None for peer in PEERS]
        rows.append([items, unit, *("failed" if cell is None else number(cell) for cell in cells)])

    for series in SERIES:
        if series.first:
            add(f"the first {series.counts[0]:,} {series.name}", series.item, firsts[series.name], 0)
        for i, count in enumerate(series.counts):
            add(f"{count:,} {series.name}", series.item, figures[series.name], i)
    return "".join("| " + " | ".join(row) + " |\n" for row in rows)


def plot(figures: Figures, path: str) -> None:
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
    figures, firsts = measure(options.rounds, sys.stderr.isatty())
    print(table(figures, firsts), end="")
    if options.plot:
        plot(figures, options.plot)
    return 0


if __name__ == "__main__":
    sys.exit(main())
