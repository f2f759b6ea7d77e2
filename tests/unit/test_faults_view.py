"""The fault view: paragraphs of made-up faults, names of addresses in real ELF files, and a machine's own run."""

from __future__ import annotations

import io
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from machine import Machine
from machine.events import Events, PageFault, Signal
from machine.hardware.paging import NX, RW, US, A, D, P
from machine.observe.disasm import disassemble
from machine.observe.faults import FaultView, area_text, entry_text, error_text, fatal_line, walk_lines
from machine.observe.output import Output
from machine.observe.symbols import ElfSymbols, Location, Symbols
from tests.conftest import build, run_on_host

AREA = "7ffff7ff8000-7ffff7ff9000 r--p 00002000 00:06 12                         /dev/scullp0"
TABLES = [(0x1000, 0x2067), (0x2FF8, 0x3067), (0x3DF8, 0x4067)]


def make_fault(**changed: Any) -> PageFault:
    values: dict[str, Any] = {
        "number": 17, "pid": 3, "comm": "mapper", "rip": 0x401A2C, "address": 0x7FFFF7FF8000, "error_code": 4,
        "origin": "user", "instruction": bytes.fromhex("0fb607c3"), "bits": 64, "vma": AREA, "vm_start": 0x7FFFF7FF8000,
        "vm_flags": 1, "mapping": None, "answer": "scullp.nopage", "pfn": 0x1A3F, "count_before": 1, "count_after": 2,
        "walk_before": [*TABLES, (0x4FC0, 0)], "walk_after": [*TABLES, (0x4FC0, 0x1A3F << 12 | P | US | A | NX)],
        "outcome": "minor",
    }  # fmt: skip
    return PageFault(**{**values, **changed})


def view_of(*faults: PageFault, colour: bool = False) -> str:
    stream, events = io.StringIO(), Events()
    view = FaultView(events, Output(stream, colour=colour), lambda path: b"")
    for fault in faults:
        assert events.fault is not None
        events.fault(fault)
    view.close()
    assert events.fault is None
    return stream.getvalue()


# -- paragraphs --------------------------------------------------------------------------------------------


def test_a_page_from_a_driver() -> None:
    assert view_of(make_fault()).splitlines() == [
        "fault 17  mapper[3]  0x401a2c   movzx eax, byte ptr [rdi]",
        "  read of  0x7ffff7ff8000   error 0x4: user read, page not present",
        "  area     7ffff7ff8000-7ffff7ff9000 r--p 00002000 /dev/scullp0",
        "  answer   scullp.nopage: frame 0x1a3f, count 1 -> 2",
        "  walk     PML4E, PDPTE, PDE unchanged",
        "  PTE      absent -> 8000000001a3f025 P US A NX   at 0x4fc0",
        "  minor fault",
        "1 page fault: 1 minor",
    ]


def test_a_fault_that_nobody_answers() -> None:
    fault = make_fault(
        answer="no area", pfn=None, vma="", walk_before=[*TABLES[:1], (0x2FF8, 0)], error_code=6,
        walk_after=[*TABLES[:1], (0x2FF8, 0)], outcome="SIGSEGV (SEGV_MAPERR)",
    )  # fmt: skip
    assert view_of(fault).splitlines()[1:7] == [
        "  write of 0x7ffff7ff8000   error 0x6: user write, page not present",
        "  area     none",
        "  answer   no area",
        "  walk     ends at PDPTE: absent, unchanged",
        "  SIGSEGV (SEGV_MAPERR)",
        "1 page fault: 1 SIGSEGV (SEGV_MAPERR)",
    ]


def test_tables_that_are_made_on_the_way() -> None:
    new = P | RW | US
    lines = walk_lines([(0x1000, 0)], [(0x1000, 0x2000 | new), (0x2000, 0x3000 | new), (0x3000, 0x4000 | new | A | D)])
    assert lines == [
        ("PML4E", "absent -> 0000000000002007 P RW US   at 0x1000"),
        ("PDPTE", "no table -> 0000000000003007 P RW US   at 0x2000"),
        ("PDE", "no table -> 0000000000004067 P RW US A D   at 0x3000"),
    ]


def test_a_copy_that_the_kernel_made_in_a_system_call() -> None:
    fault = make_fault(origin="read", rip=0, instruction=b"", error_code=3, outcome="major", answer="copy-on-write")
    assert view_of(fault).splitlines()[:2] == [
        "fault 17  mapper[3]  by the kernel, in read()",
        "  write of 0x7ffff7ff8000   error 0x3: kernel write, not allowed by the entry",
    ]


def test_colour_is_only_paint() -> None:
    painted = view_of(make_fault(), make_fault(outcome="SIGBUS (BUS_ADRERR)"), colour=True)
    assert "\x1b[" in painted
    plain = re.sub(r"\x1b\[\d+m", "", painted)
    assert plain == view_of(make_fault(), make_fault(outcome="SIGBUS (BUS_ADRERR)"))


def test_lines_fit_a_wide_terminal() -> None:
    assert max(map(len, view_of(make_fault()).splitlines())) <= 100


def test_words() -> None:
    assert error_text(0x14) == "user fetch, page not present"
    assert error_text(0xD) == "user read, reserved bit set"
    assert entry_text(0) == "absent"
    assert entry_text(None) == "no table"
    assert entry_text(0x5400) == "0000000000005400 PROTNONE"
    assert area_text(AREA) == "7ffff7ff8000-7ffff7ff9000 r--p 00002000 /dev/scullp0"
    assert area_text("00400000-00401000 rw-p 00000000 00:00 0 ") == "00400000-00401000 rw-p 00000000"


def test_disassembly() -> None:
    assert disassemble(bytes.fromhex("8a07"), 64, 0) == "mov al, byte ptr [rdi]"
    assert disassemble(bytes.fromhex("8a07"), 32, 0) == "mov al, byte ptr [edi]"
    assert disassemble(bytes.fromhex("e8fbffffff"), 64, 0x1000) == "call 0x1000"
    assert disassemble(bytes.fromhex("e8fbffffff"), 64, 0x2000) == "call 0x2000"
    assert disassemble(b"\x06", 64, 0) == "(bad)"
    assert disassemble(b"", 64, 0) == ""


def test_the_line_about_a_death() -> None:
    event = Signal(3, "mapper", 7, 2, 0x7FFFF7FF8000, "core", 0x401234)
    assert fatal_line(event, bytes.fromhex("8a07"), 64, AREA, None, lambda path: b"") == (
        "mapper (pid 3): SIGBUS (BUS_ADRERR) at 0x7ffff7ff8000, instruction 0x401234 mov al, byte ptr [rdi], "
        "in 7ffff7ff8000-7ffff7ff9000 r--p 00002000 /dev/scullp0"
    )
    wild = Signal(3, "p", 11, 1, 0x1234, "core", 0x1234)
    assert fatal_line(wild, b"", 64, "", None, lambda path: b"") == (
        "p (pid 3): SIGSEGV (SEGV_MAPERR), instruction 0x1234, where no code is"
    )
    divided = Signal(3, "p", 8, 1, 0x1234, "core", 0x1234)
    assert fatal_line(divided, bytes.fromhex("f7f1"), 64, AREA, None, lambda path: b"") == (
        "p (pid 3): SIGFPE (FPE_INTDIV), instruction 0x1234 div ecx"
    )


# -- names of addresses ----------------------------------------------------------------------------------------------

SOURCE = """\
int touch(volatile char *p) {
    return *p;
}
int main(int argc, char **argv) {
    return touch(argv[argc - 1]) == 'x';
}
"""


def symbols_of(program: Path) -> dict[str, int]:
    """nm's view: name -> link address."""
    output = subprocess.run(["nm", str(program)], capture_output=True, text=True, check=True).stdout
    rows = (line.split() for line in output.splitlines())
    return {row[2]: int(row[0], 16) for row in rows if len(row) == 3}


@pytest.mark.parametrize("target", ["x86_64", "i386"])
@pytest.mark.parametrize("dwarf", ["-gdwarf-4", "-gdwarf-5"])
@pytest.mark.parametrize("pie", [False, True])
def test_function_and_line(target: str, dwarf: str, pie: bool, tmp_path: Path) -> None:
    source = tmp_path / "touch.c"
    source.write_text(SOURCE)
    program = build(source, target=target, static=True, pie=pie, flags=(dwarf, "-O0", "-fno-inline"))
    start = symbols_of(program)["touch"]
    elf = ElfSymbols(program.read_bytes())
    assert elf.symbol(start) == ("touch", 0)
    assert elf.symbol(start + 4) == ("touch", 4)
    assert elf.line(start) == ("touch.c", 1)
    assert elf.line(symbols_of(program)["main"]) == ("touch.c", 4)
    assert elf.symbol(1) == ("", 0)
    assert elf.line(1) == ("", 0)


def test_the_bias_of_a_position_independent_program(tmp_path: Path) -> None:
    source = tmp_path / "touch.c"
    source.write_text(SOURCE)
    program = build(source, static=False, pie=True, libc="glibc", flags=("-g",))
    elf = ElfSymbols(program.read_bytes())
    offset, vaddr, _ = elf.segments[0]
    page = offset & ~0xFFF
    base = 0x555555554000
    start = base + vaddr - (offset - page)
    symbols = Symbols(lambda path: program.read_bytes())
    address = symbols_of(program)["touch"]
    assert symbols.locate(base + address, ("/p", start, page)) == Location("touch", 0, "touch.c", 1)
    assert str(symbols.locate(base + address + 4, ("/p", start, page))).startswith("touch+0x4 touch.c:")


def test_what_a_file_does_not_have_is_left_out(tmp_path: Path) -> None:
    source = tmp_path / "touch.c"
    source.write_text(SOURCE)
    program = build(source, static=True, pie=False, flags=("-g0",))
    address = symbols_of(program)["touch"]
    bare = tmp_path / "bare"
    subprocess.run(["strip", "-o", str(bare), str(program)], check=True)
    elf = ElfSymbols(program.read_bytes())
    start = (elf.segments[0][1] & ~0xFFF, elf.segments[0][0] & ~0xFFF)
    read: dict[str, Callable[[], bytes]] = {
        "/plain": program.read_bytes,
        "/bare": bare.read_bytes,
        "/text": lambda: b"no ELF file",
        "/gone": (bare / "gone").read_bytes,
        "/cut": lambda: program.read_bytes()[:3000],
    }
    symbols = Symbols(lambda path: read[path]())
    assert symbols.locate(address, ("/plain", *start)) == Location("touch", 0, "", 0)
    assert symbols.locate(address, ("/bare", *start)) == Location("bare", address, "", 0)
    for path in ("/text", "/gone", "/cut"):
        assert str(symbols.locate(address, (path, *start))) in ("", f"{path[1:]}+{address:#x}")
    assert str(symbols.locate(address, None)) == ""


def test_a_file_is_read_once(tmp_path: Path) -> None:
    reads: list[str] = []

    def read(path: str) -> bytes:
        reads.append(path)
        return b"\x7fELF"

    symbols = Symbols(read)
    for _ in range(3):
        symbols.locate(1, ("/p", 0, 0))
    assert reads == ["/p"]


def test_code_that_runs_from_a_device_is_not_looked_up_there() -> None:
    def read(path: str) -> bytes:
        raise AssertionError(path)

    assert str(Symbols(read).locate(0x1000, ("/dev/scullp0", 0x1000, 0))) == ""


# -- a machine ---------------------------------------------------------------------------------------------------------


def test_the_faults_of_a_program(machine_clean: Callable[..., Machine], tmp_path: Path) -> None:
    """The whole paragraph of one first touch, from the instruction to the entry."""
    source = tmp_path / "touch.c"
    source.write_text(
        SOURCE.replace("argv[argc - 1]", "page + 4096").replace("int main", "char page[3 << 12];\nint main")
    )
    program = build(source, static=True, pie=False, flags=("-g", "-O0"))
    machine = machine_clean(binds=[(str(program), "/mnt/touch", False)])
    stream = io.StringIO()
    view = FaultView(machine.events, Output(stream), machine.read_file)
    machine.run(["/mnt/touch"])
    view.close()
    page = symbols_of(program)["page"] + 4096
    paragraphs = re.split(r"\n(?=fault )", stream.getvalue())
    wanted = [p for p in paragraphs if f"read of  {page:#x} " in p]
    assert len(wanted) == 1, stream.getvalue()
    assert re.match(
        r"fault \d+  touch\[2\]  0x[0-9a-f]+ touch\+0x[0-9a-f]+ touch\.c:2   mov\w* (eax|al), byte ptr \[rax\]\n",
        wanted[0],
    )
    assert f"\n  read of  {page:#x}   error 0x4: user read, page not present\n" in wanted[0]
    assert "\n  answer   zero page: frame 0x" in wanted[0]
    assert re.search(r"\n  PTE      absent -> 80000000[0-9a-f]{8} P US A NX   at 0x[0-9a-f]+\n", wanted[0])
    assert "\n  minor fault" in wanted[0]


def test_a_driver_answers(machine_clean: Callable[..., Machine]) -> None:
    machine = machine_clean(devices=["scullp"])
    stream = io.StringIO()
    assert machine.run(["sh", "-c", "echo text > /dev/scullp0"]).exit == 0
    view = FaultView(machine.events, Output(stream), machine.read_file)
    assert machine.run(["mapper", "/dev/scullp0", "0", "4"]).stdout == b"text"
    view.close()
    assert re.search(r"\n  answer   scullp\.nopage: frame 0x[0-9a-f]+, count 1 -> 2\n", stream.getvalue())
    assert stream.getvalue().count("\n  area     ") >= 1


MOVING = r"""
#include "check.h"
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define PAGE 4096
#ifdef __x86_64__
static const unsigned char code[] = {0xc6, 0x07, 1, 0xc3};			/* mov [rdi], 1; ret */
#else
static const unsigned char code[] = {0x8b, 0x44, 0x24, 4, 0xc6, 0, 1, 0xc3};	/* mov eax, [esp + 4]; mov [eax], 1 */
#endif

static int file_with_code(const char *name)
{
	int fd = open(name, O_RDWR | O_CREAT | O_TRUNC, 0700);
	CHECK("a file", pwrite(fd, code, sizeof code, 0) > 0 && pwrite(fd, code, sizeof code, PAGE) > 0);
	return fd;
}

int main(int argc, char **argv)
{
	char a[256], b[256], c[256];
	if (argc < 2)
		return 1;
	snprintf(a, sizeof a, "%s/a", argv[1]);
	snprintf(b, sizeof b, "%s/b", argv[1]);
	snprintf(c, sizeof c, "%s/c", argv[1]);
	int first = file_with_code(a), second = file_with_code(b);
	char *data = mmap(NULL, 8 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char *at = mmap(NULL, 2 * PAGE, PROT_READ | PROT_EXEC, MAP_PRIVATE, first, 0);
	CHECK("mapped", at != MAP_FAILED && data != MAP_FAILED);
	void (*volatile touch)(char *) = (void (*)(char *))at;
	touch(data);
	EQUAL("renamed", rename(a, c), 0);
	touch(data + PAGE);
	EQUAL("unmapped", munmap(at, 2 * PAGE), 0);
	CHECK("another", mmap(at, PAGE, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_FIXED, second, PAGE) == at);
	touch(data + 2 * PAGE);
	EQUAL("removed", unlink(b), 0);
	touch(data + 3 * PAGE);
	char *own = mmap(at, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED | MAP_ANONYMOUS, -1, 0);
	memcpy(own, code, sizeof code);
	EQUAL("code of its own", mprotect(own, PAGE, PROT_READ | PROT_EXEC), 0);
	touch(data + 4 * PAGE);
	unlink(c);
	return data[0] + data[PAGE] + data[2 * PAGE] + data[3 * PAGE] + data[4 * PAGE] != 5;
}
"""


@pytest.mark.parametrize("target", ["x86_64", "i386"])
def test_where_code_is_from_is_that_of_now(
    machine_clean: Callable[..., Machine], tmp_path: Path, target: str
) -> None:  # F1
    program = build(MOVING, target=target)
    done = run_on_host(program, [str(tmp_path)])
    assert done.exit == 0 and not done.failures()
    m, faults = machine_clean(), []
    m.events.listen("fault", faults.append)
    result = m.run([str(program), "/tmp"])
    assert result.exit == 0 and b"FAIL" not in result.stdout
    seen = [each for each in faults if each.instruction[:3] == b"\xc6\x07\x01" or each.instruction[:3] == b"\xc6\0\x01"]
    start = seen[0].rip & -4096
    assert [each.mapping for each in seen if each.error_code & 2] == [
        ("/tmp/a", start, 0), ("/tmp/c", start, 0), ("/tmp/b", start, 4096), ("/tmp/b (deleted)", start, 4096), None,
    ]  # fmt: skip
    for each in seen:
        assert each.walk_before[:3] == each.walk_after[:3] and len(each.walk_after) == 4
        assert each.walk_after[3][1] >> 12 & 0xFFFFFFFF == each.pfn
