"""What cmsis-svd leaves undone in a CMSIS-SVD file, done in its tree before: whatever is `derivedFrom` something else,
clusters within clusters, arrays of which each name must be right; and what is wrong and would pass in silence.

https://open-cmsis-pack.github.io/svd-spec/main/elem_registers.html
"""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from typing import Any, Optional

MOST = 1 << 16
"""Elements of an array, and registers of a peripheral."""
_CONTAINERS = {"registers", "fields"}
_MANY = {"cluster", "register", "field", "enumeratedValue"}
"""What is derived has these of both, by name; of all else its own, or the other's."""
_PROPERTIES = ("size", "access", "protection", "resetValue", "resetMask")
_SCALE = {"k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}


class Wrong(ValueError):
    """What can't be meant; the message names the element."""


def prepare(root: Any, peripheral: str) -> dict[str, int]:
    """Make of `root`, an element of lxml, a device of which only `peripheral` has registers, none of them in clusters.

    The line of each register's name.
    """
    lines: dict[str, int] = {}
    for element in root.findall("./peripherals/peripheral"):
        name = _text(element, "name")
        if name == peripheral or "%s" in name:
            _resolve(root, element)
            for registers in element.findall("registers"):
                _flatten(registers, lines)
    for element in root.findall("./peripherals/peripheral"):  # others derive from these: so afterwards
        name = _text(element, "name")
        if name != peripheral and "%s" not in name:
            element.attrib.pop("derivedFrom", None)
            for registers in element.findall("registers"):
                element.remove(registers)
    return lines


def _text(element: Any, tag: str) -> str:
    return (element.findtext(tag) or "").strip()


def _called(element: Any) -> str:
    return f"{element.tag} {_text(element, 'name') or 'without a name'}"


def _number(element: Any, tag: str) -> Optional[int]:
    """A scaledNonNegativeInteger, or None; -1 and the like, too: whoever uses it says that it is too small."""
    text = _text(element, tag).lower().replace("_", "")
    if not text:
        return None
    scale = _SCALE.get(text[-1], 1) if not text.startswith("0x") or text[-1] in "kmgt" else 1
    digits = text[:-1] if scale > 1 else text
    base, start = (2, 1) if digits.startswith("#") else (16, 2) if digits.startswith("0x") else (10, 0)
    try:
        return int(digits[start:], base) * scale
    except ValueError:
        raise Wrong(f"{_called(element)}: {tag} is {_text(element, tag)!r}, which is no number") from None


# -- derivedFrom ---------------------------------------------------------------------------------------------------


def _resolve(root: Any, top: Any) -> None:
    """Give `top`, and what is in it, what they are derived from."""
    _derive(root, top, [])
    for element in list(top.iter("cluster", "register", "field", "enumeratedValues")):
        _derive(root, element, [])


def _derive(root: Any, element: Any, under_way: list[Any]) -> None:
    path = element.get("derivedFrom")
    if path is None:
        return
    if any(each is element for each in under_way):
        raise Wrong(f"{_called(element)} is derived from itself")
    source = _find(root, element, path.strip())
    if source is None:
        raise Wrong(f"{_called(element)} is derived from {path!r}, and there is none")
    _derive(root, source, [*under_way, element])
    del element.attrib["derivedFrom"]
    _merge(source, element)


def _merge(source: Any, element: Any) -> None:
    own = {(child.tag, _text(child, "name") if child.tag in _MANY else ""): child for child in element}
    for child in source:
        there = own.get((child.tag, _text(child, "name") if child.tag in _MANY else ""))
        if there is None:
            element.append(deepcopy(child))
        elif child.tag in _CONTAINERS:
            _merge(child, there)


def _find(root: Any, element: Any, path: str) -> Any:
    """The element of the same kind that `path` names: beside it, or by names from a peripheral on, or in its own."""
    for level in element.iterancestors():  # enumerated values are looked for further and further out
        found = _named(level, element, path)
        if found is not None:
            return found
        if element.tag != "enumeratedValues":
            break
    own = list(element.iterancestors("peripheral"))
    for at in (root.find("peripherals"), *own):
        for name in path.split("."):
            at = next((each for each in _below(at) if _text(each, "name") == name), None)
            if at is None:
                break
        if at is not None and at.tag == element.tag and at is not element:
            return at
    return None


def _below(element: Any) -> Iterator[Any]:
    for child in element:
        if child.tag in ("peripheral", "cluster", "register", "field", "enumeratedValues"):
            yield child
        elif child.tag in _CONTAINERS:
            yield from child


def _named(level: Any, element: Any, name: str) -> Any:
    if element.tag != "enumeratedValues":
        return next((each for each in level.iterchildren(element.tag) if _text(each, "name") == name), None)
    found = (each for each in level.iter(element.tag) if each is not element and _text(each, "name") == name)
    return next(found, None)


# -- clusters ------------------------------------------------------------------------------------------------------


def _flatten(registers: Any, lines: dict[str, int]) -> None:
    """Registers alone, named and placed as their clusters say."""
    flat = list(_registers(registers, "", 0, {}, lines, [0]))
    for child in list(registers):
        registers.remove(child)
    registers.extend(flat)


def _registers(
    level: Any, prefix: str, offset: int, properties: dict[str, Any], lines: dict[str, int], count: list[int]
) -> Iterator[Any]:
    for child in level.iterchildren("register"):
        count[0] += len(_indices(child) or (0,))
        if count[0] > MOST:
            raise Wrong(f"there are more than {MOST:,} registers, of {_called(child)} the last")
        yield _placed(child, prefix, offset, properties, lines)
    for cluster in level.iterchildren("cluster"):
        inherited = properties | {tag: found for tag in _PROPERTIES if (found := cluster.find(tag)) is not None}
        start, step = offset + (_number(cluster, "addressOffset") or 0), _number(cluster, "dimIncrement") or 0
        name = _text(cluster, "name")
        for number, index in enumerate(_indices(cluster) or [""]):
            within = f"{prefix}{name.replace('%s', index)}_"
            yield from _registers(cluster, within, start + number * step, inherited, lines, count)


def _placed(register: Any, prefix: str, offset: int, properties: dict[str, Any], lines: dict[str, int]) -> Any:
    if not _text(register, "name"):
        raise Wrong(f"a register in line {register.sourceline} has no name")
    for field in register.iterfind("./fields/field"):
        _indices(field)
    made = deepcopy(register)
    made.find("name").text = prefix + _text(register, "name")
    lines.setdefault(made.find("name").text, register.find("name").sourceline)
    at = _number(register, "addressOffset")
    if at is not None:
        made.find("addressOffset").text = str(offset + at)
    for tag, found in properties.items():
        if made.find(tag) is None:
            made.append(deepcopy(found))
    return made


def _indices(element: Any) -> list[str]:
    """What takes the place of ``%s`` in the elements of an array, in order; [] for what is none."""
    dim = _number(element, "dim")
    if dim is None:
        return []
    if not 1 <= dim <= MOST:
        raise Wrong(f"{_called(element)}: its dim is {dim:,}; 1 to {MOST:,} can be had")
    text = _text(element, "dimIndex")
    first, dash, last = text.partition("-")
    if not text:
        return [str(n) for n in range(dim)]
    if dash and first.isdigit() and last.isdigit():
        found = [str(n) for n in range(int(first), min(int(last), int(first) + MOST) + 1)]
    elif dash and len(first) == len(last) == 1:
        found = [chr(n) for n in range(ord(first), ord(last) + 1)]
    else:
        found = [each.strip() for each in text.split(",")]
    if len(found) != dim:
        raise Wrong(f"{_called(element)}: its dim is {dim}, and its dimIndex {text!r} has {len(found)}")
    return found
