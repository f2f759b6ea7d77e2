"""docs/examples/ring: a driver written by following the guide, and the program that tries it (B7, B10, D7, D9)."""

from __future__ import annotations

from pathlib import Path

from machine import Machine
from tests.conftest import build

RING = Path(__file__).resolve().parents[2] / "docs" / "examples" / "ring"


def test_the_ring_of_the_guide(m: Machine, target: str) -> None:
    """Every line of ring.c is ok; the pages come back at unload."""
    before = m.kernel.mem.free_frames()
    m.load(str(RING / "ring.py"))
    result = m.run([str(build(RING / "ring.c", target=target))], timeout=120)
    lines = result.stdout.decode().splitlines()
    assert result.exit == 0 and len(lines) == 16, result
    assert [line for line in lines if not line.endswith(": ok")] == []
    assert m.unload("ring") == [] and m.kernel.reports == [] and not m.kernel.oopses
    assert m.kernel.mem.free_frames() + m.kernel.vfs.page_cache_frames() >= before


def test_as_many_pages_as_asked_for(m: Machine, target: str) -> None:
    """ring_pages=1: the program finds another size than it expects, and says so."""
    m.load(f"{RING / 'ring.py'},ring_pages=1")
    result = m.run([str(build(RING / "ring.c", target=target))], timeout=120)
    assert result.exit == 1 and result.stdout.splitlines()[-1].startswith(b"O_NONBLOCK, full: ")
    assert b": ok" not in result.stdout.splitlines()[-1]
