"""`--events`: lines that are what docs/events.md says, chosen by filters, the same in two processes (MECHANISMS F2)."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from machine.cli import main
from machine.observe.filter import Filters
from tests.conftest import build
from tests.drivers.conftest import HERE

TOP = Path(__file__).resolve().parents[2]

PROGRAM = """
#include "scullp.h"
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <sys/mman.h>
%s
static sigjmp_buf back;
static volatile int seen;
static void caught(int signo) { seen++; if (signo == SIGBUS) siglongjmp(back, 1); }
static void *work(void *shared) {
    for (int i = 0; i < 2000000; i++) __atomic_fetch_add((int *)shared, 1, __ATOMIC_RELAXED);
    return NULL;
}
int main(void)
{
    int fd = must_open("/dev/scullp0", O_RDWR), edu = must_open("/dev/edu", O_RDWR), sum = 0;
    uint32_t n = 10;
    pthread_t threads[2];
    fill(fd, 0, 'a', 2 * PAGE);
    signal(SIGBUS, caught);
    signal(SIGUSR1, caught);
    char *p = map(fd, 0, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED);
    if (!sigsetjmp(back, 1)) sum = p[0] + p[PAGE] + p[2 * PAGE];
    for (int i = 0; i < 2; i++) pthread_create(&threads[i], NULL, work, &sum);
    raise(SIGUSR1);
    EQUAL("factorial", ioctl(edu, EDU_FACTORIAL, &n), 0);
    for (int i = 0; i < 2; i++) pthread_join(threads[i], NULL);
    EQUAL("counted", sum, 4000000);
    EQUAL("signals", seen, 2);
    return done();
}
"""

RECORD = """
import sys
from machine import Machine
from machine.hardware.cards.edu import Edu
from machine.observe.jsonl import JsonLines
from machine.observe.output import Output

with Machine(ram=32 << 20, deterministic=True, devices=["scullp"]) as m:
    m.plug(Edu(), "00:04.0")
    m.load("edu")
    output = Output.to_file(sys.argv[2])
    view = JsonLines(m.events, output, repeatable=len(sys.argv) < 4)
    result = m.run([sys.argv[1]], timeout=240)
    view.close()
    output.close()
    sys.stdout.write(result.stdout.decode())
    sys.exit(result.exit)
"""


@pytest.fixture
def record(target: str, tmp_path: Path) -> Callable[..., bytes]:
    """Run PROGRAM in a machine in a process of its own; what its events file holds."""
    from guest import INCLUDE

    header = "\n".join(x for x in (INCLUDE / "edu.h").read_text().splitlines() if not x.startswith("#include"))
    flags = [f"-I{HERE}", "-D_FILE_OFFSET_BITS=64", "-Wno-unused-function", "-pthread"]
    program = build(PROGRAM % header, target=target, flags=flags)

    def run(*more: str) -> bytes:
        file = tmp_path / "events.jsonl"
        command = [sys.executable, "-c", RECORD, str(program), str(file), *more]
        done = subprocess.run(command, cwd=TOP, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0 and "FAIL" not in done.stdout, done.stdout + done.stderr
        return file.read_bytes()

    return run


def test_two_processes_write_the_same_bytes(record: Callable[..., bytes]) -> None:
    """Threads, signals, faults of a driver, interrupts.  # F2"""
    first, second = record(), record()
    assert first == second
    kinds = [json.loads(line)["kind"] for line in first.splitlines()]
    assert {"interrupt", "signal", "switch", "fault", "driver_call", "register", "tlb"} <= set(kinds)
    assert kinds.count("task") >= 6


def schema() -> dict[str, dict[str, str]]:
    """Kind -> field -> form, read off docs/events.md."""
    text = (TOP / "docs" / "events.md").read_text()
    common, *rest = re.split(r"^## (\w+)$", text, flags=re.M)
    row = re.compile(r"^\| `(\w+)` \| ([\w ]+) \|", re.M)
    shared = dict(row.findall(common))
    return {kind: shared | dict(row.findall(body)) for kind, body in zip(rest[::2], rest[1::2], strict=True)}


def is_hex(value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch(r"0x[0-9a-f]+", value) is not None


def is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


FORMS: dict[str, Callable[[Any], bool]] = {
    "integer": is_integer,
    "string": lambda v: isinstance(v, str),
    "boolean": lambda v: isinstance(v, bool),
    "hex": is_hex,
    "bytes": lambda v: re.fullmatch(r"([0-9a-f]{2})*", v) is not None,
    "integer or null": lambda v: v is None or is_integer(v),
    "list of hex": lambda v: isinstance(v, list) and all(map(is_hex, v)),
    "list of strings": lambda v: isinstance(v, list) and all(isinstance(each, str) for each in v),
    "walk": lambda v: isinstance(v, list) and all(len(step) == 2 and all(map(is_hex, step)) for step in v),
    "mapping or null": lambda v: v is None or (set(v) == {"path", "vm_start", "offset"} and is_hex(v["offset"])),
    "object of integers": lambda v: isinstance(v, dict) and all(map(is_integer, v.values())),
    "call": lambda v: set(v) == {"seq", "name"} and is_integer(v["seq"]),
}


def test_every_line_is_as_documented(record: Callable[..., bytes]) -> None:
    """# F2"""
    documented = schema()
    seen = set()
    for number, line in enumerate(record("with the host's time").decode("ascii").splitlines(), 1):
        told = json.loads(line)
        forms = documented[told["kind"]]
        assert list(told)[:2] == ["seq", "kind"] and set(told) == set(forms), line
        assert [name for name, form in forms.items() if not FORMS[form](told[name])] == [], line
        assert told["seq"] == number and "object at" not in line
        seen.add(told["kind"])
    assert set(documented) - seen <= {"printk", "report", "oops"}


def test_the_document_is_current() -> None:
    done = subprocess.run([sys.executable, "docs/gen_events.py", "--check"], cwd=TOP, check=False, timeout=60)
    assert done.returncode == 0


def run_cli(tmp_path: Path, *filters: str) -> list[dict[str, Any]]:
    file = tmp_path / "chosen.jsonl"
    options = [word for each in filters for word in ("--filter", each)]
    machine = ["--ram", "32M", "--deterministic", "--device", "scullp"]
    fill = ["--exec", "sh -c 'printf 0123456789 > /dev/scullp0'"]
    words = [*machine, "--events", str(file), *options, *fill, "mapper", "/dev/scullp0", "0", "5"]
    assert main(["run", *words]) == 0
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_filters(tmp_path: Path) -> None:
    everything = run_cli(tmp_path)
    assert not any("host_ns" in told for told in everything), "a deterministic machine's file has no host time"
    driver = run_cli(tmp_path, "driver=scullp")
    assert {told["kind"] for told in driver} == {"driver_enter", "driver_call", "fault"}
    [fault] = [told for told in driver if told["kind"] == "fault"]
    assert fault["driver"] == "scullp" and fault["answer"] == "scullp.nopage" and fault["outcome"] == "minor"
    page, pid = int(fault["address"], 16) & -4096, fault["pid"]
    at = run_cli(tmp_path, f"addr={page + 123:#x}")
    assert {told["kind"] for told in at} >= {"vma", "fault", "entry", "fault_enter"}
    ranged = run_cli(tmp_path, f"addr={page:#x}-{page + 4096:#x},kind=fault,kind=entry,pid={pid}")
    assert {told["kind"] for told in ranged} == {"fault", "entry"} and {told["pid"] for told in ranged} == {pid}
    either = run_cli(tmp_path, "kind=signal", "kind=task,comm=sh")
    assert {told["kind"] for told in either} == {"task"} and {told["comm"] for told in either} == {"sh"}


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("driver", "'driver' is not KEY=VALUE"), ("colour=red", "driver, addr, pid, comm, kind"),
        ("pid=x", "pid=x: not a number"), ("addr=5-3", "the range is empty"), ("addr=low", "not ADDRESS or FIRST-END"),
        ("kind=faults", "there is no such kind of event"), ("pid=", "'pid=' is not KEY=VALUE"),
    ],
)  # fmt: skip
def test_a_wrong_filter_is_said(text: str, complaint: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["run", "--filter", text, "hello"])
    assert ended.value.code == 2 and complaint in capsys.readouterr().err


def test_a_filter_listens_only_for_what_it_names() -> None:
    assert Filters(["kind=fault", "kind=signal,pid=2"]).kinds() == ["fault", "signal"]
    assert len(Filters(["kind=fault", "pid=2"]).kinds()) > 15
