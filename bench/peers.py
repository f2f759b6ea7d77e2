"""Who runs a workload: how each peer is called, and whether it is here."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Optional

from guest.toolchain import ToolMissing, compile

HERE = Path(__file__).resolve().parent
TOP = HERE.parent
PROGRAMS = HERE / "programs"

NAMES = ("host", "qemu", "import unicorn", "floor", "without", "nopage")


def program(name: str) -> Path:
    """The workload's program, static, -O2; the demo programs stand for themselves."""
    source = PROGRAMS / f"{name}.c"
    if not source.exists():
        return TOP / "guest" / "bin" / "x86_64" / name
    return compile(source, flags=("-O2", "-lm"))


def missing(peer: str) -> Optional[str]:
    """Why the peer can't run here, or None."""
    if peer == "qemu" and shutil.which("qemu-x86_64-static") is None:
        return "qemu-x86_64-static is not installed (Debian: apt install qemu-user-static)"
    if peer == "host" and os.uname().machine != "x86_64":
        return f"this computer is a {os.uname().machine}"
    return None


def command(
    peer: str, name: str, arguments: tuple[str, ...], devices: tuple[str, ...], view: tuple[str, ...] = ()
) -> list[str]:
    """The command line that runs workload program `name` on `peer`.

    `view` are options of nopage that are measured: the peer "without" has none of them, and where there are none it is
    nopage without its emit calls (without.py).
    """
    python = [sys.executable]
    if peer == "import unicorn":
        return [*python, "-c", "import unicorn"]
    if peer == "floor":
        return [*python, "-m", "bench.floor", arguments[-1]]
    run = [str(program(name)), *arguments]
    if peer == "host":
        return run
    if peer == "qemu":
        return ["qemu-x86_64-static", *run]
    options = [word for device in devices for word in ("--device", device)]
    if peer == "without":
        return [*python, "-m", "machine" if view else "bench.without", "run", *options, "--", *run]
    return [*python, "-m", "machine", "run", *options, *view, "--", *run]


def environment() -> dict[str, str]:
    """Python finds the checkout from any directory, and keeps its byte code as an installed package does."""
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    path = os.pathsep.join(filter(None, (str(TOP), os.environ.get("PYTHONPATH"))))
    return {**inherited, "PYTHONPATH": path}


def directory() -> str:
    """Where the programs are started: nothing of the checkout is read by accident."""
    return tempfile.gettempdir()


__all__ = ["NAMES", "ToolMissing", "command", "directory", "environment", "missing", "program"]
