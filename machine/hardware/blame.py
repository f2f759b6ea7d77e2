"""What comes out of a user's code, a device model's or a driver's: whether it is the user's doing, and its text."""

from __future__ import annotations


class Passing(BaseException):
    """Of the machine's own, on its way through the user's code: nobody there is at fault."""


PASSING: list[type[BaseException]] = [KeyboardInterrupt, Passing]
"""What is let through; also the end of a greenlet (task/sched.py has it: a pytest that uses no machine does not load
greenlet), and under pytest what `pytest.fail` and `pytest.skip` raise (testing/plugin.py)."""


def passes(failure: BaseException) -> bool:
    """Whether it is no mistake of the code that it comes out of: `sys.exit()` is one, it would end nopage silently."""
    return isinstance(failure, tuple(PASSING))


def said(failure: BaseException) -> str:
    """`str(failure)`, also of an exception whose `__str__` raises."""
    from machine.testing.messages.naming import said as text

    return text(failure)
