"""The half of `Machine` that runs programs."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NoReturn, Optional, Union

from machine.defaults import GUEST_PATH
from machine.errors import ConfigError, NotExecutable, TimeoutExpired, halting, is_the_users
from machine.events import RegisterAccess, Signal
from machine.hardware.bus import Lockup
from machine.kernel.abi.errno import Errno
from machine.kernel.abi.signal import SIGINT
from machine.kernel.module import is_from_debugger
from machine.kernel.task.spawn import Spawned, spawn, wait_status
from machine.records import field, record

if TYPE_CHECKING:
    from machine.cores import Cores
    from machine.kernel.fs.file import file
    from machine.kernel.kernel import Kernel
    from machine.kernel.tty.console import Console
    from machine.process import Process

__tracebackhide__ = is_the_users

Input = Union[int, bytes, None]


@record
class Result:
    """What became of one program."""

    exit: int
    """Its exit status, or 128 + the signal's number."""
    signal: Optional[int]
    """The signal that killed it, else None."""
    stdout: bytes
    stderr: bytes
    faults: int
    """Page faults of the whole machine while it ran, minor and major."""
    syscalls: int
    """System calls likewise."""
    core: Optional[str] = None
    """Where its core is: a path of the host with `Machine(core=...)`, else of the guest."""
    fatal: Optional[Signal] = None
    """The delivery of the deadly signal."""
    first_access: int = 0
    """Where `bus` begins in the machine's record of accesses."""
    bus: list[RegisterAccess] = field(default_factory=list)
    """Accesses to device registers while it ran, in order."""


class Programs:
    """Programs of a machine: one after another, or several at once."""

    kernel: Kernel
    user: tuple[int, int]
    env: dict[str, str]
    cores: Cores
    commands: list[list[str]]
    on_run: Optional[Callable[[bool], None]]
    options: dict[str, Any]
    lacking: Callable[[], Sequence[str]]

    if TYPE_CHECKING:

        def entered(self) -> Any: ...
        def read_file(self, path: str) -> bytes: ...

    def spawn(
        self,
        argv: Sequence[str],
        *,
        stdin: Union[Input, file] = None,
        stdout: Optional[int] = None,
        stderr: Optional[int] = None,
        env: Optional[Mapping[str, str]] = None,
        cwd: Optional[str] = None,
        terminal: Optional[Console] = None,
    ) -> Spawned:
        """Start a program without running it yet; `wait` runs the machine until it ends.

        stdin: a host descriptor, bytes, or None for /dev/null; stdout, stderr: a host descriptor, or
        None to collect what is written.  CLOSED (-1) for any of them: the program has no such descriptor.
        `terminal` (machine.kernel.tty.console) takes the place of all three, and is the controlling terminal.
        """
        if not argv:
            raise ConfigError("no program given")
        self.commands.append(list(argv))
        environment = {**self.env, **(env or {})}
        with self.entered():
            try:
                process = spawn(
                    self.kernel,
                    [os.fsencode(word) for word in argv],
                    [os.fsencode(f"{name}={value}") for name, value in environment.items()],
                    stdin=stdin,
                    stdout=stdout,
                    stderr=stderr,
                    cwd=cwd,
                    user=self.user,
                    path=environment.get("PATH", GUEST_PATH),
                    terminal=terminal,
                )
            except Errno as error:
                raise NotExecutable(argv[0], error.errno) from None
            self.cores.start(process.task)
            return process

    def wait(self, process: Spawned, timeout: Optional[float] = None, max_ticks: Optional[int] = None) -> Result:
        """Run the machine until `process` ends.  TimeoutExpired after `timeout` seconds of host time, or `max_ticks`
        ticks: 50,000 basic blocks of code each, whoever runs them, which only a deterministic machine counts
        (ConfigError for another).  LimitReached when the machine has taken more of this computer than it may.

        When a debugger inside a driver was left (`quit` of pdb) its exception comes through, here and ever after.
        """
        __tracebackhide__ = True
        kernel = self.kernel
        self._check_ticks(max_ticks)
        since = self.marks()
        started = kernel.clock.ticks
        with self.entered():
            finished = wait_status(kernel, process, timeout, max_ticks, self._describe)
        if kernel.halted is not None:
            raise halting(kernel.halted)
        lockup = self.take_lockup()
        if lockup is not None:
            raise TimeoutExpired(process.argv0, timeout or 0, [*lockup.text.splitlines(), *process.tasks]) from lockup
        if not finished and kernel.bus.failures:
            self.raise_device_failure(None)
        if not finished and process.error is None:
            spent = None if max_ticks is None or kernel.clock.ticks - started < max_ticks else max_ticks
            raise TimeoutExpired(process.argv0, timeout or 0, process.tasks, ticks=spent)
        return self.result(process, since)

    def _check_ticks(self, max_ticks: Optional[int]) -> None:
        if max_ticks is not None and not self.kernel.deterministic:
            raise ConfigError("max_ticks: only a deterministic machine counts what it runs")

    def _describe(self) -> list[str]:
        from machine.process import describe_tasks

        return describe_tasks(self)

    def marks(self) -> tuple[int, int, int]:
        """Faults, system calls and recorded register accesses so far."""
        kernel = self.kernel
        return kernel.total_faults(), kernel.syscall_count, len(kernel.bus.record)

    def result(self, process: Spawned, since: tuple[int, int, int]) -> Result:
        """What became of a program that has ended; `since` are the `marks` of its start.  ProgramError."""
        __tracebackhide__ = True
        if process.error is not None:
            from machine.failures import spawn_failure

            raise spawn_failure(self, process)
        kernel = self.kernel
        faults, calls, accesses = since
        status = process.status
        signo = status & 0x7F or None
        result = Result(
            exit=128 + signo if signo else status >> 8 & 0xFF,
            signal=signo,
            stdout=process.output(1),
            stderr=process.output(2),
            faults=kernel.total_faults() - faults,
            syscalls=kernel.syscall_count - calls,
            core=self.cores.take(process.pid),
            fatal=kernel.last_fatal.pop(process.pid, None),
            first_access=accesses,
            bus=list(kernel.bus.record[accesses:]),
        )
        if kernel.bus.failures:
            self.raise_device_failure(result)
        return result

    def take_lockup(self) -> Optional[Lockup]:
        """What was raised because a model or driver did not come back in time; then it counts as no failure."""
        bus, sched = self.kernel.bus, self.kernel.sched
        lockup, sched.lockup = sched.lockup, None
        if lockup is None or not lockup.late:
            return None
        for each in bus.failures:
            if each.failure is lockup:
                from machine.failures import led_to

                lockup.text = "\n".join([lockup.text, *(f"  {line}" for line in led_to(self, each) if line)])
        bus.failures = [each for each in bus.failures if each.failure is not lockup]
        bus.broken = any(not each.sent for each in bus.failures)
        return lockup

    def raise_device_failure(self, result: Optional[Result]) -> NoReturn:
        """DeviceError, from the first of what device models have raised."""
        __tracebackhide__ = True
        from machine.failures import device_failure

        cause = self.kernel.bus.failures[0].failure
        if is_from_debugger(cause):
            raise cause
        raise device_failure(self, result) from cause

    def run(
        self,
        argv: Sequence[str],
        *,
        stdin: Input = None,
        stdout: Optional[int] = None,
        stderr: Optional[int] = None,
        env: Optional[Mapping[str, str]] = None,
        cwd: Optional[str] = None,
        timeout: Optional[float] = None,
        max_ticks: Optional[int] = None,
    ) -> Result:
        """Run a program to its end.  ProgramNotFound, NotExecutable, TimeoutExpired (`wait` says of what).

        `argv[0]` is looked for in the guest's PATH when it has no ``/``.
        """
        __tracebackhide__ = True
        self._check_ticks(max_ticks)
        process = self.spawn(argv, stdin=stdin, stdout=stdout, stderr=stderr, env=env, cwd=cwd)
        return self.wait(process, timeout, max_ticks)

    # -- programs that somebody holds ---------------------------------------------------------------

    def start(
        self,
        argv: Sequence[str],
        *,
        stdin: Optional[bytes] = None,
        env: Optional[Mapping[str, str]] = None,
        cwd: Optional[str] = None,
    ) -> Process:
        """Start a program to be held: `Process` has `wait`, `stdin`, `stdout`, `read_until`, `send_signal`.

        It runs while the machine does: in `Process.wait`, `run_until`, another program's `run`.  stdin None: a pipe
        that `Process.stdin` writes.
        """
        from machine.process import start

        return start(self, argv, stdin, env, cwd)

    def run_until(
        self,
        condition: Union[str, Callable[[], object], None] = None,
        where: Optional[Callable[[Any], object]] = None,
        *,
        us: Optional[float] = None,
        timeout: Optional[float] = 60,
    ) -> Any:
        """Run all programs up to a moment; they stop there, between two instructions.

        `condition` is a function, looked at after each register access, system call, interrupt, signal and end of a
        task; or a kind of event ("register", "fault", ...), the first for which `where` holds, which is returned.
        `us` is a time in microseconds of the machine's clock instead.
        TimeoutExpired after `timeout` seconds of host time; Stuck when it can't come any more.
        """
        __tracebackhide__ = True
        from machine.process import run_until

        return run_until(self, condition, where, us, timeout)

    def send_signal(self, process: Spawned, signo: int) -> None:
        """Send a signal to a program that was spawned, as kill(1) does."""
        from machine.kernel.task.signal import send_signal

        with self.entered():
            if not process.ended:
                send_signal(self.kernel, process.task, signo, None)

    def interrupt(self, signo: int) -> None:
        """Send a signal to the foreground processes, as a key on the terminal does.  Safe in a signal handler.

        SIGINT also ends what loops in a device model or a driver, and so would never let the signal through.
        """
        from machine.kernel.task.spawn import signal_foreground

        kernel = self.kernel
        if kernel.key is not None:
            kernel.key(signo)
            return
        if signo == SIGINT:
            from machine.kernel.task.watchdog import watch_interrupt

            kernel.sched.interrupt(watch_interrupt(kernel.sched))
        kernel.sched.interrupt(lambda: signal_foreground(kernel, signo))

    @property
    def has_job_control(self) -> bool:
        """Whether a shell of the guest has said which processes the terminal's keys are for (tcsetpgrp)."""
        return bool(self.kernel.vfs.foreground)
