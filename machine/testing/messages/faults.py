"""Texts: faults on purpose."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from machine.testing.messages.accesses import indented


def bad_nth(nth: object) -> str:
    return f"inject: nth counts from 1, not {nth}"


def sigbus_where() -> str:
    return 'inject("sigbus"): say where: at="timer.status", at="/dev/uio0+0x8", at="main", or which: nth=3'


def no_such_place(at: str, known: Sequence[str]) -> str:
    there = f"registers here: {', '.join(known)}" if known else "no device model is attached"
    return (
        f"inject: at={at!r} is no place: an address, '/dev/NAME+OFFSET', 'device.register', 'file.c:LINE' or a "
        f"function; {there}"
    )


def no_such_call(name: str, hint: str) -> str:
    return f"inject: {name!r} is no system call, and not sigbus or oom{hint}"


def errno_or_short(name: str) -> str:
    return f'inject({name!r}): say what it gets: errno="EIO", or short=BYTES'


def no_such_errno(name: str, hint: str) -> str:
    return f"inject: {name!r} is no errno{hint}"


def not_shortened(name: str, known: Sequence[str]) -> str:
    return f"inject({name!r}, short=...): short is for {', '.join(known)}"


def no_such_register(device: str, register: str, hint: str) -> str:
    return f"inject: {device} has no register {register!r}{hint}"


def us_or_reads(device: str, register: str) -> str:
    return f"inject.delayed({device!r}, {register!r}): say how long: us=500, or reads=3"


def bad_probability(probability: float, nth: object) -> str:
    if nth is not None:
        return "inject.lost_irq: nth=, or probability=, not both"
    return f"inject.lost_irq: probability={probability:g} is not between 0 and 1"


def never_happened(text: str) -> str:
    return f"{text} did nothing: what it waits for did not happen"


def no_such_kind(text: str) -> str:
    return f"for_each_fault: {text!r} is not oom, ENOMEM, sigbus, syscall:NAME, syscall:NAME=ERRNO or short:NAME"


def wants_fault_run(test: str) -> str:
    """The marker for_each_fault on a test that does not look."""
    return (
        f"the marker for_each_fault makes runs for the fixture 'fault_run': def {test}(fault_run): "
        "fault_run.assert_survived()"
    )


def no_fault_marker(test: str) -> str:
    """The fixture without the marker."""
    return (
        f"the fixture 'fault_run' wants a marker on {test}: "
        '@pytest.mark.for_each_fault("ENOMEM", ["./timerctl", "start"])'
    )


def marker_wants_two(count: int) -> str:
    """@pytest.mark.for_each_fault("oom")."""
    return (
        "for_each_fault marker: it takes a kind and a command line or a function, and here are "
        f'{count}: @pytest.mark.for_each_fault("ENOMEM", ["./timerctl", "start"])'
    )


def no_compiler_options(names: Sequence[str]) -> str:
    """@pytest.mark.for_each_fault("oom", ["./timerctl"], target="i386")."""
    return (
        f"for_each_fault marker: {', '.join(names)}: such options are guest_cc's, for a command line whose program is "
        "a C file beside the test; the marker's own are limit, only, at_least and status"
    )


def process_failed(trace: str) -> str:
    """In one of the processes of workers=4."""
    return f"a process of for_each_fault failed:\n{trace}"


def process_died(status: int) -> str:
    """A process of workers=4 was killed: by whom memory is short, for instance."""
    return f"a process of for_each_fault ended with status {status} before its work was done"


def changed_in_a_process(names: Sequence[str]) -> str:
    """A scenario that fills a list of the test, with workers=4."""
    return (
        f"for_each_fault: the runs change {', '.join(repr(name) for name in names)}, each in a process of its own, "
        "where the test does not see it: compare inside the function, look at the outcomes, or leave workers= away"
    )


def nothing_failed(head: str, at_least: int, calls: Sequence[str], offers: Mapping[str, int]) -> str:
    """A kind of failure that a program does not meet, or not so often."""
    wanted = f"at least {at_least} were to be tried"
    others = f"what could fail: {', '.join(f'{kind} ({count})' for kind, count in offers.items())}" if offers else ""
    made = f"its system calls are {', '.join(calls)}" if calls else ""
    return "; ".join(filter(None, (head, wanted, others, made)))


def ends_without_failure(name: str, exit: int, status: int, told: str, option: str) -> str:
    """The run that all others would be compared with goes wrong: --attach was forgotten, for instance."""
    instead = f", not with {status}" if status else ""
    said = f". It said:\n{indented(told.splitlines())}" if told else ""
    return f"{name}: ends with {exit}{instead} without a failure; where that is meant: {option}{said}"


def not_survived(head: str, table: str, again: str) -> str:
    return f"{head}. Not survived:\n{table}\nTo look at the first: {again}"


def wants_a_class(where: str, model: object) -> str:
    return (
        f"for_each_fault: the model at {where!r} is an object, {type(model).__name__}(...), and each run wants a fresh "
        f"one: give its class to the marker"
    )
