"""The tree of physical address ranges: who owns which part of the memory map (kernel/resource.c).

A `Resource` is a range with a name; its children lie inside it and do not overlap.  What is in the tree of a machine
comes from its firmware (kernel/setup.py, kernel/pci/dev.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from errno import EBUSY, EINVAL
from typing import Optional

# resource.flags (include/linux/ioport.h)
IORESOURCE_IO = 0x00000100
IORESOURCE_MEM = 0x00000200
IORESOURCE_PREFETCH = 0x00002000
IORESOURCE_READONLY = 0x00004000
IORESOURCE_BUSY = 0x80000000

MAX_IORES_LEVEL = 5
"""/proc/iomem indents no deeper than this."""


class Resource:
    """`struct resource`: the bytes `start` to `end`, both included.

    `children` is ordered by `start`; only the functions below change it.
    """

    __slots__ = ("children", "end", "flags", "name", "parent", "start")

    def __init__(self, name: str, start: int, end: int, flags: int = IORESOURCE_MEM) -> None:
        self.name = name
        self.start = start
        self.end = end
        self.flags = flags
        self.parent: Optional[Resource] = None
        self.children: list[Resource] = []

    def __repr__(self) -> str:
        return f"<resource {self.start:08x}-{self.end:08x} {self.name}>"

    @property
    def size(self) -> int:
        """Length in bytes."""
        return self.end - self.start + 1

    def contains(self, other: Resource) -> bool:
        """Whether `other` lies wholly inside this range."""
        return self.start <= other.start and other.end <= self.end

    def overlaps(self, other: Resource) -> bool:
        """Whether the two ranges share a byte."""
        return self.start <= other.end and other.start <= self.end

    def iter(self, level: int = 0) -> Iterator[tuple[int, Resource]]:
        """(depth, resource) of everything below this one, in the order of /proc/iomem."""
        for child in self.children:
            yield level, child
            yield from child.iter(level + 1)

    def find(self, physical: int) -> Optional[Resource]:
        """The innermost resource below this one that holds the address; None where nobody does."""
        for child in self.children:
            if child.start <= physical <= child.end:
                return child.find(physical) or child
        return None

    def render(self, width: int = 8) -> str:
        """The text of /proc/iomem: two blanks a level, addresses of `width` digits (kernel/resource.c: r_show)."""
        return "".join(
            f"{'  ' * min(level, MAX_IORES_LEVEL)}{each.start:0{width}x}-{each.end:0{width}x} : {each.name}\n"
            for level, each in self.iter()
        )

    # -- changes -----------------------------------------------------------------------------

    def conflict(self, new: Resource) -> Optional[Resource]:
        """The resource that keeps `new` out: the first child that overlaps, or self when it sticks out."""
        if new.end < new.start or not self.contains(new):
            return self
        return next((child for child in self.children if child.overlaps(new)), None)

    def add(self, new: Resource) -> None:
        """Put `new`, which must not overlap a child, in its place."""
        at = next((i for i, child in enumerate(self.children) if child.start > new.start), len(self.children))
        self.children.insert(at, new)
        new.parent = self


def request_resource(root: Resource, new: Resource) -> int:
    """Make `new` a child of `root`: 0, or -EBUSY when another child overlaps (`request_resource`)."""
    if root.conflict(new) is not None:
        return -EBUSY
    root.add(new)
    return 0


def insert_resource(parent: Resource, new: Resource) -> int:
    """Put `new` as deep below `parent` as it fits; existing resources inside it become its children.

    0, or -EBUSY when it overlaps one only in part (`insert_resource`).
    """
    while True:
        if new.end < new.start or not parent.contains(new):
            return -EBUSY
        outer = next((child for child in parent.children if child.contains(new)), None)
        if outer is None or (outer.start, outer.end) == (new.start, new.end):
            break
        parent = outer
    inside = [child for child in parent.children if child.overlaps(new)]
    if any(not new.contains(child) for child in inside):
        return -EBUSY
    for child in inside:
        parent.children.remove(child)
        child.parent = new
    new.children[:0] = inside
    parent.add(new)
    return 0


def release_resource(old: Resource) -> int:
    """Take `old` and what is below it out of the tree: 0, or -EINVAL when it is in none."""
    if old.parent is None or old not in old.parent.children:
        return -EINVAL
    old.parent.children.remove(old)
    old.parent = None
    return 0


def request_region(root: Resource, start: int, n: int, name: str) -> Optional[Resource]:
    """Claim `n` bytes for a driver, inside whatever window holds them; None when somebody has them
    (`__request_region`: it descends through resources that are not busy)."""
    new = Resource(name, start, start + n - 1, IORESOURCE_MEM | IORESOURCE_BUSY)
    parent = root
    while (other := parent.conflict(new)) is not None:
        if other is parent or other.flags & IORESOURCE_BUSY or not other.contains(new):
            return None
        parent = other
    parent.add(new)
    return new


def release_region(root: Resource, start: int, n: int) -> bool:
    """Give back what `request_region` claimed; False when there is no such region
    (`__release_region` logs "Trying to free nonexistent resource")."""
    for _level, each in root.iter():
        if each.flags & IORESOURCE_BUSY and (each.start, each.end) == (start, start + n - 1):
            return release_resource(each) == 0
    return False
