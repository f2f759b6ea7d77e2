"""Texts: programs."""

from __future__ import annotations

from collections.abc import Sequence

from machine.testing.messages.accesses import indented
from machine.testing.messages.naming import a_number


def no_such_program(program: str, places: Sequence[str], meant: str) -> str:
    hint = f"\nDid you mean {meant}?" if meant else ""
    return (
        f"{program}: no such program. Looked in:\n{indented(places)}{hint}\n"
        "Build it before the test, or compile it in the test: guest_cc('FILE.c')"
    )


def not_executable(program: str, why: str) -> str:
    return f"{program}: can't be started: {why}"


def timed_out(program: str, seconds: float, tasks: Sequence[str], looped: bool) -> str:
    text = f"{program}: still running after {seconds:g} seconds; killed. What the machine was doing:\n{indented(tasks)}"
    if looped:  # more time would not help
        return text
    return f"{text}\nA longer time: run(..., timeout=SECONDS), or nopage_timeout in pytest's configuration"


def nobody_there(
    physical: int, comm: str, where: str, path: str, counts: Sequence[int], near: Sequence[tuple[str, int, int]]
) -> str:
    """A program uses a mapping of addresses that no device answers."""
    reads, writes = counts
    what = [f"{reads} read{'s' if reads != 1 else ''} gave ones"] if reads else []
    what += [f"{writes} write{'s were' if writes != 1 else ' was'} lost"] if writes else []
    devices = ", ".join(f"{name} is at {start:#x}-{end:#x}" for name, start, end in near)
    return f"{physical:#x} was mapped by {comm} ({where}) from {path}, and no device is there: {' and '.join(what)}" + (
        f"; {devices}" if devices else ""
    )


def polled(register: str, value: int, count: int) -> str:
    """Behind what a task does."""
    return f", reading {register}, which stays {a_number(value)} ({count} times)"


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


def not_come(what: str, seconds: float, tasks: Sequence[str]) -> str:
    return f"{what} has not come in {seconds:g} seconds. What the machine was doing:\n{indented(tasks)}"


def never_comes(what: str, tasks: Sequence[str]) -> str:
    if not tasks:
        return f"{what} will not come: every program has ended"
    why = "every task sleeps and nothing can wake one"
    return f"{what} will not come: {why}. What the machine was doing:\n{indented(tasks)}"


def no_moment(condition: object, kinds: Sequence[str]) -> str:
    return f"run_until: {condition!r} is no function, and no kind of event ({', '.join(kinds)})"


def unexpected_end(command: str, end: str) -> str:
    return f"{command}: {end}"
