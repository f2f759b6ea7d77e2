"""What is imported is declared: a fresh machine has what pyproject.toml names and nothing else."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

TOP = Path(__file__).resolve().parents[2]
OURS = {"machine", "guest", "drivers", "firmware", "tests", "bench", "docs"}
STDLIB = sys.stdlib_module_names | {"tomllib"}  # which 3.10 has under another name, from PyPI
MODULE_OF = {
    "pillow": "PIL",
    "pyelftools": "elftools",
    "systemrdl-compiler": "systemrdl",
    "cmsis-svd": "cmsis_svd",
    "pytest-xdist": "xdist",
    "pyvcd": "vcd",
}
"""Distributions whose module has another name than they have."""
OF_EXTRAS = {
    "machine.hardware.rdl": "rdl",
    "machine.hardware.svd": "svd",
    "machine.observe.waves": "waves",
    "machine.sweep.places": "sweep",
}
"""What needs an extra, and says so when it is not there."""
PYTEST_BRINGS_IT = {f"machine.testing.{name}" for name in ("compiling", "faultids", "plugin", "settings")}
"""Loaded by pytest, never without it."""


OWN_ENVIRONMENT = {"qiling"}
"""What the bench installs in an environment that it makes."""


def declared(*extras: str) -> set[str]:
    project = tomllib.loads((TOP / "pyproject.toml").read_text())["project"]
    lines = list(project["dependencies"])
    for extra in extras:
        lines += project["optional-dependencies"][extra]
    names = {re.split(r"[\[<>=;~! ]", line)[0].lower() for line in lines}
    return {MODULE_OF.get(name, name) for name in names}


def foreign(folder: str) -> dict[str, str]:
    """Module that is neither ours nor Python's, and one file that imports it."""
    found = {}
    for path in sorted((TOP / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            names: list[str] = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                names = [str(node.module)]
            for name in names:
                top = name.split(".")[0]
                if top not in OURS and top not in STDLIB:
                    found[top] = ".".join(path.relative_to(TOP).with_suffix("").parts)
    return found


@pytest.mark.parametrize("folder", ["machine", "guest", "drivers", "firmware"])
def test_what_is_installed_with_nopage(folder: str) -> None:
    missing = {
        module: where
        for module, where in foreign(folder).items()
        if module not in declared(*([OF_EXTRAS[where]] if where in OF_EXTRAS else []))
        and not (module == "pytest" and where in PYTEST_BRINGS_IT)
    }
    assert missing == {}


@pytest.mark.parametrize("folder", ["tests", "bench"])
def test_what_the_tests_need(folder: str) -> None:
    there = declared("cc", "bench", "waves", "test") | OWN_ENVIRONMENT
    missing = {module: where for module, where in foreign(folder).items() if module not in there}
    assert missing == {}


def test_the_tests_have_every_extra() -> None:
    lines = tomllib.loads((TOP / "pyproject.toml").read_text())["project"]["optional-dependencies"]["test"]
    ours = next(line for line in lines if line.startswith("nopage["))
    assert {"cc", *OF_EXTRAS.values()} <= set(ours[len("nopage[") : -1].split(","))


def test_it_sees_imports() -> None:
    assert {"unicorn", "numpy", "greenlet"} <= set(foreign("machine"))
    assert "pytest" in foreign("tests")
