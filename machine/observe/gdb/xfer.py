"""What gdb reads as objects (qXfer): the target description, auxv, siginfo, lists of threads and processes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape as xml
from xml.sax.saxutils import quoteattr

from machine.kernel.abi.errno import ENOENT, Errno
from machine.kernel.abi.signal import SIGTRAP
from machine.kernel.fs.proc_task import mm_of
from machine.kernel.task.siginfo import siginfo
from machine.observe.gdb.packets import MAX_PACKET, escape, number
from machine.observe.gdb.registers import target_xml
from machine.observe.output import one_line

if TYPE_CHECKING:
    from machine.kernel.task.task import Task
    from machine.observe.gdb.server import Server


def _features(server: Server, annex: bytes) -> bytes:
    if annex != b"target.xml":
        raise Errno(ENOENT)
    return target_xml(server.task().abi.bits)


def _auxv(server: Server, _annex: bytes) -> bytes:
    return server.task().mm.saved_auxv


def _exec_file(server: Server, annex: bytes) -> bytes:
    """The program's path in the guest."""
    task = server.control.threads(number(annex))[0] if annex else server.task()
    return str(task.exe.f_path).encode(errors="surrogateescape")


def _siginfo(server: Server, _annex: bytes) -> bytes:
    task = server.task()
    info = server.control.siginfo.get(task) or siginfo(SIGTRAP, server.why.code, address=server.why.address)
    return info.pack(task.abi.bits)


def _threads(server: Server, _annex: bytes) -> bytes:
    def row(task: Task) -> str:
        name = quoteattr(one_line(task.comm))
        return f'<thread id="{server.thread_id(task).decode()}" core="0" name={name}>{xml(task.syscall)}</thread>'

    rows = map(row, server.control.threads())
    return f'<?xml version="1.0"?>\n<threads>\n{chr(10).join(rows)}\n</threads>\n'.encode(errors="replace")


def _memory_map(server: Server, _annex: bytes) -> bytes:
    """All of user space, any of which may become memory: a list of what is mapped now would be out of date."""
    top = server.task().mm.task_size
    return (
        '<?xml version="1.0"?>\n<!DOCTYPE memory-map PUBLIC "+//IDN gnu.org//DTD GDB Memory Map V1.0//EN" '
        '"http://sourceware.org/gdb/gdb-memory-map.dtd">\n'
        f'<memory-map><memory type="ram" start="0x0" length="{top:#x}"/></memory-map>\n'
    ).encode()


def _osdata(server: Server, annex: bytes) -> bytes:
    """`info os`: types, processes, threads, modules."""
    tables: dict[bytes, Callable[[Server], list[dict[str, str]]]] = {
        b"processes": _processes, b"threads": _all_threads, b"modules": _modules,
    }  # fmt: skip
    if annex in (b"", b"types"):
        kind = "types"
        rows = [
            {"Type": name.decode(), "Description": f"Listing of all {name.decode()}", "Title": name.decode().title()}
            for name in tables
        ]
    elif annex in tables:
        kind, rows = annex.decode(), tables[annex](server)
    else:
        raise Errno(ENOENT)
    columns = [[f"<column name={quoteattr(k)}>{xml(one_line(v))}</column>" for k, v in row.items()] for row in rows]
    items = "".join(f"<item>{''.join(each)}</item>\n" for each in columns)
    head = '<?xml version="1.0"?>\n<!DOCTYPE osdata SYSTEM "osdata.dtd">\n'
    return f'{head}<osdata type="{kind}">\n{items}</osdata>\n'.encode(errors="replace")


def _words(task: Task) -> str:
    mm = mm_of(task)
    if mm is None:
        return f"[{task.comm}]"
    data = server_read(mm.arg_start, mm.arg_end, mm)
    return data.rstrip(b"\0").replace(b"\0", b" ").decode(errors="replace") or task.comm


def server_read(start: int, end: int, mm: object) -> bytes:
    """Words of a command line, as far as they are in memory."""
    from machine.kernel.mm.gup import read_process_vm

    return read_process_vm(mm, start, min(end - start, 4096))  # type: ignore[arg-type]


def _processes(server: Server) -> list[dict[str, str]]:
    return [
        {"pid": str(task.pid), "user": str(task.uid), "command": _words(task), "cores": "0"}
        for task in server.kernel.tasks.values()
        if task.pid == task.tgid
    ]


def _all_threads(server: Server) -> list[dict[str, str]]:
    return [
        {"pid": str(task.tgid), "command": task.comm, "tid": str(task.pid), "core": "0"}
        for task in server.kernel.tasks.values()
    ]


def _modules(server: Server) -> list[dict[str, str]]:
    return [{"name": name, "file": str(module.path)} for name, module in server.kernel.modules.items()]


OBJECTS: dict[str, Callable[[Server, bytes], bytes]] = {
    "features": _features,
    "auxv": _auxv,
    "exec-file": _exec_file,
    "siginfo": _siginfo,
    "threads": _threads,
    "memory-map": _memory_map,
    "osdata": _osdata,
}


def transfer(server: Server, rest: bytes) -> bytes:
    """``object:read:annex:offset,length``: a piece, ``m`` before it when there is more, ``l`` when not."""
    name, operation, annex, window = rest.split(b":", 3)
    make = OBJECTS.get(name.decode())
    if make is None or operation != b"read":
        return b""
    offset, length = map(number, window.split(b","))
    whole = make(server, annex)
    length = min(length, MAX_PACKET // 2 - 16)
    piece = whole[offset : offset + length]
    return (b"m" if offset + length < len(whole) else b"l") + escape(piece)
