"""Every allocation of page frames fails in turn; `python -m tests.oom --upto 2000` is the long form (E2)."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from guest.toolchain import ToolMissing
from machine import Machine
from machine.kernel.mm.fail_page_alloc import fail_page_alloc
from tests.oom.every import PROGRAMS, fail_everywhere


@pytest.mark.parametrize(
    ("name", "step", "times"), [("mixed", 3, 1), ("mixed", 7, -1), ("driver", 1, 1), ("shell", 61, 1)]
)
def test_every_allocation(name: str, step: int, times: int) -> None:
    assert name in PROGRAMS
    try:
        tally = fail_everywhere(name, 2000, step=step, times=times, check=name != "shell")
    except ToolMissing as missing:
        pytest.skip(str(missing))
    assert not tally.problems, "\n".join(tally.problems)
    assert tally.points >= 5
    assert tally.looks
    assert tally.errors or tally.signals


def test_the_hook(machine_clean: Callable[..., Machine]) -> None:
    """It counts, it fails what it was asked to, and it is gone without a trace; events of pages go on beside it."""
    machine = machine_clean(deterministic=True)
    mem = machine.kernel.mem
    seen: list[str] = []
    with fail_page_alloc(mem) as counted:
        assert machine.run(["hello"]).exit == 0
    assert counted.calls > 10 and not counted.failed
    kind = type(mem)
    machine.events.listen("page", lambda event: seen.append(event.what))
    with fail_page_alloc(mem, 5, 2, only=lambda owner: owner == "anonymous") as failing:
        ended = machine.run(["hello"])
    assert type(mem) is kind and not hasattr(mem, "fault_attr")
    assert [(each.number, each.owner, each.order) for each in failing.failed] in (
        [(5, "anonymous", 0)],
        [(5, "anonymous", 0), (6, "anonymous", 0)],
    )
    assert ended.exit != 0
    assert seen.count("alloc") > 5
    assert machine.run(["hello"]).exit == 0
