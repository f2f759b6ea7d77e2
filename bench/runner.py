"""Interleaved rounds, medians, a table."""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from typing import Any, Optional, TextIO

from bench.peers import NAMES, ToolMissing, command, directory, environment, missing
from bench.workloads import Target, Workload

TIMEOUT_S = 300


class Failed(Exception):
    """A peer could not run a workload; the message says what it wrote."""


def once(workload: Workload, peer: str) -> float:
    """One measurement, in the workload's unit."""
    line = command(peer, workload.program, workload.arguments_for(peer), workload.devices, workload.view)
    started = time.perf_counter()
    try:
        done = subprocess.run(
            line, capture_output=True, text=True, cwd=directory(), env=environment(), timeout=TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        raise Failed(f"no end after {TIMEOUT_S} s") from None
    taken = time.perf_counter() - started
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise Failed(f"exit {done.returncode}" + (f": {said[-1]}" if said else ""))
    if workload.whole:
        return taken * 1000
    try:
        return float(done.stdout.split()[0])
    except (IndexError, ValueError):
        raise Failed(f"printed {done.stdout[:60]!r} instead of a number") from None


class Bench:
    """Measurements of one run: `samples` and what went wrong, by (workload, peer)."""

    def __init__(self, workloads: Sequence[Workload], rounds: int) -> None:
        self.workloads = workloads
        self.rounds = rounds
        self.samples: dict[tuple[str, str], list[float]] = {}
        self.problems: dict[tuple[str, str], str] = {}
        self.absent = {peer: why for peer in NAMES if (why := missing(peer)) is not None}

    def run(self, progress: Optional[TextIO] = None) -> None:
        """All rounds: in each, every workload on every peer in turn, so that a busy minute hits them all."""
        for number in range(self.rounds):
            for workload in self.workloads:
                if progress is not None:
                    say = f"\rround {number + 1} of {self.rounds}: {workload.name:<14}"
                    print(say, end="", file=progress, flush=True)
                for peer in workload.peers:
                    self._measure(workload, peer)
        if progress is not None:
            print("\r" + " " * 40 + "\r", end="", file=progress, flush=True)

    def _measure(self, workload: Workload, peer: str) -> None:
        key = workload.name, peer
        if peer in self.absent or key in self.problems:
            return
        try:
            self.samples.setdefault(key, []).append(once(workload, peer))
        except (Failed, ToolMissing, OSError) as problem:
            self.problems[key] = str(problem)
            self.samples.pop(key, None)

    def median(self, workload: str, peer: str) -> Optional[float]:
        values = self.samples.get((workload, peer))
        return statistics.median(values) if values else None

    # -- targets ------------------------------------------------------------------------------------

    def reached(self, workload: Workload) -> Optional[tuple[float, Target]]:
        """(what is compared, the target), or None when there is nothing to compare."""
        target = workload.target
        ours = self.median(workload.name, "nopage")
        if target is None or ours is None:
            return None
        if not target.against:
            return ours, target
        base = self.median(workload.name, target.against)
        if base is None:
            base = self.median(target.against, "nopage")
        return (ours / base, target) if base else None

    def verdict(self, workload: Workload) -> str:
        """The target's cell: ``met``, ``missed``, or why it can't be said."""
        target = workload.target
        if target is None:
            return ""
        wanted = f"≤ {target.limit:g} × {target.against}" if target.against else f"≤ {number(target.limit)}"
        found = self.reached(workload)
        if found is None:
            return f"{wanted}: not measured"
        value, _ = found
        shown = f"{value:.2f}" if target.against else number(value)
        return f"{wanted}: {'met' if value <= target.limit else 'missed'} ({shown})"

    def missed(self) -> list[str]:
        """Names of the workloads whose target was missed."""
        found = ((workload, self.reached(workload)) for workload in self.workloads)
        return [workload.name for workload, got in found if got is not None and got[0] > got[1].limit]

    # -- output --------------------------------------------------------------------------------------

    def table(self) -> str:
        """The markdown table, with what is missing below it."""
        peers = [peer for peer in NAMES if any(peer in workload.peers for workload in self.workloads)]
        head = ["workload", "unit", *peers, "nopage ÷ host", "target"]
        rows = [head, ["---", "---", *["---:"] * (len(peers) + 1), "---"]]
        rows += [self._row(workload, peers) for workload in self.workloads]
        lines = ["| " + " | ".join(row) + " |" for row in rows]
        lines += ["", f"{self.rounds} rounds, interleaved; medians. {self.computer()}."]
        lines += [f"No column for {peer}: {why}." for peer, why in self.absent.items() if peer in peers]
        lines += [f"{name} on {peer}: {why}" for (name, peer), why in self.problems.items()]
        return "\n".join(lines) + "\n"

    def _row(self, workload: Workload, peers: Iterable[str]) -> list[str]:
        cells = [f"{workload.name}: {workload.what}", workload.unit]
        for peer in peers:
            median = self.median(workload.name, peer)
            failed = (workload.name, peer) in self.problems
            cells.append("failed" if failed else "" if median is None else number(median))
        ours, host = self.median(workload.name, "nopage"), self.median(workload.name, "host")
        cells.append(f"{ours / host:.1f}" if ours and host else "")
        return [*cells, self.verdict(workload)]

    @staticmethod
    def computer() -> str:
        """What the figures were taken on."""
        model = platform.processor() or platform.machine()
        try:
            with open("/proc/cpuinfo") as info:
                model = next((line.split(":", 1)[1].strip() for line in info if line.startswith("model name")), model)
        except OSError:
            pass
        return f"{model}, {os.cpu_count()} CPUs, Linux {platform.release()}, Python {platform.python_version()}"

    def document(self) -> dict[str, Any]:
        """Everything, for ``--json``."""
        return {
            "computer": self.computer(),
            "rounds": self.rounds,
            "argv": sys.argv[1:],
            "absent": self.absent,
            "missed": self.missed(),
            "workloads": [self._as_json(workload) for workload in self.workloads],
        }

    def _as_json(self, workload: Workload) -> dict[str, Any]:
        name = workload.name
        return {
            "name": name,
            "what": workload.what,
            "unit": workload.unit,
            "samples": {peer: self.samples[name, peer] for peer in workload.peers if (name, peer) in self.samples},
            "medians": {peer: self.median(name, peer) for peer in workload.peers},
            "problems": {peer: self.problems[name, peer] for peer in workload.peers if (name, peer) in self.problems},
            "target": self.verdict(workload),
        }


def number(value: float) -> str:
    """Three figures that mean something, thousands apart."""
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def write_json(bench: Bench, path: str) -> None:
    """The run as a JSON file."""
    with open(path, "w") as file:
        json.dump(bench.document(), file, indent=1, ensure_ascii=False)
        file.write("\n")
