"""``--trace-window N``: what ran around each fault that is shown, as basic blocks or instruction by instruction.

Each goes to the text, and to `told`: --events has it as a line of its own, --report beside the fault.

What came before is from a fork of a snapshot that runs again, what comes after is stepped through until the kernel is
entered for something else.  All other code runs as fast as ever.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple, Optional

from machine.events import PageFault
from machine.hardware.bytecount import FAR
from machine.kernel.mm.decode import Decoder
from machine.observe.symbols import Symbols
from machine.observe.travel.steps import Block, Step, Stepped, Window, step_of
from machine.observe.travel.travel import CantGo

if TYPE_CHECKING:
    from machine.events import Event
    from machine.kernel.kernel import Kernel
    from machine.observe.filter import Filters
    from machine.observe.output import Output
    from machine.observe.symbols import ReadFile
    from machine.observe.travel.travel import Travel

_FIRST, _MORE, _MOST = 8, 4, 20_000
"""Instructions a block that are looked at first, by how many times more when they were too few, and at most."""


Told = Callable[[PageFault, str, list[str]], None]
"""What gets a part of a window: its fault; "before", "at" or "after"; the lines."""
_HEADINGS = {"before": "before", "at": "the instruction of", "after": "after"}


class _After(NamedTuple):
    """The window behind a fault, as long as it is open."""

    fault: PageFault
    window: Window
    at: Step
    """The instruction that faulted."""
    steps: list[Step]
    blocks: list[Block]


class TraceWindow:
    """Made after the view of faults, so that it writes after it.  `by_instruction`: `count` is not of blocks."""

    def __init__(
        self, travel: Travel, count: int, by_instruction: bool, output: Output, filters: Optional[Filters],
        read_file: ReadFile, told: Sequence[Told] = (),
    ) -> None:  # fmt: skip
        self.travel = travel
        self.kernel: Kernel = travel.kernel
        self._count = count
        self._by_instruction = by_instruction
        self._output = output
        self._filters = filters
        self._told = told
        self._symbols, self._decoder = Symbols(read_file), Decoder()
        self._after: Optional[_After] = None
        self.kernel.events.listen("fault", self._on_fault)
        for kind in ("syscall_enter", "signal", "switch"):
            self.kernel.events.listen(kind, self._entered)

    def _on_fault(self, fault: PageFault) -> None:
        self._entered(fault)
        timeline, task = self.travel.timeline, self.kernel.current
        if timeline.silent or fault.origin != "user" or task is None:
            return
        if self._filters is not None and not self._filters.match("fault", fault):
            return
        window = Window(self.kernel, task.mm, self._symbols, self._decoder)
        at = step_of(self.kernel, task)
        before = self._instructions_before if self._by_instruction else self._blocks_before
        try:
            lines = before(window, at)
        except CantGo as error:
            lines = [str(error)]
        self._show(fault, "before", lines)
        if fault.outcome in ("minor", "major"):
            self._after = _After(fault, window, at, [], [])
            timeline.instructions(FAR - 1, self._one, lambda: None)

    def _show(self, fault: PageFault, part: str, lines: list[str]) -> None:
        heading = f"  {_HEADINGS[part]} fault {fault.number}"
        self._output.line("\n".join([heading, *(f"    {line}" for line in lines)]))
        for each in self._told:
            each(fault, part, lines)

    # -- before ------------------------------------------------------------------------------------------

    def _instructions_before(self, window: Window, at: Step) -> list[str]:
        return window.lines(self.travel.before(self._count), at, at.pid)

    def _blocks_before(self, window: Window, at: Step) -> list[str]:
        """The last of them is the one with the fault in it, as far as that."""
        wanted = self._count * _FIRST
        while True:
            steps: list[Stepped] = [*self.travel.before(wanted), at]
            blocks = window.blocks(steps)
            # The first is taken for whole only when all that ever ran is here.
            if len(blocks) > self._count or len(steps) <= wanted or wanted >= _MOST:
                break
            wanted = min(wanted * _MORE, _MOST)
        return [window.block_line(block, at.pid) for block in blocks[-self._count :]]

    # -- after -------------------------------------------------------------------------------------------

    def _one(self, position: int) -> None:
        """A thread is before the next instruction."""
        after, task = self._after, self.kernel.current
        if after is None or task is None:
            return
        step = step_of(self.kernel, task)
        full: Callable[[_After, Step], bool] = self._add_step if self._by_instruction else self._add_block
        if full(after, step) or len(after.steps) >= _MOST:
            self._entered(None)

    def _add_step(self, after: _After, step: Step) -> bool:
        """One more than is shown is needed: it says what the last one changed."""
        after.steps.append(step)
        return len(after.steps) > self._count

    def _add_block(self, after: _After, step: Step) -> bool:
        more = after.window.follows(step, after.steps[-1]) if after.steps else None
        if more is None:
            if len(after.blocks) == self._count:
                return True
            after.blocks.append(Block(step, 1))
        elif more:
            after.blocks[-1] = after.blocks[-1]._replace(size=after.blocks[-1].size + 1)
        after.steps.append(step)
        return False

    def _entered(self, _event: Optional[Event]) -> None:
        """The window is over."""
        after, self._after = self._after, None
        if after is None or self.travel.timeline.silent:
            return
        self.travel.timeline.no_instructions()
        if not after.steps:
            return
        pid, window, steps = after.at.pid, after.window, after.steps
        if not self._by_instruction:
            self._show(after.fault, "after", [window.block_line(block, pid) for block in after.blocks])
            return
        end = steps[self._count] if len(steps) > self._count else None
        self._show(after.fault, "at", window.lines([after.at], steps[0], pid))
        self._show(after.fault, "after", window.lines(steps[: self._count], end, pid))
