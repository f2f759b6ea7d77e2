"""Interleaved rounds, medians, a table."""

from __future__ import annotations

import json
import os
import platform
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Sequence
from typing import Any, Optional, TextIO

from bench.peers import NAMES, ToolMissing, command, directory, environment, missing
from bench.workloads import Target, Workload

TIMEOUT_S = 300


MOST_MEMORY = """
import os, resource, sys
pid = os.posix_spawnp(sys.argv[1], sys.argv[1:], os.environ, file_actions=[(os.POSIX_SPAWN_DUP2, 2, 1)])
code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024)
sys.exit(code)
"""
"""A process inherits the largest size of the one that made it: this one is small."""


class Failed(Exception):
    """A peer could not run a workload; the message says what it wrote."""


def once(workload: Workload, peer: str) -> float:
    """One measurement, in the workload's unit."""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        line = command(peer, workload)
        if workload.measure == "memory":
            line = [sys.executable, "-S", "-c", MOST_MEMORY, *line]
        started = time.perf_counter()
        child = subprocess.Popen(line, stdout=out, stderr=err, cwd=directory(), env=environment())
        alarm = threading.Timer(TIMEOUT_S, child.kill)
        alarm.start()
        try:
            child.wait()
        finally:
            alarm.cancel()
        taken = time.perf_counter() - started
        if taken >= TIMEOUT_S:
            raise Failed(f"no end after {TIMEOUT_S} s")
        out.seek(0)
        err.seek(0)
        stdout, stderr = out.read(), err.read()
    if child.returncode:
        raise Failed(_complaint(child.returncode, stderr or stdout))
    if workload.measure == "time":
        return taken * 1000
    try:
        return float(stdout.split()[0])
    except (IndexError, ValueError):
        raise Failed(_complaint(0, stderr or f"printed {stdout[:60]!r} instead of a number")) from None


def _complaint(code: int, said: str) -> str:
    lines = said.strip().splitlines()
    how = f"exit {code}" if code >= 0 else signal.Signals(-code).name
    return how + (f": {lines[-1]}" if lines else "")


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

    def reached(self, workload: Workload, target: Target) -> Optional[float]:
        """What the target limits, or None when there is nothing to compare."""
        ours = self.median(workload.name, "nopage")
        if ours is None or not target.against:
            return ours
        base = self.median(workload.name, target.against)
        if base is None:
            base = self.median(target.against, "nopage")
        if not base:
            return None
        return base / ours if target.faster else ours / base

    def verdict(self, workload: Workload) -> str:
        """The targets' cell: ``met``, ``missed``, or why it can't be said, for each."""
        return "; ".join(self._verdict(workload, target) for target in workload.targets)

    def _verdict(self, workload: Workload, target: Target) -> str:
        if target.faster:
            wanted = f"≥ {target.limit:g} × faster than {target.against}"
        else:
            wanted = f"≤ {target.limit:g} × {target.against}" if target.against else f"≤ {number(target.limit)}"
        value = self.reached(workload, target)
        if value is None:
            return f"{wanted}: not measured"
        shown = number(value) if target.faster or not target.against else f"{value:.2f}"
        return f"{wanted}: {'met' if target.met(value) else 'missed'} ({shown})"

    def missed(self) -> list[str]:
        """Names of the workloads of which a target was missed."""
        return [
            workload.name
            for workload in self.workloads
            if any(
                value is not None and not target.met(value)
                for target in workload.targets
                for value in [self.reached(workload, target)]
            )
        ]

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
