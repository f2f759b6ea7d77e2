"""The runner of the bench: what it says about figures, absent peers and failures."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench import history, peers, runner, scale
from bench.__main__ import main
from bench.floor import measure
from bench.runner import Bench, Failed, number, write_json
from bench.without import compiled
from bench.workloads import WORKLOADS, Target, Workload, at_least

ONE = Workload("one", "a thing", "ns/thing", "getppid", ("10",), targets=(Target(4, "host"),))
TWO = Workload("two", "another", "ns/thing", "getppid", ("10",), peers=("host", "nopage"), targets=(Target(100),))


def with_figures(monkeypatch: pytest.MonkeyPatch, figures: dict[str, float], rounds: int = 1) -> Bench:
    """A bench whose peers answer with `figures`; a negative one is a failure."""

    def once(workload: Workload, peer: str) -> float:
        if figures[peer] < 0:
            raise Failed("exit 1: it broke")
        return figures[peer]

    monkeypatch.setattr(runner, "once", once)
    monkeypatch.setattr(runner, "missing", lambda peer: "not installed" if peer not in figures else None)
    bench = Bench([ONE, TWO], rounds)
    bench.run()
    return bench


def test_medians_ratios_and_targets(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = with_figures(monkeypatch, {"host": 100.0, "qemu": 250.0, "nopage": 500.0}, rounds=3)
    rows = bench.table().splitlines()
    assert rows[2] == "| one: a thing | ns/thing | 100.0 | 250.0 | 500.0 | 5.0 | ≤ 4 × host: missed (5.00) |"
    assert rows[3] == "| two: another | ns/thing | 100.0 |  | 500.0 | 5.0 | ≤ 100.0: missed (500.0) |"
    assert bench.missed() == ["one", "two"]
    assert len(bench.samples["one", "host"]) == 3


def test_an_absent_peer_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    table = with_figures(monkeypatch, {"host": 100.0, "nopage": 50.0}).table()
    assert "No column for qemu: not installed." in table
    assert "| one: a thing | ns/thing | 100.0 |  | 50.0 | 0.5 | ≤ 4 × host: met (0.50) |" in table


def test_a_failure_is_no_figure(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    bench = with_figures(monkeypatch, {"host": 100.0, "qemu": 1.0, "nopage": -1}, rounds=2)
    assert "| failed |  | ≤ 4 × host: not measured |" in bench.table()
    assert "one on nopage: exit 1: it broke" in bench.table()
    write_json(bench, str(tmp_path / "bench.json"))
    document = json.loads((tmp_path / "bench.json").read_text())
    assert document["workloads"][0]["problems"] == {"nopage": "exit 1: it broke"}
    assert document["workloads"][0]["samples"] == {"host": [100.0, 100.0], "qemu": [1.0, 1.0]}
    assert document["missed"] == []


def test_once_tells_a_number_from_a_complaint(monkeypatch: pytest.MonkeyPatch) -> None:
    for script, result in (("echo 12.5", 12.5), ("echo no", "instead of a number"), ("echo bad >&2; exit 3", "3: bad")):
        monkeypatch.setattr(runner, "command", lambda *_args, line=script: ["sh", "-c", line])
        if isinstance(result, float):
            assert runner.once(ONE, "host") == result
            assert runner.once(replace(ONE, measure="time"), "host") < 10_000
        else:
            with pytest.raises(Failed, match=result):
                runner.once(ONE, "host")


def test_times_faster(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = with_figures(monkeypatch, {"host": 100.0, "qemu": 1.0, "nopage": 20.0})
    for limit, verdict in ((4, "met"), (6, "missed")):
        one = replace(ONE, targets=(at_least(limit, "host"), Target(30)))
        assert bench.verdict(one) == f"≥ {limit} × faster than host: {verdict} (5.00); ≤ 30.0: met (20.0)"


def test_history(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A column a commit, and ratios only."""
    file = tmp_path / "history.jsonl"
    assert history.main(file) == 1
    monkeypatch.setattr(history, "commit", lambda: "abc+")
    monkeypatch.setattr(history, "WORKLOADS", (ONE, TWO))
    for ours in (500.0, 400.0):
        history.record(with_figures(monkeypatch, {"host": 100.0, "qemu": 250.0, "nopage": ours}), file)
    assert history.main(file) == 0
    text = capsys.readouterr().out.splitlines()
    assert text[0].count("abc+ (") == 2
    assert text[2:] == ["| one | 2.00 × qemu | 1.60 × qemu |", "| two | 5.00 × host | 4.00 × host |"]


def test_scale(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def once(workload: Workload, peer: str) -> float:
        if workload.name == "areas-100000" and peer == "qemu":
            raise Failed("exit 1: no room")
        return float(workload.arguments[0])

    monkeypatch.setattr(runner, "once", once)
    monkeypatch.setattr(runner, "missing", lambda _peer: None)
    monkeypatch.setattr(scale, "missing", lambda _peer: None)
    assert scale.main(["--rounds", "1"]) == 0
    said = capsys.readouterr()
    assert "| 1,000 processes | ns/process | 1,000 | 1,000 |" in said.out
    assert "| 100,000 areas | ns/round | failed | 100,000 |" in said.out
    assert "areas-100000 on qemu: exit 1: no room" in said.err


def test_numbers() -> None:
    assert [number(value) for value in (0.123, 9.99, 12.345, 999.96, 12345.6)] == [
        "0.12", "9.99", "12.3", "1000.0", "12,346",
    ]  # fmt: skip


def test_every_workload_has_its_program_and_a_target_that_exists() -> None:
    names = {workload.name for workload in WORKLOADS}
    for workload in WORKLOADS:
        source = peers.PROGRAMS / f"{workload.program}.c"
        assert source.exists() or (peers.TOP / "guest" / "bin" / "x86_64" / workload.program).exists()
        assert set(workload.peers) <= set(peers.NAMES)
        assert all(target.against in {"", *workload.peers, *names} for target in workload.targets)
    assert len(names) == len(WORKLOADS)


def test_the_floor_takes_one_fault_a_page() -> None:
    assert 0.1 < measure(64) < 10_000_000
    assert 0.1 < measure(64, binding=True) < 10_000_000


def test_usage(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["--rounds", "0"], ["--only", "nothing"]):
        with pytest.raises(SystemExit) as end:
            main(words)
        assert end.value.code == 2
    assert re.search(r"must be at least 1", capsys.readouterr().err)


SOURCE = """
def f(self, row, events):
    if self.events.fault is not None:
        self.events.fault(1)
    else:
        self.plain = 1
    if row is None or events.syscall_enter is not None or events.syscall_exit is not None:
        return "slow"
    if self.batch and self.events.fault is None and row:
        return "ahead"
    if self.table.fault is not None:
        return "no event"
    return "fast"
"""


def test_emit_calls_are_taken_out() -> None:
    from types import SimpleNamespace

    code, removed = compiled(SOURCE, "f.py")
    assert removed == 4
    names: dict[str, Any] = {}
    exec(code, names)
    heard = SimpleNamespace(fault=lambda n: 1 / 0, syscall_enter=1, syscall_exit=1)
    me = SimpleNamespace(events=heard, batch=False, table=SimpleNamespace(fault=None))
    assert names["f"](me, 1, heard) == "fast" and me.plain == 1
    assert names["f"](me, None, heard) == "slow"
    me.batch, me.table.fault = True, 1
    assert names["f"](me, 1, heard) == "ahead" and names["f"](me, 0, heard) == "no event"


def test_the_machine_runs_without_its_emit_calls(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "bench.without", "run", "--faults", "hello"]
    done = subprocess.run(words, capture_output=True, text=True, cwd=peers.TOP, timeout=120, check=False)
    assert done.returncode == 0 and done.stdout and "fault" not in done.stderr, "nobody is told of faults any more"


@pytest.mark.skipif(shutil.which("gdb") is None, reason="gdb is not installed (apt install gdb)")
def test_a_program_under_gdb_prints_what_it_prints() -> None:
    words = [sys.executable, "-m", "bench.under_gdb", "hello"]
    done = subprocess.run(words, capture_output=True, text=True, cwd=peers.TOP, timeout=120, check=False)
    alone = [sys.executable, "-m", "machine", "run", "hello"]
    said = subprocess.run(alone, capture_output=True, text=True, cwd=peers.TOP, timeout=120, check=False)
    assert (done.returncode, done.stdout) == (0, said.stdout) and done.stdout
