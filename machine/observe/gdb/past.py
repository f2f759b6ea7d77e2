"""What of a debugger goes along into another time of the machine (observe/travel), as values that can be pickled."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from machine.observe.gdb.control import Control


def state_of(control: Control) -> dict[str, Any]:
    """Processes, breakpoints, watchpoints, and what gdb wants to know of."""
    processes = {tgid: (each.attached, each.breakpoints) for tgid, each in control.inferiors.items()}
    watches = [tuple(each) for each in control.watches.active]
    return {
        "processes": processes, "watches": watches, "follows": control.follows, "passed": control.passed,
        "caught": control.caught,
    }  # fmt: skip


def restore(control: Control, state: dict[str, Any]) -> None:
    """The other way."""
    for tgid, (attached, breakpoints) in state["processes"].items():
        inferior = control.attach(tgid, attached)
        for address, detail in breakpoints.items():
            control.insert(inferior, address, detail)
    for tgid, kind, address, length in state["watches"]:
        control.watches.insert(tgid, kind, address, length)
    control.follows, control.passed = state["follows"], state["passed"]
    control.catch(state["caught"])
