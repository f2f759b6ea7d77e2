"""ELF cores: Debian's gdb opens them; what is in them, and when there is one."""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from elftools.elf.elffile import ELFFile

from machine import Machine, cli
from machine.errors import ConfigError
from tests.conftest import build
from tests.gdb.conftest import gdb, line_of, needs_gdb, program

Make = Callable[..., Machine]


def core_of_hole(make: Make, target: str, where: Path) -> tuple[Path, str]:
    """(the program that fell into the hole, its core)."""
    hole = program("hole.c", target, libc="glibc", static=False, flags=("-pthread",))
    machine = make(devices=["scullp"], core=str(where))
    result = machine.run([str(hole)], timeout=120)
    assert result.signal == 7, result
    assert result.core is not None
    return hole, result.core


@needs_gdb
def test_gdb_opens_it(machine_clean: Make, target: str, tmp_path: Path) -> None:
    """Signal, address, line, threads, mappings, auxiliary vector, floating point, memory.  # F3"""
    hole, core = core_of_hole(machine_clean, target, tmp_path)
    assert Path(core).name == "core.hole.2"
    text = gdb(
        "bt", "p $_siginfo.si_signo", "p $_siginfo.si_code",
        "p (long)$_siginfo._sifields._sigfault.si_addr - (long)device",
        "info proc mappings", "info auxv", "info threads", "p $st0", "p $xmm7.v2_double[0]", "p private_data",
        "p private_data[5000]", "p (char *)anonymous + (1 << 19)", "thread 2", "bt",
        "p $orig_rax" if target == "x86_64" else "p $orig_eax", files=[hole, core],
    )  # fmt: skip
    assert "Program terminated with signal SIGBUS" in text
    assert re.search(rf"#0 .*touch \(device=.*hole\.c:{line_of('hole.c', '/* the hole')}", text), text
    assert f"hole.c:{line_of('hole.c', 'return touch')}" in text
    assert "$1 = 7\n" in text and "$2 = 2\n" in text and "$3 = 4096\n" in text
    mappings = text[text.index("Mapped address") : text.index("AT_")]
    assert str(hole) in mappings and "libc.so.6" in mappings and "/dev/scullp0" in mappings
    assert "AT_EXECFN" in text and str(hole) in text[text.index("AT_EXECFN") :]
    assert len(re.findall(r"\(LWP [23]\)", text[text.index("Target Id") :].split("$4")[0])) == 2
    assert "$4 = 0.25\n" in text and "$5 = 0.5\n" in text
    assert '$6 = "written before the fault' in text and "$7 = 33 '!'" in text and '"in the middle"' in text
    assert "return device[4096];" in text
    assert re.search(r"sleeper \(arg=.*hole\.c", text[text.index("Switching to thread 2") :])
    assert f"$9 = {34 if target == 'x86_64' else 29}\n" in text  # pause(2)


PLAIN = """
from machine.kernel.linux import *
page = get_zeroed_page(GFP_KERNEL)
kernel_memory(page, 5)[:] = b"plain"
def nopage(vma, address, type):
    get_page(virt_to_page(page))
    return virt_to_page(page)
def mmap(filp, vma):
    vma.vm_ops = vm_ops
    return 0
vm_ops = vm_operations_struct(nopage=nopage)
register_chrdev(42, "plain", file_operations(mmap=mmap))
devfs_mk_cdev(MKDEV(42, 0), 0o666, "plain")
def cleanup():
    devfs_remove("plain")
    unregister_chrdev(42, "plain")
    free_page(page)
module_exit(cleanup)
"""
"""A device whose areas have no VM_RESERVED."""


def test_what_is_dumped(machine_clean: Make, target: str, tmp_path: Path) -> None:
    """Areas with VM_IO, VM_RESERVED or VM_SHARED have no bytes, and their driver is not asked; what the process has
    written has, absent pages as holes of the file.  # B12"""
    calls: list[Any] = []
    (tmp_path / "plain.py").write_text(PLAIN)
    machine = machine_clean(devices=["scullp", str(tmp_path / "plain.py")], core=str(tmp_path), ram=32 << 20)
    machine.events.listen("driver_call", lambda call: calls.append(call.operation))
    source = r"""
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>
int main(void)
{
    int mem = open("/dev/mem", O_RDWR), dev = open("/dev/scullp0", O_RDWR), plain = open("/dev/plain", O_RDWR);
    char page[8192] = "device";
    if (write(dev, page, 4096) + write(dev, page, 4096) != 8192)
        return 2;
    char *io = mmap(0, 4096, 3, MAP_SHARED, mem, 0xf0000), *shared = mmap(0, 8192, 3, MAP_SHARED, dev, 0);
    char *copied = mmap(0, 8192, 3, MAP_PRIVATE, plain, 0), *reserved = mmap(0, 8192, 3, MAP_PRIVATE, dev, 0);
    char *untouched = mmap(0, 8192, 3, MAP_PRIVATE, plain, 0);
    char *sparse = mmap(0, 8 << 20, 3, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), *anon = mmap(0, 4096, 3, 0x21, -1, 0);
    char *asked_not = mmap(0, 4096, 3, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    madvise(asked_not, 4096, MADV_DONTDUMP);
    sparse[5 << 20] = shared[0] = copied[0] = anon[0] = asked_not[0] = reserved[0] = 'x';
    printf("%d\n%p\n%p\n%p\n%p\n%p\n%p\n%p\n%p\n", io[0], (void *)io, (void *)shared, (void *)reserved,
           (void *)untouched, (void *)anon,
           (void *)asked_not, (void *)copied, (void *)sparse);
    fflush(stdout);
    abort();
}
"""
    result = machine.run([str(build(source, target=target))], timeout=60)
    assert result.signal == 6 and result.core is not None, result
    before = len(calls)
    *empty, copied, sparse = (int(word, 16) for word in result.stdout.split()[1:])
    with open(result.core, "rb") as stream:
        elf = ELFFile(stream)
        assert elf.elfclass == (64 if target == "x86_64" else 32) and elf["e_type"] == "ET_CORE"
        segments = {s["p_vaddr"]: s for s in elf.iter_segments() if s["p_type"] == "PT_LOAD"}
        assert [segments[address]["p_filesz"] for address in empty] == [0] * 6
        assert all(segments[address]["p_memsz"] for address in empty)
        assert segments[copied]["p_filesz"] == 8192
        assert segments[copied].data() == b"xlain" + bytes(8187)  # its second page would be nopage's to give
        where = segments[sparse]
        stream.seek(where["p_offset"] + (5 << 20))
        assert where["p_filesz"] == 8 << 20 and stream.read(2) == b"x\0"
    assert os.stat(result.core).st_blocks * 512 < 4 << 20
    assert calls.count("nopage") == 3 and len(calls) == before


@needs_gdb
def test_notes(machine_clean: Make, target: str, tmp_path: Path) -> None:
    """Layouts by their sizes, one NT_PRSTATUS a thread, process names and words.  # F3"""
    hole, core = core_of_hole(machine_clean, target, tmp_path)
    with open(core, "rb") as stream:
        raw = next(s for s in ELFFile(stream).iter_segments() if s["p_type"] == "PT_NOTE").data()
    found: list[tuple[int, bytes]] = []
    while raw:
        name, size, kind = struct.unpack_from("<III", raw)
        start = 12 + (name + 3 & ~3)
        found.append((kind, raw[start : start + size]))
        raw = raw[start + (size + 3 & ~3) :]
    kinds = [kind for kind, _ in found]
    wide = target == "x86_64"
    each = [1, 2, 0x202] if wide else [1, 2, 0x46E62B7F, 0x202]
    assert kinds == [1, 3, 0x53494749, 6, 0x46494C45, 0x4E4F5047, *each[1:], *each]
    sizes = {kind: len(data) for kind, data in found}
    assert (sizes[1], sizes[2], sizes[3], sizes[0x202]) == ((336, 512, 136, 576) if wide else (144, 108, 124, 576))
    psinfo = dict(found)[3]
    assert psinfo[-96:-80].rstrip(b"\0") == b"hole" and psinfo[-80:].rstrip(b"\0") == str(hole).encode()[:79]


def test_when_there_is_one(run_in_machine: Callable[..., Any], guest: Callable[..., Any], target: str) -> None:
    """RLIMIT_CORE, dumpable, the signal's action, core_pattern; the wait status says it.  # E3"""
    source = Path(__file__).parent / "dumped.c"
    guest(source, target=target)  # without a directory: no core, as on the host
    outcome = run_in_machine(build(source, target=target), ["/tmp"])
    assert outcome.exit == 0 and not outcome.failures(), outcome.stdout.decode()


def test_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    """`--core DIR/PATTERN`, and the message says where; a child's core has a line of its own; no signal, no core."""
    monkeypatch.chdir(tmp_path)
    assert cli.main(["run", "--core", "kept/%e-%s-%p", "sh", "-c", "kill -SEGV $$"]) == 139
    name = next(each for each in os.listdir("kept"))
    assert re.fullmatch(r"\w+-11-2", name)
    assert f"; core in kept/{name}\n" in capfd.readouterr().err
    assert cli.main(["run", "--core", "kept", "sh", "-c", "sh -c 'kill -ABRT $$'; true"]) == 0
    child = next(each for each in os.listdir("kept") if each.startswith("core."))
    assert f"nopage: core of pid 3 in kept/{child}\n" in capfd.readouterr().err
    assert cli.main(["run", "--core", "none", "true"]) == 0
    assert os.listdir("none") == []


def test_no_place_for_it(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A directory that can't be made is said at once; one that is gone at the signal is in the kernel's log."""
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"--core .*file/cores"):
        Machine(core=str(tmp_path / "file" / "cores"))
    where = tmp_path / "gone"
    with Machine(core=str(where)) as machine:
        where.rmdir()
        result = machine.run(["sh", "-c", "kill -SEGV $$"], timeout=60)
        assert result.signal == 11 and result.core is None
        assert any("no core: core." in line and "No such file" in line for line in machine.dmesg)


def test_one_that_does_not_fit(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A line says why there is none, and no part of it is left."""
    words = ["run", "--core", str(tmp_path), "--max-trace", "70K", "sh", "-c", "kill -SEGV $$"]
    assert cli.main(words) == 139
    assert re.search(r"^nopage: no core of pid 2: core\.\w+\.2: File too large$", capfd.readouterr().err, re.M)
    assert os.listdir(tmp_path) == []


def test_nopage_core_of_other_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What is no core, and cores of others."""
    hole = program("hole.c", "x86_64")
    assert cli.main(["core", str(hole)]) == 125
    assert capsys.readouterr().err == f"nopage: {hole}: an ELF file, but no core: ET_EXEC\n"
    text = tmp_path / "text"
    text.write_text("no core\n")
    assert cli.main(["core", str(text)]) == 125
    assert capsys.readouterr().err.startswith(f"nopage: {text}: no ELF core, or a damaged one (")
    assert cli.main(["core", str(tmp_path / "none")]) == 125
    assert capsys.readouterr().err == f"nopage: {tmp_path}/none: No such file or directory\n"


def test_nopage_core_of_cut_cores(
    machine_clean: Make, target: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """However short: its lines or one of ours, no traceback.  # F3"""
    _, core = core_of_hole(machine_clean, target, tmp_path)
    data, cut = Path(core).read_bytes()[:12000], tmp_path / "cut"
    said = set()
    for size in range(0, len(data), 101):
        cut.write_bytes(data[:size])
        status = cli.main(["core", str(cut)])
        said.add(status)
        out, err = capsys.readouterr()
        assert (status == 0 and "SIGBUS" in out) or (status == 125 and err.startswith(f"nopage: {cut}: ")), (size, err)
    assert said == {0, 125}
