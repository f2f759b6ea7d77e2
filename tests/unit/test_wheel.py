"""The package as `pip install CHECKOUT` builds it: all of its files, and nothing left in the checkout."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

TOP = Path(__file__).parents[2]
PACKAGES = ("machine", "guest", "drivers", "firmware")


def files(directory: Path) -> set[str]:
    return {str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file()}


def test_a_wheel_has_every_file_and_the_checkout_stays_as_it_was(tmp_path: Path) -> None:
    pytest.importorskip("hatchling", reason="no hatchling here: pip install -e '.[test]'")
    checkout, built = tmp_path / "checkout", tmp_path / "built"
    (built / "editable").mkdir(parents=True)
    for name in PACKAGES:
        shutil.copytree(TOP / name, checkout / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE", ".gitignore"):
        shutil.copy(TOP / name, checkout)
    before = files(checkout)
    code = "import sys; from hatchling import build; build.build_wheel(sys.argv[1]); build.build_editable(sys.argv[2])"
    command = [sys.executable, "-c", code, str(built), str(built / "editable")]
    done = subprocess.run(command, cwd=checkout, timeout=120, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert files(checkout) == before
    (wheel,) = built.glob("*.whl")
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert names == {name for name in before if name.partition("/")[0] in PACKAGES}
    (editable,) = (built / "editable").glob("*.whl")
    with zipfile.ZipFile(editable) as archive:
        (pth,) = (name for name in archive.namelist() if name.endswith(".pth"))
        assert archive.read(pth).decode().strip() == str(checkout)
