"""Work in copies of this process: scenarios are functions of a test, which no other process could import.

What a copy changes in the test's own objects stays in the copy.  So whatever is wanted of it goes through the pipe: the
outcomes of its runs, and the lines and blocks that its programs have covered.
"""

from __future__ import annotations

import os
import pickle
import signal
import struct
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Optional

from machine.errors import ConfigError
from machine.testing import messages

_COVERAGE, _OUTCOME, _FAILURE, _LOST, _END = b"C", b"O", b"F", b"L", b"E"


def forked(
    work: Callable[[int, Any], Any],
    numbers: Sequence[int],
    workers: int,
    coverage: Optional[Any] = None,
    kept: Callable[[], dict[str, int]] = dict,
) -> Iterator[Any]:
    """``work(number, coverage)`` of each number, in so many processes; results as they come, process by process.

    `coverage` (`machine.testing.covered.Covered`, or None) gets what the copies have counted in objects of their own.
    `kept` gives the sizes of what the work may fill in vain: ConfigError when they change.  RuntimeError: a copy
    failed, or died without saying why.
    """
    pipes = []
    for number in range(min(workers, len(numbers))):
        reading, writing = os.pipe()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # threads: none of ours runs between two programs
            pid = os.fork()
        if not pid:
            os.close(reading)
            _child(writing, numbers[number::workers], work, None if coverage is None else coverage.fresh(), kept)
        os.close(writing)
        pipes.append((pid, open(reading, "rb")))  # noqa: SIM115
    try:
        while pipes:
            yield from _results(*pipes.pop(0), coverage)
    finally:
        for pid, stream in pipes:  # another has failed, or nobody wants the rest
            _end(pid, stream)


def sizes(what: Any) -> dict[str, int]:
    """How many are in the lists and dictionaries that a function of the test can reach: of its own test."""
    code, cells = getattr(what, "__code__", None), getattr(what, "__closure__", None) or ()
    found: dict[str, int] = {}
    for name, cell in zip(getattr(code, "co_freevars", ()), cells, strict=True):
        try:
            value = cell.cell_contents
        except ValueError:  # not bound yet
            continue
        if isinstance(value, (list, dict, set)):
            found[name] = len(value)
    return found


def _results(pid: int, stream: Any, coverage: Any) -> Iterator[Any]:
    kind = b""
    try:
        for kind, what in _received(stream):
            if kind == _FAILURE:
                raise RuntimeError(messages.process_failed(what))
            if kind == _LOST:
                raise ConfigError(messages.changed_in_a_process(what))
            if kind == _OUTCOME:
                yield what
            elif kind == _COVERAGE:
                coverage.add_packed(what)
    except BaseException:
        _end(pid, stream)
        raise
    stream.close()
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if kind != _END:
        raise RuntimeError(messages.process_died(status))


def _end(pid: int, stream: Any) -> None:
    stream.close()
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def _received(stream: Any) -> Iterator[tuple[bytes, Any]]:
    while len(head := stream.read(5)) == 5:
        data = stream.read(struct.unpack("<I", head[1:])[0])
        yield head[:1], pickle.loads(data)


def _child(
    writing: int, numbers: Sequence[int], work: Callable[[int, Any], Any], coverage: Any, kept: Callable[[], Any]
) -> None:
    """Do them and end, without anything of pytest's."""
    with open(writing, "wb") as stream:
        try:
            before = kept()
            for number in numbers:
                _send(stream, _OUTCOME, work(number, coverage))
            after = kept()
            lost = [name for name, size in after.items() if before.get(name, size) != size]
            if lost:
                _send(stream, _LOST, lost)
            if coverage is not None:
                _send(stream, _COVERAGE, coverage.pack())
            _send(stream, _END, None)
        except BaseException:
            _send(stream, _FAILURE, traceback.format_exc())
    os._exit(0)


def _send(stream: Any, kind: bytes, what: Any) -> None:
    data = pickle.dumps(what)
    stream.write(kind + struct.pack("<I", len(data)) + data)
    stream.flush()
