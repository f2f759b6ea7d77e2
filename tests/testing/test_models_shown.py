"""What a failing assertion on registers shows, golden recordings, waves: in a project of its own, as a user has it."""

from __future__ import annotations

import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
from vcd.reader import TokenKind, tokenize

from machine import Machine
from machine.testing import Reg, RegisterBlock

TOP = Path(__file__).parents[2]
MODEL = """
from machine.testing import Field, Reg, RegisterBlock

class Timer(RegisterBlock):
    ctrl = Reg(0x00, fields={
        "enable": Field(0), "repeat": Field(1), "mode": Field("3:2", values={"slow": 0, "fast": 2}),
    })
    count = Reg(0x04, access="ro", reset=42)
    period = Reg(0x08)
    status = Reg(0x0C, access="w1c")

    def __init__(self, start=42):
        super().__init__()
        self.count = start

    @ctrl.on_write
    def switched(self, value):
        self.cancel_all()
        if value & 2:
            self.every(self.period, self.expired)

    def expired(self):
        self.status |= 1
        self.raise_irq()
"""
TESTS = """
import pytest
from timer import Timer

pytestmark = pytest.mark.device("/dev/uio0", Timer, start=7)

@pytest.fixture(params=["x86_64", "i386"])
def timerctl(guest_cc, request):
    return guest_cc("timerctl.c", target=request.param, flags=["-O2"])

def test_writes(run, timerctl):
    r = run(timerctl, "/dev/uio0")
    r.bus.assert_writes([("period", 1000), ("ctrl", {"enable": 1, "mode": "fast"})])

def test_nothing_else(run, timerctl):
    run(timerctl, "/dev/uio0").bus.assert_no_access_to("count")

class Broken(Timer):
    @Timer.period.on_write
    def divided(self, value):
        self.count = 1 // (value - 1000)

@pytest.mark.device("/dev/uio1", Broken)
def test_a_broken_model(run, timerctl):
    run(timerctl, "/dev/uio1")

class Late(Timer):
    @Timer.ctrl.on_write
    def first(self, value):
        self.after(10, self.after, 10, self.second)

    def second(self):
        return [][1]

@pytest.mark.device("/dev/uio1", Late)
def test_late(run, timerctl):
    run(timerctl, "/dev/uio1", "0", "wait")

def test_recorded(run, timerctl, recording, device, request):
    device.count = request.config.getoption("verbose")
    recording(run(timerctl, "/dev/uio0"))

def test_waves(run, timerctl):
    run(timerctl, "/dev/uio0", "0", "wait")
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("project")
    (directory / "timer.py").write_text(MODEL)
    (directory / "test_timer.py").write_text(TESTS)
    (directory / "timerctl.c").write_text((TOP / "tests" / "guest" / "models" / "timer.c").read_text())
    return directory


def pytest_in(project: Path, *words: str) -> list[str]:
    """The lines of a run of pytest; errors of the comparison without pytest's marks."""
    plugin = [] if installed() else ["-p", "machine.testing.plugin"]
    command = [
        sys.executable,
        "-m",
        "pytest",
        *plugin,
        "-p",
        "no:cacheprovider",
        "-p",
        "no:xdist",
        "--tb=short",
        *words,
    ]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, timeout=120, check=False)
    return [line.removeprefix("E").strip() for line in done.stdout.splitlines()]


def installed() -> bool:
    import importlib.metadata

    return any(each.name == "nopage" for each in importlib.metadata.entry_points(group="pytest11"))


def shown(lines: list[str], head: str, count: int) -> list[str]:
    """`count` lines from the one with `head` on, with addresses and the program's path as X."""
    start = next(number for number, line in enumerate(lines) if head in line)
    text = "\n".join(lines[start : start + count])
    text = re.sub(r"(replay +)\S*(nopage|python\S* -m machine) run", r"\1nopage run", text)
    return re.sub(r"/\S*/timerctl", "timerctl", re.sub(r"0x40[0-9a-f]{4}|0x804[0-9a-f]{4}", "X", text)).splitlines()


REPLAY = "nopage run --deterministic --attach '/dev/uio0=timer.py:Timer(start=7)' --break-on"


@pytest.mark.parametrize("target", ["x86_64", "i386"])
def test_a_wrong_write_is_told_whole(project: Path, target: str) -> None:
    """Register, field, expected, made, source line, instruction, and the command that stops there."""
    lines = pytest_in(project, "-k", f"writes and {target}")
    made = [re.sub(r" +", " ", line) for line in shown(lines, "register writes differ", 12)]
    assert made == [
        "AssertionError: register writes differ: 2 expected, 2 made",
        "expected made",
        "0 period = 0x3e8 (1000) timer.period = 0x3e8 (1000), 4 bytes at X, process 2",
        "> 1 ctrl = {enable=1, mode=fast} timer.ctrl = 1 (enable=1, repeat=0, mode=slow), 4 bytes at X, process 2",
        "",
        "the write that was made: timer.ctrl = 1 (enable=1, repeat=0, mode=slow)",
        "field mode: expected fast, made slow",
        "source timerctl.c:29",
        "regs[CTRL] = 1;",
        made[9],
        made[10],
        f"replay {REPLAY} register:timer.ctrl,nr=1 -- timerctl /dev/uio0",
    ]
    assert re.fullmatch(r"made by +timerctl \(process 2\) in main\+0x[0-9a-f]+", made[9])
    assert re.fullmatch(r"instruction +X +mov dword ptr \[[a-z0-9]+\], 1", made[10])
    replay(project, next(line for line in lines if line.startswith("replay")))


def replay(project: Path, line: str) -> None:
    """The command does what it says: the prompt is at the write."""
    text = replay_output(project, line, "bt\nregs\nquit\n")
    assert "write of timer.ctrl = 0x1, 4 bytes" in text, text
    assert re.search(r"#0 +0x[0-9a-f]+ +main\+0x[0-9a-f]+ timerctl\.c:(29|30)", text), text


def replay_output(project: Path, line: str, typed: str) -> str:
    words = line.removeprefix("replay").strip()
    commands = project / "commands"
    commands.write_text(typed)
    done = subprocess.run(
        words.replace(" run ", f" run --commands {commands} ", 1),
        shell=True, cwd=project, capture_output=True, text=True, timeout=120, check=False,
        env={"PYTHONPATH": str(TOP), "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin", "HOME": str(Path.home())},
    )  # fmt: skip
    return done.stdout + done.stderr


def test_a_forbidden_access(project: Path) -> None:
    made = shown(pytest_in(project, "-k", "nothing_else and x86_64"), "no access to", 6)
    assert [re.sub(r" +", " ", line) for line in made] == [
        "AssertionError: no access to count was expected; there was 1:",
        "read timer.count = 7, 4 bytes at X, process 2",
        "",
        "the read that was made: timer.count = 7",
        "source timerctl.c:30",
        'printf("count %u\\n", regs[COUNT]);',
    ]


def test_a_models_exception_is_the_tests(project: Path) -> None:
    """Its traceback first, then what it was about."""
    lines = pytest_in(project, "-k", "broken and i386")
    assert "ZeroDivisionError: integer division or modulo by zero" in lines
    assert not [line for line in lines if "machine/hardware/" in line], "our own frames are not the reader's business"
    place = next(number for number, line in enumerate(TESTS.splitlines(), 1) if "1 //" in line)
    made = [re.sub(r" +", " ", line) for line in shown(lines, "DeviceError", 10)]
    assert made == [
        (
            f"machine.errors.DeviceError: test_timer.py:{place}: Broken ('broken') raised ZeroDivisionError in a write "
            "of 0x3e8 to period: integer division or modulo by zero"
        ),
        f"test_timer.py:{place} in divided: self.count = 1 // (value - 1000)",
        "the program got SIGBUS",
        "",
        "the write that led to it: broken.period = 0x3e8 (1000)",
        "source timerctl.c:28",
        "regs[PERIOD] = 1000;",
        made[7],
        made[8],
        (
            "replay nopage run --deterministic --attach '/dev/uio0=timer.py:Timer(start=7)' --attach "
            "/dev/uio1=test_timer.py:Broken --break-on register:broken.period,nr=1 -- timerctl /dev/uio1"
        ),
    ]
    assert re.fullmatch(r"made by timerctl \(process 2\) in main\+0x[0-9a-f]+", made[7])
    assert re.fullmatch(r"instruction X mov dword ptr \[.*\], 0x3e8", made[8])
    words = next(line for line in lines if line.startswith("replay"))
    assert "write of broken.period = 0x3e8, 4 bytes" in replay_output(project, words, "quit\n")


@pytest.mark.parametrize("target", ["x86_64", "i386"])
def test_what_was_put_off_names_the_access_that_did_it(project: Path, target: str) -> None:
    """A callback of the clock, and one that the first has put off: both come from the same write."""
    made = shown(pytest_in(project, "-k", f"late and {target}"), "DeviceError", 9)
    assert made[0].endswith(
        "Late ('late') raised IndexError in Late.second, called by the clock: list index out of range"
    )
    assert made[2:5] == [
        "the machine was stopped, and everything in it killed",
        "",
        "the write that led to it: late.ctrl = 3 (enable=1, repeat=1, mode=slow)",
    ]
    assert made[6] == "regs[CTRL] = 3;"


def test_golden_recordings(project: Path) -> None:
    missing = pytest_in(project, "-k", "recorded and x86_64", "-q")
    name = "recordings/test_timer-test_recorded[x86_64].txt"
    assert f"AssertionError: {name}: there is no recording yet; pytest --nopage-record writes it" in missing
    assert "1 passed" in pytest_in(project, "-k", "recorded and x86_64", "--nopage-record", "-v")[-1]
    assert (project / name).read_text().splitlines() == [
        "# Register accesses, written by `pytest --nopage-record`; `--nopage-update` writes them anew.",
        "write timer.period = 0x3e8 (1000)                        # main timerctl.c:28",
        "write timer.ctrl = 1 (enable=1, repeat=0, mode=slow)     # main timerctl.c:29",
        "read  timer.count = 1                                    # main timerctl.c:30",
    ]
    moved = (project / name).read_text().replace("timerctl.c:2", "elsewhere.c:7")
    (project / name).write_text(moved)
    assert "1 passed" in pytest_in(project, "-k", "recorded and x86_64", "--nopage-record", "-v")[-1]
    assert (project / name).read_text() == moved, "lines of the program are not compared, and nothing is written"
    differs = shown(pytest_in(project, "-k", "recorded and x86_64", "-vv"), "register accesses differ", 6)
    assert differs == [
        f"AssertionError: register accesses differ from {name} (- recorded, + made; --nopage-update accepts them):",
        "@@ access 0 @@",
        "write timer.period = 0x3e8 (1000)                        # main timerctl.c:28",
        "write timer.ctrl = 1 (enable=1, repeat=0, mode=slow)     # main timerctl.c:29",
        "- read  timer.count = 1                                    # main timerctl.c:30",
        "+ read  timer.count = 2                                    # main timerctl.c:30",
    ]
    assert "1 passed" in pytest_in(project, "-k", "recorded and x86_64", "--nopage-update", "-vv")[-1]
    assert "timer.count = 2 " in (project / name).read_text()


def test_waves_are_read_back(project: Path) -> None:
    """Registers, fields and the line, at the times of the machine's clock."""
    assert "2 passed" in pytest_in(project, "-k", "waves", "--nopage-vcd=waves")[-1]
    texts = [path.read_bytes() for path in sorted((project / "waves").iterdir())]
    assert len(texts) == 2
    with open(project / "waves" / "test_timer.py-test_waves[x86_64].vcd", "rb") as file:
        names, changes = changes_of(file)
    assert {"timer.ctrl", "timer.ctrl.enable", "timer.ctrl.mode", "timer.status", "irq.irq48"} <= set(names.values())
    assert [value for _, value in changes["timer.period"]] == [0, 500]
    assert [value for _, value in changes["timer.ctrl"]] == [0, 3, 0]
    assert [value for _, value in changes["timer.ctrl.enable"]] == [0, 1, 0]
    edges = [when for when, value in changes["irq.irq48"] if value]
    assert len(edges) == 3 and [b - a for a, b in pairwise(edges)] == [500_000, 500_000]
    assert [value for _, value in changes["timer.status"]] == [0, 1, 0, 1, 0, 1, 0]


def changes_of(file: object) -> tuple[dict[str, str], dict[str, list[tuple[int, int]]]]:
    """Identifier -> name, and name -> (time, value) of each change."""
    names: dict[str, str] = {}
    changes: dict[str, list[tuple[int, int]]] = {}
    scopes: list[str] = []
    now = 0
    for token in tokenize(file):  # type: ignore[arg-type]
        if token.kind is TokenKind.SCOPE:
            scopes.append(token.scope.ident)
        elif token.kind is TokenKind.UPSCOPE:
            scopes.pop()
        elif token.kind is TokenKind.VAR:
            names[token.var.id_code] = ".".join([*scopes, token.var.reference])
        elif token.kind is TokenKind.CHANGE_TIME:
            now = token.time_change
        elif token.kind is TokenKind.CHANGE_SCALAR:
            changes.setdefault(names[token.scalar_change.id_code], []).append((now, int(token.scalar_change.value)))
        elif token.kind is TokenKind.CHANGE_VECTOR:
            value = token.vector_change.value
            assert isinstance(value, int)
            changes.setdefault(names[token.vector_change.id_code], []).append((now, value))
    return names, changes


def test_vcd_of_nopage_run(project: Path, tmp_path: Path) -> None:
    """Without pytest: --attach and --vcd."""
    from guest.toolchain import compile

    program = compile(project / "timerctl.c")
    done = subprocess.run(
        [sys.executable, "-m", "machine", "run", "--deterministic", "--attach", "/dev/uio0=timer.py:Timer", "--vcd",
         str(tmp_path / "out.vcd"), str(program), "/dev/uio0"],
        cwd=project, capture_output=True, text=True, timeout=60, check=False, env={"PYTHONPATH": str(TOP)},
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "count 42\n"), done.stderr
    with open(tmp_path / "out.vcd", "rb") as file:
        _, changes = changes_of(file)
    assert [value for _, value in changes["timer.period"]] == [0, 1000]


def test_waves_of_odd_names(tmp_path: Path) -> None:
    """Blanks, ends of lines, commands of VCD, nothing and what is no UTF-8: other tools read the file all the same."""
    odd = ["two words", "a\nline", "$end", "", "\udcff", "x.y", "x_y"]

    members = {each: Reg(4 * number) for number, each in enumerate(odd)}
    model = type("Odd", (RegisterBlock,), {"name": "dev\n$end <b>", **members})
    with Machine(ram=64 << 20) as machine:
        machine.attach("/dev/uio0", model())
        machine.waves(str(tmp_path / "out.vcd"))
    with open(tmp_path / "out.vcd", "rb") as file:
        names, _ = changes_of(file)
    shown = {name.removeprefix("dev_$end_<b>.") for name in names.values()}
    assert {"two_words", "a_line", "_end", "_", "__", "x_y", "x_y_"} <= shown, shown
