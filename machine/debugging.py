"""``--gdb`` and ``nopage debug``: a session whose last program is debugged."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Optional

from machine.errors import ConfigError, NopageError
from machine.kernel.abi.errno import ENOEXEC, Errno
from machine.observe.breakon import Break, BreakOn
from machine.observe.gdb.server import Server

if TYPE_CHECKING:
    from machine.kernel.task.spawn import Spawned
    from machine.machine import Machine

_ENDS_THE_WAIT = (signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGHUP)
GDB = "GDB"
"""Variable of the environment that names another gdb for ``nopage debug``."""


class Debugging:
    """The server of a session's machine.  `where`: (host, port, whether the program waits for gdb).

    `start_gdb` starts one on this terminal, when there is one.  ConfigError: the port can't be had.
    """

    def __init__(
        self, machine: Machine, where: tuple[str, int, bool], start_gdb: bool, say: Callable[[str], None]
    ) -> None:
        host, port, self.waits = where
        self.machine = machine
        self.gdb: Optional[subprocess.Popen[bytes]] = None
        self._quiet = False
        self._breaks: Optional[BreakOn] = None
        self._say = say
        try:
            self.server = Server(machine.kernel, host, port, self._tell, self._spawn)
        except OSError as error:
            raise ConfigError(f"--gdb {host}:{port}: {error.strerror}") from None
        self.server.read_file = machine.read_file
        if start_gdb:
            self._start_gdb()
        elif not self.waits:
            self._tell(f"nopage: gdb can connect to {':'.join(map(str, self.server.address))}")

    def _tell(self, line: str) -> None:
        if not self._quiet:
            self._say(line)

    def _start_gdb(self) -> None:
        name = os.environ.get(GDB) or "gdb"
        program = shutil.which(name)
        if program is None:
            self._tell(f"nopage: there is no {name} here (apt install gdb)")
            return
        host, port = self.server.address
        self.server.single = self._quiet = True
        self.gdb = subprocess.Popen([program, "-q", "-ex", f"target extended-remote {host}:{port}"])
        threading.Thread(target=self._watch_gdb, daemon=True).start()

    def _watch_gdb(self) -> None:
        assert self.gdb is not None
        self.gdb.wait()
        self.server.abandoned = True
        self.machine.kernel.sched.interrupt(lambda: None)

    def begin(self, process: Spawned) -> None:
        """The program that is debugged is about to start."""
        self.server.program = process.argv0
        if self.waits:
            self.server.control.next_exec = process.task
        else:
            self.server.listen_while_running()

    def break_on(self, breaks: Sequence[Break]) -> None:
        """--break-on: gdb is told what was found, and has the word."""
        try:
            self._breaks = BreakOn(self.server.control, list(breaks), self.machine.read_file)
        except ValueError as error:
            raise ConfigError(f"--break-on {error}") from None

    def never(self) -> list[str]:
        """`BreakOn.never`; nothing when gdb has gone."""
        return [] if self._breaks is None or self.server.link is None else self._breaks.never()

    def _spawn(self, words: Sequence[str], environment: dict[str, Optional[str]], directory: Optional[str]) -> Any:
        """gdb's `run`."""
        machine = self.machine
        variables = {name: value for name, value in environment.items() if value is not None}
        try:
            return machine.spawn(words, stdin=0, stdout=1, stderr=2, env=variables, cwd=directory)
        except NopageError:
            raise Errno(ENOEXEC) from None

    def hears(self, signo: int) -> bool:
        """A signal from outside while the program waits for gdb ends that, and Ctrl-C does nothing else (True)."""
        if not self.server.awaits or signo not in _ENDS_THE_WAIT:
            return False
        self.server.awaits = False
        return signo == signal.SIGINT

    @property
    def front(self) -> Server:
        """Who talks to the user."""
        return self.server

    @property
    def left(self) -> bool:
        """Whether the user has left our gdb: nothing that it killed is worth a word."""
        return self.gdb is not None and self.server.link is None

    def finish(self) -> None:
        """The session's programs have ended: what gdb started itself goes on until gdb has enough."""
        kernel = self.machine.kernel
        while self.server.busy() and kernel.halted is None:
            kernel.sched.run(lambda: not self.server.busy() or kernel.halted is not None)

    def close(self) -> None:
        """End the server, and wait for our gdb to end."""
        self.server.close()
        if self.gdb is not None:
            self.gdb.wait()
