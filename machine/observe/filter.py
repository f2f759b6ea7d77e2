"""Which events a view shows: ``--filter driver=scullp,addr=0x7f0000000000-0x7f0000010000,pid=2``.

In one filter all keys must fit, and of a key that is there several times one of its values.  Of several filters one
must fit.  An event that does not have what a key is about (a line of the log has no address) does not fit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from machine.events import KINDS
from machine.hardware.ram import PAGE_SIZE

_PAGE = ~(PAGE_SIZE - 1)
Test = Callable[[str, Any], bool]


def _driver(value: str) -> Test:
    def fits(kind: str, event: Any) -> bool:
        return value == (event.device if kind == "register" else getattr(event, "driver", None))

    return fits


def _pid(value: str) -> Test:
    try:
        pid = int(value)
    except ValueError:
        raise ValueError(f"pid={value}: not a number") from None
    return lambda kind, event: bool(event.pid == pid)


def _comm(value: str) -> Test:
    return lambda kind, event: bool(event.comm == value)


def _kind(value: str) -> Test:
    if value not in KINDS:
        raise ValueError(f"kind={value}: there is no such kind of event; there are {', '.join(KINDS)}")
    return lambda kind, event: kind == value


def _addr(value: str) -> Test:
    low, dash, high = value.partition("-")
    try:
        start = int(low, 0)
        end = int(high, 0) if dash else (start & _PAGE) + PAGE_SIZE
        start = start if dash else start & _PAGE
    except ValueError:
        raise ValueError(f"addr={value}: not ADDRESS or FIRST-END, like 0x401000-0x402000") from None
    if start >= end:
        raise ValueError(f"addr={value}: the range is empty")

    def fits(kind: str, event: Any) -> bool:
        if kind == "vma":
            return bool(event.vm_start < end and event.vm_end > start)
        address = getattr(event, "address", None)
        return address is not None and start <= address < end

    return fits


_KEYS: dict[str, Callable[[str], Test]] = {
    "driver": _driver, "addr": _addr, "pid": _pid, "comm": _comm, "kind": _kind,
}  # fmt: skip


class Filters:
    """What a view's events must fit; with no filter all do."""

    def __init__(self, texts: Sequence[str] = ()) -> None:
        self._filters = [_parse(text) for text in texts]
        self._kinds = [[value for key, value in _pairs(text) if key == "kind"] for text in texts]
        self.everything = not self._filters

    def kinds(self) -> list[str]:
        """The kinds of event that can fit."""
        if self.everything or not all(self._kinds):
            return list(KINDS)
        wanted = {kind for kinds in self._kinds for kind in kinds}
        return [kind for kind in KINDS if kind in wanted]

    def match(self, kind: str, event: Any) -> bool:
        """Whether this event fits."""
        if self.everything:
            return True
        return any(all(any(t(kind, event) for t in tests) for tests in each.values()) for each in self._filters)


def _pairs(text: str) -> list[tuple[str, str]]:
    pairs = []
    for part in text.split(","):
        key, equals, value = part.partition("=")
        if not equals or not value or key not in _KEYS:
            raise ValueError(f"'{part}' is not KEY=VALUE with one of the keys {', '.join(_KEYS)}")
        pairs.append((key, value))
    return pairs


def _parse(text: str) -> dict[str, list[Test]]:
    tests: dict[str, list[Test]] = {}
    for key, value in _pairs(text):
        tests.setdefault(key, []).append(_KEYS[key](value))
    return tests


def parse_filter(text: str) -> str:
    """`text` when it is a filter; ValueError says what is wrong."""
    _parse(text)
    return text
