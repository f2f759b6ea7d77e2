"""Interrupts: lines, handlers, and the context in which code runs (kernel/irq/{handle,manage,spurious}.c).

A device model raises a line; the handlers of the drivers that asked for it run at once, on top of whatever runs, with
`current` as it was.  While interrupts are off, while another handler runs, and in the middle of an access to a
device's registers the line stays pending.  Softirqs, kernel timers among them, run after the outermost handler.

What code may do where is in context.py.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Optional

from machine.events import Interrupt
from machine.kernel.abi.errno import EBUSY, EINVAL
from machine.kernel.answers import is_number, nonsense
from machine.kernel.context import HARDIRQ_MASK, HARDIRQ_OFFSET, IN_INTERRUPT
from machine.kernel.current import set_current_kernel
from machine.kernel.dialect import version
from machine.kernel.module import DRIVER_FAILED, call_driver
from machine.kernel.pt_regs import pt_regs
from machine.kernel.softirq import NS_PER_TICK, Softirqs
from machine.records import NamedTuple

if TYPE_CHECKING:
    from machine.kernel.kernel import Kernel

NR_IRQS = 224
IRQ_NONE, IRQ_HANDLED = 0, 1
SA_SHIRQ, SA_SAMPLE_RANDOM, SA_INTERRUPT = 0x0400_0000, 0x1000_0000, 0x2000_0000
IRQF_SHARED = 0x80
"""`SA_SHIRQ` since Linux 2.6.18."""
JUDGED, TOO_MANY = 100_000, 99_900
"""Of so many interrupts of a line, so many that nobody cared for switch it off (kernel/irq/spurious.c)."""
FAILURES = 10
"""Of handlers of a line that is held, by which it is switched off: Linux would have stopped at the first one."""
WITHOUT_REGS = (2, 6, 19)
"""From this Linux on a handler has two arguments: `regs` is gone."""


class irqaction(NamedTuple):
    """One handler of a line."""

    handler: Optional[Callable[..., Any]]
    """None: the kernel's own, of a line that no driver can have."""
    flags: int
    name: str
    dev_id: Any
    owner: Any
    """The driver's module."""
    where: str
    """Its line that asked for the interrupt."""


class irq_desc:
    """One line."""

    __slots__ = (
        "actions",
        "count",
        "depth",
        "edge",
        "failures",
        "level",
        "pending",
        "repeats",
        "seen",
        "told",
        "unhandled",
    )

    def __init__(self) -> None:
        self.actions: list[irqaction] = []
        self.depth = 0
        """How often it is disabled (`disable_irq`)."""
        self.level = False
        """A device holds the line."""
        self.pending = False
        self.edge = False
        """What is pending is an edge, which is kept; a level that goes is forgotten."""
        self.count = 0
        """Interrupts since boot, for /proc/interrupts."""
        self.seen = self.unhandled = 0
        self.repeats = 0
        """Interrupts in a row after which the line was still held."""
        self.failures = 0
        """Handlers that raised, or returned nonsense, in these."""
        self.told = False
        """A stray interrupt of this line has been mentioned in the log."""


class Interrupts:
    """The interrupt controller of one machine, and its processor's state as far as interrupts go."""

    __slots__ = ("__dict__", "disabled", "preempt_count")

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.preempt_count = 0
        """See context.py."""
        self.disabled = False
        """Interrupts are off on the processor (`local_irq_disable`)."""
        self.held: list[tuple[Any, str]] = []
        """Spinlocks that are taken, and the driver's lines that took them."""
        self.lines: dict[int, irq_desc] = {}
        self.pending: list[int] = []
        """Lines that wait for the processor, in order."""
        self.tick_held = False
        """A timer came due while interrupts were off."""
        self.told: set[tuple[Any, str, str]] = set()
        self.softirqs = Softirqs(kernel, self)
        for number, name in ((0, "timer"), (2, "cascade")):
            self.line(number).actions.append(irqaction(None, SA_INTERRUPT, name, None, None, ""))
        kernel.leak_checks.append(self._left_by)
        kernel.bus.raise_irq = self.raise_irq
        kernel.bus.set_irq = self.set_level
        kernel.bus.call_later = self._call_later

    def line(self, irq: int) -> irq_desc:
        """The line `irq`.  ValueError unless 0 to 223."""
        desc = self.lines.get(irq)
        if desc is None:
            if not isinstance(irq, int) or not 0 <= irq < NR_IRQS:
                raise ValueError(f"there is no interrupt {irq!r}: they are numbered 0 to {NR_IRQS - 1}")
            desc = self.lines[irq] = irq_desc()
        return desc

    # -- handlers come and go ----------------------------------------------------------------------

    def request(self, irq: int, new: irqaction) -> int:
        """0; -EBUSY when the line is taken and one of the two doesn't share; -EINVAL (manage.c: request_irq)."""
        shared = new.flags & (SA_SHIRQ | IRQF_SHARED)
        if not 0 <= irq < NR_IRQS or new.handler is None or (shared and new.dev_id is None):
            return -EINVAL
        desc = self.line(irq)
        if any(not shared or not old.flags & (SA_SHIRQ | IRQF_SHARED) for old in desc.actions):
            return -EBUSY
        if not desc.actions:
            desc.depth = desc.seen = desc.unhandled = 0
        desc.actions.append(new)
        if desc.level:
            self._mark(irq, desc)
            self.run_pending()
        return 0

    def free(self, irq: int, dev_id: Any) -> bool:
        """Take the handler with this `dev_id` off; False when there is none."""
        desc = self.lines.get(irq)
        mine = [] if desc is None else [a for a in desc.actions if a.dev_id is dev_id and a.handler is not None]
        if desc is None or not mine:
            return False
        self._remove(irq, desc, mine[0])
        return True

    def _remove(self, irq: int, desc: irq_desc, action: irqaction) -> None:
        desc.actions = [each for each in desc.actions if each is not action]
        if not desc.actions:
            desc.pending = False
            self.pending = [each for each in self.pending if each != irq]

    def _left_by(self, owner: Any) -> list[str]:
        """The interrupts and tasklets that an unloaded driver left; they are taken away: nobody could answer."""
        left = []
        for irq, desc in self.lines.items():
            for action in [each for each in desc.actions if each.owner is owner]:
                self._remove(irq, desc, action)
                left.append(f"interrupt {irq} ('{action.name}'), got at {action.where}")
        return left + self.softirqs.left_by(owner)

    # -- the device's side --------------------------------------------------------------------------

    def raise_irq(self, irq: int) -> None:
        """An edge on line `irq`: its handlers run now, or as soon as the processor takes interrupts.

        From another thread of the host: soon, when the machine's own thread gets to it.  ValueError unless 0 to 223.
        """
        if self._elsewhere():
            self.kernel.sched.interrupt(lambda: self.raise_irq(irq))
            return
        desc = self.line(irq)
        self._mark(irq, desc)
        desc.edge = desc.pending
        self.run_pending()

    def set_level(self, irq: int, high: bool) -> None:
        """A device holds the line, or lets it go: while it is held the handlers run again and again."""
        if self._elsewhere():
            self.kernel.sched.interrupt(lambda: self.set_level(irq, high))
            return
        desc = self.line(irq)
        let_go, desc.level = desc.level and not high, high
        if high:
            self._mark(irq, desc)
            self.run_pending()
        elif let_go and not desc.edge:  # what it waited for is over: an interrupt that came now would be nobody's
            desc.pending = False
            self.pending = [each for each in self.pending if each != irq]

    def _elsewhere(self) -> bool:
        """Whether the machine runs, in another thread than this one."""
        return self.kernel.sched.thread not in (None, threading.get_ident())

    def _call_later(self, delay_ns: int, callback: Callable[[], None]) -> None:
        sched = self.kernel.sched
        when = self.kernel.clock.monotonic_ns() + delay_ns
        callback = self.kernel.bus.guarded(callback)
        if not self._elsewhere():
            sched.call_at(when, callback)
            return

        def start() -> None:
            sched.call_at(when, callback)

        sched.interrupt(start)

    def _mark(self, irq: int, desc: irq_desc) -> None:
        if not desc.actions:
            if not desc.told:
                desc.told = True
                self.kernel.printk(f"irq {irq}: nobody has asked for it", 7)
            return
        desc.pending = True
        if not desc.depth and irq not in self.pending:
            self.pending.append(irq)

    # -- delivery -----------------------------------------------------------------------------------

    def run_pending(self) -> None:
        """Run the handlers of what is pending, unless the processor takes no interrupts now."""
        bus = self.kernel.bus
        while self.pending and not self.disabled and not self.preempt_count & HARDIRQ_MASK:
            if bus.inside:
                bus.afterwards = self.run_pending  # the device is in the middle of an access: let it come to its end
                return
            irq = self.pending.pop(0)
            before, count = set_current_kernel(self.kernel), self.preempt_count
            try:
                self._do_irq(irq, self.lines[irq])
            finally:  # Ctrl-C on the host may end it anywhere
                set_current_kernel(before)
                self.preempt_count, self.disabled = count, False

    def _do_irq(self, irq: int, desc: irq_desc) -> None:
        """One interrupt (kernel/irq/handle.c: __do_IRQ)."""
        desc.pending = desc.edge = False
        desc.count += 1
        if self.kernel.events.interrupt is not None:
            self.kernel.events.interrupt(Interrupt(irq, ", ".join(action.name for action in desc.actions)))
        self.enter()
        self.disabled = bool(desc.actions and desc.actions[0].flags & SA_INTERRUPT)
        handled = IRQ_NONE
        for action in list(desc.actions):
            if action.handler is not None:
                handled |= self._handle(irq, action)
        self.disabled = False
        self._note(irq, desc, handled)
        if desc.level and desc.actions and not desc.depth and irq not in self.pending:
            self.pending.append(irq)
        self.leave()

    def _handle(self, irq: int, action: irqaction) -> int:
        arguments: tuple[Any, ...] = (irq, action.dev_id)
        dialect = version(action.owner)
        if dialect < WITHOUT_REGS:
            arguments += (pt_regs(self.kernel),)
        handler = action.handler
        assert handler is not None
        result = call_driver(self.kernel, action.owner, "interrupt", handler, *arguments)
        if result is DRIVER_FAILED:
            self.lines[irq].failures += 1
            return IRQ_HANDLED  # one report is enough: it must not look like a stray interrupt as well
        if result is None and dialect < (2, 5):
            return IRQ_HANDLED  # a handler of 2.4 returns nothing
        if not is_number(result) or result not in (IRQ_NONE, IRQ_HANDLED):
            nonsense(action.owner, "interrupt", handler, result, "not IRQ_HANDLED or IRQ_NONE")
            self.lines[irq].failures += 1
            return IRQ_HANDLED
        return int(result)

    def _note(self, irq: int, desc: irq_desc, handled: int) -> None:
        """Count what nobody cared for, and what its handlers can't bring to an end (spurious.c: note_interrupt)."""
        desc.unhandled += not handled
        desc.seen += 1
        desc.repeats, desc.failures = (desc.repeats + 1, desc.failures) if desc.level else (0, 0)
        unhandled = 0
        if desc.seen >= JUDGED:
            unhandled, desc.seen, desc.unhandled = desc.unhandled, 0, 0
        if unhandled <= TOO_MANY and desc.repeats < JUDGED and desc.failures < FAILURES:
            return
        failed = desc.failures >= FAILURES
        desc.repeats = desc.failures = 0
        who = ", ".join(f"{a.name} ({a.where})" for a in desc.actions)
        if unhandled > TOO_MANY:
            self.kernel.report(f"irq {irq}: nobody cared! handlers: {who}")
        elif failed:
            self.kernel.report(f"irq {irq}: still held, and its handlers have failed {FAILURES} times; handlers: {who}")
        else:
            why = f"still held after {JUDGED} interrupts, its handlers don't quiet the device"
            self.kernel.report(f"irq {irq}: {why}; handlers: {who}")
        self.kernel.printk(f"Disabling IRQ #{irq}", 0)
        desc.depth = 1

    def enter(self) -> None:
        """A handler begins (irq_enter)."""
        self.preempt_count += HARDIRQ_OFFSET

    def leave(self) -> None:
        """A handler ends: softirqs after the outermost one (irq_exit)."""
        self.preempt_count -= HARDIRQ_OFFSET
        if self.softirqs.waiting() and not self.preempt_count & IN_INTERRUPT:
            self.softirqs.run()
        sched = self.kernel.sched
        if sched.runqueue:
            sched.need_resched = True  # the process that was woken, if one was, has its turn at once

    # -- what a driver switches off and on --------------------------------------------------------------

    def enable_line(self, irq: int) -> bool:
        """Undo one `disable_irq`; False when the line is not disabled."""
        desc = self.line(irq)
        if not desc.depth:
            return False
        desc.depth -= 1
        if not desc.depth and (desc.pending or desc.level):
            self._mark(irq, desc)
            self.run_pending()
        return True

    def disable_line(self, irq: int) -> None:
        """The handlers don't run until `enable_line`; an edge meanwhile is kept."""
        desc = self.line(irq)
        desc.depth += 1
        self.pending = [each for each in self.pending if each != irq]

    def set_disabled(self, disabled: bool) -> bool:
        """Interrupts off or on, on the processor; as it was before.  What waited comes when they go on."""
        before, self.disabled = self.disabled, disabled
        if before and not disabled:
            if self.pending:
                self.run_pending()
            if self.tick_held:
                self.tick()
        return before

    def tick(self) -> None:
        """The timer interrupt in the middle of a busy wait: what is due fires."""
        if self.disabled or self.preempt_count & HARDIRQ_MASK:
            self.tick_held = True
            return
        self.tick_held = False
        self.kernel.sched.timers.run()

    def busy_wait(self, ns: int) -> None:
        """Let `ns` nanoseconds pass without giving the processor away; timers fire on the way."""
        clock, sched = self.kernel.clock, self.kernel.sched
        end = clock.monotonic_ns() + ns
        while True:
            now = clock.monotonic_ns()
            if now >= end:
                return
            when = sched.timers.next_event()
            clock.delay((end if when is None or when <= now else min(end, when)) - now)
            self.tick()

    # -- /proc/interrupts -----------------------------------------------------------------------------------

    def counts(self) -> str:
        """All interrupts since boot, then those of each line, for /proc/stat."""
        each = [self.lines[irq].count if irq in self.lines else 0 for irq in range(NR_IRQS)]
        each[0] = self.kernel.clock.monotonic_ns() // NS_PER_TICK
        return " ".join(map(str, [sum(each), *each]))

    def show(self) -> str:
        """/proc/interrupts of one processor with a PC's controller (arch/i386/kernel/irq.c: show_interrupts)."""
        text = "           CPU0       \n"
        for irq, desc in sorted(self.lines.items()):
            if desc.actions:
                names = ", ".join(action.name for action in desc.actions)
                count = self.kernel.clock.monotonic_ns() // NS_PER_TICK if irq == 0 else desc.count
                text += f"{irq:3}: {count:10}  {'XT-PIC':>14}  {names}\n"
        return text + f"NMI: {0:10} \nERR: {0:10}\n"
