"""nopage with every emit call taken out of its source: what the tests for listeners cost.

    python -m bench.without run [OPTIONS] PROGRAM [ARG...]

Modules of the kernel and of the hardware are compiled from their source without whatever is only done while somebody
listens: each test ``events.KIND is not None`` becomes False, and what depends on it goes.
"""

from __future__ import annotations

import ast
import importlib.abc
import importlib.machinery
import sys
from collections.abc import Sequence
from types import CodeType, ModuleType
from typing import Any, Optional

ROOMS = ("machine.kernel", "machine.hardware")


def _tests_a_listener(node: ast.expr) -> Optional[bool]:
    """False for ``X.events.KIND is not None``, True for ``... is None``, None for anything else."""
    from machine.events import KINDS

    if not isinstance(node, ast.Compare) or len(node.ops) != 1 or not isinstance(node.ops[0], (ast.Is, ast.IsNot)):
        return None
    left, right = node.left, node.comparators[0]
    if not isinstance(left, ast.Attribute) or left.attr not in KINDS:
        return None
    if not isinstance(right, ast.Constant) or right.value is not None:
        return None
    owner = left.value
    name = owner.attr if isinstance(owner, ast.Attribute) else owner.id if isinstance(owner, ast.Name) else ""
    return isinstance(node.ops[0], ast.Is) if name == "events" else None


class Without(ast.NodeTransformer):
    """Takes the tests for listeners out; `removed` counts them."""

    def __init__(self) -> None:
        self.removed = 0

    def visit_Compare(self, node: ast.Compare) -> ast.expr:
        known = _tests_a_listener(node)
        if known is None:
            self.generic_visit(node)
            return node
        self.removed += 1
        return ast.copy_location(ast.Constant(known), node)

    def visit_BoolOp(self, node: ast.BoolOp) -> ast.expr:
        self.generic_visit(node)
        decides = isinstance(node.op, ast.Or)  # True ends an `or`, False an `and`
        left: list[ast.expr] = []
        for each in node.values:
            if isinstance(each, ast.Constant) and isinstance(each.value, bool):
                if each.value is decides:
                    left.append(each)
                    break
                continue
            left.append(each)
        if not left:
            return ast.copy_location(ast.Constant(not decides), node)
        node.values = left
        return left[0] if len(left) == 1 else node

    def visit_If(self, node: ast.If) -> Any:
        self.generic_visit(node)
        if isinstance(node.test, ast.Constant) and node.test.value is False:
            return node.orelse or ast.copy_location(ast.Pass(), node)
        return node


def compiled(source: str, path: str) -> tuple[CodeType, int]:
    """The module's code without emit calls, and how many tests were taken out."""
    without = Without()
    tree = ast.fix_missing_locations(without.visit(ast.parse(source, path)))
    return compile(tree, path, "exec"), without.removed


class Loader(importlib.machinery.SourceFileLoader):
    """Compiles from source, always."""

    removed = 0

    def get_code(self, fullname: str) -> CodeType:
        code, removed = compiled(self.get_data(self.path).decode(), self.path)
        Loader.removed += removed
        return code


class Finder(importlib.abc.MetaPathFinder):
    """Finds the modules of `ROOMS` and gives them our loader."""

    def find_spec(
        self, fullname: str, path: Optional[Sequence[str]], target: Optional[ModuleType] = None
    ) -> Optional[importlib.machinery.ModuleSpec]:
        if not fullname.startswith(ROOMS):
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        if spec is not None and isinstance(spec.loader, importlib.machinery.SourceFileLoader):
            spec.loader = Loader(spec.loader.name, spec.loader.path)
        return spec


def main() -> int:
    """As ``nopage``."""
    sys.meta_path.insert(0, Finder())
    from machine.cli import command

    return command()


if __name__ == "__main__":
    sys.exit(main())
