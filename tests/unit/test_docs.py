"""What the documents say must be what is there."""

from __future__ import annotations

import ast
import builtins
import re
import subprocess
import sys
from pathlib import Path

import pytest

from machine import testing
from machine.kernel import linux

TOP = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted([*TOP.glob("*.md"), *TOP.glob("docs/*.md")])


def test_the_table_of_system_calls_is_current() -> None:
    command = [sys.executable, "docs/gen_syscalls.py", "--check"]
    done = subprocess.run(command, cwd=TOP, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_readme_has_its_test_command_between_markers() -> None:
    text = (TOP / "README.md").read_text()
    found = re.findall(r"^<!-- test-command -->\n```[a-z]*\n(.*?)\n```\n<!-- /test-command -->$", text, re.M | re.S)
    assert len(found) == 1 and "-m pytest" in found[0], "what .ci/run takes from it"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(TOP)))
def test_links_lead_somewhere(document: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", document.read_text())
    gone = [link for link in links if "://" not in link and not (document.parent / link).exists()]
    assert gone == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(TOP)))
def test_files_that_documents_name_exist(document: Path) -> None:
    """Anything in backquotes that begins with one of our directories is a file or directory of ours."""
    named = set(re.findall(r"`((?:machine|drivers|guest|firmware|tests|bench|docs)/[\w./-]*)`", document.read_text()))
    assert sorted(name for name in named if not (TOP / name).exists()) == []


def unknown_calls(excerpt: str) -> list[str]:
    """Functions that a piece of a driver or of a device calls, and that nobody has."""
    tree = ast.parse(excerpt)
    called = {node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
    own = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    return sorted(called - own - set(linux.__all__) - set(dir(testing)) - set(dir(builtins)))


def test_the_driver_of_the_guide_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """docs/writing-a-driver.md: its first block is a driver, its second a script that loads and checks it."""
    text = (TOP / "docs" / "writing-a-driver.md").read_text()
    driver, script, *excerpts = re.findall(r"^```python\n(.*?)^```$", text, re.M | re.S)
    for excerpt in excerpts:
        assert unknown_calls(excerpt) == []
    (tmp_path / "ramp.py").write_text(driver)
    monkeypatch.chdir(tmp_path)
    exec(compile(script, "writing-a-driver.md", "exec"), {})


def test_the_python_example_of_the_readme_works() -> None:
    blocks = re.findall(r"^```python\n(.*?)^```$", (TOP / "README.md").read_text(), re.M | re.S)
    exec(compile(blocks[0], "README.md", "exec"), {})
