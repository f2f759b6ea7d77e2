"""Every text with which the plugin, the models and the assertions refuse something or complain.

A function a message.  tests/testing/test_messages.py provokes each and compares the whole of it.
"""

from __future__ import annotations

from collections.abc import Sequence


def indented(lines: Sequence[str]) -> str:
    """A block of lines under a sentence."""
    return "\n".join(f"  {line}" for line in lines)


# -- programs ------------------------------------------------------------------------------------------------


def no_such_program(program: str, places: Sequence[str]) -> str:
    return (
        f"{program}: no such program. Looked in:\n{indented(places)}\n"
        "Build it before the test, or compile it in the test: guest_cc('FILE.c')"
    )


def not_executable(program: str, why: str) -> str:
    return f"{program}: can't be started: {why}"


def timed_out(program: str, seconds: float, tasks: Sequence[str]) -> str:
    return (
        f"{program}: still running after {seconds:g} seconds; killed. What the machine was doing:\n{indented(tasks)}\n"
        "A longer time: run(..., timeout=SECONDS), or nopage_timeout in pytest's configuration"
    )


def stuck(program: str, tasks: Sequence[str]) -> str:
    return (
        f"{program}: sleeps for ever: no timer, interrupt or input is to come; killed. What the machine was doing:\n"
        f"{indented(tasks)}"
    )


def waits_for_input(program: str, tasks: Sequence[str]) -> str:
    return (
        f"{program}: waits for its standard input, which is open and empty: write to its stdin, or close it. What the "
        f"machine was doing:\n{indented(tasks)}"
    )


def unexpected_end(command: str, end: str) -> str:
    return f"{command}: {end}"


# -- markers, fixtures, options ----------------------------------------------------------------------------------


def not_a_place(where: object) -> str:
    return f"device marker: {where!r} is not like '/dev/mem@0xfe000000'"


def no_device_marker(test: str) -> str:
    return f"the fixture 'device' wants a marker on {test}: @pytest.mark.device(\"/dev/mem@0xfe000000\", Timer)"


def several_devices(places: Sequence[str]) -> str:
    return f"the fixture 'device' is for a test with one device; here are {', '.join(places)}: take devices[...]"


def unknown_place(where: str, places: Sequence[str]) -> str:
    return f"no device of this test is at {where!r}; there are: {', '.join(places) or 'none'}"


def board_wants_a_name() -> str:
    return 'board marker: it takes a name or a file: @pytest.mark.board("my-board.toml")'


def bad_option(name: str, why: str) -> str:
    return f"{name}: {why}"


def not_clean(complaints: Sequence[str]) -> str:
    return "the machine is not clean after the test:\n" + "\n".join(complaints)


def no_source(source: object, places: Sequence[str]) -> str:
    return f"guest_cc: there is no {source}. Looked in:\n{indented(places)}"


def does_not_compile(source: object, target: str, text: str) -> str:
    return f"guest_cc: {source} does not compile for {target}:\n{text}"


def no_compiler(why: str) -> str:
    return f"guest_cc: {why}"


# -- faults on purpose ------------------------------------------------------------------------------------------------


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


def nothing_failed(head: str, at_least: int) -> str:
    return f"{head}; at least {at_least} were to be tried"


def not_survived(head: str, table: str, again: str) -> str:
    return f"{head}. Not survived:\n{table}\nTo look at the first: {again}"


def wants_a_class(where: str, model: object) -> str:
    return (
        f"for_each_fault: the model at {where!r} is an object, {type(model).__name__}(...), and each run wants a fresh "
        f"one: give its class to the marker"
    )
