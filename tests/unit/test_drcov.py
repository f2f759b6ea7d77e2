"""`--drcov`: the blocks that ran, by file and offset; the format as Lighthouse reads it (MECHANISMS F2)."""

from __future__ import annotations

import io
import re
import struct
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile

from machine.cli import main
from tests.conftest import build

TWO_LINES = """
#include <fcntl.h>
#include <stdlib.h>
#include <sys/sendfile.h>
#include <unistd.h>
int main(int argc, char **argv)
{
    if (argc > 1) return 0;
    int from = open("/proc/self/exe", O_RDONLY);
    int to = open("/tmp/a\\n  9, 0x1, 0x2, 0x3, forged", O_WRONLY | O_CREAT, 0700);
    sendfile(to, from, 0, 1 << 24);
    close(to);
    execl("/tmp/a\\n  9, 0x1, 0x2, 0x3, forged", "x", "y", (char *)0);
    return 1;
}
"""
SOURCE = """
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>
__attribute__((noinline)) int taken(int n) { return n * 3 + 1; }
__attribute__((noinline)) int not_taken(int n) { return n * 5 - 2; }
__attribute__((noinline)) int in_child(int n) { return n - 7; }
int main(int argc, char **argv)
{
    int sum = argc > 1 ? not_taken(argc) : taken(argc);
    if (!fork()) _exit(in_child(sum) & 1);
    wait(0);
    printf("%d\\n", sum);
    return 0;
}
"""


def read(path: Path) -> tuple[dict[str, int], set[tuple[str, int]], set[tuple[str, int]]]:
    """(module -> number, (path, offset) of each byte that was covered, and of each block's beginning)."""
    data = path.read_bytes()
    head, _, rest = data.partition(b" bbs\n")
    text = head.decode()
    assert text.startswith("DRCOV VERSION: 2\nDRCOV FLAVOR: nopage\nModule Table: version 2, count ")
    rows = re.findall(r"^ *(\d+), 0x([0-9a-f]+), 0x([0-9a-f]+), 0x0+, (.+)$", text, re.M)
    assert f"count {len(rows)}\n" in text and "Columns: id, base, end, entry, path\n" in text
    paths = {int(number): path for number, _, _, path in rows}
    blocks = list(struct.iter_unpack("<IHH", rest))
    assert f"BB Table: {len(blocks)}" in text and len(set(blocks)) == len(blocks)
    spans = {int(number): int(end, 16) - int(base, 16) for number, base, end, _ in rows}
    assert all(start + size <= spans[module] and size for start, size, module in blocks)
    covered = {(paths[m], start + i) for start, size, m in blocks for i in range(size)}
    return {p: n for n, p in paths.items()}, covered, {(paths[m], start) for start, _, m in blocks}


@pytest.mark.parametrize(("target", "pie"), [("x86_64", False), ("x86_64", True), ("i386", False)])
def test_functions_that_ran(target: str, pie: bool, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    program = build(SOURCE, target=target, static=True, pie=pie, flags=("-Wno-unused-parameter",))
    elf = ELFFile(io.BytesIO(program.read_bytes()))
    symbols = {s.name: s["st_value"] for s in elf.get_section_by_name(".symtab").iter_symbols()}
    first = min(s["p_vaddr"] for s in elf.iter_segments() if s["p_type"] == "PT_LOAD") & -4096
    file = tmp_path / "cover.drcov"
    assert main(["run", "--ram", "64M", "--drcov", str(file), str(program)]) == 0
    assert capfd.readouterr().out == "4\n"
    modules, covered, begun = read(file)
    assert str(program) in modules
    at = {name: (str(program), symbols[name] - first) for name in ("main", "taken", "not_taken", "in_child")}
    assert {at["main"], at["taken"], at["in_child"]} <= begun, "the child's blocks are the same file's"
    assert at["not_taken"] not in covered


def test_afterwards_the_engine_is_as_before(tmp_path: Path) -> None:
    from machine import Machine
    from machine.observe.drcov import Drcov

    with Machine(ram=64 << 20) as machine:
        view = Drcov(machine.kernel, open(tmp_path / "one", "wb"))  # noqa: SIM115
        assert machine.run(["hello"]).exit == 0
        view.close()
        size = (tmp_path / "one").stat().st_size
        assert machine.run(["hello"]).exit == 0
        assert (tmp_path / "one").stat().st_size == size and machine.kernel.cpu._blocks is None


def test_a_module_is_a_line(tmp_path: Path) -> None:
    """Whatever a program calls its file."""
    file = tmp_path / "cover.drcov"
    assert main(["run", "--ram", "64M", "--drcov", str(file), str(build(TWO_LINES, static=True))]) == 0
    modules, _, _ = read(file)
    assert sorted(modules.values()) == list(range(len(modules)))
    assert "/tmp/a\\x0a  9, 0x1, 0x2, 0x3, forged" in modules
