"""What the command line says of this computer's troubles: full disks, directories that are gone, cut files, Ctrl-C."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from machine import cli
from tests.unit.test_cli import nopage

NOPAGE = [sys.executable, "-m", "machine"]


def into_full(*words: str) -> tuple[int, str]:
    """(status, standard error) with a standard output that takes nothing."""
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [*NOPAGE, *words], stdout=full, stderr=subprocess.PIPE, text=True, timeout=60, check=False,
            env={name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"},
        )  # fmt: skip
    return done.returncode, done.stderr


@pytest.mark.parametrize("words", ["devices", "--help", "run --help", "tour --list", "boards", "boot"])
def test_standard_output_is_full(words: str) -> None:
    assert into_full(*words.split()) == (125, "nopage: standard output: No space left on device\n")


def test_a_tour_whose_reader_has_gone() -> None:
    command = f"'{sys.executable}' -m machine tour 15.2 < /dev/null | head -c 10; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.endswith("141\n") and not done.stderr


def test_a_core_is_not_to_blame_for_a_full_output(tmp_path: Path) -> None:
    nopage("run", "--core", str(tmp_path), "sh", "-c", "kill -SEGV $$")
    (core,) = tmp_path.iterdir()
    assert into_full("core", str(core)) == (125, "nopage: standard output: No space left on device\n")


def test_a_page_of_a_sweep_that_can_not_be_written() -> None:
    done = nopage("sweep", "-q", "--limit", "1", "-j", "1", "--html", "/dev/full", "true")
    assert (done.returncode, done.stderr) == (125, "nopage: --html /dev/full: No space left on device\n")


@pytest.mark.parametrize("words", ["run /bin/true", "devices"])
def test_the_current_directory_is_gone(words: str, tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    command = ["sh", "-c", 'cd "$0" && rmdir "$0" && exec "$@"', str(gone), *NOPAGE, *words.split()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    said = "nopage: the current directory is gone; change to one that is there\n"
    assert (done.returncode, done.stderr) == (125, said)


def test_a_recording_that_is_cut_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(["run", "--record", "whole", "/bin/true"]) == 0
    whole = Path("whole").read_bytes()
    magic = whole.index(b"\n") + 1
    for end in (magic, magic + 1, magic + 50, whole.index(b"\n", magic) + 1, len(whole) - 1):
        Path("cut").write_bytes(whole[:end])
        capfd.readouterr()
        assert cli.main(["replay", "cut"]) == 125
        said = "nopage: cut: no whole recording: it is damaged, or its end is missing; record it again\n"
        assert capfd.readouterr().err == said
    Path("cut").write_bytes(whole[: magic - 3])
    assert cli.main(["replay", "cut"]) == 125
    assert capfd.readouterr().err == "nopage: cut: no recording of nopage run --record\n"


@pytest.mark.parametrize("when", ["machine.options", "machine.kernel.fs.file", "machine.machine"])
def test_an_interrupt_before_the_program_is_there(when: str) -> None:
    """It ends, by the signal, and shows no traceback of Python's."""
    command = [sys.executable, "-X", "importtime", "-m", "machine", "run", "sleep", "60"]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.split("|")[-1].strip() == when:
                break
        process.send_signal(signal.SIGINT)
        rest = process.stderr.read()
    assert process.returncode == -signal.SIGINT and "KeyboardInterrupt" not in rest


@pytest.mark.parametrize("verb", list(cli.VERBS))
def test_who_hears_of_an_interrupt(verb: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """`sweep` says how far it is, `watch` closes its page: they have the handler of Python, `run` has not."""
    monkeypatch.setitem(cli.VERBS, verb, lambda words: int(signal.getsignal(signal.SIGINT) is signal.SIG_DFL))
    before = signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        assert cli.main([verb]) == (verb in ("run", "debug", "replay"))
    finally:
        signal.signal(signal.SIGINT, before)
