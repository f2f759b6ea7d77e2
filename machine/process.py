"""Programs that a test or a script holds: started, run up to a moment, talked to, and waited for."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Optional

from machine.errors import ConfigError, NopageError, Stuck, TimeoutExpired, halting, is_the_users
from machine.events import KINDS
from machine.hardware.bus import Lockup
from machine.hardware.ram import PAGE_SHIFT
from machine.kernel.fs.feed import Feed
from machine.kernel.task.halting import COME, TIME_IS_UP, Moment, run_to, where_tasks_are
from machine.kernel.task.spawn import Spawned, kill_everything
from machine.observe.symbols import Symbols

if TYPE_CHECKING:
    from machine.kernel.task.task import Task
    from machine.programs import Programs, Result

__tracebackhide__ = is_the_users

POLLED = 10
"""So many reads behind each other, all with one result, ..."""
POLLED_NS = 1_000_000_000
"""... the last of them just now: the program waits for that register."""


class Process:
    """A program that `Machine.start` has started.  It runs while somebody runs the machine: `wait`, `read_until`,
    `Machine.run_until`."""

    def __init__(self, machine: Programs, spawned: Spawned, stdin: Feed) -> None:
        self._machine = machine
        self.spawned = spawned
        self.stdin = stdin
        """What it reads: `write` bytes, `close`."""
        self._since = machine.marks()

    @property
    def pid(self) -> int:
        """Its process number in the guest."""
        return self.spawned.pid

    @property
    def argv0(self) -> str:
        """The program as it was named."""
        return self.spawned.argv0

    @property
    def stdout(self) -> bytes:
        """What it has written so far."""
        return self.spawned.output(1)

    @property
    def stderr(self) -> bytes:
        """Likewise."""
        return self.spawned.output(2)

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return not self.spawned.ended

    def __repr__(self) -> str:
        return f"<{self.argv0} (pid {self.pid}), {'running' if self.running else 'ended'}>"

    def wait(self, timeout: Optional[float] = None) -> Result:
        """Run the machine until it ends.  TimeoutExpired after `timeout` seconds of host time; Stuck when it sleeps and
        nothing can wake it: it lives on in either case, and can be helped."""
        __tracebackhide__ = True
        what = f"the end of {self.argv0}"
        run_until(self._machine, lambda: self.spawned.ended, timeout=timeout, what=what, ending=self.spawned)
        return self._machine.result(self.spawned, self._since)

    def read_until(self, text: bytes, timeout: Optional[float] = 60) -> bytes:
        """Run the machine until standard output has `text`; all output up to its end.  Stuck, TimeoutExpired."""
        run_until(self._machine, lambda: text in self.stdout, timeout=timeout, what=f"{text!r} from {self.argv0}")
        return self.stdout[: self.stdout.index(text) + len(text)]

    def send_signal(self, signo: int) -> None:
        """Send it a signal, as kill(1) does; one that has ended is left alone."""
        self._machine.send_signal(self.spawned, signo)

    def kill(self, timeout: Optional[float] = 10) -> Result:
        """SIGKILL, and wait."""
        self.send_signal(9)
        return self.wait(timeout)


def start(
    machine: Programs,
    argv: Sequence[str],
    stdin: Optional[bytes],
    env: Optional[Mapping[str, str]],
    cwd: Optional[str],
) -> Process:
    """`Machine.start`."""
    feed = Feed(machine.kernel, stdin or b"")
    if stdin is not None:
        feed.close()
    spawned = machine.spawn(argv, stdin=feed.file, env=env, cwd=cwd)
    return Process(machine, spawned, feed)


def run_until(
    machine: Programs,
    condition: Any = None,
    where: Optional[Callable[[Any], object]] = None,
    us: Optional[float] = None,
    timeout: Optional[float] = 60,
    what: str = "",
    ending: Optional[Spawned] = None,
) -> Any:
    """`Machine.run_until`.  `ending`: it is the end of this program, whose result tells what device models raised."""
    __tracebackhide__ = True
    kernel = machine.kernel
    moment = Moment(kernel)
    if us is not None:
        moment.on_time(kernel.clock.monotonic_ns() + int(us * 1000))
        what = what or f"{us:g} us"
    elif callable(condition):
        moment.on_condition(condition)
        what = what or f"the condition at {_line_of(condition)}"
    elif condition in KINDS:
        moment.on_event(condition, where)
        what = what or f"an event '{condition}'"
    else:
        from machine.testing import messages

        raise ConfigError(messages.no_moment(condition, KINDS))
    with machine.entered():
        if machine.on_run is not None:
            machine.on_run(True)
        try:
            outcome = run_to(kernel, moment, timeout)
        except Lockup:  # the condition itself did not come back
            outcome = TIME_IS_UP
        finally:
            if machine.on_run is not None:
                machine.on_run(False)
    if kernel.halted is not None:
        raise halting(kernel.halted)
    lockup = machine.take_lockup()
    outcome = outcome if lockup is None else TIME_IS_UP
    if kernel.bus.failures and (ending is None or not ending.ended):
        if kernel.bus.broken:
            end_everything(machine)
        machine.raise_device_failure(None)
    if outcome != COME:
        tasks = describe_tasks(machine)
        if outcome == TIME_IS_UP:
            looped = () if lockup is None else lockup.text.splitlines()
            raise TimeoutExpired(what, timeout or 0, [*looped, *tasks], waited_for=True) from lockup
        raise Stuck(what, tasks)
    return moment.event if moment.event is not None else True


def _line_of(function: Any) -> str:
    code = getattr(function, "__code__", None)
    return repr(function) if code is None else f"{os.path.basename(code.co_filename)}:{code.co_firstlineno}"


def describe_tasks(machine: Programs) -> list[str]:
    """What each task does, and where in its program: ``reader (pid 2) sleeps in read(), called from read+0x14``."""
    symbols = Symbols(machine.read_file)
    now = machine.kernel.clock.monotonic_ns()

    def locate(task: Task, rip: int) -> str:
        area = task.mm.vma_at(rip)
        mapping = None
        if area is not None and area.vm_file is not None:
            mapping = (area.vm_file.f_path, area.vm_start, area.vm_pgoff << PAGE_SHIFT)
        return (str(symbols.locate(rip, mapping)) or f"{rip:#x}") + _polled(machine, task, now)

    with machine.entered():
        return where_tasks_are(machine.kernel, locate)


def _polled(machine: Programs, task: Task, now: int) -> str:
    """``, reading timer.status, which stays 0 (512 times)`` of a task that waits for a register; else nothing."""
    count, first = 0, None
    for access in reversed(machine.kernel.bus.record):
        if access.pid != task.pid:
            continue
        first = first or access
        if access.write or (access.device, access.offset, access.value) != (first.device, first.offset, first.value):
            break
        count += 1
    if first is None or count < POLLED or now - first.time_ns > POLLED_NS:
        return ""
    from machine.testing import messages

    return messages.polled(f"{first.device}.{first.register or hex(first.offset)}", first.value, count)


def end_everything(machine: Programs) -> None:
    """SIGKILL for every process that is left."""
    with machine.entered():
        kill_everything(machine.kernel)


__all__ = ["NopageError", "Process", "describe_tasks", "end_everything", "run_until", "start"]
