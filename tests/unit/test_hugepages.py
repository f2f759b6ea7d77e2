"""Which 2 MiB of RAM ask the host for a huge page, by what the last ones cost (E2)."""

from __future__ import annotations

import errno
import mmap

import pytest

from machine.hardware import hugepages
from machine.hardware.hugepages import AT_FIRST, MANY, PIECE, HugePages
from machine.hardware.ram import MiB, Ram
from machine.kernel.mm.page import Memory


class Host:
    """The host's side of a buffer: how long a huge page takes, and what was asked for; `unknown` advice is EINVAL."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *costs: int, unknown: int = -1) -> None:
        self.now, self.costs, self.huge, self.populated, self.unknown = 0, list(costs), [], [], unknown
        self.refused = 0
        monkeypatch.setattr(hugepages, "perf_counter_ns", lambda: self.now)

    def madvise(self, advice: int, start: int, count: int) -> None:
        if advice == self.unknown:
            self.refused += 1
            raise OSError(errno.EINVAL, "Invalid argument")
        if advice == mmap.MADV_HUGEPAGE:
            self.huge.append(start // PIECE)
            return
        self.populated.append((start, count))
        cost = self.costs.pop(0) if len(self.costs) > 1 else self.costs[0]
        self.now += cost


def pieces(host: Host, number: int) -> list[int]:
    made = HugePages(host, 0, number * PIECE)
    for piece in range(0, number, 2):
        made.about_to_use(piece * PIECE, (piece + 2) * PIECE, MANY)
        made.about_to_use(piece * PIECE, (piece + 2) * PIECE, MANY)  # cut again after it was whole once more
    return host.huge


@pytest.fixture(autouse=True)
def _no_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOPAGE_HUGE_PAGES", raising=False)


def test_at_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """All but the first pieces, which are all that a small program has."""
    assert pieces(Host(monkeypatch, 200_000), 64) == list(range(8, 64))


def test_fetched_from_afar(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each that is too slow doubles the pause before the next, up to 256 MiB; a quick one ends it."""
    assert pieces(Host(monkeypatch, 6_000_000), 1024) == [8, 25, 58, 123, 252, 381, 510, 639, 768, 897]
    assert pieces(Host(monkeypatch, 6_000_000, 6_000_000, 200_000), 60) == [8, 25, 58, 59]


def test_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOPAGE_HUGE_PAGES", "0")
    assert pieces(Host(monkeypatch, 200_000), 64) == []
    monkeypatch.setenv("NOPAGE_HUGE_PAGES", "1")
    assert pieces(Host(monkeypatch, 6_000_000), 64) == list(range(64))


def test_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host that has no huge pages is asked once; before Linux 5.14 none can be timed, and all are asked for."""
    host = Host(monkeypatch, 200_000, unknown=mmap.MADV_HUGEPAGE)
    assert pieces(host, 64) == [] and host.refused == 1
    host = Host(monkeypatch, 6_000_000, unknown=hugepages._MADV_POPULATE_WRITE)
    assert pieces(host, 64) == list(range(8, 64)) and host.refused == 1


def test_small_pages_at_one_go(monkeypatch: pytest.MonkeyPatch) -> None:
    host = Host(monkeypatch, 200_000)
    made = HugePages(host, 0, (AT_FIRST + 1) * PIECE)
    made.about_to_use(0, (AT_FIRST + 1) * PIECE, MANY)
    del host.populated[:]
    made.populate(PIECE, 1 << 18)
    made.populate(AT_FIRST * PIECE, 1 << 18)  # a huge page is there as soon as one byte of it is
    assert host.populated == [(PIECE, 1 << 18)]


def test_single_frames_wait_for_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor do they count among the first pieces.  With =1 they are huge like all others."""
    host = Host(monkeypatch, 200_000)
    made = HugePages(host, 0, 16 * PIECE)
    made.about_to_use(0, 4 * PIECE, 4096)
    assert host.now == 0
    made.about_to_use(0, 14 * PIECE, MANY)
    assert host.huge == [12, 13]
    monkeypatch.setenv("NOPAGE_HUGE_PAGES", "1")
    HugePages(host, 0, 4 * PIECE).about_to_use(0, 4 * PIECE, 4096)
    assert host.huge == [12, 13, 0, 1, 2, 3]


def test_none_to_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    """What came in 3 us was a small page: the others of the piece are asked for at one go, too."""
    host = Host(monkeypatch, 3_000)
    made = HugePages(host, 0, 12 * PIECE)
    made.about_to_use(0, 12 * PIECE, MANY)
    assert host.huge == [8, 9, 10, 11]
    del host.populated[:]
    made.populate(9 * PIECE, 1 << 18)
    assert host.populated == [(9 * PIECE, 1 << 18)]


def test_of_ram() -> None:
    """A huge page's worth of RAM is aligned in the host's memory too, and each is asked for when it is first used."""
    ram = Ram(64 * MiB)
    assert ram.address % PIECE == 0 and len(ram.view) == 64 * MiB
    used: list[tuple[int, int, int]] = []
    populated: list[tuple[int, int]] = []

    class Noted(HugePages):
        def about_to_use(self, start: int, end: int, wanted: int) -> None:
            used.append((start, end, wanted))

        def populate(self, start: int, count: int) -> None:
            populated.append((start, count))

    ram.huge_pages = Noted(ram._buffer, 0, ram.limit)
    memory = Memory(ram, print)
    memory.release_range(4096, ram.size >> 12)
    pfn = memory.alloc_pages()
    assert used == [(pfn << 12, (pfn << 12) + 2 * MiB, 4096)]
    memory.alloc_pages()
    assert len(used) == 1
    for order in (9, 10, 9):
        block = memory.alloc_pages(order=order) << 12
        assert used.pop() == (block, block + (4096 << order), 4096 << order)
    run = memory.alloc_run(6, 0, "anonymous", populate=True)
    assert run is not None and populated == [(run << 12, 64 << 12)]
    for each in range(run, run + 64):
        memory.mapcount[each] = 0
        memory.put_page(each)
    assert memory.alloc_run(6, 0, "anonymous", populate=True) == run and len(populated) == 1, "the host has it already"
