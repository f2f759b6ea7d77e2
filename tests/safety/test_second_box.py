"""The command line of SECURITY.md that puts nopage into a box of bubblewrap works."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from guest.toolchain import compile

TOP = Path(__file__).parents[2]


def test_bubblewrap(tmp_path: Path) -> None:
    if shutil.which("bwrap") is None:
        pytest.skip("bwrap is not there")
    probe = subprocess.run(["bwrap", "--unshare-all", "--ro-bind", "/", "/", "true"], capture_output=True, check=False)
    if probe.returncode:
        pytest.skip(f"bwrap can't work here: {probe.stderr.decode().strip()}")
    found = re.search(r"^    bwrap (?:.*\\\n)*.*", (TOP / "SECURITY.md").read_text(), re.M)
    assert found is not None
    text = found[0].replace("\\\n", " ").replace("$VENV", sys.prefix).replace("$PWD", str(tmp_path))
    command = shlex.split(text)
    at = command.index(f"{sys.prefix}/bin/nopage")
    command[at : at + 1] = [sys.executable, "-m", "machine"]
    extra = ["--setenv", "PYTHONPATH", str(TOP), "--ro-bind", str(TOP), str(TOP)]
    if not sys.base_prefix.startswith("/usr"):
        extra += ["--ro-bind", sys.base_prefix, sys.base_prefix]
    command[at:at] = extra
    suspicious = compile('#include <stdio.h>\nint main(void) { puts("inside"); return 3; }\n')
    shutil.copy(suspicious, tmp_path / "suspicious")
    done = subprocess.run(command, capture_output=True, timeout=120, check=False)
    assert (done.returncode, done.stdout) == (3, b"inside\n"), done.stderr
