"""What a report holds: the machine as it was, who faulted where and why, in bounded memory (F1, F4)."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from machine import Machine
from machine.observe.report import Report, contents, page, recorder
from machine.observe.report.encode import Encoder
from machine.observe.report.probe import DriverProbe
from machine.observe.report.recorder import Recorder
from machine.observe.report.sources import Sources
from tests.conftest import run_on_host
from tests.report.conftest import HERE, Replay, program, true_entries

Run = Callable[..., tuple[dict[str, Any], Any, Path]]


def line_of(name: str, text: str) -> int:
    lines = (HERE / name).read_text().splitlines()
    return next(number for number, line in enumerate(lines, 1) if text in line)


# -- the spaces --------------------------------------------------------------------------------------------------------


CUT_OFF = 7
"""The look after ftruncate, in spaces.c."""


class Checker:
    """At each SIGUSR1, what the rows say is held against the kernel's areas and the tables in RAM."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.recorder = Recorder(machine.kernel)
        self.looks = self.late = 0
        self.wrong: list[str] = []
        machine.events.listen("signal", self._on_signal)

    def _on_signal(self, event: Any) -> None:
        if event.signo != 10:
            return
        self.looks += 1
        self.recorder._flush()
        replay = Replay(Encoder(self.recorder, Sources(self.machine.kernel, self.machine.read_file)).encode())
        for mm, space in self.recorder._spaces.items():
            if mm.closed:
                continue
            areas = {vma.vm_start: (vma.vm_end, vma.vm_flags) for vma in mm.areas}
            if replay.areas[space.number] != areas:
                self.wrong.append(f"look {self.looks}: areas {replay.areas[space.number]} are {areas}")
            said, true = replay.entries_of(space.number), true_entries(mm)
            # Entries that went without a word (a file that was cut off) are noticed at the next fault there.
            if said != true and self.looks == CUT_OFF and all(said.get(at) == entry for at, entry in true.items()):
                self.late += 1
            elif said != true:
                different = sorted(at for at in said.keys() | true.keys() if said.get(at) != true.get(at))
                self.wrong.append(f"look {self.looks}: entries differ at {[hex(at) for at in different[:5]]}")


@pytest.mark.parametrize("piece", [20_000, 60])
def test_the_rows_give_the_machine_again(
    target: str, piece: int, machine_clean: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:  # F4
    """mmap, mprotect, munmap, mremap, madvise, truncation, fork: with all rows, and with most of them dropped."""
    monkeypatch.setattr(recorder, "PIECE", piece)
    path = program("spaces.c", target)
    expected = run_on_host(Path(path))
    machine = machine_clean()
    checker = Checker(machine)
    result = machine.run([path], timeout=240)
    checker.recorder.close()
    assert result.stdout == expected.stdout == b"0 7\n"
    assert checker.wrong == []
    assert checker.looks == 11 and checker.late <= 1
    assert (checker.recorder.dropped > 0) == (piece == 60)
    kept = sum(type(row) is bytes for each in checker.recorder.pieces for row in each.rows)
    assert kept + checker.recorder.dropped == checker.recorder.faults
    assert len(checker.recorder.pieces) <= recorder.PIECES


def test_memory_stays_bounded(machine_clean: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows and names of what was dropped go with it."""
    monkeypatch.setattr(recorder, "PIECE", 40)
    machine = machine_clean()
    kept = Recorder(machine.kernel)
    machine.run([program("spaces.c")], timeout=240)
    kept.close()
    assert sum(len(each.rows) for each in kept.pieces) <= 41 * recorder.PIECES
    assert sum(len(each.names) for each in kept.pieces) <= 60 * recorder.PIECES
    assert kept._spaces == {}


# -- why did it fault here ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("offset", "condition", "variables"),
    [
        (4096, "if pageptr:", {"pageptr": "0", "offset": "0x1000"}),
        (12288, "if offset < dev.size:", {"offset": "0x3000"}),
    ],
)
def test_a_hole(
    target: str, offset: int, condition: str, variables: dict[str, str], reported: Run, monkeypatch: pytest.MonkeyPatch
) -> None:  # F1, F4
    """The line of C, the instruction, the device's offset and the driver's reason: the done-when of issue 6."""
    monkeypatch.chdir(HERE)  # where the source is: the program was compiled without its directory
    data, result, _ = reported([program("hole.c", target), "/dev/scullp0", str(offset)], devices=["scullp"])
    assert result.signal == 7 and result.stdout == b"a\n"
    meta = data["meta"]
    line = line_of("hole.c", "return device[offset]")
    assert meta["headline"] == f"hole[2] was killed by SIGBUS at hole.c:{line}"
    said = " ".join(meta["sentences"])
    assert f"That is byte {offset:#x} ({offset:,}) of /dev/scullp0" in said
    assert "scullp.nopage, scullp_vma_nopage in scullp.py:" in said and "returned NOPAGE_SIGBUS" in said
    assert condition in said
    # It opens on the fault itself.
    rows = data["rows"]
    assert rows[meta["open"]] == 0
    index = sum(1 for row in rows[: meta["open"]] if row == 0)
    faults = data["faults"]
    site = data["sites"][faults["site"][index]]
    assert data["texts"][site[4]] == "touch" and site[7] == line and "byte ptr" in data["texts"][site[3]]
    kept = dict(data["sources"][data["texts"][site[6]]])
    assert kept[line].strip() == "return device[offset];"
    driver, path, operation, function, first, ran, answer, failed, shown = data["calls"][faults["call"][index] - 1]
    assert (driver, operation, function, answer, failed) == (
        "scullp",
        "nopage",
        "scullp_vma_nopage",
        "NOPAGE_SIGBUS",
        1,
    )
    text = data["drivers"][path]["text"].splitlines()
    assert text[first - 1].startswith("def scullp_vma_nopage(")
    last_test = [text[n - 1].strip() for n in ran if text[n - 1].strip().startswith("if ") and n > first]
    assert any(each.startswith(condition) for each in last_test)
    assert variables.items() <= dict(shown).items()
    assert any(row != 0 and row[0] == "refused" for row in rows)


@pytest.mark.parametrize(
    ("body", "headline", "reason"),
    [
        ("return *(volatile int *)8;", "SIGSEGV", "a null pointer, 8 bytes into what it should lead to"),
        ('*(volatile char *)"text" = 1;', "SIGSEGV", "does not allow writing"),
        ("abort();", "SIGABRT", "It was sent by itself"),
        ("volatile int one = 1, zero = 0; return one / zero;", "SIGFPE", "caused it"),
        (
            "char *p = malloc(1); return *(volatile char *)(p + (1 << 24) * 0 + 4096 * 300);",
            "SIGSEGV",
            "No area covers",
        ),
    ],
)
def test_other_ends(body: str, headline: str, reason: str, reported: Run) -> None:
    from tests.conftest import build

    source = f"#include <stdlib.h>\n#include <unistd.h>\nint main(void)\n{{\n{body}\nreturn 0;\n}}\n"
    data, result, _ = reported([str(build(source, flags=("-g", "-O0", "-w")))])
    assert result.signal is not None
    assert headline in data["meta"]["headline"]
    assert reason in " ".join(data["meta"]["sentences"])


def test_a_program_that_ends_well(reported: Run) -> None:
    data, result, _ = reported(["hello"])
    assert result.exit == 0
    assert data["meta"]["headline"] == "hello[2] ended with status 0"
    assert data["meta"]["open"] == -1
    assert len(data["faults"]["number"]) == data["meta"]["faults"] >= result.faults > 0


# -- drivers ----------------------------------------------------------------------------------------------------------


def test_the_lines_of_a_method(machine_clean: Callable[..., Any]) -> None:
    """Which ran, helpers' included; a debugger that is there first keeps its place."""
    calls: list[Any] = []
    machine = machine_clean(devices=["scullp"])
    probe = machine.kernel.driver_probe = DriverProbe(calls.append)
    machine.run([program("hole.c")], timeout=240)
    nopage = [call for call in calls if call.operation == "nopage"]
    text = Path(nopage[0].path).read_text().splitlines()
    good, bad = nopage[0], nopage[-1]
    assert not good.failed and good.result == "a page" and good.variables == ()
    assert any("get_page(page)" in text[n - 1] for n in good.ran)
    assert any("return 0 if ptr is None" in text[n - 1] for n in good.ran)  # scullp_find
    assert bad.failed and not any("get_page(page)" in text[n - 1] for n in bad.ran)
    assert sys.gettrace() is None
    calls.clear()
    seen = []
    if sys.version_info < (3, 12):
        sys.settrace(lambda *_: seen.append(1))
        try:
            machine.run([program("hole.c")], timeout=240)
        finally:
            tracer = sys.gettrace()
            sys.settrace(None)
        assert seen and tracer is not None
        assert all(call.ran == () for call in calls if call.operation == "nopage")
    probe.close()
    machine.kernel.driver_probe = None


def test_a_driver_that_raises(tmp_path: Path) -> None:
    driver = tmp_path / "raiser.py"
    driver.write_text(
        "from machine.kernel.linux import *\n"
        "def raiser_nopage(vma, address, type):\n    number = 41\n    raise ValueError(number)\n"
        "def raiser_mmap(filp, vma):\n    vma.vm_ops = vm_operations_struct(nopage=raiser_nopage)\n    return 0\n"
        'major = register_chrdev(0, "raiser", file_operations(mmap=raiser_mmap))\n'
        'devfs_mk_cdev(MKDEV(major, 0), 0o666, "raiser")\n'
        'def out():\n    devfs_remove("raiser")\n    unregister_chrdev(major, "raiser")\nmodule_exit(out)\n'
    )
    with Machine(devices=[str(driver)]) as machine:
        report = Report(machine, tmp_path / "r.html")
        result = machine.run(["poke", "/dev/raiser", "0"], timeout=120)
        report.close()
    assert result.signal == 7
    text = (tmp_path / "r.html").read_text()
    assert "returned ValueError: 41" in text and "oops" in text


MISTAKES = """
from machine.kernel.linux import *
page_of_device = get_zeroed_page(GFP_KERNEL)
def bad_open(vma): pass
def bad_close(vma): pass
def bad_nopage(vma, address): return NOPAGE_SIGBUS
def bad_mmap(filp, vma):
    vma.vm_ops = vm_operations_struct(open=bad_open, close=bad_close, nopage=bad_nopage)
    return 0
def bad_read(filp, buf, count, f_pos): return "x"
major = register_chrdev(0, "bad", file_operations(mmap=bad_mmap, read=bad_read))
devfs_mk_cdev(MKDEV(major, 0), 0o666, "bad")
def out():
    devfs_remove("bad")
    unregister_chrdev(major, "bad")
    free_page(page_of_device)
module_exit(out)
"""


def test_reports_of_mistakes_are_the_same(tmp_path: Path) -> None:
    """Whether somebody watches a driver or not: the same lines in the log, with the driver's own places (D9)."""
    driver = tmp_path / "bad.py"
    driver.write_text(MISTAKES)
    logs = []
    for watched in (False, True):
        with Machine(devices=[str(driver)], deterministic=True) as machine:
            recorded = Recorder(machine.kernel) if watched else None
            machine.run(["poke", "/dev/bad", "0"], timeout=120)
            machine.run(["cat", "/dev/bad"], timeout=120)
            if recorded is not None:
                recorded.close()
            logs.append(list(machine.dmesg))
    assert logs[0] == logs[1]
    text = "\n".join(logs[0])
    assert "bad_nopage(vma, address) is called with 3 arguments" in text and "without a matching open" in text
    assert "read returned 'x'" in text and "(bad_read, bad.py:" in text


# -- the file ---------------------------------------------------------------------------------------------------------


def test_the_file_loads_nothing_and_trusts_nobody(machine_clean: Callable[..., Any], tmp_path: Path) -> None:
    """No address of the network; a name that is markup stays a name."""
    machine = machine_clean(devices=["scullp"])
    named = Path(program("hole.c"))
    evil = tmp_path / "</script><b>@@data@@"
    evil.parent.mkdir(exist_ok=True)
    machine_path = tmp_path / "r.html"
    data = contents(Recorder(machine.kernel), machine, [f"{named} </script><script>alert(1)</script> {evil.name}"])
    data["meta"]["headline"] = "<b>@@script@@</b>"
    machine_path.write_text(page(data))
    text = machine_path.read_text()
    assert "<b>@@script@@" not in text and "&lt;b&gt;@@script@@" in text
    assert text.count("</script>") == 2 and "alert(1)</script>" not in text
    outside = text.replace("http-equiv", "")
    assert "http" not in outside and "//cdn" not in outside and " src=" not in outside
    assert "default-src 'none'" in text


def test_a_source_file_is_the_guests(machine_clean: Callable[..., Any], tmp_path: Path) -> None:
    """Debugging information may name any path: what the guest can't see is not put into a report."""
    secret = tmp_path / "secret.c"
    secret.write_text("int main(void) { return *(volatile int *)0; } /* private */\n")
    binary = tmp_path / "secret"
    done = subprocess.run(["cc", "-g", "-static", "-o", binary, secret], check=False, capture_output=True)
    if done.returncode:
        pytest.skip("no C compiler for this computer (apt install gcc libc6-dev)")
    for binds, carried in ([], False), ([(str(secret), str(secret), False)], True):
        machine = machine_clean(binds=[(str(binary), "/bin/secret", False), *binds])
        report = Report(machine, tmp_path / "r.html")
        machine.run(["/bin/secret"], timeout=120)
        report.close()
        text = (tmp_path / "r.html").read_text()
        assert "secret.c:1" in text and ("/* private */" in text) == carried


def test_nopage_run_writes_it(tmp_path: Path) -> None:
    path = tmp_path / "out.html"
    command = [sys.executable, "-m", "machine", "run", "--report", str(path), "hello"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert "<title>hello[2] ended with status 0</title>" in path.read_text()
    command[command.index(str(path))] = str(tmp_path / "none" / "out.html")
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 125
    assert done.stderr == f"nopage: --report {tmp_path}/none/out.html: No such file or directory\n"


def test_names_that_are_no_text(
    machine_clean: Callable[..., Any], tmp_path: Path, guest_cc: Callable[..., Path]
) -> None:
    """A program may call itself anything: bytes that are no UTF-8, lines, what turns the direction of writing."""
    source = """
        #include <sys/prctl.h>
        int main(void) { prctl(PR_SET_NAME, "a\\n\\x1b<b>\\xff\\xe2\\x80\\xae"); return *(volatile int *)8; }
    """
    machine = machine_clean()
    report = Report(machine, tmp_path / "r.html")
    machine.run([str(guest_cc(source))], timeout=120)
    report.close()
    assert "<title>a\\x0a\\x1b&lt;b&gt;\\xff\\u202e" in (tmp_path / "r.html").read_text()
