"""gdb's commands about what runs: going on, stepping, starting, attaching, leaving, killing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Optional

from machine.kernel.abi.errno import ENOEXEC, EPERM, ESRCH, Errno
from machine.kernel.abi.signal import SIGTRAP
from machine.observe.gdb.packets import number, raw
from machine.observe.gdb.registers import write_one
from machine.observe.gdb.signals import from_gdb
from machine.observe.gdb.stops import Stop
from machine.observe.gdb.table import COMMANDS, OK, Handler, after, command, parse_thread

if TYPE_CHECKING:
    from machine.kernel.task.task import Task
    from machine.observe.gdb.server import Server

Action = Optional[tuple[bool, int]]
"""(step, signal or 0) for a thread; None: it stays."""


@command("vCont")
def resume(server: Server, rest: bytes) -> Optional[bytes]:
    if rest == b"?":
        return b"vCont;c;C;s;S;t"
    actions: list[tuple[tuple[int, int], Action]] = []
    for word in after(rest, b";").split(b";"):
        what, _, who = word.partition(b":")
        actions.append((parse_thread(who) if who else (-1, -1), _action(what)))

    def choose(task: Task) -> Action:
        for (process, thread), action in actions:
            if process in (0, -1, task.tgid) and thread in (0, -1, task.pid):
                return action
        return None

    server.run_on(choose)
    return None


def _action(what: bytes) -> Action:
    letter, argument = what[:1], what[1:]
    if letter in (b"c", b"s") and not argument:
        return letter == b"s", 0
    if letter in (b"C", b"S"):
        return letter == b"S", from_gdb(number(argument))
    if what == b"t":
        return None
    raise ValueError(what)


def _plain(letter: bytes) -> Handler:
    def handler(server: Server, rest: bytes) -> Optional[bytes]:
        signo = 0
        if letter in b"CS":
            text, _, rest = rest.partition(b";")
            signo = from_gdb(number(text))
        if rest:
            current = server.task()
            word = current.abi.word
            register = 16 if current.abi.bits == 64 else 8
            write_one(server.kernel, current, register, number(rest).to_bytes(word, "little"))
        task = server.general
        step = letter in b"sS"

        def choose(each: Task) -> Action:
            if server.resuming is not None and each.tgid != server.resuming:
                return None
            return (step, signo) if each is task else (False, 0)

        server.run_on(choose)
        return None

    return handler


for _letter in (b"c", b"s", b"C", b"S"):
    COMMANDS[_letter] = _plain(_letter)


@command("b")
def go_back(server: Server, rest: bytes) -> Optional[bytes]:
    """``bs`` and ``bc``: reverse-stepi, reverse-continue; the answer comes from another process, which is there."""
    travel = server.travel
    if travel is None or rest not in (b"s", b"c"):
        return b""
    task = server.task()
    server.owed = True
    try:
        (travel.reverse_step if rest == b"s" else travel.reverse_continue)()
    except ValueError:
        pass
    server.owed = False
    return server.reply(task, Stop(SIGTRAP, b"replaylog:begin;"))


@command("D")
def detach(server: Server, rest: bytes) -> bytes:
    """One process, or all, go on without gdb; the rest stay stopped."""
    control = server.control
    if rest:
        tgid = number(after(rest, b";"))
        if tgid not in control.inferiors:
            raise Errno(ESRCH)
        control.detach(tgid)
    else:
        control.detach_all()
    if not control.inferiors:
        server.stopped = False
    return OK


@command("k")
def kill_all(server: Server, _rest_: bytes) -> None:
    for tgid in list(server.control.inferiors):
        server.control.kill(tgid)


@command("vKill")
def kill(server: Server, rest: bytes) -> bytes:
    tgid = number(after(rest, b";"))
    if tgid not in server.control.inferiors:
        raise Errno(ESRCH)
    server.control.kill(tgid)
    return OK  # it dies when the machine goes on


@command("R")
def restart(_server: Server, _rest_: bytes) -> None:
    """Old gdbs; nothing is answered, and they use vRun."""


@command("vRun")
def run(server: Server, rest: bytes) -> Optional[bytes]:
    if server.spawn is None:
        raise Errno(EPERM)
    words = [raw(word).decode(errors="surrogateescape") for word in after(rest, b";").split(b";")]
    if not words[0]:
        words[0] = server.program
    if not words[0]:
        raise Errno(ENOEXEC)
    server.start_program(words)
    return None


@command("vAttach")
def attach(server: Server, rest: bytes) -> None:
    tgid = number(after(rest, b";"))
    leader = server.kernel.tasks.get(tgid)
    if leader is None or leader.pid != leader.tgid or tgid <= 1 or not hasattr(leader, "mm") or leader.mm.closed:
        raise Errno(ESRCH)
    traced = any(task.tgid == tgid and task.ptrace is not None for task in server.kernel.tasks.values())
    if traced or tgid in server.control.inferiors:  # as Linux: one tracer each, a program of the guest's or gdb
        raise Errno(EPERM)
    server.attach(tgid)


@command("QEnvironmentHexEncoded")
def set_variable(server: Server, rest: bytes) -> bytes:
    name, equals, value = raw(after(rest, b":")).decode(errors="surrogateescape").partition("=")
    if not equals or not name:
        raise ValueError(name)
    server.environment[name] = value
    return OK


@command("QEnvironmentUnset")
def unset_variable(server: Server, rest: bytes) -> bytes:
    server.environment[raw(after(rest, b":")).decode(errors="surrogateescape")] = None
    return OK


@command("QEnvironmentReset")
def reset_environment(server: Server, _rest_: bytes) -> bytes:
    server.environment.clear()
    return OK


@command("QSetWorkingDir")
def set_directory(server: Server, rest: bytes) -> bytes:
    server.directory = raw(after(rest, b":")).decode(errors="surrogateescape") or None
    return OK
