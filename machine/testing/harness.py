"""The machine of a test: built as its markers and options say, with everything that a failure wants to show."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Optional, Union

from machine.attach import attach_words
from machine.errors import DeviceError, NotExecutable, ProgramNotFound, Stuck, TimeoutExpired, is_the_users
from machine.events import Interrupt
from machine.failures import program_meant
from machine.kernel.abi.signal import name as signal_name
from machine.kernel.current import set_current_kernel
from machine.machine import Machine
from machine.observe.fatal import FatalSignals
from machine.observe.nobody import NobodyThere
from machine.process import Process, describe_tasks, end_everything
from machine.testing import messages
from machine.testing.leaving import Leaving, seen, unexpected
from machine.testing.recording import Recording
from machine.testing.results import RunResult, shown

__tracebackhide__ = is_the_users

TAIL_BYTES, TAIL_LINES = 2000, 12
"""How much of an output, and of the kernel's log, a failure shows."""
DEFAULT_TIMEOUT = 60.0


class ProgramFailed(AssertionError):
    """A program that was to end well did not: ``run(..., check=True)``.  `program` is it; the text tells its story."""

    def __init__(self, program: Program, text: str) -> None:
        super().__init__(text)
        self.program = program


class ProgramTimeout(TimeoutExpired):
    """A program of a test did not end in time."""

    def __init__(self, program: str, seconds: float, tasks: Sequence[str], looped: bool = False) -> None:
        super().__init__(program, seconds, tasks)
        self.args = (messages.timed_out(program, seconds, tasks, looped),)


class ProgramStuck(Stuck):
    """A program of a test sleeps, and nothing can wake it."""

    def __init__(self, program: str, tasks: Sequence[str], for_input: bool) -> None:
        super().__init__(program, tasks)
        self.args = ((messages.waits_for_input if for_input else messages.stuck)(program, tasks),)


class ProgramMissing(ProgramNotFound):
    """A test names a program that is not there."""

    def __init__(self, program: str, errno: int, text: str) -> None:
        super().__init__(program, errno)
        self.args = (text,)


class ProgramRefused(NotExecutable):
    """A test names a program that can't be executed."""

    def __init__(self, program: str, errno: int, text: str) -> None:
        super().__init__(program, errno)
        self.args = (text,)


@dataclass
class Plan:
    """How to make the machine of a test, as often as wanted."""

    ram: int
    board: Optional[str] = None
    drivers: list[str] = field(default_factory=list)
    attachments: list[tuple[str, Any, dict[str, Any]]] = field(default_factory=list)
    """(place, class or instance of a model, further arguments)."""
    words: list[str] = field(default_factory=list)
    """More models, as --attach has them."""
    binds: list[tuple[str, str, bool]] = field(default_factory=list)
    directories: list[Path] = field(default_factory=list)
    """Where a program named by a relative path is looked for, besides the current directory."""
    timeout: float = DEFAULT_TIMEOUT
    misbehaves: list[str] = field(default_factory=list)
    """Regular expressions for complaints that the test wants."""
    misbehaved: set[str] = field(default_factory=set)
    """Those of them that a machine of this plan has met."""
    coverage: Any = None
    """Gets what the programs run (`machine.testing.covered.Covered`), or None."""

    def build(self) -> Machine:
        """A machine with the drivers; the models are attached by `Harness`."""
        return Machine(
            ram=self.ram, board=self.board, deterministic=True, devices=self.drivers, binds=self.binds,
            check_invariants=True, patience=self.timeout,
        )  # fmt: skip


class Program(Process):
    """A program that the test has started and holds; `wait` gives its `RunResult`."""

    def __init__(self, harness: Harness, process: Process, command: tuple[str, ...]) -> None:
        super().__init__(harness.machine, process.spawned, process.stdin)
        self._harness = harness
        self._mark = harness.recording.mark()
        self.command = command
        self.name = shown((command[0],))
        self.outcome: Optional[RunResult] = None
        """What became of it, once it was waited for."""
        self.end = ""
        """Why there is no outcome."""

    def send_signal(self, signo: int) -> None:
        """As kill(1) does."""
        if self.running:
            self._harness.given[messages.a_signal(signal_name(signo), self.name)] = None
        super().send_signal(signo)

    def wait(self, timeout: Optional[float] = None, check: bool = False) -> Any:
        """Run the machine until the program ends: its `RunResult`.  `check`: ProgramFailed unless its status is 0."""
        __tracebackhide__ = True
        harness = self._harness
        seconds = harness.plan.timeout if timeout is None else timeout
        try:
            done = super().wait(seconds)
        except TimeoutExpired as error:
            self.end = f"killed after {seconds:g} seconds"
            end_everything(harness.machine)
            lockup = error.__cause__
            raise ProgramTimeout(self.name, seconds, error.tasks, lockup is not None) from lockup
        except Stuck as error:
            for_input = not self.stdin.closed and not self.stdin.buffer and bool(self.stdin.readers.sleepers)
            self.end = "killed: it slept for ever"
            end_everything(harness.machine)
            raise ProgramStuck(self.name, error.tasks, for_input) from None
        except DeviceError:
            self.end = "stopped: a device model raised"
            raise
        except ProgramNotFound as error:
            self.end = "not found"
            name = self.command[0]
            meant = program_meant(name, [os.getcwd(), *map(str, harness.plan.directories)])
            text = messages.no_such_program(name, harness.looked_in(name), meant)
            raise ProgramMissing(self.command[0], error.errno, text) from None
        except NotExecutable as error:
            self.end = "could not be executed"
            why = str(error).split(": ", 1)[-1]
            raise ProgramRefused(self.command[0], error.errno, messages.not_executable(self.command[0], why)) from None
        fatal = "" if done.signal is None else harness.fatal.line(done.fatal, self.name, done.signal)
        self.outcome = RunResult(
            exit=done.exit, signal=done.signal, stdout=done.stdout, stderr=done.stderr, command=self.command,
            fatal=fatal, **harness.recording.of(self._mark, self.pid),
        )  # fmt: skip
        if check and done.exit:
            text = messages.unexpected_end(shown(self.command), fatal or f"exit status {done.exit}")
            raise ProgramFailed(self, f"{text}\n{harness.story(self)}")
        return self.outcome


class Harness:
    """One machine of a test, its views and its programs."""

    def __init__(self, plan: Plan, *, strace: bool = False, report: Optional[Path] = None) -> None:
        __tracebackhide__ = True
        self.plan = plan
        self.machine = plan.build()
        self.leaving = Leaving(self.machine)
        self._before = set_current_kernel(self.machine.kernel)
        self.programs: list[Program] = []
        self.devices: dict[str, Any] = {}
        self.closers: list[Any] = []
        """What ends before the machine does: views, injections."""
        self.given: dict[str, None] = {}
        """What programs got that no command line says."""
        self.poked: dict[str, None] = {}
        """Registers that the test itself has set."""
        self._stood: dict[str, int] = {}
        self.strace = io.StringIO() if strace else None
        self.report: Any = None
        try:
            self._log_start = len(self.machine.dmesg)
            for where, model, options in plan.attachments:
                self.devices[where] = self.machine.attach(where, model, **options)
            for each in plan.words:
                self.devices[each.partition("=")[0]] = attach_words(self.machine, each)
            self._watch(report)
        except BaseException:
            self.close(unload=False)
            raise

    def _watch(self, report: Optional[Path]) -> None:
        machine = self.machine
        machine.lacking, machine.on_run = self._lacking, self._going
        machine.events.listen("interrupt", self._interrupted)
        self._stood = self._values()
        self.recording = Recording(machine)
        self.fatal = FatalSignals(machine.kernel, machine.read_file)
        self.nobody = NobodyThere(machine.kernel, machine.read_file) if self.devices else None
        if self.plan.coverage is not None:
            self.closers += self.plan.coverage.watch(machine, self._sources_of)
        if self.strace is not None:
            from machine.observe.output import Output
            from machine.observe.strace import Strace

            Strace(machine.events, Output(self.strace))
        if report is not None:
            from machine.observe.report import Report

            report.parent.mkdir(parents=True, exist_ok=True)
            self.report = Report(machine, report)

    # -- what a replay lacks ---------------------------------------------------------------------------

    def _values(self) -> dict[str, int]:
        """What the registers hold; of a queue how many entries."""
        blocks = [each.block for each in self.machine.kernel.bus.blocks if each.recorded]
        return {f"{block.name}.{name}": value for block in blocks for name, value in block.values.items()}

    def _going(self, on: bool) -> None:
        """Programs go on, or stand: what changes while they stand is the test's doing."""
        if self._stood or not on:
            now = self._values()
            if on:
                changed = [name for name, value in now.items() if self._stood.get(name, value) != value]
                self.poked.update(dict.fromkeys(changed))
            self._stood = now

    def _interrupted(self, event: Interrupt) -> None:
        """An interrupt is taken; while nothing runs it is the test's."""
        if self.machine.kernel.sched.thread is None:
            self.given[messages.an_interrupt(event.irq, event.handlers)] = None

    def _lacking(self) -> list[str]:
        injections = [each.text for closer in self.closers for each in getattr(closer, "all", ()) if each.last]
        fed = any(each.stdin.fed for each in self.programs)
        pokes = [f"{name} as the test set it" for name in self.poked]
        return [*(["standard input"] if fed else []), *self.given, *injections, *pokes]

    # -- programs ------------------------------------------------------------------------------------

    def start(
        self,
        *argv: Any,
        stdin: Union[bytes, str, None] = None,
        env: Optional[Mapping[str, str]] = None,
        cwd: Optional[str] = None,
    ) -> Program:
        """Start a program and hold it: nothing of it has run yet."""
        command = tuple(os.fspath(each) if isinstance(each, os.PathLike) else str(each) for each in argv)
        words = [self.find(command[0]), *command[1:]] if command else []
        given = stdin.encode() if isinstance(stdin, str) else stdin
        program = Program(self, self.machine.start(words, stdin=given, env=env, cwd=cwd), command)
        self.given.update({} if env is None else {"its environment": None})
        self.given.update({} if cwd is None else {f"its directory ({cwd})": None})
        self.programs.append(program)
        if self.report is not None:
            self.report.add_command(shown(command))
        return program

    def run(
        self,
        *argv: Any,
        stdin: Union[bytes, str] = b"",
        timeout: Optional[float] = None,
        check: bool = False,
        env: Optional[Mapping[str, str]] = None,
        cwd: Optional[str] = None,
    ) -> RunResult:
        """Run a program to its end."""
        __tracebackhide__ = True
        result: RunResult = self.start(*argv, stdin=stdin, env=env, cwd=cwd).wait(timeout, check)
        return result

    def last(self) -> Optional[RunResult]:
        """What became of the program that ended last."""
        return next((each.outcome for each in reversed(self.programs) if each.outcome is not None), None)

    def find(self, program: str) -> str:
        """A program that is named by a relative path may lie beside the test."""
        if "/" not in program or program.startswith("/") or os.path.exists(program):
            return program
        for directory in self.plan.directories:
            if (directory / program).exists():
                return str(directory / program)
        return program

    def _sources_of(self, program: str) -> list[str]:
        """Where the sources of a program may lie: `guest_cc` knows, else beside the test."""
        from machine.testing.compiling import SOURCES

        known = SOURCES.get(program)
        return [str(each) for each in ([known] if known is not None else []) + self.plan.directories]

    def looked_in(self, program: str) -> list[str]:
        """Where such a program was looked for."""
        if "/" not in program:
            return [f"the guest's PATH, {self.machine.env.get('PATH', '')}"]
        if program.startswith("/"):
            return ["the guest's / (this computer's system directories, the current one, and the test's tmp_path)"]
        return [os.getcwd(), *(str(each) for each in self.plan.directories if str(each) != os.getcwd())]

    # -- what a failure shows ----------------------------------------------------------------------------

    def story(self, program: Program) -> str:
        """How one program went: its end, its outputs' tails."""
        done = program.outcome
        lines = [f"$ {shown(program.command)}"]
        if done is None:
            lines.append(program.end or ("it had not ended" if program.running else "it was not waited for"))
        else:
            counts = f"{int(done.faults)} faults, {int(done.syscalls)} system calls, {len(done.bus)} register accesses"
            lines.append(f"exit {done.exit}; {counts}")
            lines += [done.fatal] if done.fatal else []
        for name, data in (("standard output", program.stdout), ("standard error", program.stderr)):
            if data:
                cut = "" if len(data) <= TAIL_BYTES else f" (the last {TAIL_BYTES} of {len(data)} bytes)"
                lines += [f"{name}{cut}:", messages.indented(_text(data[-TAIL_BYTES:]).splitlines())]
        return "\n".join(lines)

    def sections(self, told: Any = None) -> list[tuple[str, str]]:
        """(heading, text) for pytest's report of a failed test; the failure itself has told of one program."""
        stories = [self.story(each) for each in self.programs if each is not told]
        found = [("nopage", "\n\n".join(stories))] if stories else []
        nowhere = self.nobody.lines() if self.nobody is not None else []
        if nowhere:
            found.append(("nopage: accesses to no device", "\n".join(nowhere)))
        running = [each for each in self.programs if each.running]
        if running:
            found.append(("nopage: tasks", "\n".join(describe_tasks(self.machine))))
        log = self.machine.dmesg[self._log_start :]
        if log:
            cut = "" if len(log) <= TAIL_LINES else f", the last {TAIL_LINES} of {len(log)} lines"
            found.append((f"nopage: kernel log{cut}", "\n".join(log[-TAIL_LINES:])))
        return found

    def strace_section(self) -> list[tuple[str, str]]:
        """The same for --nopage-strace, of any test."""
        text = "" if self.strace is None else self.strace.getvalue().rstrip()
        return [("nopage strace", text)] if text else []

    # -- the end -----------------------------------------------------------------------------------------

    def close(self, keep_report: bool = True, unload: bool = True) -> list[str]:
        """End it, with `unload` its drivers first; what is not clean, a line each, less what the test wants."""
        complaints: list[str] = []
        try:
            for each in reversed(self.closers):
                each.close()
            for program in self.programs:  # what the test still holds
                program.send_signal(9)
            complaints = self.leaving.complaints(unload)
            if self.report is not None:
                self.report.close() if keep_report else self.report.discard()
        finally:
            set_current_kernel(self._before)
            self.machine.close()
        self.plan.misbehaved.update(seen(complaints, self.plan.misbehaves))
        return unexpected(complaints, self.plan.misbehaves)


def _text(data: bytes) -> str:
    return data.decode(errors="backslashreplace")


class Devices(dict[str, Any]):
    """The models of a test by their places; an unknown place says which there are."""

    def __missing__(self, where: str) -> Any:
        raise KeyError(messages.unknown_place(where, list(self)))
