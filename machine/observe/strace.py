"""The strace view: every system call and signal, as ``strace -f`` shows them.

Nothing here knows a call by heart that the table of system calls can describe: a row's types
(`machine/kernel/syscalls/table.py`) say how each argument is decoded, so that what the kernel converts and what is
shown can't drift apart.  A type is ``CONVERSION`` or ``CONVERSION:DECODER``.  The decoders:

* ``flags:PROT_``, ``uint:SEEK_``, ...: a set of flags or an enumeration of `strace_flags`;
* ``x``, ``oct``, ``signal``, ``creat``, ``fixed``, ``pgoff``: a number in hexadecimal or octal, a signal, the mode of
  open, the new address of mremap, the offset of mmap2;
* ``data``, ``data>``, ``str>``, ``cwd>``, ``random>``, ``dirents>``: bytes, as many as the next argument says, or as
  the result says;
* ``argv``, ``envp``, ``iov``, ``iov>``: vectors (the count is the next argument);
* ``ts``, ``ts64``, ``tv``, ``itv``, ``its``, ``rem>``: times;
* ``sigset``, ``oldset``, ``sigaction``, ``siginfo``, ``stack``, ``wstatus>``: signals and what becomes of children;
* ``stat``, ``stat64``, ``statx``, ``uname``, ``rlimit``, ``rlimit64``, ``rusage``, ``tms``: structures;
* ``int``, ``uid``, ``u16``, ``long``, ``off64``, ``fds``: the number that a pointer points to, or two descriptors;
* ``poll``, ``fdset``, ``epoll``, ``epolls>``: what is waited for;
* ``ioctl``, ``ioctl_arg>``, ``fcntl_arg>``: a command and what belongs to it.

A structure's name takes a ``>`` where the kernel fills it in: then it is shown when the call has succeeded.
Plain pointers are shown as addresses; the calls of `strace_calls` are shown as a whole.
"""

from __future__ import annotations

import os
from collections import Counter
from typing import TYPE_CHECKING, Optional

from machine.events import Events, Signal, SyscallEnter, SyscallExit, TaskEvent
from machine.kernel.abi.errno import NAMES
from machine.kernel.abi.signal import SI_KERNEL, SIGBUS, SIGFPE, SIGILL, SIGKILL, SIGSEGV, SIGTRAP, layout_of
from machine.kernel.syscalls.table import ROWS
from machine.observe.output import Output
from machine.observe.strace_args import Call, argument, descriptor_text, is_output, pointer, quote
from machine.observe.strace_calls import AUX, WHOLE
from machine.observe.strace_flags import signal_name
from machine.observe.strace_sockets import remember
from machine.observe.strace_structs import siginfo_text

if TYPE_CHECKING:
    from machine.kernel.task.task import Task
    from machine.observe.strace_expr import Expressions

RESTARTS = {
    512: "ERESTARTSYS (To be restarted if SA_RESTART is set)",
    513: "ERESTARTNOINTR (To be restarted)",
    514: "ERESTARTNOHAND (To be restarted if no handler)",
    516: "ERESTART_RESTARTBLOCK (Interrupted by signal)",
}
RESULT_COLUMN = 40
_FAULTS = (SIGILL, SIGTRAP, SIGBUS, SIGFPE, SIGSEGV)
ENOSYS = 38


class _Pending:
    """A call between its beginning and its end: what of it is on the screen."""

    __slots__ = ("call", "interrupted", "left", "shown", "text")

    def __init__(self, call: Call) -> None:
        self.call = call
        self.text = ""
        self.left = 0
        """Index of the first argument that is still to be shown."""
        self.shown = 0
        self.interrupted = False


class Strace:
    """Listens for system calls, signals and the ends of tasks, and writes a line each.

    `expressions` chooses (``-e``), `paths` shows what descriptors are (1: ``-y``, 2: ``-yy``).
    """

    def __init__(
        self, events: Events, output: Output, expressions: Optional[Expressions] = None, paths: int = 0
    ) -> None:
        self.output = output
        self._chosen = expressions
        self._paths = paths
        self._events = events
        self._pending: dict[int, _Pending] = {}
        self._tasks: set[int] = set()
        self._spawned: set[int] = set()
        """Programs that the user started, whose first call is still to come."""
        self.missing: Counter[str] = Counter()
        self._listeners = (
            ("syscall_enter", self.on_enter), ("syscall_exit", self.on_exit), ("signal", self.on_signal),
            ("task", self.on_task),
        )  # fmt: skip
        for kind, listener in self._listeners:
            events.listen(kind, listener)

    def close(self) -> None:
        """Calls that never ended, the summary; no more is shown."""
        for kind, listener in self._listeners:
            self._events.unlisten(kind, listener)
        for pid in list(self._pending):
            self._abandon(pid, " <detached ...>")
        if self.missing:
            calls = ", ".join(f"{name} ({count})" for name, count in self.missing.most_common())
            self.output.line(f"not implemented (ENOSYS): {calls}")

    def _prefix(self, pid: int) -> str:
        return f"[pid {pid:5}] " if len(self._tasks) > 1 else ""

    # -- a call begins --------------------------------------------------------------------------------

    def on_enter(self, event: SyscallEnter) -> None:
        """Show the call and the arguments that are known now."""
        pid = event.pid
        self._tasks.add(pid)
        if pid in self._spawned:
            self._spawned.discard(pid)
            if self._chosen is None or self._chosen.shows("execve"):
                self._show_first_exec(event.task)
        if self._chosen is not None and not self._chosen.shows(event.name):
            return
        row = ROWS[event.abi].get(event.name)
        types = row.types if row is not None else ("ptr:x",) * 6
        pending = self._pending[pid] = _Pending(Call(event.task, event.abi, event.name, types, event.args))
        pending.call.paths = self._paths
        pending.text = f"{self._prefix(pid)}{event.name}("
        self._add_arguments(pending, False)
        self.output.begin(pending.text, lambda: self._unfinished(pending))

    @staticmethod
    def _add_arguments(pending: _Pending, ended: bool) -> None:
        """Append to the text what can be shown; a call of `WHOLE` is formatted by its own function."""
        call = pending.call
        whole = WHOLE.get(call.name)
        if whole is not None:
            if not pending.shown:
                pending.shown, pending.left = 1, len(call.types)
                pending.text += ", ".join(whole(call))
            return
        while pending.left < len(call.types):
            if not ended and is_output(call, pending.left):
                remember(call)
                if pending.shown:
                    pending.text += ", "
                    pending.shown = 0
                return
            text = argument(call, pending.left)
            pending.left += 1
            if text is not None:
                pending.text += f", {text}" if pending.shown else text
                pending.shown += 1

    def _unfinished(self, pending: _Pending) -> str:
        pending.interrupted = True
        return " <unfinished ...>"

    # -- a call ends -----------------------------------------------------------------------------------------

    def on_exit(self, event: SyscallExit) -> None:
        """Show the arguments that the kernel filled in, and the result."""
        pending = self._pending.pop(event.pid, None)
        if pending is None:
            return
        call = pending.call
        call.result = event.result
        row = ROWS[event.enter.abi].get(call.name)
        if row is None and event.result == -ENOSYS:
            self.missing[call.name] += 1
        before = len(pending.text)
        if pending.interrupted:
            pending.text = f"{self._prefix(event.pid)}<... {call.name} resumed>"
            before = 0
        self._add_arguments(pending, True)
        result = self._result(call, "int" if row is None else row.result)
        line = f"{pending.text + ')':<{RESULT_COLUMN - 1}} = {result}{event.tampered}"
        self._finish(pending, before, line)

    def _finish(self, pending: _Pending, already: int, line: str) -> None:
        if pending.interrupted:
            self.output.line(line)
        else:
            self.output.finish(line[already:])

    @staticmethod
    def _result(call: Call, style: str) -> str:
        result = call.result
        assert result is not None
        if -result in RESTARTS:
            return f"? {RESTARTS[-result]}"
        if call.failed:
            name = NAMES.get(-result, str(-result))
            return f"-1 {name} ({os.strerror(-result)})"
        aux = AUX[call.name](call) if call.name in AUX else ""
        if style == "hex" or aux.startswith(" (flags"):
            text = f"{result & call.abi.mask:#x}" if result else "0"
        elif style == "oct":
            text = f"0{result:02o}"
        else:
            text = str(result)
            if style == "fd":
                text += descriptor_text(call, result)
        return text + aux

    def _abandon(self, pid: int, why: str) -> None:
        """The call does not return."""
        pending = self._pending.pop(pid, None)
        if pending is None:
            return
        before = len(pending.text)
        if pending.interrupted:
            pending.text = f"{self._prefix(pid)}<... {pending.call.name} resumed>"
            before = 0
        left = pending.left < len(pending.call.types) and pending.call.name not in WHOLE
        self._finish(pending, before, f"{pending.text + (why if left else ')'):<{RESULT_COLUMN - 1}} = ?")

    # -- signals and tasks ----------------------------------------------------------------------------------------

    def on_signal(self, event: Signal) -> None:
        """``--- SIGSEGV {si_signo=SIGSEGV, si_code=SEGV_MAPERR, si_addr=0x10} ---``."""
        if event.signo == SIGKILL:  # a tracer does not see it either
            return
        if self._chosen is not None and not self._chosen.shows_signal(event.signo):
            return
        fields: dict[str, int] = {}
        if layout_of(event.signo, event.si_code) in ("fault", "sys"):
            fields["addr"] = event.address
        elif event.si_code != SI_KERNEL:
            fields = event.fields
        elif event.signo in _FAULTS:
            fields["addr"] = 0  # a general protection fault has no address
        self.output.line(f"{self._prefix(event.pid)}--- {signal_name(event.signo)} "
                         f"{siginfo_text(event.signo, event.si_code, fields)} ---")  # fmt: skip

    def on_task(self, event: TaskEvent) -> None:
        """Tasks come and go."""
        if event.what in ("fork", "thread"):
            self._tasks.add(int(event.detail))
        elif event.what == "exec" and event.pid not in self._pending:
            self._spawned.add(event.pid)
        elif event.what == "exit":
            self._abandon(event.pid, " <unfinished ...>")
            status = event.status
            how = f"exited with {status >> 8 & 0xFF}"
            if status & 0x7F:
                how = f"killed by {signal_name(status & 0x7F)}" + (" (core dumped)" if status & 0x80 else "")
            self.output.line(f"{self._prefix(event.pid)}+++ {how} +++")
            self._tasks.discard(event.pid)

    def _show_first_exec(self, task: Task) -> None:
        """The execve that started a program from outside: nobody made the call, so it is read off the process."""
        mm = task.mm
        call = Call(task, task.abi.name, "execve", (), ())
        words = call.memory(mm.arg_start, min(mm.arg_end - mm.arg_start, 4096)).split(b"\0")[:-1]
        count = call.memory(mm.env_start, mm.env_end - mm.env_start).count(b"\0")
        program = call.string(mm.env_end, 4096)  # AT_EXECFN: as it was asked for, not what a link led to
        shown = ", ".join(quote(word[:32], cut=len(word) > 32) for word in words)
        name = quote(program) if program else pointer(0)
        text = (
            f"{self._prefix(task.pid)}execve({name}, [{shown}], {mm.env_start:#x} /* {count} var{'s'[: count != 1]} */)"
        )
        self.output.line(f"{text:<{RESULT_COLUMN - 1}} = 0")
