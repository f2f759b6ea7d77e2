"""The prompt: a stopped program's user asks, and lets it go on.

It is one of the two faces of `Control` (gdb's server is the other): `report` is called on the stopped task's kernel
stack and returns when the task is to go on.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, NamedTuple, Optional

from machine.events import PageFault
from machine.kernel.abi.errno import ESRCH, Errno
from machine.kernel.abi.signal import NAMES, SIGTRAP
from machine.kernel.module import DebuggerLeft
from machine.observe.gdb.control import Control, Inferior
from machine.observe.gdb.stops import Stop
from machine.observe.prompt.commands import COMMANDS, find
from machine.observe.prompt.look import here
from machine.observe.symbols import ReadFile, Symbols

if TYPE_CHECKING:
    from machine.kernel.kernel import Kernel
    from machine.kernel.task.task import Task

PROMPT = "nopage> "


class Console(NamedTuple):
    """Where commands come from, and where answers go."""

    read: Callable[[str], Optional[str]]
    """Shows the prompt and gives one line; None at the end of the input.  KeyboardInterrupt: Ctrl-C."""
    write: Callable[[str], None]
    interactive: bool
    """A person is there: the end of the input means to leave.  Else the program goes on and stops no more."""
    ready: Callable[[], AbstractContextManager[None]]
    """Makes the terminal the user's for the time of a stop."""


class Prompt:
    """`breaks` is set by whoever makes it (`BreakOn`)."""

    def __init__(self, kernel: Kernel, console: Console, read_file: ReadFile) -> None:
        self.kernel = kernel
        self.console = console
        self.symbols = Symbols(read_file)
        self.read_file = read_file
        self.control = Control(kernel, self.report, self._gone)
        self.control.waits_for_user = False
        self.control.passed = frozenset(NAMES)
        self.faults: Any = None
        """What `faults` keeps, from its first use."""
        self.breaks: Any = None
        self.travel: Any = None
        """Going back (observe/travel), when the session was started with it."""
        self.answering = False
        self.why = Stop(SIGTRAP)
        self.going: Optional[Callable[[], None]] = None
        """Set by a command that lets the program go on: what to do then."""
        self.steps = 0
        """Instructions still to be made before the next stop is told."""
        self._general: Optional[Task] = None
        self._repeat = ""
        kernel.debugger = self.control

    def task(self) -> Task:
        """The thread that has stopped.  Errno(ESRCH): none."""
        if self._general is None:
            raise Errno(ESRCH)
        return self._general

    @property
    def last_fault(self) -> Optional[PageFault]:
        """The fault at which the program stopped last."""
        found: Optional[PageFault] = self.breaks.last_fault if self.breaks is not None else None
        return found

    # -- stopping ------------------------------------------------------------------------------------

    def report(self, task: Task, why: Stop) -> None:
        """A thread has stopped: obey until it is to go on."""
        self._general, self.why = task, why
        if self.steps > 1 and not why.said:
            self.steps -= 1
            self.resume(step=True)
            return
        self.steps = 0
        text = why.said or ""
        if not text.endswith("\n"):
            text += ("\n" if text else "") + here(self) + "\n"
        while True:
            with self.console.ready():
                self.console.write(text)
                self.going = None
                while self.going is None:
                    self._one()
                going, self.going = self.going, None
            try:
                going()
                return
            except ValueError as error:  # it can't go there
                text = f"{error}\n"

    def state(self) -> dict[str, Any]:
        """What of the prompt goes along into another time."""
        return {"repeat": self._repeat}

    def descriptors(self) -> list[int]:
        """Nothing but what all processes of a session have."""
        return []

    def still_busy(self) -> None:
        """A person waits."""

    def restore(self, state: dict[str, Any], _descriptors: list[int]) -> None:
        """The other way."""
        self._repeat, self.steps = state["repeat"], 0

    def _one(self) -> None:
        try:
            line = self.console.read(PROMPT)
        except KeyboardInterrupt:
            self.console.write("\n")
            return
        if line is None:
            self.console.write("\n" if self.console.interactive else "")
            self.going = self.leave if self.console.interactive else self.let_go
            return
        line = line.split("#", 1)[0].strip()
        if not line and self.console.interactive:
            line = self._repeat
        if line:
            self._repeat = line
            self.obey(line)

    def obey(self, line: str) -> None:
        """Carry out one command; what is wrong with it is said."""
        try:
            words = shlex.split(line)
            name, rest = words[0], words[1:]
            command, name = find(name)
            self.console.write(COMMANDS[command].function(self, name, rest))
        except ValueError as error:
            self.console.write(f"{error}\n")
        except Errno:
            self.console.write("that process has ended\n")

    def _gone(self, _inferior: Inferior, _status: int) -> None:
        """A process has ended; the session says how."""

    # -- going on ----------------------------------------------------------------------------------------

    def resume(self, step: bool = False) -> None:
        """Let all run; the stopped thread for one instruction when `step`.  A signal that stopped it is delivered."""
        stopped = self._general
        signo = self.why.signo if stopped in self.control.siginfo else 0
        self.control.resume(lambda task: (step, signo) if task is stopped else (False, 0))

    def let_go(self) -> None:
        """There is nobody to ask any more: run to the end."""
        self.breaks.close()
        self.resume()
        self.control.detach_all()

    def leave(self) -> None:
        """``quit``: the machine stops for good."""
        self.breaks.close()
        self.kernel.sched.held.tasks.add(self.task())
        self.kernel.halt(DebuggerLeft())

    def close(self) -> None:
        """End of the machine."""
        if self.faults is not None:
            self.faults.close()
        self.control.close()
