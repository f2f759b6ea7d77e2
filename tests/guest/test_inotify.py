"""inotify (MECHANISMS E4), natively first: the events of tmpfs; and of the layer above the host's tree."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

HERE = Path(__file__).parent / "inotify"


@pytest.mark.parametrize("target", ["x86_64", "i386"])
@pytest.mark.parametrize("where", ["/dev/shm", "/tmp"])
def test_events(guest: Callable[..., object], where: str, target: str) -> None:
    """In a tmpfs, and in the layer above the host's tree.  E4"""
    guest(HERE / "events.c", [where], target=target)
