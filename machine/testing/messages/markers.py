"""Texts: markers, fixtures, options."""

from __future__ import annotations

from collections.abc import Sequence

from machine.testing.messages.accesses import indented
from machine.testing.messages.naming import place


def no_device_marker(test: str) -> str:
    return f"the fixture 'device' wants a marker on {test}: @pytest.mark.device(\"/dev/mem@0xfe000000\", Timer)"


def several_devices(places: Sequence[str]) -> str:
    return f"the fixture 'device' is for a test with one device; here are {', '.join(places)}: take devices[...]"


def unknown_place(where: str, places: Sequence[str]) -> str:
    return f"no device of this test is at {where!r}; there are: {', '.join(places) or 'none'}"


def device_without_place(model: object) -> str:
    """@pytest.mark.device(Timer)."""
    name = "Timer" if model is None else getattr(model, "__name__", type(model).__name__)
    return f'device marker: it needs a place: @pytest.mark.device("/dev/uio0", {name}), or a driver\'s name alone'


def at_test(where: tuple[str, int], text: str) -> str:
    """What a test's marker or fixture wants and can't have."""
    return f"{place(where)}: {text}"


def board_wants_a_name() -> str:
    return 'board marker: it takes a name or a file: @pytest.mark.board("my-board.toml")'


def bad_option(name: str, why: str) -> str:
    return f"{name}: {why}"


def bad_coverage(path: str) -> str:
    return f"--nopage-cov={path}: the name ends in .info (for lcov) or .xml (Cobertura); without a name, put it last"


def cannot_write(name: str, path: str, why: str) -> str:
    return f"{name}: {path} can't be written: {why}"


def bad_blocks(path: str) -> str:
    return f"--nopage-drcov={path}: the name ends in .drcov or .log; without a name, put it last"


def not_clean(complaints: Sequence[str]) -> str:
    return "the machine is not clean after the test:\n" + "\n".join(complaints)


def closed_by_the_test() -> str:
    """machine.close() of the fixture."""
    return "the test closed the machine: nobody knows what was left in it (the fixture closes it after a look)"


def behaved(texts: Sequence[str]) -> str:
    """The marker misbehaves on a test in which nothing such happened."""
    wanted = ", ".join(repr(text) for text in texts)
    return f"misbehaves marker: nothing that the kernel complained of has {wanted} in it"


def misbehaves_how() -> str:
    """@pytest.mark.misbehaves."""
    return (
        "misbehaves marker: it takes what the kernel is to complain of, a regular expression each: "
        '@pytest.mark.misbehaves("not released at unload: 1 page")'
    )


def no_expression(texts: Sequence[object], why: str) -> str:
    """@pytest.mark.misbehaves("*")."""
    return f"misbehaves marker: {', '.join(repr(text) for text in texts)}: no regular expression: {why}"


def no_source(source: object, places: Sequence[str]) -> str:
    return f"guest_cc: there is no {source}. Looked in:\n{indented(places)}"


def does_not_compile(source: object, target: str, text: str) -> str:
    return f"guest_cc: {source} does not compile for {target}:\n{text}"


def no_compiler(why: str) -> str:
    return f"guest_cc: {why}"
