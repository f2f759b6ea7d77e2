"""Which lines of source ran: blocks of code that the processor met, and the line tables of the programs (DWARF).

`LineCounter` counts the blocks of one machine; `Coverage` adds up the lines of many, and `covformats.py` writes them
for lcov or as Cobertura.  Only sources count that are found on this computer below the directories that are given.
"""

from __future__ import annotations

import os
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Optional, Protocol

from machine.hardware.ram import PAGE_SHIFT
from machine.hardware.watching import unwatch_blocks, watch_blocks
from machine.observe.output import one_line
from machine.observe.symbols import ElfSymbols, ReadFile

if TYPE_CHECKING:
    from machine.kernel.kernel import Kernel
    from machine.kernel.mm.space import mm_struct

_NOT_READ = ("/dev/", "/proc/", "/sys/")
_SAID = 5


class SourceFile:
    """One source: executions by line, 0 for lines that have code and did not run."""

    def __init__(self) -> None:
        self.lines: dict[int, int] = {}
        self.functions: dict[str, list[int]] = {}
        """Name -> [its line, calls]."""


class Coverage:
    """The lines of all programs of all runs."""

    def __init__(self) -> None:
        self.files: dict[str, SourceFile] = {}
        self.left_out: dict[str, str] = {}
        """Program that gave no lines -> why."""

    def line(self, path: str, line: int, count: int) -> None:
        """Add executions of a line."""
        lines = self.files.setdefault(path, SourceFile()).lines
        lines[line] = lines.get(line, 0) + count

    def function(self, path: str, name: str, line: int, count: int) -> None:
        """Add calls of a function."""
        known = self.files.setdefault(path, SourceFile()).functions.setdefault(name, [line, 0])
        known[1] += count

    def totals(self) -> tuple[int, int]:
        """(lines that ran, lines that have code)."""
        counts = [count for each in self.files.values() for count in each.lines.values()]
        return sum(count > 0 for count in counts), len(counts)

    def pack(self) -> dict[str, Any]:
        """Plain lists and strings, for another process."""
        files = {
            path: [[list(item) for item in each.lines.items()], [[n, *v] for n, v in each.functions.items()]]
            for path, each in self.files.items()
        }
        return {"files": files, "left_out": self.left_out}

    def add_packed(self, packed: dict[str, Any]) -> None:
        """Add what another process has packed."""
        self.left_out.update(packed["left_out"])
        for path, (lines, functions) in packed["files"].items():
            for line, count in lines:
                self.line(path, line, count)
            for name, line, count in functions:
                self.function(path, name, line, count)

    def why_none(self) -> list[str]:
        """Why there is not a single line, for the user: a text for each of the programs, a few at most."""
        if self.files:
            return []
        return [f"no source lines: {why}" for why in list(self.left_out.values())[:_SAID]] or ["no source lines"]

    def write(self, path: str) -> None:
        """Write a file, in the format that its name says.  OSError."""
        from machine.observe.covformats import cobertura, lcov

        Path(path).write_text(lcov(self) if path.endswith(".info") else cobertura(self))


class _Program(NamedTuple):
    """The lines of one ELF file, by link address."""

    starts: list[int]
    rows: list[tuple[int, int, str]]
    """(address, line, source as the debugging information names it); line 0 ends a sequence."""
    functions: list[tuple[int, str, int, str]]
    """(address, name, line, source)."""
    segments: list[tuple[int, int, int]]

    def link_address(self, offset: int) -> int:
        """Of a byte of the file."""
        for p_offset, p_vaddr, p_filesz in self.segments:
            if p_offset <= offset < p_offset + p_filesz:
                return p_vaddr + offset - p_offset
        return -1


_programs: dict[tuple[int, int], Optional[_Program]] = {}
"""By the contents' length and hash: a test suite runs the same few programs again and again."""


def _program(data: bytes) -> Optional[_Program]:
    key = len(data), hash(data)
    if key not in _programs:
        try:
            _programs[key] = _read_program(data)
        except Exception:  # no ELF file, or debugging information of a kind that `units` can't read
            _programs[key] = None
    return _programs[key]


def _read_program(data: bytes) -> Optional[_Program]:
    elf = ElfSymbols(data)
    rows = elf.all_lines()
    if not rows:
        return None
    starts = [row[0] for row in rows]
    functions = []
    for address, name in elf.functions():
        at, line, source = rows[max(0, bisect_right(starts, address) - 1)]
        if line and at == address:
            functions.append((address, name, line, source))
    return _Program(starts, rows, functions, elf.segments)


class LineCounter:
    """Counts blocks from now on; `close` adds their lines to `coverage`."""

    def __init__(
        self,
        kernel: Kernel,
        read_file: ReadFile,
        coverage: Coverage,
        directories: Callable[[str], Iterable[str]] = lambda program: (),
    ) -> None:
        self._kernel, self._read_file, self._coverage = kernel, read_file, coverage
        self._directories = directories
        """More directories of sources, by program: a relative path of its debugging information is looked for there."""
        self._counts: dict[tuple[int, int, int], int] = {}
        """(address space, address, bytes) -> executions."""
        self._places: dict[tuple[int, int, int], Optional[tuple[str, int]]] = {}
        self._executables: set[str] = set()
        """What the user is told about when it gives no lines; not the libraries."""
        self._start = self._end = 0
        """The block that was counted last."""
        self._next = -1
        """Where the rest of it goes on after an instruction that was run by itself."""
        self._faults = kernel.fault_count
        watch_blocks(kernel.cpu, self._block)

    def _block(self, address: int, size: int) -> None:
        kernel = self._kernel
        mm = kernel.sched.loaded_mm
        if mm is None or self._goes_on(kernel.fault_count, address, size):
            return
        key = mm.number, address, size
        if key in self._counts:
            self._counts[key] += 1
        else:
            self._counts[key] = 1
            self._places[key] = self._place(mm, address)
            if mm.exe_file is not None:
                self._executables.add(mm.exe_file.f_path)

    def _goes_on(self, faults: int, address: int, size: int) -> bool:
        """Whether this is the rest of a block that a page fault, or an access to a device's registers, has cut."""
        if address == self._next or (faults != self._faults and self._start <= address < self._end):
            self._next = address + size if address + size < self._end else -1
            self._faults = faults
            return True
        self._start, self._end, self._next, self._faults = address, address + size, -1, faults
        return False

    @staticmethod
    def _place(mm: mm_struct, address: int) -> Optional[tuple[str, int]]:
        """(path, offset in the file) of code."""
        vma = mm.vma_at(address)
        if vma is None or vma.vm_file is None or vma.vm_file.f_path.startswith(_NOT_READ):
            return None
        return vma.vm_file.f_path, address - vma.vm_start + (vma.vm_pgoff << PAGE_SHIFT)

    def close(self) -> None:
        """Add up, and stop counting."""
        unwatch_blocks(self._kernel.cpu, self._block)
        blocks: dict[str, dict[tuple[int, int], int]] = {}
        for key, count in self._counts.items():
            place = self._places[key]
            if place is not None:
                path, offset = place
                mine = blocks.setdefault(path, {})
                mine[offset, key[2]] = mine.get((offset, key[2]), 0) + count
        self._counts.clear()
        for path, counts in blocks.items():
            resolver, name = _Resolver(path, self._directories(path)), os.path.basename(path)
            try:
                program = _program(self._read_file(path))
            except OSError as error:
                why = f"{name} can't be read any more: {error.strerror}"
            else:
                if program is not None:
                    self._add(program, counts, resolver)
                why = _why_none(program, resolver, name)
            if why and path in self._executables:
                self._coverage.left_out[path] = why

    def _add(self, program: _Program, counts: dict[tuple[int, int], int], resolver: _Resolver) -> None:
        hits: dict[tuple[str, int], int] = {}
        entered: dict[int, int] = {}
        begun: set[int] = set()
        rows: dict[int, int] = {}
        """Index of a row -> executions of its first instruction: several blocks may have it."""
        for (offset, size), count in counts.items():
            start = program.link_address(offset)
            if start < 0:
                continue
            entered[start] = entered.get(start, 0) + count
            first, end = bisect_left(program.starts, start), bisect_left(program.starts, start + size)
            for index in range(first, end):
                rows[index] = rows.get(index, 0) + count
            if first == end or program.starts[first] != start:  # it begins in the middle of a row: after a call
                begun.add(max(0, first - 1))
        for index in begun | rows.keys():
            count = rows.get(index, 1)
            _, line, source = program.rows[index]
            hits[source, line] = max(hits.get((source, line), 0), count)
        for source, line in {(source, line) for _, line, source in program.rows if line}:
            path = resolver(source)
            if path is not None:
                self._coverage.line(path, line, hits.get((source, line), 0))
        for address, name, line, source in program.functions:
            path = resolver(source)
            if path is not None:
                self._coverage.function(path, name, line, entered.get(address, 0))


class _Resolver:
    """Where on this computer a source is; None where it is not, or is none of the user's."""

    def __init__(self, program: str, directories: Iterable[str]) -> None:
        places = [*directories, os.getcwd(), os.path.dirname(program)]
        self._places = [os.path.realpath(place) for place in dict.fromkeys(places) if place not in ("", "/")]
        self._found: dict[str, Optional[str]] = {}

    def __call__(self, source: str) -> Optional[str]:
        if source not in self._found:
            self._found[source] = self._look(source)
        return self._found[source]

    def found_any(self) -> bool:
        """Whether one of the sources that were asked for is here."""
        return any(self._found.values())

    def _look(self, source: str) -> Optional[str]:
        for place in self._places:
            path = os.path.realpath(os.path.join(place, source))
            if path.startswith(place + os.sep) and os.path.isfile(path):
                return path
        return None


def _why_none(program: Optional[_Program], resolver: _Resolver, name: str) -> str:
    """Why a program has given no lines; "" when it has."""
    if program is None:
        return f"{name} has no debugging information (compile with -g)"
    if resolver.found_any():
        return ""
    sources = [source for _, function, _, source in program.functions if function == "main"]
    source = sources[0] if sources else program.rows[0][2]
    if os.path.isfile(source):
        return f"the sources of {name} are outside of the current directory and of its own: {source}"
    return f"the sources of {name} are not found from here: {source}"


class Watched(Protocol):
    """What `CoverageFiles` needs of a `Machine`."""

    kernel: Kernel

    def read_file(self, path: str) -> bytes:
        """The contents of a file of the guest."""


class CoverageFiles:
    """``nopage run --cov``: the coverage of one machine, written to files by `close`.  OSError: they can't be.

    `say` is told why nothing is in them.
    """

    def __init__(self, machine: Watched, paths: Sequence[str], say: Callable[[str], None]) -> None:
        self._paths, self._say = paths, say
        for path in paths:
            open(path, "w").close()
        self.coverage = Coverage()
        self._counter = LineCounter(machine.kernel, machine.read_file, self.coverage)

    def close(self) -> None:
        """Write them.  OSError, with the name of the file, when one of them can't be; the others are."""
        self._counter.close()
        for why in self.coverage.why_none():
            self._say(one_line(f"nopage: {', '.join(self._paths)}: {why}"))
        failed: Optional[OSError] = None
        for path in self._paths:
            try:
                self.coverage.write(path)
            except OSError as error:
                failed = OSError(error.errno, error.strerror, path)
        if failed is not None:
            raise failed
