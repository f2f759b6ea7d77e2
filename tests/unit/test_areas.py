"""The sorted set of areas against a plain list (MECHANISMS E2)."""

from __future__ import annotations

import random
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from machine.kernel.mm.areas import AreaList
from machine.kernel.mm.vma import vm_area_struct

PAGE = 0x1000
TOP = 4000


def area(start: int, pages: int) -> vm_area_struct:
    return vm_area_struct(cast(Any, None), start * PAGE, (start + pages) * PAGE, 0, 0)


def naive_highest(model: list[vm_area_struct], length: int, low: int, high: int) -> int:
    end = high
    for vma in sorted(model, key=lambda v: -v.vm_start):
        if vma.vm_start >= end:
            continue
        if end - vma.vm_end >= length:
            break
        end = vma.vm_start
    return end - length if end - length >= low else -1


OPERATIONS = st.lists(st.tuples(st.integers(0, TOP), st.integers(1, 20), st.booleans()), max_size=400)


@settings(max_examples=60, deadline=None)
@given(OPERATIONS, st.integers(1, 40), st.integers(1, TOP))
def test_against_a_plain_list(operations: list[tuple[int, int, bool]], want: int, high: int) -> None:  # E2
    areas, model = AreaList(), []
    for start, pages, insert in operations:
        overlapping = [v for v in model if v.vm_start < (start + pages) * PAGE and v.vm_end > start * PAGE]
        assert areas.within(start * PAGE, (start + pages) * PAGE) == sorted(overlapping, key=lambda v: v.vm_start)
        if insert and not overlapping:
            new = area(start, pages)
            beside = areas.insert(new)
            model.append(new)
            assert beside == areas.around(new)
        elif not insert and overlapping:
            areas.remove(overlapping[0])
            model.remove(overlapping[0])
    ordered = sorted(model, key=lambda v: v.vm_start)
    assert list(areas) == ordered
    assert len(areas) == len(ordered)
    for address in range(0, (TOP + 30) * PAGE, 7 * PAGE):
        assert areas.find(address) is next((v for v in ordered if v.vm_end > address), None)
        before = next((v for v in reversed(ordered) if v.vm_start < address), None)
        assert areas.before(address) is before
        assert areas.beside(address) == (before, next((v for v in ordered if v.vm_start >= address), None))
    for below, vma, above in zip([None, *ordered], ordered, [*ordered[1:], None], strict=False):
        assert areas.around(vma) == (below, above)
    length = want * PAGE
    assert areas.highest_gap(length, PAGE, high * PAGE) == naive_highest(model, length, PAGE, high * PAGE)


def test_many_areas_keep_their_order_through_resizes() -> None:  # E2
    areas = AreaList()
    made = [area(i * 3, 1) for i in range(1000)]
    for each in reversed(made):
        areas.insert(each)
    for each in made:
        areas.resize(each, each.vm_start, each.vm_end + PAGE)
    assert list(areas) == made
    assert areas.highest_gap(PAGE, PAGE, 2998 * PAGE) == 2996 * PAGE
    assert areas.highest_gap(2 * PAGE, PAGE, 2998 * PAGE) == -1
    assert areas.lowest_gap(PAGE, 0, 3000 * PAGE) == 2 * PAGE


def _change(areas: AreaList, model: list[vm_area_struct], rng: random.Random) -> None:
    """One of the ways in which the set changes, on the areas in order."""
    kind, j = rng.randrange(7), rng.randrange(len(model))
    vma = model[j]
    below = model[j - 1].vm_end if j else 0
    above = model[j + 1].vm_start if j + 1 < len(model) else vma.vm_end + 40 * PAGE
    if kind == 0:
        areas.remove(model.pop(j))
    elif kind == 1:
        areas.remove_run(model[j : j + rng.randrange(1, 5)])
        model[:] = areas
    elif kind == 2:
        low = rng.randrange(below, vma.vm_end, PAGE)
        areas.resize(vma, low, rng.randrange(low, above, PAGE) + PAGE)
    elif kind == 3 and vma.vm_end - vma.vm_start > PAGE:
        at = rng.randrange(vma.vm_start, vma.vm_end - PAGE, PAGE) + PAGE
        bounds = (vma.vm_start, at) if rng.random() < 0.5 else (at, vma.vm_end)
        areas.cut(vma, vm_area_struct(cast(Any, None), *bounds, 0, 0))
        model[:] = areas
    elif kind > 3:
        gaps = [(low.vm_end, high.vm_start) for low, high in zip([vma, *model[j + 1 :]], model[j + 1 :], strict=False)]
        start, end = next((gap for gap in gaps if gap[0] < gap[1]), (model[-1].vm_end, model[-1].vm_end + 30 * PAGE))
        start = rng.randrange(start, end, PAGE)
        new = vm_area_struct(cast(Any, None), start, rng.randrange(start, end, PAGE) + PAGE, 0, 0)
        areas.insert(new)
        model[:] = sorted([*model, new], key=lambda v: v.vm_start)


@pytest.mark.parametrize("seed", range(3))
def test_room_is_found_whatever_made_it(seed: int) -> None:  # E2
    """After each change: a search finds what a look at every area finds."""
    rng, areas = random.Random(seed), AreaList()
    model = [area(1 + i * 4, 1 + i % 3) for i in range(400)]
    for each in model:
        areas.insert(each)
    for _ in range(1500):
        _change(areas, model, rng)
        assert list(areas) == model
        for length in (PAGE, 3 * PAGE, rng.randrange(1, 60) * PAGE):
            high = rng.choice([TOP * PAGE, rng.randrange(1, TOP) * PAGE])
            assert areas.highest_gap(length, PAGE, high) == naive_highest(model, length, PAGE, high)


def test_what_makes_a_gap_wider_is_seen() -> None:  # E2
    areas = AreaList()
    low, middle, top = (area(10 + 2 * i, 2) for i in range(3))
    for each in (low, middle, top):
        areas.insert(each)
    assert areas.highest_gap(PAGE, 10 * PAGE, 16 * PAGE) == -1
    areas.resize(middle, 12 * PAGE, 13 * PAGE)
    assert areas.highest_gap(PAGE, 10 * PAGE, 16 * PAGE) == 13 * PAGE
    areas.resize(middle, 12 * PAGE, 14 * PAGE)
    assert areas.highest_gap(PAGE, 10 * PAGE, 16 * PAGE) == -1
    areas.resize(middle, 13 * PAGE, 14 * PAGE)
    assert areas.highest_gap(PAGE, 10 * PAGE, 16 * PAGE) == 12 * PAGE
    areas.remove(middle)
    assert areas.highest_gap(2 * PAGE, 10 * PAGE, 16 * PAGE) == 12 * PAGE
    areas.insert(area(4, 1))
    assert areas.highest_gap(5 * PAGE, 2 * PAGE, 16 * PAGE) == 5 * PAGE
    areas.insert(area(30, 1))
    assert areas.highest_gap(14 * PAGE, 2 * PAGE, 31 * PAGE) == 16 * PAGE
