"""The server: one connection of gdb, its commands and their answers (gdb manual, appendix E).

`Server.report` and `Server._gone` are called by `Control` when something has stopped; they answer gdb and then obey it
until it lets something run.  While processes run, a thread waits for bytes and has `_on_input` called in the hub.
"""

from __future__ import annotations

import os
import select
import socket
import struct
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Optional

import machine.observe.gdb.commands
import machine.observe.gdb.running  # noqa: F401  (registers its commands)
from machine.kernel.abi.errno import Errno
from machine.observe.gdb.control import Control, Inferior
from machine.observe.gdb.packets import INTERRUPT, MAX_PACKET, Gone, Link, hexed, unescape
from machine.observe.gdb.past import restore, state_of
from machine.observe.gdb.registers import layout, read_all
from machine.observe.gdb.signals import to_gdb
from machine.observe.gdb.stops import ATTACHED, INTERRUPTED, Stop
from machine.observe.gdb.table import find

if TYPE_CHECKING:
    from machine.kernel.kernel import Kernel
    from machine.kernel.task.task import Task
    from machine.observe.symbols import ReadFile

POLL = 0.2
"""Seconds between two looks at whether the machine is to end while gdb thinks."""
AFTERWARDS = "gdb still shows the registers of before: maintenance flush register-cache\n"
"""What is said after `monitor goto`."""
MAX_SAID = MAX_PACKET // 2 - 16
"""Bytes of a text for gdb's user."""
MALFORMED = (ValueError, LookupError, struct.error, OverflowError, TypeError)
"""What a handler raises for a packet that makes no sense."""

_GOES_ALONG = (
    "extended",
    "multiprocess",
    "single",
    "resuming",
    "owed",
    "program",
    "environment",
    "directory",
    "answering",
)

Spawn = Callable[[Sequence[str], dict[str, Optional[str]], Optional[str]], Any]
"""Starts a program: words, changes to the environment, directory; returns a `Spawned`.  Errno, ConfigError."""


class Server:
    """Listens on `host`:`port` (0: any free one, `address` says which).  `say` takes lines for the user."""

    def __init__(
        self, kernel: Kernel, host: str, port: int, say: Callable[[str], None], spawn: Optional[Spawn] = None
    ) -> None:
        self.kernel = kernel
        self.say = say
        self.spawn = spawn
        self.control = Control(kernel, self.report, self._gone)
        self.link: Optional[Link] = None
        self.stopped = False
        """Nothing that is debugged runs: gdb has the word."""
        self.extended = False
        self.multiprocess = False
        self.single = False
        """There will be no second connection: a gdb that we started ourselves."""
        self.awaits = False
        """A program waits for gdb.  From a signal handler: False, it goes on without."""
        self.abandoned = False
        """The gdb that we started has ended."""
        self.general: Optional[Task] = None
        """The thread that g, m and their like are about (Hg)."""
        self.resuming: Optional[int] = None
        """The process of Hc and of a plain ``c``."""
        self.why = ATTACHED
        self.owed = False
        """Whether gdb waits for the news of a stop."""
        self.answering = False
        """gdb waits for the answer to a `monitor` that lets the machine go elsewhere."""
        self.last: Optional[Task] = None
        """The thread that stopped last, for the reason `why`."""
        self.program = ""
        """What vRun starts when gdb does not say."""
        self.environment: dict[str, Optional[str]] = {}
        self.directory: Optional[str] = None
        self.files: dict[int, Any] = {}
        self.faults: Any = None
        self.travel: Any = None
        """Going back (observe/travel), when the session was started with it."""
        self.read_file: ReadFile = lambda _path: b""
        self._running_program = False
        self._listener = socket.create_server((host, port), backlog=1)
        self.address: tuple[str, int] = self._listener.getsockname()[:2]
        self._wake = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._armed = threading.Event()
        self._closed = False
        self._thread = threading.Thread(target=self._watch, daemon=True, name="gdb")
        self._thread.start()
        kernel.debugger = self.control

    # -- life ------------------------------------------------------------------------------------

    def close(self) -> None:
        """End of the machine."""
        self._closed = True
        self._armed.set()
        os.write(self._wake[1], b"x")
        self._thread.join()
        self._drop()
        self.control.close()
        self._listener.close()
        for descriptor in self._wake:
            os.close(descriptor)

    def listen_while_running(self) -> None:
        """Let gdb come when it likes: it finds the machine running."""
        self._armed.set()

    def busy(self) -> bool:
        """Whether gdb may still want something of the machine after the user's programs have ended."""
        return bool(self.control.inferiors) or self.control.next_exec is not None

    def _watch(self) -> None:
        """The thread: wait for bytes, or for a connection, whenever armed."""
        while True:
            self._armed.wait()
            if self._closed:
                return
            link = self.link
            source: Any = self._listener if link is None else link
            try:
                ready, _, _ = select.select([source, self._wake[0]], [], [])
            except (OSError, ValueError):
                ready = [source]
            if self._closed:
                return
            self._armed.clear()
            if ready:
                self.kernel.sched.interrupt(self._on_input)

    def _on_input(self) -> None:
        """In the hub, while the machine runs: gdb has come, or sent something."""
        if self._closed or self.stopped:
            return
        try:
            if self.link is None:
                if select.select([self._listener], [], [], 0)[0]:
                    self._accept()
            else:
                self._hear(self.link)
            self._take_packets()
        except Gone:
            self._lost()
        if self.stopped:
            self._converse()
        self._armed.set()

    def _hear(self, link: Link) -> None:
        """Bytes have come; the first of a connection stop the machine, unless they are not gdb's.  Gone."""
        begun = link.begun
        link.fill(0)
        if link.begins() and not begun:
            self._find_processes()

    def _accept(self) -> None:
        stream, _ = self._listener.accept()
        self.awaits = False
        self.link = Link(stream)
        self.extended = self.multiprocess = self.owed = False
        self.control.follows = dict.fromkeys(self.control.follows, False)

    def _find_processes(self) -> None:
        """gdb has come to a running machine: it finds the programs that the user has started."""
        for spawned in self.kernel.spawned.values():
            if not spawned.ended and spawned.task.start is None and spawned.pid not in self.control.inferiors:
                self.control.attach(spawned.pid)
        self.general = None
        self.control.interrupt(ATTACHED)

    def _drop(self) -> None:
        if self.link is not None:
            self.link.close()
            self.link = None
            self.awaits = self.stopped
        for opened in self.files.values():
            opened.put()
        self.files.clear()

    def _lost(self) -> None:
        """gdb is gone without a word: its processes stay as they are for the next, unless there will be none."""
        if self.link is not None and not self.link.begun and not self.single:
            self._drop()
            self.say("nopage: somebody who does not speak as gdb does connected to its port: turned away")
            return
        self._drop()
        self.control.catch(None)
        self.control.passed = frozenset()
        self._running_program = False
        for inferior in self.control.inferiors.values():
            inferior.breakpoints.clear()
        if self.single or not self.control.inferiors:
            self._leave()
        elif self.stopped:
            self.say(f"nopage: gdb is gone; {self.waiting()}")

    def _leave(self) -> None:
        """Everything goes on without gdb; what it had started ends."""
        for tgid, inferior in list(self.control.inferiors.items()):
            if inferior.attached:
                self.control.detach(tgid)
            else:
                self.control.kill(tgid)
        self.stopped = False

    def waiting(self) -> str:
        """What the user is told while nobody is connected."""
        host, port = self.address
        place = f":{port}" if host in ("127.0.0.1", "0.0.0.0") else f"{host}:{port}"
        return f"waiting for gdb on {host}:{port}: gdb -ex 'target extended-remote {place}' (Ctrl-C: go on without)"

    # -- what has stopped ------------------------------------------------------------------------------

    def report(self, task: Task, why: Stop) -> None:
        """A thread has stopped: tell gdb, and obey it until it goes on."""
        self.general = task
        self.resuming = task.tgid
        self.why = why
        said = why.said if not why.said or why.said.endswith("\n") else why.said + "\n"
        if self.answering:
            self.answering = False
            self._send(hexed((said + AFTERWARDS).encode()[:MAX_SAID]))
        elif said and self.owed:  # gdb prints it while it waits
            self._send(b"O" + hexed(said.encode(errors="surrogateescape")[:MAX_SAID]))
        elif why.said and self.link is None:
            self.say(why.said.rstrip())
        self._stopped(task, self.reply(task, why))

    def still_busy(self) -> None:
        """An answer takes its time: gdb, which waits for two seconds, would ask for the last one again."""
        if self.link is not None:
            self._send(b"O")

    def _gone(self, inferior: Inferior, status: int) -> None:
        """A process has ended (status as of wait4; -1: its program could not be started)."""
        if self.travel is not None and self.travel.timeline.silent:
            return
        if self._running_program and status < 0:
            self._running_program = False
            self._stopped(None, b"E.the program could not be started")
            return
        if self.link is None or status < 0:
            return
        kind = b"X%02x" % to_gdb(status & 0x7F) if status & 0x7F else b"W%02x" % (status >> 8 & 0xFF)
        suffix = b";process:%x" % inferior.tgid if self.multiprocess else b""
        self._stopped(None, kind + suffix)

    def _stopped(self, task: Optional[Task], answer: bytes) -> None:
        self.last = task
        self._running_program = False
        if task is None:
            self.general = None
        self.stopped = True
        self.awaits = self.link is None  # before the user is told how to end it
        if self.link is None:
            self.say(f"nopage: {self.waiting()}")
        elif self.owed:
            self.owed = False
            self._send(answer)
        self._converse()
        self._armed.set()

    def reply(self, task: Task, why: Stop) -> bytes:
        """What gdb is told of a stop."""
        answer = b"T%02x" % to_gdb(why.signo) + self._detail(why.detail)
        answer += b"thread:%s;" % self.thread_id(task)
        values = read_all(self.kernel, task)
        for number, register in enumerate(layout(task.abi.bits)):
            if register.name in ("rip", "rsp", "rbp", "eip", "esp", "ebp"):
                data = values[register.offset : register.offset + register.size]
                answer += b"%x:%s;" % (number, data.hex().encode())
        return answer

    def _detail(self, detail: bytes) -> bytes:
        """Thread numbers in a reason, as this gdb wants them."""
        kind, _, rest = detail.partition(b":p")
        return detail if self.multiprocess or not rest else kind + b":" + rest.partition(b".")[2]

    def thread_id(self, task: Task) -> bytes:
        """How gdb calls a thread."""
        return b"p%x.%x" % (task.tgid, task.pid) if self.multiprocess else b"%x" % task.pid

    # -- the conversation -------------------------------------------------------------------------------

    def _converse(self) -> None:
        """Obey gdb until something is to run."""
        sched = self.kernel.sched
        while self.stopped:
            if sched.until() and self.control.inferiors:  # --timeout
                if self.link is None:
                    self._go_on_without()
                else:
                    self._leave()
                return
            try:
                if self.link is None:
                    self._await_gdb()
                else:
                    self.link.fill(POLL)
                self._take_packets()
            except Gone:
                self._lost()

    def _await_gdb(self) -> None:
        """Wait for a connection, or for somebody to clear `awaits`."""
        if select.select([self._listener], [], [], POLL)[0]:
            self._accept()
        elif self.abandoned:
            self._leave()
        elif not self.awaits:
            self._go_on_without()

    def _go_on_without(self) -> None:
        self.control.detach_all()
        self.stopped = False

    def _take_packets(self) -> None:
        while self.link is not None:
            item = self.link.next()
            if item is None:
                return
            if item is INTERRUPT:
                if not self.stopped:
                    self.control.interrupt(INTERRUPTED)
                continue
            assert isinstance(item, bytes)
            answer = self.answer(item)
            if answer is not None:
                self._send(answer)

    def answer(self, packet: bytes) -> Optional[bytes]:
        """The answer to one packet; None where it comes later, or never."""
        data = unescape(packet)
        handler, rest = find(data)
        if handler is None:
            return b""
        try:
            return handler(self, rest)
        except Errno as error:
            return b"E%02x" % (error.errno & 0xFF)
        except MALFORMED:
            return b"E16"

    def _send(self, answer: bytes) -> None:
        try:
            if self.link is not None:
                self.link.send(answer)
        except Gone:
            self._lost()

    # -- going back -----------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """What goes along into another time (observe/travel)."""
        link = self.link
        return {
            "control": state_of(self.control), "link": link and (link.acknowledged, bytes(link._buffer)),
            **{name: getattr(self, name) for name in _GOES_ALONG},
        }  # fmt: skip

    def descriptors(self) -> list[int]:
        """The connection."""
        return [] if self.link is None else [self.link.stream.fileno()]

    def restore(self, state: dict[str, Any], descriptors: list[int]) -> None:
        """The other way; the thread that waits for bytes is one of this process."""
        restore(self.control, state["control"])
        for name in _GOES_ALONG:
            setattr(self, name, state[name])
        self.general = self.last = None
        self.stopped = False
        self.files.clear()
        self.link = None
        if not descriptors:
            return
        self.link = Link(socket.socket(fileno=descriptors[0]))
        self.link.begun = True
        self.link.acknowledged, buffer = state["link"]
        self.link._buffer += buffer
        self._wake = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._armed = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True, name="gdb")
        self._thread.start()

    # -- for the commands ---------------------------------------------------------------------------------

    def task(self) -> Task:
        """The thread that a command is about.  Errno(ESRCH) when there is none."""
        task = self.general
        threads = self.control.threads()
        if task in threads:
            assert task is not None
            return task
        if not threads:
            raise Errno(3)
        self.general = threads[0]
        return threads[0]

    def inferior(self) -> Inferior:
        """The process of `task`."""
        return self.control.inferiors[self.task().tgid]

    def run_on(self, choose: Callable[[Task], Optional[tuple[bool, int]]]) -> None:
        """Let threads run, as `Control.resume`."""
        self.owed = True
        self.control.resume(choose)
        self.stopped = False

    def start_program(self, words: Sequence[str]) -> None:
        """vRun: the answer is the stop at its entry."""
        assert self.spawn is not None
        spawned = self.spawn(words, self.environment, self.directory)
        self.control.next_exec = spawned.task
        self._running_program = True
        self.run_on(lambda task: None)

    def attach(self, tgid: int) -> None:
        """vAttach: the answer is the stop."""
        self.control.attach(tgid)
        self.owed = True
        self.stopped = False
        self.control.interrupt(ATTACHED, tgid)


__all__ = ["Server"]
