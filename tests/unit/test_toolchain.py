"""guest.toolchain and guest.build: what is compiled, remembered, refused; the demo programs match their sources."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile

from guest import BIN, TARGETS, bin_directory, program_names, toolchain
from guest import build as programs
from guest.toolchain import CompileError, ToolMissing, compile

TEXT = '#include <stdio.h>\nint main(void) { puts("built"); return 3; }\n'

zig_only = pytest.mark.skipif(toolchain.zig_version() is None, reason="pip install 'nopage[cc]'")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "prog.c"
    path.write_text(TEXT)
    return path


@zig_only
@pytest.mark.parametrize("target", TARGETS)
def test_compile(source: Path, target: str) -> None:
    program = compile(source, target=target)
    assert program.name == "prog"
    done = subprocess.run([program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (3, "built\n")


@zig_only
def test_flags_of_the_linker(source: Path) -> None:
    program = compile(source, flags=("-ffunction-sections", "-Wl,--gc-sections,--defsym=here=0x1234"))
    assert subprocess.run([program], capture_output=True, check=False).stdout == b"built\n"
    with open(program, "rb") as opened:
        (symbol,) = ELFFile(opened).get_section_by_name(".symtab").get_symbol_by_name("here")
        assert symbol["st_value"] == 0x1234


@zig_only
def test_what_other_directories_have_counts(tmp_path: Path) -> None:
    """A header beside the source's directory, and one that only that includes; a header that is not used does not."""
    (tmp_path / "src").mkdir()
    source, first, second = tmp_path / "src" / "prog.c", tmp_path / "first.h", tmp_path / "second.h"
    source.write_text('#include "../first.h"\n' + TEXT)
    first.write_text('#pragma once\n#include "second.h"\n')
    seen = set()
    for text in ("", "/* changed */\n"):
        second.write_text('#pragma once\n#include "first.h"\n' + text)
        seen.add(compile(source))
    first.write_text(first.read_text() + "\n")
    seen.add(compile(source))
    (tmp_path / "other.h").write_text("")
    seen.add(compile(source))
    assert len(seen) == 3


@zig_only
def test_two_at_the_same_time_keep_one(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever comes second leaves the first's file alone: it may be running."""
    keep, inodes = toolchain._keep, []

    def late(output: Path, place: Path, again: bool = False) -> None:
        keep(output, place)
        inodes.append(place.stat().st_ino)
        keep(output, place, again)

    monkeypatch.setattr(toolchain, "_keep", late)
    source.write_text(TEXT + f"/* {source} {time.time_ns()} */\n")  # nobody has compiled that before
    program = compile(source)
    assert program.stat().st_ino == inodes[0] and sorted(os.listdir(program.parent)) == ["prog"]
    compile(source, again=True)
    assert program.stat().st_ino != inodes[0]


@zig_only
def test_remembered_by_content(source: Path) -> None:
    first = compile(source)
    stamp = first.stat().st_mtime_ns
    assert compile(source) == first
    assert first.stat().st_mtime_ns == stamp
    source.write_text(TEXT + "/* changed */\n")
    assert compile(source) != first
    assert compile(source, flags=["-DX=1"]) != compile(source)
    (source.parent / "header.h").write_text("int x;\n")
    assert compile(source) not in (first, compile(source, flags=["-DX=1"]))


@zig_only
def test_no_environment_is_remembered(source: Path) -> None:
    """Compiled programs outlive the virtual environment that compiled them first: what is kept names none."""
    compile(f"/* {source} */ {TEXT}")  # not compiled before
    kept = list(toolchain.cache_directory().glob("linker-*.json"))
    assert kept
    for each in kept:
        assert json.loads(each.read_text())[0] == "ld.lld"
        assert sys.executable not in each.read_text()


@zig_only
def test_text_of_a_program() -> None:
    assert subprocess.run([compile(TEXT)], capture_output=True, check=False).returncode == 3


@zig_only
def test_no_absolute_paths(source: Path) -> None:
    data = compile(source).read_bytes()
    for place in (source.parent, Path(toolchain.__file__).parent, toolchain.cache_directory(), toolchain.Zig.home()):
        assert str(place).encode() not in data


@zig_only
def test_lines_of_our_own_source_only(source: Path) -> None:
    with open(compile(source), "rb") as handle:
        units = list(ELFFile(handle).get_dwarf_info().iter_CUs())
        names = [unit.get_top_DIE().attributes["DW_AT_name"].value for unit in units]
    assert names == [b"prog.c"]


@zig_only
def test_error_is_the_compilers(source: Path) -> None:
    source.write_text("int main(void) { return nothing; }\n")
    with pytest.raises(CompileError, match=r"prog\.c:1:25: error: use of undeclared identifier 'nothing'"):
        compile(source)
    with pytest.raises(CompileError, match="undefined symbol: nothing"):
        compile("int nothing(void);\nint main(void) { return nothing(); }\n")


def test_what_there_is_not(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="no such target: 'arm'"):
        compile(source, target="arm")
    with pytest.raises(ValueError, match="no such libc"):
        compile(source, libc="uclibc")
    with pytest.raises(ValueError, match="no such compiler"):
        compile(source, cc="tcc")
    with pytest.raises(FileNotFoundError):
        compile(source.parent / "missing.c")
    with pytest.raises(ToolMissing, match="no static glibc"):
        compile(source, libc="glibc", cc="zig")
    monkeypatch.setattr(toolchain, "zig_version", lambda: None)
    monkeypatch.setattr("shutil.which", lambda name: None)
    with pytest.raises(ToolMissing, match=r"pip install 'nopage\[cc\]'"):
        compile(source)
    with pytest.raises(ToolMissing, match="gcc-multilib"):
        compile(source, target="i386", libc="glibc")


def test_no_place_for_programs(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(source))
    with pytest.raises(ToolMissing, match="set XDG_CACHE_HOME"):
        toolchain.cache_directory()


@zig_only
def test_many_at_once(source: Path) -> None:
    """As under xdist: all get the same whole file."""
    source.write_text(TEXT + f"/* {source} */\n")
    found: list[Path] = []
    threads = [threading.Thread(target=lambda: found.append(compile(source))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found)) == 1
    assert len(found) == 6
    assert [path.name for path in found[0].parent.iterdir()] == ["prog"]


@zig_only
def test_command_line(source: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "guest.toolchain", str(source), "-o", str(tmp_path / "out"), "--target", "i386"]
    root = Path(toolchain.__file__).parents[1]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out").read_bytes()[4] == 1
    source.write_text("x\n")
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("prog.c:1:1: error:")


# -- the demo programs ------------------------------------------------------------------------------------------------


def test_every_program_is_built() -> None:
    record = programs.record()["programs"]
    assert sorted(record) == program_names()
    for target in TARGETS:
        assert sorted(path.name for path in bin_directory(target).iterdir()) == program_names()
    assert sorted(path.name for path in BIN.iterdir()) == ["SOURCES.json", *sorted(TARGETS)]


@pytest.mark.parametrize("name", program_names())
def test_program_matches_its_source(name: str) -> None:
    """After a change of a program: python -m guest.build."""
    record = programs.record()["programs"][name]
    assert programs.source_hash(name) == record["source"]
    for target in TARGETS:
        assert hashlib.sha256((bin_directory(target) / name).read_bytes()).hexdigest() == record[target]


@zig_only
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", program_names())
def test_program_is_reproducible(name: str, target: str) -> None:
    if programs.record()["ziglang"] != toolchain.zig_version():
        pytest.skip("built with another ziglang")
    assert programs.build(name, target, again=True) == (bin_directory(target) / name).read_bytes()


def test_no_such_target() -> None:
    with pytest.raises(ValueError, match="no such target"):
        bin_directory("arm")
