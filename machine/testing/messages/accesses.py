"""Texts: assertions on accesses (RegisterError for what can't be meant, AssertionError for what is not so)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from machine.testing.messages.naming import did_you_mean, place, place_of

NOTHING = "(nothing)"


def no_expectation(where: tuple[str, int], what: str, item: object) -> str:
    """assert_writes([1])."""
    one = (
        "('write', 'ctrl', 1) or ('read', 'count', ANY)" if what == "accesses" else "('ctrl', 1), ('ctrl', ANY), 'ctrl'"
    )
    return f"{place(where)}: assert_{what}: an access is expected as {one} or ..., not as {item!r}"


def unknown_device(where: tuple[str, int], name: str, known: Sequence[str]) -> str:
    """assert_writes([("tmier.ctrl", 1)])."""
    device = name.partition(".")[0]
    return f"{place(where)}: '{name}': there is no device '{device}'{did_you_mean(device, known)}"


def unknown_register(where: tuple[str, int], name: str, classes: Sequence[str], known: Sequence[str]) -> str:
    """assert_writes([("crtl", 1)])."""
    who = " and ".join(classes) if classes else "this machine"
    plain = name.partition(".")[2] or name
    verb = "have" if len(classes) > 1 else "has"
    return f"{place(where)}: {who} {verb} no register '{plain}'{did_you_mean(plain, known)}"


def unknown_field(where: tuple[str, int], cls: Any, register: str, field: str, known: Sequence[str]) -> str:
    """assert_writes([("ctrl", {"enalbe": 1})])."""
    return f"{place(where)}: {cls.__name__}.{register} has no field '{field}'{did_you_mean(field, known)}"


def unknown_value(where: tuple[str, int], cls: Any, register: str, field: str, value: str, known: Sequence[str]) -> str:
    """assert_writes([("ctrl", {"mode": "slwo"})])."""
    name = f"{cls.__name__}.{register}: field '{field}'"
    return f"{place(where)}: {name} has no value '{value}'{did_you_mean(value, known)}"


def differ(what: str, expected: int, made: int) -> str:
    """The head of a comparison."""
    return f"register {what} differ: {expected} expected, {made} made"


def rows_left_out(count: int) -> str:
    """In a long comparison."""
    return f"  ...  {count} more"


def not_there(what: str, wanted: str, after: int, places: int, made: int) -> str:
    """The head of a comparison with gaps; `places` are marked."""
    if not wanted:
        return f"register {what} differ: nothing was expected after the first {after}; {made} were made"
    if not places:
        return f"register {what} differ: {wanted} was expected, and did not come; {made} were made"
    where = "where the mark is" if places == 1 else "in one of those marked"
    return f"register {what} differ: {wanted} was expected {where}; {made} were made"


def times(count: int) -> str:
    """Behind an access that was made several times in a row."""
    return f", {count} times" if count > 1 else ""


def access_made(registers: Sequence[str], count: int, lines: Sequence[str], story: Sequence[str]) -> str:
    """assert_no_access_to("status")."""
    verb = "was" if count == 1 else "were"
    head = f"no access to {', '.join(registers)} was expected; there {verb} {count}:"
    return "\n".join([head, *(f"  {line}" for line in lines), *story])


def no_recording(path: str) -> str:
    """A golden recording that nobody has made."""
    return f"{place_of(path)}: there is no recording yet; pytest --nopage-record writes it"


def bad_recording(path: str, line: int, text: str) -> str:
    """A recording that was changed by hand, into something that is none."""
    return (
        f"{place((path, line))}: {text.strip()!r} is no line of a recording; they are like 'write timer.ctrl = 1 "
        f"(enable=1)' and 'read  timer.status = 0  × 37', where * stands for any value, × + and × * for any number, or "
        "'repeat × 37:' before lines that are indented alike"
    )


def empty_repeat(path: str, line: int, text: str) -> str:
    """A `repeat` of a recording that was changed by hand."""
    return f"{place((path, line))}: {text.strip()!r}: what is repeated follows in lines that are indented by two blanks"


def recording_differs(path: str, diff: Sequence[str], story: Sequence[str]) -> str:
    """Other accesses than those of the recording."""
    head = f"register accesses differ from {place_of(path)} (- recorded, + made; --nopage-update accepts them):"
    return "\n".join([head, *(f"  {line}" for line in diff), *story])


def no_waves(path: str) -> str:
    """waves() before anything is attached."""
    return f"{path}: there is no device whose registers it could show: attach it first"


def first_difference(kind: str, made: str, before: bool) -> str:
    """The head of what is told about one access."""
    return f"the {kind} that {'came instead' if before else 'was made'}: {made}"


def replay(command: str, lacks: Sequence[str]) -> list[str]:
    """The command that stops at an access, and what of the test it does not repeat."""
    line = f"  replay       {command}"
    return [line, f"               this replay lacks: {', '.join(lacks)}"] if lacks else [line]


def an_interrupt(irq: int, handlers: str) -> str:
    """What a replay lacks, when the test has raised it."""
    return f"interrupt {irq} ({handlers}) as the test raised it"


def a_signal(signal: str, program: str) -> str:
    """Likewise, of a held program."""
    return f"{signal} that the test sent to {program}"


def no_replay(where: str, model: Any, device: str, register: str, nr: int) -> list[str]:
    """No command can name the model."""
    name = getattr(model, "__qualname__", None)
    what = (
        f"the class {name} is inside of something" if name else f"the model is an object, {type(model).__name__}(...)"
    )
    again = f"for _ in range({nr}): " if nr > 1 else ""
    here = f"lambda a: (a.device, a.register) == ('{device}', '{register}')"
    return [
        f"  replay       no command: {where}: {what}, and --attach names a class of a file's own level",
        "               to stand there in the test: p = start(...) in place of run(...), then",
        f"               {again}machine.run_until('register', {here})",
    ]


def indented(lines: Sequence[str]) -> str:
    """A block of lines under a sentence."""
    return "\n".join(f"  {line}" for line in lines)
