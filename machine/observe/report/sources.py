"""What surrounds an instruction and a driver's line: names, disassembly, a few lines of C, the driver's own text.

Source files are read as the guest sees them, never past it: a program's debugging information may name any path, and a
report is a file that people send to each other.
"""

from __future__ import annotations

import ast
import importlib.util
import linecache
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

from machine.kernel.abi.errno import Errno
from machine.observe.disasm import disassemble
from machine.observe.symbols import Mapping, ReadFile, Symbols

if TYPE_CHECKING:
    from machine.kernel.kernel import Kernel

AROUND = 6
"""Lines of source shown before and after one."""
_LARGEST = 4 << 20
_S_IFMT, _S_IFREG = 0o170000, 0o100000


class Sources:
    """Looks things up once each; `lines` are the source lines that the report has to carry."""

    def __init__(self, kernel: Kernel, read_file: ReadFile) -> None:
        self._kernel = kernel
        self._read_file = read_file
        self._symbols = Symbols(read_file)
        self._texts: dict[str, Optional[list[str]]] = {}
        self.lines: dict[str, dict[int, str]] = {}
        """Path -> line number -> text."""
        self.drivers: dict[str, dict[str, Any]] = {}
        """Path of a driver's file -> its text, and its functions as (name, first line, last line)."""

    def site(self, rip: int, code: bytes, bits: int, mapping: Optional[Mapping]) -> list[Any]:
        """[address, bits, bytes, instruction, function, offset, source file, line] of one instruction."""
        if not rip:
            return [0, bits, "", "", "", 0, "", 0]
        where = self._symbols.locate_source(rip, mapping)
        text = disassemble(code, bits, rip)
        path = where.file
        if path and mapping is not None:
            path = self._carry(path, where.line, mapping[0])
        return [rip, bits, code.hex(), text, where.function, where.offset, path, where.line]

    def _carry(self, path: str, line: int, program: str) -> str:
        """Keep the lines around one; the path by which the file was found, else `path`."""
        for found in (path,) if path.startswith("/") else self._places(path, program):
            if found not in self._texts:
                self._texts[found] = self._read(found)
            text = self._texts[found]
            if text is not None:
                self._keep(found, line, text)
                return found
        return path

    @staticmethod
    def _places(path: str, program: str) -> tuple[str, ...]:
        """Where a file may be whose compiler did not say: beside the program, and here, as gdb looks ($cdir:$cwd)."""
        return os.path.join(os.path.dirname(program), path), os.path.join(os.getcwd(), path), path

    def _keep(self, path: str, line: int, text: list[str]) -> None:
        kept = self.lines.setdefault(path, {})
        for number in range(max(1, line - AROUND), min(len(text), line + AROUND) + 1):
            kept[number] = text[number - 1]

    def _read(self, path: str) -> Optional[list[str]]:
        data = self._guest_file(path) if path.startswith("/") else _demo_source(path)
        return None if data is None else data.decode(errors="replace").splitlines()

    def _guest_file(self, path: str) -> Optional[bytes]:
        """A regular file of the guest; nothing else is opened."""
        from machine.kernel.fs.namei import lookup

        if path.startswith(("/dev/", "/proc/", "/sys/")):
            return None
        try:
            inode = lookup(self._kernel, self._kernel.init_task, path).d_inode
            if inode.i_mode & _S_IFMT != _S_IFREG:
                return None
            data = self._read_file(path)
        except (Errno, OSError):
            return None
        return data if len(data) <= _LARGEST else None

    def driver(self, path: str) -> None:
        """Carry the text of a driver's file: the one that was executed, whatever is there now."""
        if path in self.drivers:
            return
        text = "".join(linecache.getlines(path))
        self.drivers[path] = {"text": text, "functions": _functions(text)}


def _functions(text: str) -> list[tuple[str, int, int]]:
    """(name, first line, last line) of the functions of a Python file, outer ones first."""
    try:
        tree = ast.parse(text)
    except SyntaxError:
        return []
    found = []
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            first = min([node.lineno, *(each.lineno for each in node.decorator_list)])
            found.append((node.name, first, node.end_lineno or node.lineno))
    return found


def _demo_source(name: str) -> Optional[bytes]:
    """The source of a demonstration program, which was compiled where its path says nothing."""
    spec = importlib.util.find_spec("guest")
    if "/" in name or spec is None or spec.origin is None:
        return None
    path = Path(spec.origin).parent / "programs" / name
    return path.read_bytes() if path.is_file() else None
