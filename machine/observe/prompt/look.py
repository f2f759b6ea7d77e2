"""What the prompt shows of a stopped thread: place, registers, memory, instructions, callers."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Optional

from machine.hardware.ram import PAGE_SHIFT
from machine.kernel.abi.errno import Errno
from machine.kernel.task.regset import get_user_regs
from machine.observe.disasm import decode_many
from machine.observe.symbols import Mapping
from machine.observe.unwind import Unwinder

if TYPE_CHECKING:
    from machine.kernel.task.task import Task
    from machine.observe.prompt.prompt import Prompt

_MAX_INSTRUCTION = 15
_SIZES = {"b": 1, "h": 2, "w": 4, "g": 8}
_LINE = 16
_STRING = 200
_FORMAT = re.compile(r"(\d*)([xduscia]?)([bhwg]?)|(\d*)([bhwg])([xduscia])")
MAX_COUNT = 4096


def pc_of(prompt: Prompt) -> int:
    """The instruction that runs next."""
    task = prompt.task()
    return get_user_regs(prompt.kernel, task)["rip" if task.abi.bits == 64 else "eip"]


def mapping_at(task: Task, address: int) -> Optional[Mapping]:
    """The file that is mapped at a code address."""
    vma = task.mm.vma_at(address)
    if vma is None or vma.vm_file is None:
        return None
    return vma.vm_file.f_path, vma.vm_start, vma.vm_pgoff << PAGE_SHIFT


def read(prompt: Prompt, address: int, count: int) -> bytes:
    """Up to the first byte that can't be read.  No driver is asked for a page: that would change what is looked at."""
    task, data = prompt.task(), b""
    while len(data) < count:
        piece = prompt.kernel.peek_user(task.mm, address + len(data), count - len(data))
        if not piece:
            vma = task.mm.vma_at(address + len(data))
            if vma is None or (vma.vm_ops is not None and vma.vm_ops.owner is not None):
                break
            room = min(count - len(data), 0x1000 - (address + len(data) & 0xFFF))
            piece = prompt.control.read(task.mm, address + len(data), room)
            if not piece:
                break
        data += piece
    return data


def where(prompt: Prompt, address: int) -> str:
    """``<main+0x41 mapper.c:38>``, or nothing."""
    text = str(prompt.symbols.locate(address, mapping_at(prompt.task(), address)))
    return f" <{text}>" if text else ""


def here(prompt: Prompt) -> str:
    """One line: the instruction that comes next."""
    return "\n".join(_instructions(prompt, pc_of(prompt), 1))


def value_of(prompt: Prompt, text: str) -> int:
    """``0x7ffff7fc6000``, ``$rsp+8``, ``rdi``, ``$fault``.  ValueError."""
    task = prompt.task()
    registers = get_user_regs(prompt.kernel, task)
    total = 0
    for sign, term in re.findall(r"([+-]?)\s*([^\s+-]+)", text):
        name = term.removeprefix("$")
        if name == "pc":
            value = pc_of(prompt)
        elif name == "sp":
            value = registers["rsp" if task.abi.bits == 64 else "esp"]
        elif name == "fault" and prompt.last_fault is not None:
            value = prompt.last_fault.address
        elif name in registers:
            value = registers[name]
        elif re.fullmatch(r"0[xX][0-9a-fA-F]+|[0-9]+", term):
            value = int(term, 0)
        else:
            raise ValueError(f"'{text}' is no address: 0x7ffff7fc6000, $rsp+8, $pc, $fault (the last fault's address)")
        total += -value if sign == "-" else value
    return total & task.abi.mask


def registers(prompt: Prompt) -> str:
    """All general registers."""
    lines = []
    for name, value in get_user_regs(prompt.kernel, prompt.task()).items():
        note = where(prompt, value) if name in ("rip", "eip") else ""
        lines.append(f"{name:<9}{value:#x}{note}\n")
    return "".join(lines)


def backtrace(prompt: Prompt) -> str:
    """The functions that are running, the innermost first."""
    task = prompt.task()

    def code_at(address: int) -> Optional[Mapping]:
        vma = task.mm.vma_at(address)
        return mapping_at(task, address) if vma is not None and vma.vm_flags & 4 else None

    frames = Unwinder(prompt.symbols).frames(
        get_user_regs(prompt.kernel, task), task.abi.bits, lambda address, count: read(prompt, address, count), code_at
    )
    return "".join(f"#{frame.number:<3}{frame.pc:#x}  {frame.location}\n" for frame in frames)


def instructions(prompt: Prompt, address: int, count: int) -> str:
    """`count` instructions from `address`."""
    return "".join(line + "\n" for line in _instructions(prompt, address, count))


def _instructions(prompt: Prompt, address: int, count: int) -> list[str]:
    task, pc, lines = prompt.task(), pc_of(prompt), []
    code = read(prompt, address, count * _MAX_INSTRUCTION)
    for at, text in decode_many(code, task.abi.bits, address, count):
        lines.append(f"{'=>' if at == pc else '  '} {at:#x}{where(prompt, at)}   {text}")
    return lines or [f"   {address:#x}   {unreadable(prompt, address)}"]


def unreadable(prompt: Prompt, address: int) -> str:
    """Why there is nothing to show."""
    try:
        vma = prompt.task().mm.vma_at(address)
    except Errno:
        vma = None
    return "no area covers this address" if vma is None else "no page is there (walk shows the entry, vma the area)"


def memory(prompt: Prompt, form: str, address: int) -> str:
    """gdb's ``x/4xg ADDR``.  ValueError."""
    match = _FORMAT.fullmatch(form)
    if match is None:
        raise ValueError(f"x/{form}: wants x/[COUNT][x d u c s i a][b h w g], like x/4xg or x/s")
    count = int(match[1] or match[4] or 1)
    letter, size = (match[2] or match[6] or "x"), (match[3] or match[5])
    if not 0 < count <= MAX_COUNT:
        raise ValueError(f"x/{form}: between 1 and {MAX_COUNT} units")
    if letter == "i":
        return instructions(prompt, address, count)
    if letter == "s":
        return _strings(prompt, address, count)
    width = prompt.task().abi.bits // 8 if letter == "a" else 1 if letter == "c" else _SIZES[size or "w"]
    data = read(prompt, address, count * width)
    lines = []
    per_line = max(1, _LINE // width)
    units = [data[i : i + width] for i in range(0, len(data) - width + 1, width)]
    for first in range(0, len(units), per_line):
        shown = " ".join(_unit(unit, letter) for unit in units[first : first + per_line])
        lines.append(f"{address + first * width:#x}: {shown}\n")
    if len(units) < count:
        at = address + len(units) * width
        lines.append(f"{at:#x}: {unreadable(prompt, address + len(data))}\n")
    return "".join(lines)


def _unit(data: bytes, letter: str) -> str:
    value = int.from_bytes(data, "little", signed=letter == "d")
    if letter == "c":
        return repr(chr(value)) if value < 128 else f"{value:#x}"
    return str(value) if letter in "du" else f"{value:#0{2 * len(data) + 2}x}"


def _strings(prompt: Prompt, address: int, count: int) -> str:
    lines = []
    for _ in range(count):
        data = read(prompt, address, _STRING)
        if not data:
            lines.append(f"{address:#x}: {unreadable(prompt, address)}\n")
            break
        text, end, _ = data.partition(b"\0")
        shown = text.decode("latin-1").encode("unicode_escape").decode().replace('"', '\\"')
        lines.append(f'{address:#x}: "{shown}"{"" if end else "..."}\n')
        address += len(text) + len(end)
    return "".join(lines)
