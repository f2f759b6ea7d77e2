"""The sorted set of areas against a plain list (MECHANISMS E2)."""

from __future__ import annotations

from typing import Any, cast

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
