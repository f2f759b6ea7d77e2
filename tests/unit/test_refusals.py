"""Why there was no page where no driver was asked: what the kernel says of its own areas, in each of the views."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from machine import cli
from machine.kernel.abi.errno import EIO, ENOMEM, ENOSPC, Errno
from machine.kernel.mm.filemap import address_space
from machine.observe.fatal import FatalSignals
from tests.conftest import build
from tests.elf_files import BASE, load, program

PROGRAM = r"""
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <linux/userfaultfd.h>
#include <unistd.h>
static char *of_file(const char *path, int size)
{
    int fd = open(path, O_RDWR | O_CREAT, 0600);
    ftruncate(fd, size);
    return mmap(0, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
}
static char *of_nobody(void)
{
    int fd = syscall(SYS_userfaultfd, 0);
    char *p = mmap(0, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    struct uffdio_api api = { UFFD_API, UFFD_FEATURE_SIGBUS, 0 };
    struct uffdio_register range = { { (unsigned long)p, 8192 }, UFFDIO_REGISTER_MODE_MISSING, 0 };
    return ioctl(fd, UFFDIO_API, &api) || ioctl(fd, UFFDIO_REGISTER, &range) ? 0 : p;
}
int main(int argc, char **argv)
{
    char *p = argv[1][0] == '/' ? of_file(argv[1], atoi(argv[2])) : of_nobody();
    p[4096] = 1;
    return 0;
}
"""


def killed(machine: Any, argv: list[str]) -> tuple[str, Any]:
    """(the line about the signal, the last fault)."""
    faults: list[Any] = []
    machine.events.listen("fault", faults.append)
    fatal = FatalSignals(machine.kernel, machine.read_file)
    signals: list[Any] = []
    machine.events.listen("signal", signals.append)
    result = machine.run([str(build(PROGRAM)), *argv], timeout=60)
    return fatal.line(signals[-1], "?", result.signal), faults[-1]


@pytest.mark.parametrize(("size", "said"), [(0, "0 bytes"), (1, "1 byte"), (4096, "4096 bytes")])
def test_beyond_the_end_of_a_file(size: int, said: str, machine_clean: Callable[..., Any]) -> None:
    """The most usual SIGBUS: a file that is shorter than its mapping."""
    line, fault = killed(machine_clean(), ["/tmp/short", str(size)])
    assert line.endswith(f", offset 0x1000 of /tmp/short: beyond the end of the file ({said})"), line
    assert (fault.reason, fault.offset) == (f"beyond the end of the file ({said})", "offset 0x1000 of /tmp/short")
    assert fault.answer == fault.reason and fault.driver == "" and fault.outcome == "SIGBUS (BUS_ADRERR)"


@pytest.mark.parametrize(
    ("errno", "said"),
    [
        (EIO, "this page of the file can't be read (EIO)"),
        (ENOSPC, "no space is left for this page of the file (ENOSPC)"),
        (ENOMEM, "no frame is free for this page of the file (ENOMEM)"),
    ],
)
def test_a_page_that_could_not_be_had(
    errno: int, said: str, machine_clean: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = address_space.find_or_read

    def fails(mapping: address_space, index: int) -> int:
        if mapping.host.i_size == 8000:
            raise Errno(errno)
        return usual(mapping, index)

    monkeypatch.setattr(address_space, "find_or_read", fails)
    line, fault = killed(machine_clean(), ["/tmp/full", "8000"])
    assert fault.reason == said, fault
    assert line.endswith(f"offset 0x1000 of /tmp/full: {said}") or (errno == ENOMEM and "SIGKILL" in line), line


def test_a_page_that_a_userfaultfd_lacks(machine_clean: Callable[..., Any]) -> None:
    """Anonymous memory has no offset."""
    line, fault = killed(machine_clean(), ["userfaultfd"])
    assert fault.reason == "nobody has provided the page (UFFD_FEATURE_SIGBUS)", fault
    assert re.search(r"rw-p 00000000, nobody has provided the page \(UFFD_FEATURE_SIGBUS\)$", line), line


def test_each_view(tmp_path: Path) -> None:
    """The line, --faults, the report and `nopage core` name no driver and no file of ours."""
    faults, report, cores = tmp_path / "faults", tmp_path / "report.html", tmp_path / "cores"
    nopage = [sys.executable, "-m", "machine"]
    command = [*nopage, "run", f"--faults={faults}", "--report", report, "--core", cores, build(PROGRAM), "/tmp/s", "0"]
    message = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False).stderr
    said = "beyond the end of the file (0 bytes)"
    assert f"offset 0x1000 of /tmp/s: {said}; core in " in message
    assert f"  answer   {said}, offset 0x1000 of /tmp/s\n" in faults.read_text()
    assert f"The kernel's answer was: {said}." in report.read_text()
    (core,) = cores.iterdir()
    text = subprocess.run([*nopage, "core", core], capture_output=True, text=True, timeout=60, check=True).stdout
    assert f"offset 0x1000 of /tmp/s: {said}\n" in text


STARTED = "killed by SIGSEGV while it was being started"


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (
            program(segments=[load(), load(0x1000, BASE + 0x10000, 0x2010, 0x2800, flags=6)]),
            f"{STARTED}: {{}} is cut off: it has 4108 bytes, its segments need 12304",
        ),
        (
            program(segments=[load(), load(0, BASE + 0x10000, 0x20, 0x10)]),
            f"{STARTED}: its memory can't be made as its headers want (EINVAL)",
        ),
        (
            program()[:0x1000],
            (
                "SIGBUS (BUS_ADRERR), instruction 0x401000 (cut+0x401000), offset 0x1000 of {}: beyond the end of the "
                "file (4096 bytes)"
            ),
        ),
    ],
    ids=["killed by execve", "for another reason", "at its first instruction"],
)
def test_a_program_that_is_cut_off(data: bytes, said: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Killed while it is started it has run nothing: no instruction is to blame, and the registers hold nothing."""
    path = tmp_path / "cut"
    path.write_bytes(data)
    path.chmod(0o755)
    assert cli.main(["run", str(path)]) in (135, 139)
    assert capfd.readouterr().err == f"nopage: cut (pid 2): {said.format(path)}\n"
