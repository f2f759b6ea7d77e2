"""The small system calls: names, ids, limits, scheduling, clocks and timers, errno by errno as on the host."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from machine import Machine
from tests.conftest import build
from tests.host import is_full_root

HERE = Path(__file__).parent / "system"


@pytest.fixture
def system(guest: Callable[..., object]) -> Callable[..., None]:
    def check(name: str, target: str, **options: object) -> None:
        guest(HERE / name, target=target, libc="glibc", flags=["-I", str(HERE)], **options)

    return check


@pytest.mark.parametrize("target", ["x86_64", "i386"])
def test_errno_by_errno(system: Callable[..., None], target: str) -> None:
    system("errnos.c", target, user=(os.getuid(), os.getgid()))


@pytest.mark.parametrize("target", ["x86_64", "i386"])
def test_clocks_and_timers(system: Callable[..., None], target: str) -> None:
    system("clocks.c", target)


@pytest.mark.parametrize("target", ["x86_64", "i386"])
def test_clocks_and_timers_when_time_is_virtual(system: Callable[..., None], target: str) -> None:
    system("clocks.c", target, deterministic=True)


@pytest.mark.skipif(not is_full_root(), reason="the host's answers are root's: run as root outside a container")
@pytest.mark.parametrize("target", ["x86_64", "i386"])
def test_ids_as_root(system: Callable[..., None], target: str) -> None:
    system("ids.c", target)


@pytest.mark.skipif(os.geteuid() != 0, reason="setuid(2) answers as to root: run as root")
def test_thread_areas(system: Callable[..., None]) -> None:
    system("threads32.c", "i386")


def test_restartable_sequences(guest: Callable[..., object]) -> None:
    """With musl, which registers no area of its own."""
    guest(HERE / "rseq.c", flags=["-I", str(HERE)])


@pytest.mark.skipif(not is_full_root(), reason="natively it needs root's capabilities")
@pytest.mark.parametrize("target", ["x86_64", "i386"])
def test_capabilities_follow_user_ids(system: Callable[..., None], target: str) -> None:
    system("capabilities.c", target)


@pytest.mark.parametrize("target", ["x86_64", "i386"])
def test_settings_are_obeyed(machine_clean: Callable[..., Machine], target: str) -> None:
    """/proc/sys belongs to the whole machine: this one is never run on the host.  E3 B11"""
    machine = machine_clean(ram=32 << 20)
    result = machine.run([str(build(HERE / "settings.c", target=target))])
    assert result.exit == 0 and b"FAIL" not in result.stdout, result.stdout.decode()
