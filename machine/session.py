"""One ``nopage run``: a machine, its views, and its programs one after another on the host's descriptors."""

from __future__ import annotations

import gc
import os
import signal
import time
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

from machine.breakpoints import Breakpoints
from machine.config import MachineConfig
from machine.errors import ConfigError, NotBack, NotExecutable, ProgramNotFound, TimeoutExpired
from machine.events import Oops, Printk
from machine.events import Report as DriverReport
from machine.kernel.fs.export import first_changes
from machine.kernel.module import is_from_debugger
from machine.kernel.task.spawn import CLOSED
from machine.machine import Machine, Result
from machine.observe.output import one_line, shortened
from machine.outside import Outside
from machine.views import Views

TIMED_OUT, STOPPED, NOT_EXECUTABLE, NOT_FOUND = 124, 125, 126, 127
REPORTS = 20
"""Mistakes of drivers that are shown one by one."""
NAMED = 4
"""Changed files that are named in the line about them."""
QUIET = (signal.SIGINT, signal.SIGPIPE)
"""Deaths about which a shell says nothing either."""


class Session:
    """`run` does everything; the machine lives as long as it does."""

    def __init__(self, config: MachineConfig, chosen: SimpleNamespace, base: Any = None) -> None:
        self.config = config
        self.chosen = chosen
        self.views = Views(chosen)
        self.output = self.views.output
        self.reported = 0
        self.debugging: Any = None
        self.travelling: Any = None
        if chosen.rewind or chosen.record is not None or chosen.recording is not None:
            from machine.rewinding import Travelling

            self.travelling = Travelling(chosen, base)
        self.screen: Any = None
        self.page: Any = None
        self.nobody: Any = None
        """With --attach: what programs did to addresses where no device is."""
        self.deadline = None if chosen.timeout is None else time.monotonic() + chosen.timeout

    def run(self, commands: Sequence[Sequence[str]]) -> int:
        """The exit status: that of the last command that failed, else 0."""
        if self.config.export is not None:
            self._export_directory(self.config.export)
        breakpoints = self.breakpoints = Breakpoints()
        try:
            with self.config.build() as machine:
                gc.freeze()
                gc.enable()
                machine.kernel.sched.last_words = self._last_words
                self._check_devices(machine)
                self._watch(machine)
                self.views.report(machine, commands)
                if self.travelling is not None:
                    self.travelling.start(machine, self.views.outputs)
                    if self.chosen.trace_window is not None:
                        self.travelling.trace(machine, self.output(self.chosen.faults), self.chosen, self.views.opened)
                self._record_screen(machine)
                self._open_page(machine)
                outside = Outside(machine, lambda: self.debugging, self.say)
                recording = self.chosen.recording
                shoot = None if self.screen is None else self.screen.shoot
                outside.install(shoot, None if recording is None else recording.ignored)
                try:
                    self._start_debugging(machine)
                    return self._run_all(machine, commands)
                finally:
                    if self.debugging is not None:
                        self.debugging.close()
                    outside.restore()
                    if self.page is not None:
                        self.page.linger()
                    self.views.close(*filter(None, (self.travelling,)))
        except (Exception, SystemExit) as failure:
            if not is_from_debugger(failure):
                raise
            breakpoints.restore_terminal()
            self.output("-").line("nopage: the debugger was left; the machine is stopped")
            return STOPPED
        finally:
            breakpoints.restore_terminal()
            breakpoints.remove()
            self.views.close_outputs()

    def _last_words(self) -> str:
        """This process is about to end, whatever it is doing."""
        self.views.flush()
        self.breakpoints.restore_terminal()
        return ""

    @staticmethod
    def _export_directory(directory: str) -> None:
        """Better now than when the programs have done their work."""
        try:
            os.makedirs(directory, exist_ok=True)
        except OSError as error:
            raise ConfigError(f"--export {directory}: {error.strerror}") from None

    def _check_devices(self, machine: Machine) -> None:
        """A --device that did nothing at all is a slip: another file, or a forgotten module_init."""
        kernel = machine.kernel
        self.loaded = [name for name in kernel.modules if name != "mem"]
        for each in kernel.modules.values():
            if each.init is None and not kernel.chrdevs.has_any(each):
                raise ConfigError(f"{each.path}: it has no module_init and registers no device: is it a driver?")

    # -- views -----------------------------------------------------------------------------------

    def _watch(self, machine: Machine) -> None:
        from machine.observe.fatal import FatalSignals

        events = machine.events
        self.say = self.output("-").say
        self.fatal = FatalSignals(machine.kernel, machine.read_file)
        events.listen("oops", self._on_oops)
        if self.chosen.verbose:
            for line in machine.kernel.log.since(0):
                self._on_printk(Printk(line.level, line.text, time_ns=line.time_ns))
            events.listen("printk", self._on_printk)
        else:
            events.listen("report", self._on_report)
        if self.chosen.attach:
            from machine.attach import attach_words
            from machine.observe.nobody import NobodyThere

            for each in self.chosen.attach:
                attach_words(machine, each)
            self.nobody = NobodyThere(machine.kernel, machine.read_file)
        self.views.open(machine, repeatable=self.config.deterministic)

    def _record_screen(self, machine: Machine) -> None:
        """--screen, --screen-every."""
        if self.chosen.screen is not None:
            from machine.screen.recording import Recording

            self.screen = Recording(machine.kernel, self.chosen.screen, self.chosen.screen_every, self.say)
            self.views.opened.append(self.screen)

    def _open_page(self, machine: Machine) -> None:
        """The verb ``watch``."""
        if self.chosen.verb == "watch":
            from machine.watch import Watch

            self.page = Watch(machine, self.chosen.port or 0)
            self.views.opened.append(self.page)
            if not any(name == "TERM" for name, _ in self.config.env):
                machine.env["TERM"] = "ansi"  # what the page's terminal understands
            for name in ("COLUMNS", "LINES"):
                machine.env.pop(name, None)
            waits = not self.chosen.now
            self.say(f"nopage: {self.page.url}" + ("  (the program starts when this page is open)" if waits else ""))
            if waits:
                self.page.wait_for_page()

    def _on_printk(self, line: Printk) -> None:
        self.output("-").line(one_line(f"[{line.time_ns // 10**9:5}.{line.time_ns // 1000 % 10**6:06}] {line.text}"))

    def _on_report(self, report: DriverReport) -> None:
        """What a driver does wrong; with -v it is seen in the log."""
        self.reported += 1
        if self.reported <= REPORTS:
            self.say(f"nopage: {' '.join(report.text.split())}")
        elif self.reported == REPORTS + 1:
            self.say("nopage: more reports are in the kernel's log: -v, or dmesg in the machine")

    def _on_oops(self, oops: Oops) -> None:
        who = f"{oops.comm} (pid {oops.pid}), " if oops.comm else ""
        what = f"{oops.where} raised" if oops.in_driver else f"internal error in {oops.where or 'the kernel'}"
        where = f"user instruction at {oops.rip:#x}"
        if oops.context:
            who, where = "", oops.context + (f", while {oops.comm} ran" if oops.pid else "")
        self.output("-").line(one_line(f"nopage: {who}{what}; {where}") + f"\n{oops.traceback.rstrip()}")

    def _start_debugging(self, machine: Machine) -> None:
        breaks = self.chosen.breaks or []
        if self.chosen.gdb is None and breaks:
            from machine.prompting import Prompting

            self.debugging = Prompting(machine, breaks, self.chosen.stop_commands, self.breakpoints.terminal)
        elif self.chosen.stop_commands is not None:
            raise ConfigError("--commands is for the prompt of --break-on, without --gdb: there are no stops")
        if self.chosen.gdb is not None:
            from machine.debugging import Debugging

            starts_gdb = self.chosen.verb == "debug"
            self.debugging = Debugging(machine, self.chosen.gdb, starts_gdb, self.say)
            if breaks:
                self.debugging.break_on(breaks)
            if self.debugging.gdb is not None:  # Ctrl-C is gdb's
                signal.signal(signal.SIGINT, lambda *_: None)
        if self.debugging is not None and self.travelling is not None:
            self.travelling.debugged(self.debugging.front)

    # -- programs ----------------------------------------------------------------------------------------

    def _run_all(self, machine: Machine, commands: Sequence[Sequence[str]]) -> int:
        status = 0
        for number, command in enumerate(commands, 1):
            if len(commands) > 1:
                import shlex

                self.say(f"nopage: $ {' '.join(map(shlex.quote, command))}")
            try:
                status = self._run_one(machine, command, number == len(commands)) or status
            except TimeoutExpired as error:
                self.say(f"nopage: {command[0]}: still running after {self._limit(error)}; killed")
                for task in error.tasks:
                    self.say(one_line(f"nopage: {task}"))
                self._report_nobody()
                self._last_look(TIMED_OUT)
                self._report_limits(machine, TIMED_OUT)
                self._report_missing(machine, TIMED_OUT)
                return TIMED_OUT
        if self.debugging is not None:
            self.debugging.finish()
            if self.travelling is None and machine.kernel.halted is None:
                for line in self.debugging.never():
                    self.say(f"nopage: {line}")
        self._last_look(status)
        self._report_nobody()
        try:
            self._unload(machine)
        except NotBack as error:
            self.say(f"nopage: {error}")
            status = TIMED_OUT
        self._report_limits(machine, status)
        self._report_missing(machine, status)
        self._report_changes(machine)
        return status

    def _limit(self, error: TimeoutExpired) -> str:
        """What was over, in the words of the command line."""
        chosen = self.chosen
        return f"{chosen.timeout:g} seconds" if error.ticks is None else f"{chosen.max_ticks} ticks"

    def _last_look(self, status: int) -> None:
        """At the screen, before the drivers go and switch it off."""
        if self.screen is not None:
            self.screen.end()
        if self.page is not None:
            self.page.ended(status)

    def _unload(self, machine: Machine) -> None:
        """The drivers of --device go, last first, as `rmmod` would have them: what one leaves behind is reported."""
        for number in (signal.SIGINT, signal.SIGTERM):  # no program is there for which they could be
            if callable(signal.getsignal(number)):
                signal.signal(number, signal.default_int_handler)
        for name in reversed(self.loaded):
            owner = machine.kernel.modules.get(name)
            if owner is not None and owner.exit is not None and not owner.refcount:
                machine.unload(name)

    def _run_one(self, machine: Machine, command: Sequence[str], last: bool) -> int:
        timeout = None if self.deadline is None else max(0.001, self.deadline - time.monotonic())
        ticks = None if self.chosen.max_ticks is None else self.chosen.max_ticks - machine.kernel.clock.ticks
        started = time.monotonic()
        files = [CLOSED if fd in self.chosen.closed else fd for fd in range(3)]
        try:
            if self.page is None:
                process = machine.spawn(list(command), stdin=files[0], stdout=files[1], stderr=files[2])
            else:
                process = self.page.spawn(machine, command)
            if last and self.debugging is not None:
                self.debugging.begin(process)
            if self.screen is not None:
                self.screen.begin()
            result = machine.wait(process, timeout, ticks)
        except ProgramNotFound as error:
            self.say(f"nopage: {error}{self._not_found_hint(command[0])}")
            return NOT_FOUND
        except NotExecutable as error:
            self.say(f"nopage: {error}")
            return NOT_EXECUTABLE
        if self.debugging is not None and self.debugging.left and result.signal == signal.SIGKILL:
            return 0  # the user has left gdb
        self._report_end(machine, command[0], result, time.monotonic() - started)
        return result.exit

    def _not_found_hint(self, name: str) -> str:
        from machine.failures import program_meant

        meant = program_meant(name, [os.getcwd()])
        where = "" if "/" in name else " in the guest's PATH"
        return f"{where}; did you mean {meant}?" if meant else where

    def _report_end(self, machine: Machine, name: str, result: Result, seconds: float) -> None:
        if result.signal is not None and result.signal not in QUIET:
            core = "" if result.core is None else f"; core in {result.core}"
            self.say(one_line(f"nopage: {self.fatal.line(result.fatal, name, result.signal)}{core}"))
        for pid, core in machine.cores.others().items():
            self.say(one_line(f"nopage: core of pid {pid} in {core}"))
        for pid, why in machine.cores.failed().items():
            self.say(one_line(f"nopage: no core of pid {pid}: {why}"))
        if self.chosen.verbose:
            self.say(
                f"nopage: {name}: status {result.exit}, {seconds:.2f} s, {result.faults} page faults, "
                f"{result.syscalls} system calls"
            )

    def _report_nobody(self) -> None:
        """Wrong base addresses."""
        for line in self.nobody.lines() if self.nobody is not None else ():
            self.say(one_line(f"nopage: {line}"))

    def _report_limits(self, machine: Machine, status: int) -> None:
        """Which limits were met, when a program may have failed of them."""
        for text, count in machine.limits.items():
            if status or self.chosen.verbose or text.startswith("out of memory"):
                self.say(one_line(f"nopage: {text}" + (f" ({count} times)" if count > 1 else "")))

    def _report_missing(self, machine: Machine, status: int) -> None:
        """Which system calls the programs wanted in vain; only when somebody may wonder."""
        missing = machine.kernel.enosys
        if missing and (status or self.chosen.verbose) and self.chosen.strace != "-":
            calls = ", ".join(f"{name} ({count})" for name, count in sorted(missing.items()))
            self.say(f"nopage: not implemented, so answered with ENOSYS: {calls}")

    def _report_changes(self, machine: Machine) -> None:
        """One line about files that end with the machine."""
        if self.config.export is not None:
            return
        names, count = first_changes(machine.kernel, NAMED)
        if names:
            more = f" and {count - NAMED} more" if count > NAMED else ""
            shown = ", ".join(map(shortened, names))
            self.say(one_line(f"nopage: changes that end with the machine: {shown}{more} (--export DIR keeps them)"))
