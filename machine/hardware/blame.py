"""What comes out of a user's code, a device model's or a driver's: whether it is the user's doing, and its text."""

from __future__ import annotations


class Passing(BaseException):
    """Of the machine's own, on its way through the user's code: nobody there is at fault."""


PASSING: list[type[BaseException]] = [KeyboardInterrupt, Passing]
"""What is let through; also the end of a greenlet (task/sched.py has it: a pytest that uses no machine does not load
greenlet), and under pytest what `pytest.fail` and `pytest.skip` raise (testing/plugin.py)."""

THROWN: tuple[type[BaseException], ...] = ()
"""Those of `PASSING` that are thrown into code which waits in the machine: the end of a greenlet."""


def passes(failure: BaseException) -> bool:
    """Whether it is no mistake of the code that it comes out of: `sys.exit()` is one, it would end nopage silently.
    So is the end of a greenlet that was not raised where the machine's own code waits."""
    if not isinstance(failure, tuple(PASSING)):
        return False
    return not isinstance(failure, THROWN) or _raised_by(failure).startswith("machine.")


def _raised_by(failure: BaseException) -> str:
    """The module whose code raised it, or called what did; "" of nobody's."""
    trace = failure.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return "" if trace is None else str(trace.tb_frame.f_globals.get("__name__", ""))


def said(failure: BaseException) -> str:
    """`str(failure)`, also of an exception whose `__str__` raises."""
    from machine.testing.messages.naming import said as text

    return text(failure)
