"""A recording is data: whatever bytes it has, nothing in it is run, and one line says that it is damaged."""

from __future__ import annotations

import json
import os
import pickle
import struct
import subprocess
from pathlib import Path
from typing import Any

import pytest

from machine import cli
from machine.observe.travel import journal, timeline
from machine.observe.travel.journal import Failed, Journal


def calls(*pickles: bytes) -> bytes:
    return b"".join(struct.pack("<I", len(data)) + data for data in pickles)


def recording(path: Path, listed: bytes, **header: Any) -> str:
    """A file with these calls in it."""
    told = {
        "words": ["/bin/true"],
        "cwd": os.getcwd(),
        "env": {},
        "ignored": [],
        "closed": [],
        "ticks": 0,
        "signals": 0,
        **header,
    }
    path.write_bytes(journal.MAGIC + json.dumps({"calls": len(listed), **told}).encode() + b"\n" + listed)
    return str(path)


class Runs:
    """What a hostile pickle is made of."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.made = function, arguments

    def __reduce__(self) -> Any:
        return self.made


HOSTILE: dict[str, bytes] = {
    "a function": pickle.dumps(("isatty", Runs(os.system, "touch ran"))),
    "a function of Python's": pickle.dumps(("isatty", Runs(eval, "open('ran', 'w')"))),
    "a class": pickle.dumps(("isatty", Runs(subprocess.Popen, ["touch", "ran"]))),
    "by way of what is allowed": b"\x80\x04\x8c\x02os\x8c\x14stat_result.__init__\x93.",
    "an extension": b"\x82\x01.",
    "a persistent one": b"Pran\n.",
    "nothing": b"",
    "no pickle": b"\xff" * 40,
    "no end": pickle.dumps(("isatty", False))[:-1],
    "no pair": pickle.dumps(7),
    "no name": pickle.dumps(([], 7)),
    "another type": pickle.dumps(("read", 1 << 60)),
    "less than nothing": pickle.dumps(("write", -1)),
    "of a set": pickle.dumps(("_select", ({"x"}, 3))),
    "an empty stack": b"\x80\x04\x93.",
    "too much": b"\x80\x04\x8e" + struct.pack("<Q", 1 << 62) + b".",
    "a state": b"\x80\x04\x8c\x02os\x8c\x0bstat_result\x93N}\x8c\x07st_modeK\x01s\x86b.",
}


@pytest.mark.parametrize("data", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_call(
    data: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    recording(Path("file"), calls(pickle.dumps(("isatty", False)), data))
    assert cli.main(["replay", "file"]) == 125
    assert capfd.readouterr().err == f"nopage: file: {journal.NOT_WHOLE}\n"
    assert not Path("ran").exists() and os.stat("file").st_mode & 0o777 != 1


@pytest.mark.parametrize("header", [{"ticks": -8, "signals": 8}, {"calls": 1e999}, {"ignored": [1e999]}, {"env": 5}])
def test_a_hostile_header(
    header: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    recording(Path("file"), b"", **header)
    assert cli.main(["replay", "file"]) == 125
    assert capfd.readouterr().err == f"nopage: file: {journal.NOT_WHOLE}\n"


def test_what_is_recorded_comes_back(tmp_path: Path) -> None:
    """Each type that the host answers with."""
    given: list[tuple[str, Any]] = [
        ("isatty", True), ("fstat", os.stat(tmp_path)), ("read", b"x"), ("write", 3), ("fsync", None),
        ("lseek", Failed(29)), ("_opened", (1, 2, "x")), ("_flags", 2), ("_select", ([1], [])), ("_ask_poll", 5),
        ("ioctl", b"x"), ("tcgetattr", [1, 2, 3, 4, 5, 6, [b"x", 1]]),
    ]  # fmt: skip
    made = Journal()
    for name, result in given:
        made.add_call(name, result)
    with open(tmp_path / "file", "wb") as stream:
        made.save(stream, {})
    _header, known = journal.load(str(tmp_path / "file"))
    back = [known.next_call() for _ in given]
    assert back == given and known.next_call() is None
    assert back[1] is not None and back[1][1].st_mtime_ns == given[1][1].st_mtime_ns
    assert back[5] is not None and type(back[5][1]) is Failed


def test_an_answer_that_the_host_can_not_have_given() -> None:
    """It would wake who does not wait, or have a write go on for ever."""
    asked = ([3], [1], None)
    assert timeline._possible("_select", ([3], []), asked) and not timeline._possible("_select", ([4], []), asked)
    assert timeline._possible("write", 2, (1, b"ab")) and not timeline._possible("write", 3, (1, b"ab"))


def test_the_command_is_shown_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """It may name drivers, which are Python."""
    monkeypatch.chdir(tmp_path)
    recording(Path("file"), b"", words=["--device", "no\x1b.py", "/bin/true"])
    assert cli.main(["replay", "file"]) == 125
    said = "nopage: the recorded command: nopage run --device 'no\\x1b.py' /bin/true\n"
    assert capfd.readouterr().err.startswith(said)
