"""What a test expects of register accesses, and how that is compared with those that were made."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any, NamedTuple, Optional

from machine.events import RegisterAccess
from machine.hardware.registers import RegisterError
from machine.testing import messages
from machine.testing.buslog import ANY, is_named

if TYPE_CHECKING:
    from machine.accesses import Context
    from machine.testing.buslog import BusLog

ROWS_SHOWN = 40
ALIGNED = 400
"""Lists up to this length are laid beside each other where they fit best, longer ones from the top."""


class Wanted(NamedTuple):
    """One access as it is expected."""

    name: str
    value: Any
    write: Optional[bool]
    """None where it goes without saying."""

    def __str__(self) -> str:
        kind = "" if self.write is None else "write " if self.write else "read "
        return f"{kind}{self.name} = {shown(self.value)}"


def shown(value: Any) -> str:
    """An expected value."""
    if isinstance(value, int):
        return messages.a_number(value)
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{name}={number}" for name, number in value.items()) + "}"
    if callable(value):
        return str(getattr(value, "__name__", repr(value)))
    return repr(value)


def parse(item: Any, what: str, where: tuple[str, int]) -> Optional[Wanted]:
    """One element of the list; None for ``...``.  RegisterError for what is none."""
    if item is ...:
        return None
    __tracebackhide__ = True
    parts = (item,) if isinstance(item, str) else item
    if isinstance(parts, tuple) and parts:
        write: Optional[bool] = None
        if what == "accesses" and parts[0] in ("read", "write"):
            write, parts = parts[0] == "write", parts[1:]
        if 1 <= len(parts) <= 2 and isinstance(parts[0], str) and (write is not None or what != "accesses"):
            value = parts[1] if len(parts) == 2 else ANY
            if value is ANY or isinstance(value, (int, Mapping, Container)) or callable(value):
                return Wanted(parts[0], value, write)
    raise RegisterError(messages.no_expectation(where, what, item))


def fits(wanted: Wanted, access: RegisterAccess, context: Optional[Context]) -> bool:
    """Whether the access is the one."""
    if not is_named(access, wanted.name) or (wanted.write is not None and wanted.write != access.write):
        return False
    value = wanted.value
    if value is ANY:
        return True
    if isinstance(value, int):
        return access.value == value
    if isinstance(value, Mapping):
        return context is not None and not field_differences(value, access, context)
    if callable(value):
        return bool(value(access.value))
    return access.value in value


def field_differences(value: Mapping[str, Any], access: RegisterAccess, context: Context) -> list[str]:
    """``mode: expected slow, made fast`` for each field that is not as it should be."""
    fields, whole = context.fields(access), context.register_value(access)
    different = []
    for name, wanted in value.items():
        field = fields[name]
        made = field.of(whole)
        if wanted is not ANY and made != (field.values.get(wanted, -1) if isinstance(wanted, str) else wanted):
            different.append(f"{name}: expected {wanted}, made {field.name_of(made)}")
    return different


def compare(what: str, wanted: Sequence[Optional[Wanted]], actual: BusLog, strict: bool) -> str:
    """What is different, as the text of a failure; "" when all is as expected."""
    if not strict:
        wanted = [None, *(each for item in wanted for each in (item, None))]
    if None in wanted:
        return _compare_pattern(what, wanted, actual)
    listed = [each for each in wanted if each is not None]
    context = actual.context
    if len(listed) == len(actual) and all(fits(w, a, context) for w, a in zip(listed, actual, strict=True)):
        return ""
    return _differences(what, listed, actual)


# -- with gaps ---------------------------------------------------------------------------------------------------


def _compare_pattern(what: str, wanted: Sequence[Optional[Wanted]], actual: BusLog) -> str:
    """As a shell's pattern: None is any number of accesses."""
    reach = {0}
    for number, item in enumerate(wanted):
        if item is None:
            reach = set(range(min(reach), len(actual) + 1))
            continue
        after = {i + 1 for i in reach if i < len(actual) and fits(item, actual[i], actual.context)}
        if not after:
            return _missing(what, wanted, number, actual, reach)
        reach = after
    if len(actual) in reach:
        return ""
    return _missing(what, wanted, len(wanted), actual, {max(reach)})


def _missing(what: str, wanted: Sequence[Optional[Wanted]], number: int, actual: BusLog, reach: set[int]) -> str:
    """`reach`: the accesses at which element `number` may be; at the end of `wanted`, where nothing more may come."""
    from machine.testing.explain import story, whole

    item = wanted[number] if number < len(wanted) else None
    places = {i for i in reach if i < len(actual)} if item is not None else set(range(min(reach), len(actual)))
    start = min(places, default=len(actual))
    rows = [
        (i in places, i, f"{'write' if a.write else 'read '} {whole(a, actual.context)}") for i, a in enumerate(actual)
    ]
    lines, first = _folded(rows, start)
    head = messages.not_there(what, "" if item is None else str(item), min(reach), len(places), len(actual))
    return "\n".join([head, *_cut(lines, first), *story(actual, start, item)])


def _folded(rows: Sequence[tuple[bool, int, str]], important: int) -> tuple[list[str], int]:
    """Rows (marked, number, text) as lines, equal ones behind each other as one; and in which line a number is."""
    lines: list[str] = []
    found = 0
    for (marked, text), group in groupby(rows, key=lambda row: (row[0], row[2])):
        numbers = [row[1] for row in group]
        number, times = numbers[0], len(numbers)
        if number <= important:
            found = len(lines)
        lines.append(f"{'>' if marked else ' '} {number:>3}  {text}{messages.times(times)}")
    return lines, found


# -- without -----------------------------------------------------------------------------------------------------


def _differences(what: str, wanted: Sequence[Wanted], actual: BusLog) -> str:
    from machine.testing.explain import story, whole

    rows: list[tuple[bool, int, str]] = []
    first: Optional[tuple[Optional[int], Optional[int]]] = None
    first_row = 0
    width = max([28, *(len(str(each)) for each in wanted)])
    for w, a in _aligned(wanted, actual):
        item, access = (None if w is None else wanted[w]), (None if a is None else actual[a])
        same = item is not None and access is not None and fits(item, access, actual.context)
        if not same and first is None:
            first, first_row = (w, a), len(rows)
        left = messages.NOTHING if item is None else str(item)
        kind = "" if what != "accesses" or access is None else "write " if access.write else "read "
        right = messages.NOTHING if access is None else kind + whole(access, actual.context)
        rows.append((not same, len(rows), f"{left:<{width}} {right}"))
    assert first is not None
    head = [messages.differ(what, len(wanted), len(actual)), f"       {'expected':<{width}} made"]
    after = first[1] if first[1] is not None else next((a for w, a in _after(wanted, actual, first_row)), None)
    told = (
        []
        if after is None
        else story(actual, after, wanted[first[0]] if first[0] is not None else None, first[1] is None)
    )
    lines, first_line = _folded(rows, first_row)
    return "\n".join([*head, *_cut(lines, first_line), *told])


def _after(wanted: Sequence[Wanted], actual: BusLog, row: int) -> list[tuple[Optional[int], int]]:
    """The rows behind one in which an access was made."""
    return [(w, a) for w, a in _aligned(wanted, actual)[row:] if a is not None]


def _aligned(wanted: Sequence[Wanted], actual: BusLog) -> list[tuple[Optional[int], Optional[int]]]:
    """Pairs (index of what was expected, index of what was made): equal ones beside each other, as many as can be."""
    n, m = len(wanted), len(actual)
    if n > ALIGNED or m > ALIGNED:
        return [(i if i < n else None, i if i < m else None) for i in range(max(n, m))]
    best = [[0] * (m + 1) for _ in range(n + 1)]
    equal = [[fits(w, a, actual.context) for a in actual] for w in wanted]
    for i in range(n - 1, -1, -1):
        for j in range(m - 1, -1, -1):
            best[i][j] = best[i + 1][j + 1] + 1 if equal[i][j] else max(best[i + 1][j], best[i][j + 1])
    pairs: list[tuple[Optional[int], Optional[int]]] = []
    left: list[int] = []
    right: list[int] = []
    i = j = 0
    while i < n or j < m:
        if i < n and j < m and equal[i][j]:
            pairs += _side_by_side(left, right)
            left, right = [], []
            pairs.append((i, j))
            i, j = i + 1, j + 1
        elif j == m or (i < n and best[i + 1][j] >= best[i][j + 1]):
            left.append(i)
            i += 1
        else:
            right.append(j)
            j += 1
    return pairs + _side_by_side(left, right)


def _side_by_side(left: list[int], right: list[int]) -> list[tuple[Optional[int], Optional[int]]]:
    """What is different between two equal pairs."""
    count = max(len(left), len(right))
    return [(left[i] if i < len(left) else None, right[i] if i < len(right) else None) for i in range(count)]


def _cut(rows: list[str], important: int) -> list[str]:
    """At most `ROWS_SHOWN` of them, around the important one."""
    if len(rows) <= ROWS_SHOWN:
        return rows
    start = max(0, min(important - 8, len(rows) - ROWS_SHOWN))
    end = start + ROWS_SHOWN
    before = [messages.rows_left_out(start)] if start else []
    return before + rows[start:end] + ([messages.rows_left_out(len(rows) - end)] if end < len(rows) else [])
