"""--break-on: at the prompt, scripted and on a terminal, and in gdb."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from guest.toolchain import compile
from machine.observe.prompt.commands import COMMANDS
from tests.gdb.conftest import TOP, Debugged, line_of, needs_gdb, program
from tests.terminal import Terminal

ANSWER = "scullp.nopage returned NOPAGE_SIGBUS (scullp.py:"
FILL = ("--device", "scullp", "--exec", "sh -c 'echo hello > /dev/scullp0'")


def stops(*words: str | Path, commands: str, status: int = 0) -> tuple[str, str]:
    """(what the program printed, what nopage said) with commands from a pipe."""
    done = subprocess.run(
        [sys.executable, "-m", "machine", "run", "--commands", "-", *map(str, words)], cwd=TOP, input=commands,
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout, done.stderr


def test_a_fault_in_the_hole(target: str) -> None:
    """Why did it fault here: line, instruction, driver's answer, callers, tables, area; then the signal.  # F3"""
    hole = program("hole.c", target)
    _, text = stops(
        *FILL, "--break-on", "fault:driver=scullp", "--break-on", "signal:BUS", hole, status=135,
        commands="bt\nx/2i $pc\nx/2xb $fault\nx/s $fault-0x1000\nvma\nwalk $fault\nregs\nnonsense\nx/q 1\nvma rubbish\n"
        "walk 0x10\nc\nbt\nc\n",
    )  # fmt: skip
    where = f"hole.c:{line_of('hole.c', '/* the hole')}"
    first, second = text.split("nopage> c\n")[:2]
    assert re.search(rf"fault \d+  hole\[3\]  0x[0-9a-f]+ touch\S* {where}   mov", first), text
    assert f"answer   {ANSWER}" in first and "(--break-on fault:driver=scullp)" in first, text
    caller = f"hole.c:{line_of('hole.c', 'return touch')}"
    assert re.search(rf"#0 .* touch\S* {where}\n#1 .* main\S* {caller}\n", first), text
    assert re.search(rf"=> 0x[0-9a-f]+ <touch\S* {where}>   mov", first), text
    assert re.search(r"x/2xb \$fault\n0x[0-9a-f]+: no page is there", first), text
    assert "scullp: nopage, open, close" in first and re.search(r"PTE    absent   at 0x", first), text
    assert ("rip  " if target == "x86_64" else "eip  ") in first
    for said in ("no such command: nonsense", "x/q: wants x/[COUNT]", "'rubbish' is no address"):
        assert said in first, text
    assert re.search(r"SIGBUS \(BUS_ADRERR\) at 0x[0-9a-f]+ is about to be delivered to hole\[3\]", second), text
    assert "#1" in second.split("nopage> bt\n")[1]
    assert "nopage: hole (pid 3): SIGBUS (BUS_ADRERR)" in text


def test_the_third_fault_and_steps(target: str) -> None:
    """nr=, a page that is there after the fault, and that instruction by itself.  # F3"""
    many = program("many.c", target)
    out, text = stops(
        "--break-on", "fault:comm=many,nr=3", many,
        commands="x/i $pc\nwalk $fault\nstep\nx/i $pc\nstep 20\nx/i $pc\nc\n", status=7,
    )  # fmt: skip
    assert out == "12 6\n"
    assert text.count("(--break-on fault:comm=many,nr=3)") == 1
    before, after, later = re.findall(r"x/i \$pc\n=> (0x[0-9a-f]+)", text)
    assert len({before, after, later}) == 3, text
    assert re.search(r"PTE    [0-9a-f]{16} P", text), text


def test_system_calls_and_the_end_of_the_commands(target: str) -> None:
    """A stop before each call; when there are no more commands the program runs to its end.  # F3"""
    out, text = stops(
        "--break-on", "syscall:writev,exit_group", program("many.c", target),
        commands="regs\ndmesg\nmaps\nc\n", status=7,
    )  # fmt: skip
    assert out == "12 6\n"
    assert text.count("is about to be made") == 2
    assert re.search(r"system call exit_group\(0x7,", text), text
    assert "[stack]" in text


def test_quit(target: str) -> None:
    """Nothing runs after it.  # F3"""
    out, text = stops("--break-on", "syscall:exit_group", program("many.c", target), commands="help\nq\n", status=125)
    assert out == "12 6\n"
    assert all(f"\n{name}" in text for name in COMMANDS if name != "walk")
    assert "the debugger was left; the machine is stopped" in text


def test_registers_of_devices(tmp_path: Path) -> None:
    """At a stop they are seen, and no hook runs; the same answers gdb's `monitor`.  # F3"""
    (tmp_path / "timer.py").write_text(
        "from machine.testing import *\n"
        "class Timer(RegisterBlock):\n"
        "    ctrl = Reg(0, fields={'start': Field(0)})\n"
        "    count = Reg(4, access='rc', reset=7)\n"
        "    data = Fifo(8, depth=4)\n"
        "    table = RegArray(0x40, 20)\n"
        "    buffer = Memory(0x100, 64)\n"
        "    def read_count(self):\n"
        "        raise ZeroDivisionError\n"
    )
    source = tmp_path / "pokes.c"
    source.write_text(
        "#include <fcntl.h>\n#include <sys/mman.h>\nint main(void)\n{\n"
        '    volatile unsigned *regs = mmap(0, 4096, 3, MAP_SHARED, open("/dev/uio0", O_RDWR), 0);\n'
        "    regs[2] = 5;\n    regs[0x11] = 9;\n    regs[0] = 1;\n    return 0;\n}\n"
    )
    _, text = stops(
        "--attach", f"/dev/uio0={tmp_path}/timer.py:Timer", "--break-on", "register:timer.ctrl", compile(source),
        commands="registers timer\nregisters nope\nregisters timer\nc\n",
    )  # fmt: skip
    shown = text.split("nopage> registers timer\n")
    lines = shown[1].splitlines()
    assert re.fullmatch("timer at 0x[0-9a-f]+", lines[0])
    assert lines[1:8] == [
        "  0x0000  ctrl         rw   0x00000001 (start=1)",
        "  0x0004  count        rc   0x00000007  a read runs its hook",
        "  0x0008  data         rw   1 of 4 entries",
        "  0x0044  table[1]     rw   0x00000009",
        "  0x0040  table        20 registers, the others hold 0x0",
        "  0x0100  buffer       64 bytes of memory",
        "nopage> registers nope",
    ]
    assert lines[8].startswith("there is no device 'nope'; there are: ")
    assert shown[2].splitlines()[:7] == lines[:7]


OOPS = """
from machine.kernel.linux import *
def read(filp, buf, count, ppos):
    raise ZeroDivisionError("by design")
register_chrdev(43, "bad", file_operations(read=read))
devfs_mk_cdev(MKDEV(43, 0), 0o666, "bad")
def cleanup():
    devfs_remove("bad")
    unregister_chrdev(43, "bad")
module_exit(cleanup)
"""


def test_an_oops(tmp_path: Path) -> None:
    """The driver's traceback, and the process that called it.  # F3"""
    (tmp_path / "bad.py").write_text(OOPS)
    _, text = stops(
        "--device", str(tmp_path / "bad.py"), "--break-on", "oops", "cat", "/dev/bad", commands="bt\nc\n", status=1
    )
    assert "bad.py" in text and "ZeroDivisionError: by design" in text.split("(--break-on oops)")[0], text
    assert "#0 " in text and "read" in text


def test_on_a_terminal() -> None:
    """The prompt, an empty line for the last command again, the guest's own input, Ctrl-D.  # F3"""
    with Terminal(("sh", "-c", "cat; exit 3"), options=("--break-on", "syscall:exit_group,comm=cat")) as shell:
        shell.type("typed\n")
        shell.expect("typed\r\ntyped")
        shell.type("\x04")
        shell.expect("nopage> ")
        shell.type("regs rip eax\n")
        shell.expect("is no address")
        shell.type("step\n")
        assert shell.exit_status() == 3


@needs_gdb
def test_in_gdb(target: str) -> None:
    """gdb prints what was found, and has the program before its next instruction; then goes on.  # F3"""
    options = ("--device", "scullp", "--break-on", "fault:driver=scullp", "--break-on", "syscall:exit_group")
    with Debugged(program("hole.c", target), options=options) as session:
        text = session.gdb("continue", "bt", "p $_siginfo.si_signo", "continue", "continue")
        status, _, err = session.end()
    assert f"answer   {ANSWER}" in text and "(--break-on fault:driver=scullp)" in text, text
    assert re.search(rf"#0 .*touch .*hole.c:{line_of('hole.c', '/* the hole')}", text), text
    assert "received signal SIGBUS" in text, text
    assert status == 135, err
