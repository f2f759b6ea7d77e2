"""Imports point one way: cli, testing → machine.py → observe → kernel → hardware → events."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parents[2]
OURS = ("machine", "drivers", "guest", "firmware")

ROOMS = (
    ("machine.events", 0),
    ("machine.records", 0),
    ("machine.hardware", 1),
    ("machine.kernel", 2),
    ("machine.observe", 3),
    ("machine.machine", 4),
    ("machine.programs", 4),
    ("machine.process", 4),
    ("machine.config", 4),
    ("machine.testing.messages", 0),
    ("machine.testing", 5),
    ("machine.tour", 5),
    ("machine.compare", 5),
    ("machine.sweep", 5),
    ("machine.cli", 5),
    ("machine.__main__", 6),
    ("machine", 4),
)
"""Prefix of a module's name and its floor, most particular first; nobody imports from above."""


def module_name(path: Path) -> str:
    parts = path.relative_to(TOP).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def sources() -> dict[str, Path]:
    found = [path for top in OURS for path in sorted((TOP / top).rglob("*.py"))]
    return {module_name(path): path for path in found}


def is_for_types(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def imports(name: str, types: bool = True) -> Iterator[str]:
    """Full names of what a module imports, wherever in it; ``from package import module`` counts as the module.

    `types` False leaves out what stands under ``if TYPE_CHECKING``.
    """
    tree = ast.parse(sources()[name].read_text())
    if not types:
        tree.body = [node for node in tree.body if not is_for_types(node)]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name} imports relatively"
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                yield whole if whole in sources() else str(node.module)


def inside(name: str, package: str) -> bool:
    return name == package or name.startswith(package + ".")


def floor(name: str) -> int:
    return next(level for prefix, level in ROOMS if inside(name, prefix))


def wrong(rule: str) -> list[str]:
    """The imports that break `rule`, as ``importer -> imported``."""
    pairs = [(name, target) for name in sources() for target in imports(name)]
    ours = [(name, target) for name, target in pairs if target.split(".")[0] in OURS]
    bad = {
        "direction": [(a, b) for a, b in ours if inside(a, "machine") and inside(b, "machine") and floor(b) > floor(a)],
        "abi": [
            (a, b)
            for a in sources()
            for b in (imports(a, types=False) if inside(a, "machine.kernel.abi") else ())
            if b.split(".")[0] in OURS and not inside(b, "machine.kernel.abi") and b != "machine.records"
        ],
        "drivers": [
            (a, b)
            for a, b in ours
            if inside(a, "drivers") and not (b == "machine.kernel.linux" or inside(b, "drivers"))
        ],
        "kernel knows no driver": [
            (a, b) for a, b in ours if floor_or_none(a) in (0, 1, 2, 3) and not inside(b, "machine")
        ],
        "guest and firmware stand alone": [
            (a, b) for a, b in ours if a.split(".")[0] in ("guest", "firmware") and inside(b, "machine")
        ],
        "engine": [
            (a, b)
            for a, b in pairs
            if inside(b, "unicorn") and a not in ("machine.hardware.cpu", "machine.hardware.realmode")
        ],
    }[rule]
    return [f"{a} -> {b}" for a, b in bad]


def floor_or_none(name: str) -> int | None:
    return floor(name) if inside(name, "machine") else None


@pytest.mark.parametrize(
    "rule",
    ["direction", "abi", "drivers", "kernel knows no driver", "guest and firmware stand alone", "engine"],
)
def test_imports(rule: str) -> None:
    assert wrong(rule) == []


def test_every_module_is_read() -> None:
    assert {"machine.hardware.cpu", "machine.kernel.kernel", "machine.events"} <= set(sources())
    assert "machine.events" in set(imports("machine.kernel.kernel"))


HEAVY = {"numpy", "capstone", "elftools", "rich", "PIL", "pytest", "hypothesis"}
SELDOM = {
    "argparse", "dataclasses", "difflib", "platform", "traceback", "machine.kernel.net.unix",
    "machine.kernel.syscalls.socket", "machine.kernel.include.timer", "tomllib", "hashlib", "machine.boardfile",
    "machine.hardware.registers", "machine.hardware.realmode", "machine.kernel.fs.proc_misc",
    "machine.kernel.task.fork", "machine.screen", "http", "machine.hardware.pci_bus", "machine.kernel.pci.dev",
}  # fmt: skip
"""Small, but together they were a quarter of the start."""


def test_a_plain_run_loads_nothing_heavy() -> None:
    """`import unicorn` alone takes 50 ms; numpy, capstone and elftools would make it 140."""
    script = (
        "import sys\nfrom machine.cli import main\n"
        "try:\n    code = main(['run', 'hello'])\nexcept SystemExit as end:\n    code = end.code\n"
        f"print(sorted({HEAVY | SELDOM!r} & set(sys.modules)), code or 0, file=sys.stderr)\n"
    )
    command = [sys.executable, "-c", script]
    # The first start of a board runs its firmware; what that left is kept for the others.
    subprocess.run(
        [sys.executable, "-m", "machine", "run", "hello"], capture_output=True, cwd=TOP, timeout=60, check=True
    )
    done = subprocess.run(command, capture_output=True, text=True, cwd=TOP, timeout=60, check=False)
    assert done.stderr.splitlines()[-1:] == ["[] 0"], done.stderr
    assert done.stdout
