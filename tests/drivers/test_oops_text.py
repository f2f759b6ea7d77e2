"""What the report of a driver's exception shows: causes, a group's members, and where no process is."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import pytest

from machine import Machine
from machine.errors import ConfigError
from tests.drivers.conftest import chardev

Run = Callable[..., Any]
Load = Callable[..., dict[str, Any]]

CHAIN = """
            try:
                raise ValueError("one")
            except ValueError as failure:
                raise KeyError("two") {}
"""
GROUP = """
            raise ExceptionGroup("several", [ValueError("one"), KeyError("two")])
"""


def text_of(m: Machine, driver: Load, run_c: Run, body: str) -> str:
    driver(chardev(f"""
        bad_vm_ops = None
        def read(filp, buf, count, f_pos):{body}
    """, "dict(read=read)"))  # fmt: skip
    run_c(m, 'int fd = must_open("/dev/bad", O_RDWR); char room[4]; ERRNO("read", read(fd, room, 4), EIO);')
    (oops,) = m.kernel.oopses
    assert "machine/kernel" not in oops.traceback and oops.context == ""
    return oops.traceback


@pytest.mark.parametrize("target", ["x86_64"])
@pytest.mark.parametrize(
    "how, between",
    [
        ("from failure", "The above exception was the direct cause of the following exception:"),
        ("", "During handling of the above exception, another exception occurred:"),
    ],
)
def test_a_cause(m: Machine, driver: Load, run_c: Run, how: str, between: str) -> None:
    text = text_of(m, driver, run_c, CHAIN.format(how))
    first, second = text.split(between)
    assert first.startswith("Traceback") and first.rstrip().endswith("ValueError: one")
    assert second.strip().startswith("Traceback") and second.endswith("KeyError: 'two'\n")


@pytest.mark.parametrize("target", ["x86_64"])
def test_no_cause(m: Machine, driver: Load, run_c: Run) -> None:
    text = text_of(m, driver, run_c, CHAIN.format("from None"))
    assert text.count("Traceback") == 1 and "ValueError: one" not in text


@pytest.mark.skipif(sys.version_info < (3, 11), reason="no ExceptionGroup")
@pytest.mark.parametrize("target", ["x86_64"])
def test_a_group(m: Machine, driver: Load, run_c: Run) -> None:
    text = text_of(m, driver, run_c, GROUP)
    assert "several (2 sub-exceptions)" in text and "| ValueError: one\n" in text and "| KeyError: 'two'\n" in text


def test_exit_where_no_process_is_left(m: Machine, driver: Load) -> None:
    """It was said to be at an instruction of a program that had ended."""
    driver("def done():\n    raise ValueError('late')\nmodule_exit(done)")
    m.unload("bad")
    (oops,) = m.kernel.oopses
    assert (oops.where, oops.context, oops.pid) == ("bad.exit", "in no process", 0)
    assert not any("In no process" in line for line in m.dmesg)


def test_init(m: Machine, driver: Load) -> None:
    """The traceback, and no line that begins with a semicolon."""
    with pytest.raises(ConfigError) as caught:
        driver("def init():\n    raise ValueError('early')\nmodule_init(init)")
    text = str(caught.value)
    assert "ValueError: early; BUG: bad: ValueError: early at bad.py:3 in init (init)" in text and "\n;" not in text
