"""What the kernel talks to while processes are debugged (`kernel.debugger`): stops tasks, and lets them go on.

A task is stopped where it would go on in user mode, on its kernel stack: at a breakpoint or after a step at once, else
on its way out of the kernel (`returning`), where a system call that was interrupted for it is restarted as after a
signal.  `Scheduler.held` keeps the tasks that gdb wants to stand still while others run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Optional

from machine.hardware.cpu import RIP
from machine.kernel.abi.signal import SI_USER, SIGINT, SIGKILL, SIGTRAP
from machine.kernel.mm.gup import read_process_vm, write_process_vm
from machine.kernel.task.siginfo import siginfo
from machine.kernel.task.signal import send_signal
from machine.kernel.task.task import EXIT_DEAD, EXIT_ZOMBIE, TASK_INTERRUPTIBLE, TASK_RUNNING
from machine.observe.gdb.hooks import Hooks
from machine.observe.gdb.stepping import Stepping
from machine.observe.gdb.stops import STEPPED, TRAP_BRKPT, TRAP_HWBKPT, TRAP_TRACE, Stop
from machine.observe.gdb.watch import Watches

if TYPE_CHECKING:
    from collections.abc import Callable

    from machine.events import SyscallEnter, SyscallExit, TaskEvent
    from machine.kernel.kernel import Kernel
    from machine.kernel.mm.space import mm_struct
    from machine.kernel.task.task import Task


class Inferior:
    """One process that gdb debugs.  `attached`: it was running before gdb came, and goes on when gdb leaves."""

    def __init__(self, tgid: int, attached: bool) -> None:
        self.tgid = tgid
        self.attached = attached
        self.breakpoints: dict[int, bytes] = {}
        """Address -> what to tell gdb of a hit, ``swbreak:;`` or ``hwbreak:;``."""


class Control:
    """The kernel's half of the debugger.  `report` is called with (task, stop) and returns when gdb lets it go on;
    `gone` with (leader, status) when a process has ended."""

    def __init__(
        self, kernel: Kernel, report: Callable[[Task, Stop], None], gone: Callable[[Inferior, int], None]
    ) -> None:
        self.kernel = kernel
        self.sched = kernel.sched
        self._report = report
        self._gone = gone
        self.inferiors: dict[int, Inferior] = {}
        self.stopped: Optional[Task] = None
        """The task on whose kernel stack gdb is being talked to."""
        self.passed: frozenset[int] = frozenset()
        """Signals that don't stop (QPassSignals)."""
        self.follows = {"fork": False, "vfork": False, "exec": False}
        """What gdb understands of children and exec."""
        self.caught: Optional[frozenset[int]] = None
        """Numbers of system calls that stop, empty for all; None for none (QCatchSyscalls)."""
        self.next_exec: Optional[Task] = None
        """A task whose next exec begins its being debugged."""
        self.at_signal: Optional[Callable[[Task, siginfo], Optional[str]]] = None
        """`--break-on signal`: what to say of a signal that stops the task whatever `passed` says, or None."""
        self.waits_for_user = True
        """gdb: it may interrupt a machine in which everybody sleeps, and wants a stop at each exec."""
        self.travel: Any = None
        """While the machine can go back (observe/travel): it is asked whether a stop is only met again."""
        self.window = (0, 0)
        """(instruction, position) of the access to a watched page that has just been let through."""
        self.pending: dict[Task, Stop] = {}
        self.siginfo: dict[Task, siginfo] = {}
        self.deliver: dict[Task, int] = {}
        """Signal that gdb wants delivered instead of the one that stopped the task; absent: none."""
        self.watches = Watches(self)
        self.stepping = Stepping(kernel)
        self.hooks = Hooks(self)
        self._at_signal: Optional[Task] = None
        self._injected: list[siginfo] = []
        kernel.cpu.codepoints.ask = self._on_code
        kernel.events.listen("task", self._on_task)

    def close(self) -> None:
        """Let everything go, and be gone."""
        self.detach_all()
        self.kernel.events.unlisten("task", self._on_task)
        self.catch(None)
        self.kernel.debugger = None

    # -- processes ------------------------------------------------------------------------------

    def threads(self, tgid: Optional[int] = None) -> list[Task]:
        """The live threads of one debugged process, or of all."""
        return [
            task for task in self.kernel.tasks.values()
            if task.tgid in self.inferiors and tgid in (None, task.tgid) and not task.exiting
            and task.state not in (EXIT_ZOMBIE, EXIT_DEAD) and hasattr(task, "mm")
        ]  # fmt: skip

    def attach(self, tgid: int, attached: bool = True) -> Inferior:
        """Begin to debug a process."""
        inferior = self.inferiors[tgid] = Inferior(tgid, attached)
        return inferior

    def detach(self, tgid: int) -> None:
        """Let a process go on its own."""
        tasks = self.threads(tgid)
        if self._at_signal in tasks and self._at_signal is not None:  # it takes the signal that stopped it
            info = self.siginfo.get(self._at_signal)
            if info is not None and info.signo not in (SIGINT, SIGTRAP):
                self.deliver[self._at_signal] = info.signo
        del self.inferiors[tgid]
        self.watches.forget(tgid)
        for task in tasks:
            self.stepping.end(task)
            self.pending.pop(task, None)
        self.sched.held.tasks.difference_update(tasks)
        self.sched.held.release()
        if not self.inferiors:
            self.kernel.cpu.codepoints.clear()

    def detach_all(self) -> None:
        """Let all go."""
        for tgid in list(self.inferiors):
            self.detach(tgid)

    def kill(self, tgid: int) -> None:
        """SIGKILL for a process, of whose end gdb is not told."""
        leader = self.kernel.tasks.get(tgid)
        self.detach(tgid)
        if leader is not None:
            send_signal(self.kernel, leader, SIGKILL, None)

    # -- breakpoints ------------------------------------------------------------------------------

    def insert(self, inferior: Inferior, address: int, detail: bytes) -> None:
        """A breakpoint: nothing is written, the engine looks when it translates the instruction."""
        inferior.breakpoints[address] = detail
        self.kernel.cpu.codepoints.watch(address)

    def _on_code(self, address: int) -> bool:
        """Inside the engine's hook: the instruction at `address` is about to run.  True stops the engine there."""
        task = self.sched.current
        if task is None or task in self.kernel.mmio.steps:
            return False
        inferior = self.inferiors.get(task.tgid)
        if inferior is None or address not in inferior.breakpoints:
            return False
        if self.travel is None:
            self.sched.interrupt(lambda: self.hit(task, address))
            return True
        timeline = self.travel.timeline
        if self.travel.met("stops", address, timeline.count.at(address), "", b"swbreak:;"):
            return False
        timeline.hit = (task, address)
        return True

    def hit(self, task: Task, address: int) -> None:
        """In the hub: the engine has stopped at a breakpoint."""
        inferior = self.inferiors.get(task.tgid)
        if inferior is None or self.sched.loaded is not task or self.kernel.cpu.regs[RIP] != address:
            return
        detail = inferior.breakpoints.get(address)
        if detail is not None:
            self._on_stack(task, Stop(SIGTRAP, detail, TRAP_BRKPT, address))

    # -- stopping ------------------------------------------------------------------------------------

    def stop(self, task: Task, why: Stop) -> None:
        """Stop here until gdb lets the task go on."""
        if task.tgid not in self.inferiors or (self.travel is not None and self._met(why)):
            return
        self.stepping.end_all()
        self.hooks.update()
        for each, reason in list(self.pending.items()):
            if reason.signo == SIGINT:
                del self.pending[each]
        before, self.stopped = self.stopped, task
        try:
            self._report(task, why)
        finally:
            self.stopped = before
            self.sched._ticker.mm_ticks = 0  # it ticked while the user thought, and the TLB could not grow
        while task in self.sched.held.tasks:
            self.sched.hub.switch()

    def _met(self, why: Stop) -> bool:
        kind = "writes" if why.code == TRAP_HWBKPT else "stops"
        rip, position = self.window if kind == "writes" else (0, 0)
        return bool(self.travel.met(kind, rip, position or None, why.said, why.detail))

    def _on_stack(self, task: Task, why: Stop) -> None:
        """In the hub: stop a task that is in user mode and loaded, on its kernel stack."""
        self.sched._run_kernel(task, (self.stop, (task, why)))

    def interrupt(self, why: Stop, tgid: Optional[int] = None) -> None:
        """Stop the processes soon, in the hub: a thread that runs at once, one that sleeps when it has woken."""
        tasks = [task for task in self.threads(tgid) if task not in self.sched.held.tasks]
        tasks.sort(key=lambda task: (task.state != TASK_RUNNING, task is not self.sched.loaded, task.pid))
        if not tasks or any(task in self.pending for task in tasks):
            return
        task = tasks[0]
        if task.state == TASK_RUNNING and not task.work and task.start is None:
            if task in self.kernel.mmio.steps:
                self.later(task, why)
            else:
                self.sched.switch_to(task)
                self._on_stack(task, why)
            return
        for each in tasks:
            if each.state in (TASK_RUNNING, TASK_INTERRUPTIBLE):
                self.later(each, why)
                self.sched.wake_signal(each)
                return
        self.siginfo.pop(task, None)
        self._report(task, why)  # all sleep and can't be woken: gdb looks at them as they are

    def later(self, task: Task, why: Stop) -> None:
        """Stop the task when it leaves the kernel."""
        before = self.pending.get(task)
        if before is not None and before.said and not why.said:
            why = before if before.detail else why._replace(said=before.said)
        self.pending[task] = why
        task.sigpending = True

    def returning(self, task: Task) -> None:
        """The task has left its trap's work and is about to return to user mode."""
        if task.tgid not in self.inferiors:
            return
        why = self.pending.pop(task, None)
        step = self.stepping.get(task)
        if step is not None:
            rip = self.kernel.cpu.regs[RIP]
            if rip != step.rip:
                self.stepping.hide(task, step)
                why = why or Stop(SIGTRAP, b"", TRAP_TRACE, rip)
        if why is not None:
            self.siginfo.pop(task, None)
            self.stop(task, why)

    def returned(self, task: Task) -> None:
        """Signals have been delivered: a step that entered a handler ends at its first instruction."""
        step = self.stepping.get(task)
        if step is not None and step.handler:
            self.siginfo.pop(task, None)
            self.stop(task, STEPPED)

    def signal(self, task: Task, info: siginfo) -> Optional[siginfo]:
        """The task is about to take a signal: what it takes instead, None for nothing (ptrace_signal)."""
        self.watches.cancel(task)
        if info in self._injected:  # gdb's own: no news to it
            self._injected.remove(info)
            return info
        said = None if self.at_signal is None or info.signo == SIGKILL else self.at_signal(task, info)
        if task.tgid not in self.inferiors or info.signo == SIGKILL:
            return info
        if info.signo in self.passed and said is None:
            self.stepping.enters_handler(task)
            return info
        self.siginfo[task] = info
        self._at_signal = task

        def ask() -> int:
            self.stop(task, Stop(info.signo, said=said or ""))
            return self.deliver.pop(task, 0)

        signo = ask() if self.travel is None else self.travel.decide(info.signo, ask)
        info = self.siginfo.pop(task, info)
        if not signo:
            return None
        self.stepping.enters_handler(task)
        return info if signo == info.signo else siginfo(signo, SI_USER, pid=1)

    # -- going on --------------------------------------------------------------------------------------

    def resume(self, choose: Callable[[Task], Optional[tuple[bool, int]]]) -> None:
        """Let the threads go on for which `choose` gives (step, signal or 0); None: it stays where it is."""
        sched, at_signal = self.sched, self._at_signal
        self._at_signal = None
        sched.held.tasks.clear()
        for task in self.threads():
            action = choose(task)
            if action is None:
                sched.held.tasks.add(task)
                continue
            step, signo = action
            if signo and task is at_signal:
                self.deliver[task] = signo
            elif signo:
                info = siginfo(signo, SI_USER, pid=1)
                self._injected.append(info)
                send_signal(self.kernel, task, signo, info, group=False)
            if step:
                self.stepping.begin(task, bool(task.syscall) and task is not self.stopped)
            if task.orig_ax >= 0 and not task.work:  # gdb gave back the registers of an interrupted call
                task.sigpending = True
        sched.held.release()
        self.hooks.update()
        self.watches.resume()

    def debug_exception(self, task: Task) -> bool:
        """Exception 1.  False: it is the guest's own."""
        hits = self.watches.finish(task)
        step = self.stepping.get(task)
        if step is None and hits is None:
            return False
        rip = self.kernel.cpu.regs[RIP]
        if step is not None and not hits:
            if self.stepping.is_early(task, step):
                return True
            self.stepping.hide(task, step)
            self.sched.enter(self.trapped, task, Stop(SIGTRAP, b"", TRAP_TRACE, rip))
        elif hits:
            self.sched.enter(self.trapped, task, Stop(SIGTRAP, hits, TRAP_HWBKPT, rip))
        return True

    def trapped(self, task: Task, why: Stop) -> None:
        """Stop here, for no signal of the guest's."""
        self.siginfo.pop(task, None)
        self.stop(task, why)

    # -- children, exec, system calls ---------------------------------------------------------------

    def forked(self, parent: Task, child: Task, vfork: bool) -> None:
        """A child that has not run yet.  A parent that will sleep until it has (vfork) is stopped here."""
        inferior = self.inferiors.get(parent.tgid)
        kind = "vfork" if vfork else "fork"
        if self._repeats() or inferior is None or child.tgid == parent.tgid or not self.follows[kind]:
            return
        self.attach(child.tgid, inferior.attached).breakpoints = dict(inferior.breakpoints)
        self.sched.held.tasks.add(child)
        why = Stop(SIGTRAP, b"%s:p%x.%x;" % (kind.encode(), child.tgid, child.pid))
        if vfork:
            self.stop(parent, why)
        else:
            self.later(parent, why)

    def vfork_done(self, parent: Task) -> None:
        """The child has called exec or exit: the parent goes on."""
        if parent.tgid in self.inferiors and self.follows["vfork"] and not self._repeats():
            self.later(parent, Stop(SIGTRAP, b"vforkdone:;"))

    def _on_task(self, event: TaskEvent) -> None:
        task = self.kernel.tasks.get(event.pid)
        if task is None or event.what != "exec":
            return
        if self._repeats() and task.tgid in self.inferiors:
            return
        if task is self.next_exec:
            self.next_exec = None
            self.attach(task.tgid, attached=False)
            self.later(task, STEPPED)
        elif task.tgid in self.inferiors:
            self.inferiors[task.tgid].breakpoints.clear()
            self.watches.forget(task.tgid)
            if self.follows["exec"]:
                path = task.exe.f_path.encode(errors="surrogateescape")
                self.later(task, Stop(SIGTRAP, b"exec:%s;" % path.hex().encode()))
            elif self.waits_for_user:
                self.later(task, STEPPED)

    def exited(self, leader: Task, status: int) -> None:
        """The last thread of a process is gone."""
        if leader is self.next_exec:  # there was no program
            self.next_exec = None
            self.sched.interrupt(lambda: self._gone(Inferior(leader.tgid, False), -1))
        inferior = self.inferiors.pop(leader.tgid, None)
        for table in (self.pending, self.stepping.tasks, self.siginfo, self.deliver):
            for task in [each for each in table if each.tgid == leader.tgid]:
                del table[task]
        if inferior is not None:
            self.watches.forget(leader.tgid)
            self.sched.interrupt(lambda: self._gone(inferior, status))

    def catch(self, numbers: Optional[frozenset[int]]) -> None:
        """Stop at the entry and the end of system calls: these numbers, all for an empty set, None for none."""
        events = self.kernel.events
        if self.caught is not None:
            events.unlisten("syscall_enter", self._on_enter)
            events.unlisten("syscall_exit", self._on_exit)
        self.caught = numbers
        if numbers is not None:
            events.listen("syscall_enter", self._on_enter)
            events.listen("syscall_exit", self._on_exit)

    def _on_enter(self, event: SyscallEnter) -> None:
        self._at_call(event.task, event.number, b"syscall_entry")

    def _on_exit(self, event: SyscallExit) -> None:
        self._at_call(event.enter.task, event.enter.number, b"syscall_return")

    def _at_call(self, task: Task, number: int, what: bytes) -> None:
        if task.tgid in self.inferiors and self.caught is not None and (not self.caught or number in self.caught):
            self.siginfo.pop(task, None)
            self.stop(task, Stop(SIGTRAP, b"%s:%x;" % (what, number)))

    # -- going back -----------------------------------------------------------------------------------------

    def _repeats(self) -> bool:
        return self.travel is not None and bool(self.travel.timeline.silent)

    # -- memory ------------------------------------------------------------------------------------------

    def read(self, mm: mm_struct, address: int, count: int) -> bytes:
        """Memory as ptrace reads it: up to the first byte that can't be reached; devices (VM_IO) can't (B12)."""
        if self.travel is not None:
            return bytes(self.travel.read(mm, address, count))
        return read_process_vm(mm, address, count)

    def write(self, mm: mm_struct, address: int, data: bytes) -> int:
        """The same to write; read-only code gets a private copy."""
        if self.travel is not None:
            self.travel.changes()
        return write_process_vm(mm, address, data)
