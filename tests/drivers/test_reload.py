"""``nopage run --reload``: an edited driver is taken up at the next open of its device."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from machine import Machine

TEXT = """
from machine.kernel.linux import *
word, times = "unset", 0
module_param("word", charp, 0)
def tell_read(filp, buf, count, f_pos):
    global times
    times += 1
    text = ("TEXT %s %d\\n" % (word, times)).encode()
    if f_pos[0]:
        return 0
    f_pos[0] = len(text)
    return -EFAULT if copy_to_user(buf, text, len(text)) else len(text)
fops = file_operations(read=tell_read)
def tell_init():
    global major
    major = register_chrdev(0, "tell", fops)
    devfs_mk_cdev(MKDEV(major, 0), 0o666, "tell")
    return 0
def tell_exit():
    devfs_remove("tell")
    unregister_chrdev(major, "tell")
module_init(tell_init)
module_exit(tell_exit)
"""


class Edited:
    """A driver's file that is edited while a machine runs."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.edits = 0

    def write(self, text: str) -> None:
        """A new text, a second younger than the last: file systems whose clock is coarse see it too."""
        self.path.write_text(text)
        self.edits += 1
        when = 1_700_000_000 + self.edits
        os.utime(self.path, (when, when))

    def say(self, word: str) -> None:
        self.write(TEXT.replace("TEXT", word))


@pytest.fixture
def edited(tmp_path: Path) -> Edited:
    made = Edited(tmp_path / "tell.py")
    made.say("first")
    return made


@pytest.fixture
def m(edited: Edited) -> Iterator[Machine]:
    options = {"reload": True, "check_invariants": True, "deterministic": True}
    with Machine(ram=32 << 20, devices=[f"{edited.path},word=hi"], **options) as machine:
        yield machine
        assert machine.kernel.mem.check_free_lists() == []


def cat(m: Machine) -> str:
    result = m.run(["cat", "/dev/tell"], timeout=60)
    return (result.stdout + result.stderr).decode()


def test_an_edit_is_taken_up(m: Machine, edited: Edited) -> None:
    """With the same parameters, fresh globals, and a clean unload of the old one."""
    assert cat(m) == "first hi 1\n"
    assert cat(m) == "first hi 3\n"  # each cat reads twice
    before = m.kernel.modules["tell"]
    edited.say("second")
    assert cat(m) == "second hi 1\n"
    assert cat(m) == "second hi 3\n"
    assert m.kernel.modules["tell"] is not before
    assert m.dmesg == ["tell: tell.py was edited: loaded again"]


def test_without_the_option_nothing_changes(edited: Edited) -> None:
    with Machine(ram=32 << 20, devices=[str(edited.path)]) as m:
        assert cat(m) == "first unset 1\n"
        edited.say("second")
        assert cat(m) == "first unset 3\n"


def test_a_driver_in_use_stays(m: Machine, edited: Edited) -> None:
    """Open files go on with the old one; one line an edit; taken up when they are closed."""
    holder = m.spawn(["sh", "-c", "exec 3</dev/tell; until [ -e /tmp/go ]; do sleep 0.1; done"])
    for _ in range(50):
        if not m.kernel.modules["tell"].refcount:
            assert m.run(["sleep", "0.1"]).exit == 0
    assert m.kernel.modules["tell"].refcount == 1
    edited.say("second")
    assert cat(m) == "first hi 1\n"
    assert cat(m) == "first hi 3\n"
    stays = "tell: tell.py was edited, but it is in use: the old one stays"
    assert m.dmesg == [stays]
    edited.say("third")
    assert cat(m) == "first hi 5\n"
    assert m.dmesg == [stays, stays]
    assert m.run(["touch", "/tmp/go"]).exit == 0
    assert m.wait(holder, timeout=60).exit == 0
    assert cat(m) == "third hi 1\n"
    assert m.dmesg[2:] == ["tell: tell.py was edited: loaded again"]


@pytest.mark.parametrize(
    ("broken", "why"),
    [
        ("def tell_read(:\n", "tell.py (line 1): SyntaxError: "),
        (TEXT.replace("return 0\ndef tell_exit", "return -EBUSY\ndef tell_exit"), "its init function failed: EBUSY"),
        (TEXT.replace("global major\n", "return nothing\n", 1), "NameError: name 'nothing' is not defined"),
        (TEXT.replace('"word"', '"sentence"').replace("word,", "sentence,"), "tell has no parameter 'word'"),
    ],
)
def test_a_broken_edit_changes_nothing(m: Machine, edited: Edited, broken: str, why: str) -> None:
    """The old one works on; it is said once; the next good edit is taken up."""
    assert cat(m) == "first hi 1\n"
    edited.write(broken)
    assert cat(m).startswith("first hi ")
    assert cat(m).startswith("first hi ")
    log = m.dmesg
    assert log.count("tell: tell.py was edited, but can't be loaded: the old one stays") == 1
    assert [line for line in log if why in line]
    edited.say("better")
    assert cat(m) == "better hi 1\n"


def test_a_traceback_shows_the_lines_that_run(m: Machine, edited: Edited) -> None:
    """After a reload the new ones; after an edit that is not taken up still the old ones."""
    failing = TEXT.replace("    times += 1\n", "    # one line more\n    times += later\n")
    assert cat(m) == "first hi 1\n"
    edited.write(failing)
    assert cat(m).endswith("Input/output error\n")
    oops = m.kernel.oopses[-1].traceback
    assert 'tell.py", line 8, in tell_read\n    times += later\n' in oops
    edited.write("\n\n\n\n\n\n\n# nothing\n# here\n(\n")
    assert cat(m).endswith("Input/output error\n")
    assert 'tell.py", line 8, in tell_read\n    times += later\n' in m.kernel.oopses[-1].traceback


def test_a_file_that_is_gone(m: Machine, edited: Edited) -> None:
    edited.path.unlink()
    assert cat(m) == "first hi 1\n"
    assert m.dmesg == []


def test_a_leak_of_the_old_one_is_listed(m: Machine, edited: Edited) -> None:
    edited.write(TEXT.replace("    global major\n", "    global major\n    get_zeroed_page(GFP_KERNEL)\n", 1))
    assert cat(m) == "TEXT hi 1\n"
    edited.say("last")
    assert cat(m) == "last hi 1\n"
    left = [line for line in m.dmesg if "not released at unload: 1 page" in line]
    assert len(left) == 1 and left[0].endswith("got at tell.py:16 in tell_init")


def test_the_option(edited: Edited) -> None:
    """``nopage run --reload``, and the file edited between two opens."""
    words = ["run", "-v", "--reload", "--device", f"{edited.path},word=hi", "sh", "-c"]
    script = "cat /dev/tell; read line; cat /dev/tell"
    environment = {"PYTHONPATH": str(Path(__file__).resolve().parents[2]), "PATH": "/usr/bin:/bin"}
    with subprocess.Popen(
        [sys.executable, "-m", "machine", *words, script],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment,
    ) as process:  # fmt: skip
        assert process.stdin is not None and process.stdout is not None
        assert process.stdout.readline() == b"first hi 1\n"
        edited.say("second")
        output, error = process.communicate(b"\n", timeout=60)
    assert (process.returncode, output) == (0, b"second hi 1\n"), error
    assert b"tell: tell.py was edited: loaded again" in error
