"""Records behave as the dataclasses that they stand for."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from typing import Any, NamedTuple

import pytest

from machine import records


def make(decorator: Any, field: Any, **options: Any) -> Any:
    class Point:
        x: int
        y: int = 2
        more: list[int] = field(default_factory=list)

        def total(self) -> int:
            return self.x + self.y + sum(self.more)

    return decorator(**options)(Point)


@pytest.mark.parametrize("slots", [False, True])
def test_as_a_dataclass(slots: bool) -> None:
    ours = make(records.record, records.field, slots=slots)
    theirs = make(dataclasses.dataclass, dataclasses.field, slots=slots)
    for args, kwargs in (((1,), {}), ((1, 5), {}), ((), {"x": 3, "more": [4]}), ((1, 2, [3]), {})):
        a, b = ours(*args, **kwargs), theirs(*args, **kwargs)
        assert (a.x, a.y, a.more, a.total()) == (b.x, b.y, b.more, b.total())
        assert repr(a) == repr(b).rpartition(".")[2]
        assert a == ours(*args, **kwargs) and a != ours(99) and a != b
    assert ours(1).more is not ours(1).more
    for wrong in ((), (1, 2, [], 4)):
        with pytest.raises(TypeError):
            ours(*wrong)
    with pytest.raises(TypeError):
        ours(1, z=1)
    one = ours(1)
    if slots:
        with pytest.raises(AttributeError):
            one.z = 1
    one.x = 5
    assert one.x == 5
    with pytest.raises(TypeError, match="unhashable"):
        hash(one)


def derive(decorator: Any, field: Any) -> Any:
    class Base:
        seq: int = field(default=0, compare=False)
        who: str = ""

    base = decorator(slots=True, kw_only=True)(Base)

    class Event(base):
        what: str
        count: int = 1

    return decorator(slots=True)(Event)


def test_a_base_gives_keywords() -> None:
    ours, theirs = derive(records.record, records.field), derive(dataclasses.dataclass, dataclasses.field)
    for made in (ours, theirs):
        one = made("x", 3, who="me", seq=9)
        assert (one.what, one.count, one.who, one.seq) == ("x", 3, "me", 9)
        assert one == made("x", 3, who="me", seq=1) and one != made("x", 3, who="you", seq=9)
        assert not hasattr(one, "__dict__")
        with pytest.raises(TypeError):
            made("x", 3, "me")
    assert repr(ours("x", seq=4)) == repr(theirs("x", seq=4)).rpartition(".")[2]


class Pair(NamedTuple):
    left: int
    right: str = "r"

    @property
    def both(self) -> str:
        return f"{self.left}{self.right}"


class Ours(records.NamedTuple):
    left: int
    right: str = "r"

    @property
    def both(self) -> str:
        return f"{self.left}{self.right}"


class Below(Ours):
    """A kind of its own, made before any `Ours` was."""


def test_as_a_named_tuple() -> None:
    for args, kwargs in (((1,), {}), ((1, "x"), {}), ((), {"right": "y", "left": 2}), ((3,), {"right": "z"})):
        ours, theirs, below = Ours(*args, **kwargs), Pair(*args, **kwargs), Below(*args, **kwargs)
        assert tuple(ours) == tuple(theirs) == ours == below and type(below) is Below and type(ours) is Ours
        assert (ours.left, ours.right, ours.both) == (theirs.left, theirs.right, theirs.both)
        assert repr(ours) == repr(theirs).replace("Pair", "Ours") and hash(ours) == hash(theirs)
        assert ours._replace(left=9) == theirs._replace(left=9) and ours._asdict() == theirs._asdict()
        assert ours._fields == theirs._fields and type(ours._replace(left=9)) is Ours
        left, right = ours
        assert (left, right) == theirs and pickle.loads(pickle.dumps(ours)) == ours and copy.copy(ours) == ours
        match ours:
            case Ours(one, right=two):
                assert (one, two) == theirs
            case _:
                raise AssertionError(ours)
    assert Ours._make([4, "q"]) == Pair(4, "q") and not hasattr(Ours(1), "__dict__")
    for made in (Pair, Ours):
        for args, kwargs in (((), {}), ((1, "x", 2), {}), ((1,), {"left": 2}), ((1,), {"none": 2})):
            with pytest.raises(TypeError):
                made(*args, **kwargs)
        with pytest.raises(TypeError):
            made._make([1])
        with pytest.raises((TypeError, ValueError)):
            made(1)._replace(none=1)
        with pytest.raises(AttributeError):
            made(1).left = 2  # type: ignore[misc]
