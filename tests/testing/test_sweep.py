"""`nopage sweep`: local processes, a Dask cluster, the journal, the page, the exit status."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from guest.toolchain import compile
from machine.cli import main
from machine.sweep.job import Job
from machine.sweep.summary import page
from machine.testing.foreach import FaultReport, Outcome
from tests.testing.programs import CAREFUL, HEAD

MODEL = """
from machine.testing import Reg, RegisterBlock

class Timer(RegisterBlock):
    ctrl = Reg(0x00)
    count = Reg(0x04, access="ro", reset=42)
"""
LACKS = (
    HEAD
    + r"""
int main(void)
{
	if (open("/dev/uio0", O_RDWR) < 0)
		return perror("open"), fprintf(stderr, "and \033[2Jmore\n"), 1;
	return 0;
}
"""
)
WORDS = ["sweep", "--attach", "/dev/mem@0xfe000000=model.py:Timer"]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with a program and the model that it drives."""
    (tmp_path / "model.py").write_text(MODEL)
    shutil.copy(compile(CAREFUL), tmp_path / "careful")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_careful_program_survives(here: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main([*WORDS, "-j", "2", "--html", "s.html", "--", "./careful"]) == 0
    said = capfd.readouterr().out
    assert re.fullmatch(r"\./careful, ENOMEM: 2 runs: 2 clean error\n", said), said
    text = Path("s.html").read_text()
    assert "2 runs, in each of which one thing failed; 0 were not survived." in text and "no page: 12" in text
    assert not re.search(r"(src|href)=|https?://", text), "nothing from the network"


def test_a_careless_one_does_not(here: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main([*WORDS, "-j", "1", "--", "./careful", "careless"]) == 1
    said = capfd.readouterr().out.splitlines()
    assert said[-1] == "./careful careless, ENOMEM: 2 runs: 1 clean error, 1 signal"
    assert "signal         139  mmap of careful[2] in " in said[1] and "SIGSEGV" in said[2]
    assert main([*WORDS, "-q", "-j", "1", "--kind", "syscall:read", "--", "./careful", "careless"]) == 1
    assert capfd.readouterr().out == "./careful careless, syscall:read: 1 runs: 1 wrong\n"


def test_a_program_that_fails_by_itself(here: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """--attach was forgotten, for instance: no run could be worse."""
    shutil.copy(compile(LACKS), "lacks")
    assert main(["sweep", "--kind", "syscall:open", "--html", "s.html", "--", "./lacks"]) == 125
    said = capfd.readouterr()
    assert said.out == "" and said.err == (
        "nopage: ./lacks: ends with 1 without a failure; where that is meant: --status 1. It said:\n"
        "  open: No such file or directory\n  and \\x1b[2Jmore\n"
    )
    assert not Path("s.html").exists()
    assert main(["sweep", "--kind", "syscall:open", "--status", "1", "-j", "1", "--", "./lacks"]) == 0
    assert capfd.readouterr().out == "./lacks, syscall:open: 1 runs: 1 same\n"


RAISES = (
    MODEL
    + """
    @ctrl.on_write
    def switched(self, value):
        raise ValueError("hook")
"""
)


@pytest.mark.parametrize("below", [False, True])
def test_a_model_that_raises(
    here: Path, below: bool, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It runs from a copy, and is told under the name that the user knows, with a command that takes him there."""
    Path("model.py").write_text(RAISES)
    if below:
        monkeypatch.chdir("/")
    path = f"{str(here)[1:]}/model.py" if below else "model.py"
    assert main(["sweep", "--attach", f"/dev/mem@0xfe000000={path}:Timer", "--", f"{here}/careful"]) == 125
    said = capfd.readouterr().err
    assert said.startswith(
        f"nopage: {path}:10: Timer ('timer') raised ValueError in a write of 0x1 to ctrl: hook\n"
        f'  {path}:10 in switched: raise ValueError("hook")\n  the program got SIGBUS\n'
    ), said
    options = f"--deterministic --attach /dev/mem@0xfe000000={path}:Timer --break-on register:timer.ctrl,nr=1"
    assert said.splitlines()[-1].partition(" run ")[2] == f"{options} -- {here}/careful"
    assert "nopage-sweep-" not in said


def test_nopage_run_names_its_own_attach(here: Path, capfd: pytest.CaptureFixture[str]) -> None:
    Path("model.py").write_text(RAISES)
    attach = ["--attach", "/dev/mem@0xfe000000=model.py:Timer"]
    assert main(["run", "--deterministic", *attach, "--", "./careful"]) == 125
    said = capfd.readouterr().err
    assert "no command:" not in said and f" run --deterministic {' '.join(attach)} --break-on" in said, said


def test_copies_have_their_own_names(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job = Job(["./careful"], "oom", 64 << 20, 10.0)
    for name in ("careful", "model.py", "/usr/lib/os-release"):
        job.carry(name)
    copies = next(copy for copy, path, _ in job.plan().binds if path == f"{here}/model.py")[: -len(f"{here}/model.py")]
    monkeypatch.chdir("/tmp")
    for shown in (copies, copies.removeprefix("/tmp/")):
        assert job.as_here(f"at {shown}{here}/model.py:3 of {shown}/usr/lib/os-release.") == (
            "at model.py:3 of /usr/lib/os-release."
        )
    assert job.as_here(f"run --bind {copies}{here}/careful:{here}/careful x") == "run x"


def test_nothing_to_fail(here: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main([*WORDS, "--kind", "syscall:mremap", "--", "./careful"]) == 125
    head = "nopage: ./careful, syscall:mremap: 0 runs: nothing to fail; at least 1 were to be tried"
    could = r"what could fail: ENOMEM \(2\), oom \(\d+\), sigbus \(2\); its system calls are [a-z0-9_, ]+"
    assert re.fullmatch(f"{head}; {could}\n", capfd.readouterr().err)


def test_it_goes_on_where_it_ended(here: Path, capfd: pytest.CaptureFixture[str]) -> None:
    command = [*WORDS, "-j", "2", "--kind", "oom", "--limit", "6", "--journal", "j.jsonl", "--", "./careful"]
    assert main(command) == 0
    first = capfd.readouterr().out
    lines = Path("j.jsonl").read_text().splitlines()
    assert len(lines) == 7 and json.loads(lines[0])["total"] > 6
    # the last three are not there yet, and one is cut off: that is how an interrupted sweep looks
    Path("j.jsonl").write_text("\n".join(lines[:4]) + "\n" + lines[4][:20])
    assert main(command) == 0
    assert capfd.readouterr().out == first
    again = Path("j.jsonl").read_text().splitlines()
    assert again[:4] == lines[:4] and len(again) == 8 and {*again[5:]} == {*lines[4:]}
    with open("careful", "ab") as program:
        program.write(b"another version")
    assert main(command) == 125
    other = "it is of another sweep (program, options, files or nopage differ); remove it, or name another\n"
    assert capfd.readouterr().err.endswith(f"j.jsonl: {other}")


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ([], "no program given"),
        (["--kind", "sigbuss", "--", "x"], "'sigbuss' is not oom, ENOMEM, sigbus, syscall:NAME"),
        (["--limit", "0", "--", "x"], "'0' is not a number, 1 or more"),
        (["--status", "256", "--", "x"], "'256' is no exit status, 0 to 255"),
    ],
)
def test_mistakes_on_the_command_line(words: list[str], text: str, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["sweep", *words])
    assert ended.value.code == 2 and text in capfd.readouterr().err


def test_the_page_escapes(tmp_path: Path) -> None:
    report = FaultReport("oom", "<prog> & co", [Outcome(1, "<b>", "signal", 139, "a < b"), Outcome(2, "", "same")], 9)
    text = page(report)
    assert "&lt;prog&gt; &amp; co: oom" in text and "<b>" not in text and "2 runs of 9" in text
    assert text.index("id=n1") < text.index("id=n2") and "a &lt; b" in text
