"""breakpoint(), coverage.py and the tracer of Python inside a driver."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import select
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from machine import Machine
from tests.conftest import build

TOP = Path(__file__).resolve().parents[2]
ENVIRONMENT = {"PYTHONPATH": str(TOP), "PATH": "/usr/bin:/bin", "TERM": "dumb", "HOME": "/nonexistent"}

DRIVER = '''"""stopper: its read stops in the debugger."""
from machine.kernel.linux import *
steps = 0
def step(value):
    return value + 1
def stopper_read(filp, buf, count, f_pos):
    global steps
    value = 41
    breakpoint()
    value = step(value)
    steps += 1
    return put_user(value, buf) or 4
fops = file_operations(read=stopper_read)
major = register_chrdev(0, "stopper", fops)
devfs_mk_cdev(MKDEV(major, 0), 0o666, "stopper")
'''

NEXT = b"n\n" if sys.version_info >= (3, 13) else b""
"""What leads from `breakpoint()`, where pdb stops since Python 3.13, to the line after it, where it stopped before."""

RAW = r"""
#include <fcntl.h>
#include <stdio.h>
#include <termios.h>
#include <unistd.h>
int main(void)
{
    struct termios before, raw, after;
    int fd = open("/dev/stopper", O_RDONLY), value = 0;

    tcgetattr(0, &before);
    raw = before;
    cfmakeraw(&raw);
    tcsetattr(0, TCSANOW, &raw);
    read(fd, &value, 4);
    tcgetattr(0, &after);
    tcsetattr(0, TCSANOW, &before);
    printf("value %d, %s\n", value, after.c_lflag & (ICANON | ECHO | ISIG) ? "cooked" : "raw");
    return 0;
}
"""


@pytest.fixture
def stopper(tmp_path: Path) -> Path:
    path = tmp_path / "stopper.py"
    path.write_text(DRIVER)
    return path


def nopage(*words: str, stdin: bytes) -> tuple[int, str, str]:
    """Status, output and error of a run without any terminal."""
    done = subprocess.run(
        [sys.executable, "-m", "machine", *words], input=stdin, capture_output=True, env=ENVIRONMENT, timeout=120,
        check=False, start_new_session=True,
    )  # fmt: skip
    return done.returncode, done.stdout.decode(), done.stderr.decode()


class Terminal:
    """A session of ``nopage`` whose controlling terminal is ours."""

    def __init__(self, *words: str) -> None:
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execve(sys.executable, [sys.executable, "-m", "machine", *words], ENVIRONMENT)
        self.seen = ""

    def expect(self, pattern: str, seconds: float = 60) -> str:
        """What comes up to the first match, the match included."""
        end = time.monotonic() + seconds
        while True:
            found = re.search(pattern, self.seen)
            if found:
                text, self.seen = self.seen[: found.end()], self.seen[found.end() :]
                return text
            ready = select.select([self.fd], [], [], max(0.0, end - time.monotonic()))[0]
            try:
                data = os.read(self.fd, 4096) if ready else b""
            except OSError:  # the other end is closed
                data = b""
            assert data, f"{pattern} did not come; there was:\n{self.seen}"
            self.seen += data.decode(errors="replace")

    def interrupt_prompt(self) -> None:
        """Ctrl-C until there is a new prompt: one that comes just before readline waits is noticed at the next key."""
        for _ in range(20):
            self.type("\x03")
            with contextlib.suppress(AssertionError):
                self.expect(r"\(Pdb\) ", 0.5)
                return
        pytest.fail(f"Ctrl-C gave no prompt: {self.seen!r}")

    def type(self, text: str) -> None:
        os.write(self.fd, text.encode())

    def is_usual(self) -> bool:
        """Whether Ctrl-C and line ends work as a user expects (readline itself takes ECHO and ICANON over)."""
        modes = termios.tcgetattr(self.fd)
        return bool(modes[3] & termios.ISIG and modes[1] & termios.OPOST)

    def wait(self) -> int:
        """Its exit status."""
        _, status = os.waitpid(self.pid, 0)
        self.pid = 0
        return os.waitstatus_to_exitcode(status)

    def close(self) -> None:
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        os.close(self.fd)


@pytest.fixture
def terminals() -> Iterator[list[Terminal]]:
    opened: list[Terminal] = []
    yield opened
    for each in opened:
        each.close()


def test_breakpoint_on_a_raw_terminal(stopper: Path, terminals: list[Terminal]) -> None:
    """The prompt has the user's settings, each time; the guest gets its own back."""
    program = build(RAW, target="x86_64", flags=["-Wno-unused-result"])
    screen = Terminal("run", "--device", str(stopper), str(program))
    terminals.append(screen)
    if NEXT:
        screen.expect(r"\(Pdb\) ")
        screen.type("n\n")
    assert "-> value = step(value)" in screen.expect(r"\(Pdb\) ")
    assert screen.is_usual()
    screen.type("p value\n")
    assert re.search(r"p value\r\n(\S*\r)?41\r\n", screen.expect(r"\(Pdb\) "))  # echoed, and CR LF at line ends
    screen.type("s\n")
    screen.expect(r"--Call--[\s\S]*\(Pdb\) ")
    assert screen.is_usual()
    screen.type("up\n")
    assert "stopper_read" in screen.expect(r"\(Pdb\) ")
    screen.interrupt_prompt()  # Ctrl-C at the prompt is for pdb
    screen.type("c\n")
    screen.expect(r"value 42, raw\r\n")
    assert screen.wait() == 0


def test_quit_on_a_terminal(stopper: Path, terminals: list[Terminal]) -> None:
    """One line, status 125, and the terminal as it was, although the guest had it in raw mode."""
    program = build(RAW, target="x86_64", flags=["-Wno-unused-result"])
    screen = Terminal("run", "--device", str(stopper), str(program))
    terminals.append(screen)
    screen.expect(r"\(Pdb\) ")
    screen.type("q\n")
    said = screen.expect(r"the machine is stopped\r\n")
    assert said.endswith("nopage: the debugger was left; the machine is stopped\r\n") and "Traceback" not in said
    assert termios.tcgetattr(screen.fd)[3] & termios.ICANON and screen.is_usual()
    assert screen.wait() == 125


def test_the_terminal_is_found_when_input_and_output_are_others(stopper: Path, terminals: list[Terminal]) -> None:
    """``echo data | nopage run ... | od``: pdb asks on /dev/tty, and the pipes are the guest's."""
    command = f"echo guest data | {sys.executable} -m machine run --device {stopper} "
    command += "sh -c 'head -c 4 /dev/stopper >/dev/null; cat' | tr a-z A-Z"
    pid, fd = pty.fork()
    if pid == 0:
        os.execve("/bin/sh", ["sh", "-c", command], ENVIRONMENT)
    screen = Terminal.__new__(Terminal)
    screen.pid, screen.fd, screen.seen = pid, fd, ""
    terminals.append(screen)
    screen.expect(r"\(Pdb\) ")
    screen.type("c\n")
    screen.expect(r"GUEST DATA\r\n")
    assert screen.wait() == 0


def test_without_a_terminal(stopper: Path) -> None:
    """Commands from standard input, the prompt on standard error; the guest's output stays its own."""
    commands = NEXT + b"p value\nn\np value\nc\n"
    status, output, error = nopage("run", "--device", str(stopper), "head", "-c", "4", "/dev/stopper", stdin=commands)
    assert (status, output) == (0, "*\0\0\0")
    assert re.findall(r"\(Pdb\) (\d+)", error) == ["41", "42"]


@pytest.mark.parametrize("where", ["read", "init"])
def test_quit_stops_the_machine(stopper: Path, where: str) -> None:
    """A quit is no mistake of the driver: one line, no oops, status 125."""
    if where == "init":
        stopper.write_text("from machine.kernel.linux import *\nmodule_init(lambda: breakpoint() or 0)\n")
    script = "head -c 4 /dev/stopper; echo not reached"
    status, output, error = nopage("run", "--device", str(stopper), "sh", "-c", script, stdin=b"q\n")
    assert (status, output) == (125, "")
    lines = error.splitlines()
    assert lines[-1].endswith("nopage: the debugger was left; the machine is stopped")
    assert "raised" not in error and "Traceback" not in error


def test_quit_comes_through_to_python(stopper: Path) -> None:
    """In a program of one's own, the debugger's exception ends `run`."""
    text = f"""
import bdb
from machine import Machine
with Machine(ram=32 << 20, devices=[{str(stopper)!r}]) as m:
    try:
        m.run(["head", "-c", "4", "/dev/stopper"])
    except (bdb.BdbQuit, SystemExit) as failure:
        print(type(failure).__name__, m.kernel.oopses, m.kernel.modules["stopper"].namespace["steps"])
"""
    done = subprocess.run(
        [sys.executable, "-c", text], input=b"q\n", capture_output=True, env=ENVIRONMENT, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    assert re.search(rb"(BdbQuit|SystemExit) \[\] 0\n\Z", done.stdout)


def test_sys_exit_in_a_driver_is_an_oops(tmp_path: Path) -> None:
    """It is no debugger: the process gets EIO, the machine goes on."""
    path = tmp_path / "quitter.py"
    path.write_text(
        "import sys\nfrom machine.kernel.linux import *\nfops = file_operations(read=lambda *a: sys.exit(3))\n"
        'devfs_mk_cdev(MKDEV(register_chrdev(0, "quitter", fops), 0), 0o666, "quitter")\n'
    )
    with Machine(ram=32 << 20, devices=[str(path)]) as m:
        assert m.run(["cat", "/dev/quitter"]).stderr.endswith(b"Input/output error\n")
        assert m.run(["true"]).exit == 0
        assert m.kernel.oopses[-1].traceback.endswith("SystemExit: 3\n")


# -- coverage.py -------------------------------------------------------------------------------------------------

SLEEPER = """from machine.kernel.linux import *
queue, ready, served = wait_queue_head_t(), [], []
def sleeper_read(filp, buf, count, f_pos):
    before = len(served)
    if wait_event_interruptible(queue, lambda: ready):
        return -ERESTARTSYS
    after = ready.pop()
    served.append(before)
    return 0
def sleeper_write(filp, buf, count, f_pos):
    ready.append(1)
    wake_up_interruptible(queue)
    done = count
    return done
def sleeper_mmap(filp, vma):
    return -ENODEV
def never():
    return "not reached"
fops = file_operations(read=sleeper_read, write=sleeper_write, mmap=sleeper_mmap)
major = register_chrdev(0, "sleeper", fops)
devfs_mk_cdev(MKDEV(major, 0), 0o666, "sleeper")
"""


def test_coverage_measures_a_driver(tmp_path: Path) -> None:
    """The two lines of docs/writing-a-driver.md: methods that sleep in the middle, called from the engine's hook."""
    pytest.importorskip("coverage")
    (tmp_path / "sleeper.py").write_text(SLEEPER)
    script = "cat /dev/sleeper & cat /dev/sleeper & sleep 0.1; echo 1 >/dev/sleeper; echo 2 >/dev/sleeper; wait"
    for command in (
        ["run", "--concurrency=greenlet", "--include=./sleeper.py", "-m", "machine", "run", "--device", "./sleeper.py",
         "sh", "-c", script],
        ["report", "--show-missing"],
    ):  # fmt: skip
        done = subprocess.run(
            [sys.executable, "-m", "coverage", *command], cwd=tmp_path, capture_output=True, text=True,
            env=ENVIRONMENT, timeout=120, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
    row = next(line for line in done.stdout.splitlines() if line.startswith("sleeper.py"))
    missing = row.split("%")[1].strip()
    # The error branch, mmap and `never` did not run; everything else did.
    assert missing == "6, 16, 18", done.stdout


def test_a_trace_function_sees_the_driver(tmp_path: Path) -> None:
    """sys.settrace of the caller is in force in a driver's methods, and after the run still."""
    path = tmp_path / "sleeper.py"
    path.write_text(SLEEPER)
    seen: list[tuple[str, int]] = []

    def trace(frame: object, event: str, argument: object) -> object:
        code = frame.f_code  # type: ignore[attr-defined]
        if code.co_filename != str(path):
            return None
        if event == "line":
            seen.append((code.co_name, frame.f_lineno))  # type: ignore[attr-defined]
        return trace

    before = sys.gettrace()
    with Machine(ram=32 << 20, devices=[str(path)]) as m:
        sys.settrace(trace)  # type: ignore[arg-type]
        try:
            m.run(["sh", "-c", "cat /dev/sleeper & sleep 0.1; echo 1 >/dev/sleeper; wait"])
            assert sys.gettrace() is trace
        finally:
            sys.settrace(before)
    assert [line for name, line in seen if name == "sleeper_read"] == [4, 5, 7, 8, 9]
    assert [line for name, line in seen if name == "sleeper_write"] == [11, 12, 13, 14]
