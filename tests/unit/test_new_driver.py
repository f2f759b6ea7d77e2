"""``nopage new-driver``: what it writes works at once, in both dialects, and leaves nothing behind."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from machine import Machine, cli
from tests.conftest import build

TOP = Path(__file__).resolve().parents[2]

PROGRAM = r"""
#include "check.h"
#include <fcntl.h>
#include <sys/ioctl.h>
#define IOCSIZE _IOR('p', 1, int)

int main(void)
{
    char text[PAGE + 100], *p;
    int fd = open("/dev/probe", O_RDWR), size = 0;

    EQUAL("ioctl", ioctl(fd, IOCSIZE, &size), 0);
    EQUAL("three pages", size, 3 * PAGE);
    ERRNO("ioctl to a bad address", ioctl(fd, IOCSIZE, (int *)8), EFAULT);
    ERRNO("a command of others", ioctl(fd, _IO('p', 2), 0), ENOTTY);
    memset(text, 'x', sizeof text);
    EQUAL("a write ends with its page", pwrite(fd, text, sizeof text, 0), PAGE);
    EQUAL("a read too", pread(fd, text, sizeof text, 100), PAGE - 100);
    EQUAL("the end", pread(fd, text, 1, 3 * PAGE), 0);
    ERRNO("no room after it", pwrite(fd, text, 1, 3 * PAGE), ENOSPC);
    ERRNO("read to a bad address", pread(fd, (char *)8, 1, 0), EFAULT);
    ERRNO("write from a bad address", pwrite(fd, (char *)8, 1, PAGE), EFAULT);

    p = mmap(NULL, 4 * PAGE, RW, MAP_SHARED, fd, 0);
    catch_faults();
    CHECK("the mapping shows what was written", all_are(p, 'x', PAGE));
    CHECK("and zeros", all_are(p + PAGE, 0, 2 * PAGE));
    strcpy(p + 2 * PAGE, "stored");
    EQUAL("a store", pread(fd, text, 7, 2 * PAGE), 7);
    CHECK("can be read", !strcmp(text, "stored"));
    NO_READ("beyond the device", p + 3 * PAGE, SIGBUS, BUS_ADRERR);
    munmap(p, 4 * PAGE);
    p = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, 2 * PAGE);
    CHECK("with an offset", !strcmp(p, "stored"));
    return done();
}
"""


@pytest.fixture(params=["2.6.10", "6.1"])
def written(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, str]:
    """(the file, the dialect)."""
    monkeypatch.chdir(tmp_path)
    assert cli.main(["new-driver", "probe", "--kernel", request.param]) == 0
    return tmp_path / "probe.py", request.param


def frames_of_probe(m: Machine) -> int:
    """How many frames of RAM belong to the driver."""
    return sum(many for owner, many in m.kernel.mem.used_frames().items() if "probe" in str(owner))


@pytest.mark.parametrize("target", ["x86_64", "i386"])
def test_it_works_at_once(written: tuple[Path, str], target: str) -> None:
    """Every method under a compiled guest; unloaded inside, nothing is left."""
    program = build(PROGRAM, target=target, flags=["-D_FILE_OFFSET_BITS=64", "-Wno-unused-function"])
    with Machine(ram=32 << 20, devices=[f"{written[0]},probe_pages=3"], check_invariants=True) as m:
        result = m.run([str(program)], timeout=120)
        assert result.exit == 0, result.stdout.decode() + result.stderr.decode()
        assert m.kernel.reports == [] and m.kernel.oopses == []
        assert m.run(["cat", "/sys/module/probe/parameters/probe_pages"]).stdout == b"3\n"
        assert frames_of_probe(m) == 3
        assert m.run(["rmmod", "probe"]).exit == 0
        assert frames_of_probe(m) == 0
        assert m.dmesg[-1].startswith("probe: 3 pages, major ")  # no line about anything that is left
        assert m.run(["insmod", "probe", "probe_pages=0"]).stderr == b"insmod: probe: invalid parameters (see dmesg)\n"
        assert m.run(["insmod", "probe"]).exit == 0
        assert m.run(["ls", "/dev/probe"]).stdout == b"/dev/probe\n"


def test_it_frees_what_it_got_when_memory_is_short(written: tuple[Path, str]) -> None:
    with Machine(ram=16 << 20, modules=[str(written[0])]) as m:
        result = m.run(["insmod", "probe", "probe_pages=5000"])
        assert result.stderr == b"insmod: probe: Out of memory\n"
        assert m.dmesg == ["insmod: probe: its init function failed: ENOMEM"]
        assert frames_of_probe(m) == 0


def test_the_two_lines_that_it_prints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(["new-driver", "hello_dev"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    outputs = []
    for line in lines:
        command = shlex.split(line)
        assert command[0] == "nopage"
        words = [sys.executable, "-m", "machine", *command[1:]]
        environment = {"PYTHONPATH": str(TOP), "PATH": "/usr/bin:/bin"}
        done = subprocess.run(words, capture_output=True, env=environment, timeout=120, check=False)
        assert done.returncode == 0, done.stderr.decode()
        outputs.append(done.stdout)
    assert outputs == [b"hello\n", bytes(16)]


def test_ruff_and_mypy_are_content(written: tuple[Path, str]) -> None:
    """With this project's own rules, mypy's strict ones included."""
    settings = str(TOP / "pyproject.toml")
    cache = str(TOP / ".mypy_cache")
    for command in (
        ["ruff", "check", "--no-cache", "--config", settings],
        ["ruff", "format", "--no-cache", "--check", "--config", settings],
        ["mypy", "--strict", "--follow-imports=silent", "--config-file", settings, "--cache-dir", cache],
    ):
        done = subprocess.run(
            [sys.executable, "-m", *command, str(written[0])], cwd=TOP, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr


def test_it_does_not_overwrite(written: tuple[Path, str], capsys: pytest.CaptureFixture[str]) -> None:
    before = written[0].read_text()
    assert cli.main(["new-driver", "probe"]) == 125
    assert "probe.py is there already; it stays as it is" in capsys.readouterr().err
    assert written[0].read_text() == before


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["Probe"], "'Probe' is no name for a driver"),
        (["9lives"], "is no name for a driver"),
        (["a/b"], "is no name for a driver"),
        (["class"], "is no name for a driver"),
        (["module"], "would define module_exit, which is the kernel's"),
        (["cdev"], "would define cdev_init, which is the kernel's"),
        (["probe", "-o", "/proc/nonexistent/x.py"], "/proc/nonexistent/x.py: No such file or directory"),
    ],
)
def test_names_that_do_not_work(
    words: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(["new-driver", *words]) == 125
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


# -- nopage devices, and a driver given by its path --------------------------------------------------------


def test_devices_describes_a_file(written: tuple[Path, str], capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert cli.main(["devices", "./probe.py"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "probe: pages of RAM to read, write and map"
    assert "  probe_pages=4  (int)  size of the device in pages" in lines
    assert [line for line in lines if line.startswith("  /dev/probe (character device 254:0")]


def test_devices_names_the_nodes(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["devices", "scullp"]) == 0
    text = capsys.readouterr().out
    assert "  /dev/scullp3 (character device 254:3, mode 0666)\n  /dev/scullp -> scullp0\n" in text


@pytest.mark.parametrize(
    ("text", "parameters", "message"),
    [
        (None, "", "no such driver: "),
        ("x = 1\nif x:\n    y = (\n", "", "probe.py (line 3): SyntaxError: "),
        ("x = 1\nimport nosuchthing\n", "", "probe.py (line 2): ModuleNotFoundError: No module named 'nosuchthing'"),
        ("\0", "", "probe.py"),
        ("print_it = 1\n", "", "it has no module_init and registers no device: is it a driver?"),
        ("speed = 3\n", ",speed=4", "probe has no parameter 'speed'; it has none"),
        ("", ",speed", "'speed' is not parameter=value"),
        ("from machine.kernel.linux import *\nmodule_init(lambda: 'no')\n", "", "its init function returned 'no'"),
    ],
)
def test_a_driver_that_can_not_be_loaded(
    text: str | None, parameters: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line, what is wrong and where; status 125."""
    path = tmp_path / "probe.py"
    if text is not None:
        path.write_text(text)
    assert cli.main(["run", "--device", f"{path}{parameters}", "hello"]) == 125
    said = capsys.readouterr().err
    assert message in said and said.count("\n") == 1 and "Traceback" not in said


def test_module_makes_it_available(written: tuple[Path, str], capfd: pytest.CaptureFixture[str]) -> None:
    """``nopage run --module``: not loaded, but there for insmod; without it, not there."""
    capfd.readouterr()
    script = (
        "lsmod | grep -c probe; insmod probe probe_pages=2 && lsmod | grep -c probe; head -c 8193 /dev/probe | wc -c"
    )
    assert cli.main(["run", "--module", "./probe.py", "sh", "-c", script]) == 0
    assert capfd.readouterr().out.split() == ["0", "1", "8192"]
    assert cli.main(["run", "insmod", "probe"]) == 1
    assert capfd.readouterr().err.startswith("insmod: /lib/modules/6.1.0-nopage/probe.ko: No such file or directory\n")
    assert cli.main(["run", "--module", "./absent.py", "hello"]) == 125
    assert capfd.readouterr().err == "nopage: no such driver: ./absent.py\n"
