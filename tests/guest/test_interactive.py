"""An interactive session on a terminal (MECHANISMS E3, E4): each script is typed natively and to `nopage run`."""

from __future__ import annotations

import os
import shutil
import signal
import time
from pathlib import Path

import pytest

from tests.terminal import PROMPT, SIDES, Terminal

UP, LEFT = "\x1b[A", "\x1b[D"
pytestmark = pytest.mark.skipif(shutil.which("bash") is None, reason="bash is missing")


def need(*programs: str) -> None:
    missing = [name for name in programs if shutil.which(name) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")


@pytest.mark.parametrize("side", SIDES)
def test_line_editing(side: str, tmp_path: Path) -> None:
    (tmp_path / "a-long-name.txt").write_text("content of it\n")
    with Terminal(side=side, cwd=tmp_path) as terminal:
        terminal.expect(PROMPT)
        assert "axb\n" in terminal.run(f"echo ab{LEFT}x")
        assert "1 2 3\n" in terminal.run("2 3\x01echo 1 \x05")
        assert "kept\n" in terminal.run("lost\x15echo kept")
        assert "one two\n" in terminal.run("echo one wrong\x17two")
        assert "kept\n" in terminal.run(f"{UP}{UP}")
        terminal.type("\x12axb")
        terminal.expect("axb")
        terminal.type("\x07\x15")
        assert "content of it\n" in terminal.run("cat a-lo\t")
        terminal.type("echo no")
        terminal.expect("echo no")
        time.sleep(0.5)  # a signal while bash draws is lost, natively too
        terminal.press("\x03", PROMPT)
        assert terminal.run("echo $?").startswith("130\n")
        terminal.type("\x04")
        assert terminal.exit_status() == 0
        assert terminal.changed() == []


@pytest.mark.parametrize("side", SIDES)
def test_job_control(side: str) -> None:
    with Terminal(side=side) as terminal:
        terminal.expect(PROMPT)
        terminal.type("cat\n")
        terminal.expect("cat\r\n")
        terminal.cooked()
        terminal.type("echoed\n")
        terminal.expect("echoed\r\nechoed\r\n")
        terminal.type("\x1a")
        terminal.expect("Stopped")
        terminal.expect(PROMPT)
        assert "Stopped" in terminal.run("jobs")
        terminal.type("fg\n")
        terminal.expect("cat\r\n")
        terminal.cooked()
        terminal.type("again\n")
        terminal.expect("again\r\nagain\r\n")
        terminal.type("\x04")
        terminal.expect(PROMPT)
        # Who reads in the background is stopped; `bg` alone does not help it.
        terminal.run("cat &")
        assert "Stopped" in terminal.run("while ! jobs -s | grep -q cat; do sleep 0.1; done; jobs")
        terminal.run("bg %1")
        assert "Stopped" in terminal.run("while ! jobs -s | grep -q cat; do sleep 0.1; done; jobs")
        terminal.run("kill -9 %1; wait %1 2>/dev/null")
        # The same for who writes, after stty tostop.
        terminal.run("stty tostop; echo text &")
        assert "Stopped" in terminal.run("while ! jobs -s | grep -q echo; do sleep 0.1; done; jobs")
        terminal.type("fg; stty -tostop\n")
        terminal.expect("\r\ntext\r\n")
        terminal.expect(PROMPT)
        terminal.type("sleep 100\n")
        terminal.expect("\n")
        terminal.cooked()
        time.sleep(0.2)
        terminal.press("\x03", PROMPT)
        assert terminal.run("echo $?").startswith("130\n")
        terminal.type("exit 7\n")
        assert terminal.exit_status() == 7


@pytest.mark.parametrize("side", SIDES)
def test_size(side: str) -> None:
    with Terminal(side=side, size=(30, 90)) as terminal:
        terminal.expect(PROMPT)
        assert terminal.run("stty size").startswith("30 90\n")
        # No program in the loop: a Ctrl-C that comes as one ends by itself is the program's, and bash goes on.
        terminal.type('bash -c \'trap "stty size" WINCH; echo re""ady; while :; do read -t 0.05; done\'\n')
        terminal.expect("ready")
        terminal.resize(41, 101)
        terminal.expect("41 101")
        time.sleep(0.3)
        terminal.press("\x03", PROMPT)


@pytest.mark.parametrize("side", SIDES)
def test_raw_mode(side: str) -> None:
    """`stty raw` reads keys as they come, Ctrl-C among them; the settings are the terminal's own."""
    with Terminal(side=side) as terminal:
        terminal.expect(PROMPT)
        terminal.type("old=$(stty -g); stty raw -echo; echo go; dd bs=1 count=4 2>/dev/null | od -An -tx1; stty $old\n")
        terminal.expect("go")
        terminal.type("a\x03\r\x1a")
        terminal.expect("61 03 0d 1a")
        terminal.expect(PROMPT)
        terminal.type("read -s -n 3 -p 're''ady' x; echo \"<$x>\"; stty -a | grep -o ' echo '\n")
        terminal.expect("ready")  # said when the keys are read one by one
        terminal.type("abc")
        terminal.expect("<abc>\r\n echo ")
        terminal.expect(PROMPT)
        assert terminal.run("stty -echo; stty -a | grep -o -- '-echo '; stty echo").startswith("-echo \n")


@pytest.mark.parametrize("side", SIDES)
def test_vi(side: str, tmp_path: Path) -> None:
    need("vim")
    (tmp_path / "text").write_text("first\nsecond\nthird\n")
    with Terminal(side=side, cwd=tmp_path, environment={"TERM": "vt100"}) as terminal:
        terminal.expect(PROMPT)
        terminal.type("vim -N -u NONE text\n")
        terminal.expect("third")
        terminal.type("jccnew\x1b:set number\r")
        terminal.expect("  2 ")
        terminal.expect("new")
        terminal.type("\x1a")
        terminal.expect("Stopped")
        terminal.expect(PROMPT)
        terminal.type("fg\n")
        terminal.expect("third")
        terminal.type("Gddp:wq\r")
        terminal.expect(PROMPT)
        assert "first\nnew\nthird\n" in terminal.run("cat text")


@pytest.mark.parametrize("side", SIDES)
def test_less_and_top(side: str) -> None:
    need("less", "top")
    with Terminal(side=side, environment={"TERM": "xterm", "LESS": ""}, size=(12, 80)) as terminal:
        terminal.expect(PROMPT)
        terminal.type("seq 1000 | less\n")
        terminal.expect("\n11")
        terminal.type(" ")
        terminal.expect("\n22")
        terminal.type("/77\r")
        terminal.expect("78")
        terminal.type("G")
        terminal.expect("1000")
        terminal.type("q")
        terminal.expect(PROMPT)
        terminal.type("top -d 1\n")
        terminal.expect("load average")
        terminal.expect("PID")
        terminal.type("q")
        terminal.expect(PROMPT)


@pytest.mark.parametrize("side", SIDES)
def test_a_terminal_in_the_terminal(side: str, tmp_path: Path) -> None:
    """script: a pseudo terminal of the guest, with the keys and the size of the user's."""
    need("script")
    with Terminal(side=side, cwd=tmp_path, size=(20, 70)) as terminal:
        terminal.expect(PROMPT)
        terminal.type("script -q -c 'bash --norc' log\n")
        terminal.type("PS1='inn''er: '\n")
        terminal.expect("inner: ")
        terminal.type("tty; stty size; sleep 100\n")
        terminal.expect("/dev/pts/")
        terminal.expect("20 70")
        terminal.resize(21, 71)
        time.sleep(0.3)
        terminal.press("\x03", "inner: ")
        terminal.type("stty size\n")
        terminal.expect("21 71")
        terminal.expect("inner: ")
        terminal.type("\x04")
        terminal.expect(PROMPT)
        assert terminal.run("grep -c '20 70' log").startswith("1\n")


def test_ctrl_s_holds_one_program_not_the_machine() -> None:
    with Terminal() as terminal:
        terminal.expect(PROMPT)
        terminal.type(
            "{ sleep 1; echo written; } & (while [ ! -e /tmp/go ]; do sleep 0.1; done; echo x > /tmp/done) &\n"
        )
        terminal.expect(PROMPT)
        terminal.type("\x13")
        time.sleep(2)
        terminal.type("\x11")
        terminal.expect("written")
        assert terminal.run("touch /tmp/go; wait; cat /tmp/done").endswith("x\n")


@pytest.mark.parametrize("way", ["the program ends", "SIGTERM", "SIGHUP", "timeout"])
def test_the_settings_are_restored(way: str) -> None:
    command = [
        "bash",
        "-c",
        "stty raw -echo; echo set; [ $0 = now ] || exec sleep 100",
        "now" if way[0] == "t" else "later",
    ]
    options = ["--timeout", "8"] if way == "timeout" else []
    if way == "timeout":
        command[-1] = "later"
    with Terminal(command, options=options) as terminal:
        terminal.expect("set")
        if way.startswith("SIG"):
            time.sleep(0.5)
            os.kill(terminal.pid, getattr(signal, way))
        status = terminal.exit_status()
        assert status == {"the program ends": 0, "SIGTERM": 143, "SIGHUP": 129, "timeout": 124}[way]
        assert terminal.changed() == []
