"""/proc as programs see it: the same program passes on the host."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

PROGRAMS = Path(__file__).parent / "proc"


@pytest.mark.parametrize("target", ["x86_64", "i386"])
def test_a_process_and_its_own_directory(guest: Callable[..., Any], target: str) -> None:
    guest(PROGRAMS / "self.c", ["an argument", ""], target=target)


@pytest.mark.parametrize("target", ["x86_64", "i386"])
def test_settings(guest: Callable[..., Any], target: str) -> None:
    guest(PROGRAMS / "sysctl.c", target=target)


def test_drop_caches(run_in_machine: Callable[..., Any]) -> None:
    """Not on the host, whose caches they are: pages of files that nobody maps become free."""
    script = (
        "cat /usr/lib/x86_64-linux-gnu/libc.so.6 > /tmp/copy; cmp /usr/lib/x86_64-linux-gnu/libc.so.6 /tmp/copy;"
        "echo 9 > /proc/sys/vm/drop_caches 2> /dev/null || echo refused; echo 3 > /proc/sys/vm/drop_caches;"
        "cmp /usr/lib/x86_64-linux-gnu/libc.so.6 /tmp/copy && echo same"
    )
    assert run_in_machine(Path("/bin/sh"), ["-c", script]).stdout == b"refused\nsame\n"
