"""gdb's commands about what is: features, threads, registers, memory, places, objects, files."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Optional

from machine.kernel.abi.errno import EFAULT, EINVAL, EPERM, Errno
from machine.observe.gdb.monitor import monitor
from machine.observe.gdb.packets import MAX_PACKET, hexed, number, raw
from machine.observe.gdb.registers import layout, read_all, write_all, write_one
from machine.observe.gdb.signals import from_gdb
from machine.observe.gdb.table import OK, after, command, find_thread, parse_thread
from machine.observe.gdb.vfile import vfile
from machine.observe.gdb.xfer import OBJECTS, transfer
from machine.observe.output import one_line

if TYPE_CHECKING:
    from machine.kernel.task.task import Task
    from machine.observe.gdb.server import Server

_FEATURES = (
    b"PacketSize=%x;QStartNoAckMode+;vContSupported+;QPassSignals+;QCatchSyscalls+;swbreak+;hwbreak+;"
    b"QEnvironmentHexEncoded+;QEnvironmentReset+;QEnvironmentUnset+;QSetWorkingDir+"
)
_WATCHES = (2, 3, 4)


# -- what can be done ------------------------------------------------------------------------------------


@command("qSupported")
def supported(server: Server, rest: bytes) -> bytes:
    """What gdb can do, and what we can."""
    theirs = rest.lstrip(b":").split(b";")
    answer = _FEATURES % MAX_PACKET
    server.multiprocess = b"multiprocess+" in theirs
    if server.multiprocess:
        answer += b";multiprocess+"
    if server.travel is not None:
        answer += b";ReverseStep+;ReverseContinue+"
    for kind in server.control.follows:
        name = kind.encode() + b"-events+"
        server.control.follows[kind] = name in theirs and server.multiprocess
        if server.control.follows[kind]:
            answer += b";" + name
    return answer + b"".join(b";qXfer:%s:read+" % name.encode() for name in OBJECTS)


@command("QStartNoAckMode")
def no_acknowledgements(server: Server, _rest_: bytes) -> bytes:
    assert server.link is not None
    server.link.acknowledged = False
    return OK


@command("!")
def extend(server: Server, _rest_: bytes) -> bytes:
    """target extended-remote: programs can be started, and gdb stays when one has ended."""
    server.extended = True
    return OK


@command("?")
def why_stopped(server: Server, _rest_: bytes) -> Optional[bytes]:
    task = server.last
    if server.stopped and task is not None and task in server.control.threads():
        server.general = task
        return server.reply(task, server.why)
    threads = server.control.threads()
    if not threads:
        return b"W00"
    if not server.stopped:
        server.owed = True
        return None  # gdb has just come, and the stop is on its way
    server.general = threads[0]
    return b"T05thread:%s;" % server.thread_id(threads[0])


@command("qSymbol")
def symbols(_server: Server, _rest_: bytes) -> bytes:
    return OK  # none wanted


# -- threads ------------------------------------------------------------------------------------------------


@command("H")
def choose_thread(server: Server, rest: bytes) -> bytes:
    operation, which = rest[:1], rest[1:]
    if operation == b"c":
        process, thread = parse_thread(which)
        server.resuming = process if process > 0 else None
        if thread > 0:
            find_thread(server, which)
        return OK
    if operation != b"g":
        raise ValueError(rest)
    if server.control.threads():
        server.general = find_thread(server, which)
    return OK


@command("T")
def is_alive(server: Server, rest: bytes) -> bytes:
    find_thread(server, rest)
    return OK


@command("qC")
def current_thread(server: Server, rest: bytes) -> bytes:
    if rest:
        return b""
    return b"QC" + server.thread_id(server.task())


@command("qfThreadInfo")
def first_threads(server: Server, _rest_: bytes) -> bytes:
    names = [server.thread_id(task) for task in server.control.threads()]
    return b"m" + b",".join(names) if names else b"l"


@command("qsThreadInfo")
def more_threads(_server: Server, _rest_: bytes) -> bytes:
    return b"l"


@command("qThreadExtraInfo")
def about_thread(server: Server, rest: bytes) -> bytes:
    task = find_thread(server, after(rest, b","))
    return hexed(one_line(f"{task.comm}, in {task.syscall}".removesuffix(", in ")).encode())


@command("qAttached")
def was_attached(server: Server, rest: bytes) -> bytes:
    inferior = server.control.inferiors[number(rest[1:])] if rest.startswith(b":") else server.inferior()
    return b"1" if inferior.attached else b"0"


# -- registers and memory -----------------------------------------------------------------------------------


def _writable(server: Server) -> Task:
    """The thread, where its registers are what it goes on with: not in the middle of a system call."""
    task = server.task()
    if task.syscall and task is not server.control.stopped:
        raise Errno(EPERM)
    if server.travel is not None:
        server.travel.changes()
    return task


@command("g")
def get_registers(server: Server, _rest_: bytes) -> bytes:
    return hexed(read_all(server.kernel, server.task()))


@command("G")
def set_registers(server: Server, rest: bytes) -> bytes:
    return OK if write_all(server.kernel, _writable(server), raw(rest)) else b"E%02x" % EINVAL


@command("p")
def get_register(server: Server, rest: bytes) -> bytes:
    task = server.task()
    register = layout(task.abi.bits)[number(rest)]
    return hexed(read_all(server.kernel, task)[register.offset : register.offset + register.size])


@command("P")
def set_register(server: Server, rest: bytes) -> bytes:
    index, value = rest.split(b"=")
    return OK if write_one(server.kernel, _writable(server), number(index), raw(value)) else b"E%02x" % EINVAL


@command("m")
def read_memory(server: Server, rest: bytes) -> bytes:
    address, count = map(number, rest.split(b","))
    data = server.control.read(server.task().mm, address, min(count, MAX_PACKET // 2 - 16))
    if count and not data:
        raise Errno(EFAULT)
    return hexed(data)


def _write(server: Server, rest: bytes, decode: Callable[[bytes], bytes]) -> bytes:
    where, _, content = rest.partition(b":")
    address, count = map(number, where.split(b","))
    data = decode(content)
    if len(data) != count:
        raise ValueError(count)
    if server.control.write(server.task().mm, address, data) != count:
        raise Errno(EFAULT)
    return OK


@command("M")
def write_memory(server: Server, rest: bytes) -> bytes:
    return _write(server, rest, raw)


@command("X")
def write_binary(server: Server, rest: bytes) -> bytes:
    return _write(server, rest, bytes)


# -- breakpoints --------------------------------------------------------------------------------------------


def _place(rest: bytes) -> tuple[int, int, int]:
    kind, address, length = rest.split(b";")[0].split(b",")
    return number(kind), number(address), number(length)


@command("Z")
def insert(server: Server, rest: bytes) -> bytes:
    kind, address, length = _place(rest)
    inferior = server.inferior()
    if kind in (0, 1):
        if address >= server.task().mm.task_size:
            raise Errno(EFAULT)
        server.control.insert(inferior, address, b"hwbreak:;" if kind else b"swbreak:;")
    elif kind not in _WATCHES:
        return b""
    elif not server.control.watches.insert(inferior.tgid, kind, address, length):
        raise Errno(EINVAL)
    return OK


@command("z")
def remove(server: Server, rest: bytes) -> bytes:
    kind, address, length = _place(rest)
    inferior = server.inferior()
    if kind in (0, 1):
        inferior.breakpoints.pop(address, None)
    elif kind in _WATCHES:
        server.control.watches.remove(inferior.tgid, kind, address, length)
    else:
        return b""
    return OK


@command("QCatchSyscalls")
def catch_syscalls(server: Server, rest: bytes) -> bytes:
    which = after(rest, b":")
    if which == b"0":
        server.control.catch(None)
        return OK
    first, *numbers = which.split(b";")
    if first != b"1":
        raise ValueError(which)
    server.control.catch(frozenset(map(number, numbers)))
    return OK


@command("QPassSignals")
def pass_signals(server: Server, rest: bytes) -> bytes:
    server.control.passed = frozenset(from_gdb(number(word)) for word in after(rest, b":").split(b";") if word) - {0}
    return OK


# -- the rest ----------------------------------------------------------------------------------------------


@command("qXfer")
def objects(server: Server, rest: bytes) -> bytes:
    return transfer(server, after(rest, b":"))


@command("vFile")
def files(server: Server, rest: bytes) -> bytes:
    return vfile(server, after(rest, b":"))


@command("qRcmd")
def monitor_command(server: Server, rest: bytes) -> bytes:
    words = raw(after(rest, b",")).decode(errors="replace")
    return hexed(monitor(server, words).encode(errors="surrogateescape")[: MAX_PACKET // 2 - 16])
