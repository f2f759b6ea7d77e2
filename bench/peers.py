"""Who runs a workload: how each peer is called, and whether it is here."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Optional

from bench.workloads import Workload
from guest.toolchain import ToolMissing, compile

HERE = Path(__file__).resolve().parent
TOP = HERE.parent
PROGRAMS = HERE / "programs"

NAMES = ("host", "qemu", "qiling", "import unicorn", "floor", "binding", "without", "nopage")
QEMU = "qemu-x86_64-static"
QILING = "qiling==1.4.6"
FILE_BYTES = 64 << 20


def program(name: str) -> Path:
    """The workload's program, static, -O2; the demo programs stand for themselves."""
    source = PROGRAMS / f"{name}.c"
    if not source.exists():
        return TOP / "guest" / "bin" / "x86_64" / name
    return compile(source, flags=("-O2", "-lm"))


def cache_directory() -> Path:
    """What the bench keeps between runs: peers' virtual environments, the file that is read."""
    place = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "nopage" / "bench"
    place.mkdir(parents=True, exist_ok=True)
    return place


@cache
def qiling_python() -> str:
    """The Python of a virtual environment that has Qiling; made at first use.  OSError where that fails."""
    place = cache_directory() / QILING.replace("==", "-")
    python = place / "bin" / "python"
    if not (place / "ready").exists():
        for line in ([sys.executable, "-m", "venv", "--clear", str(place)],
                     [str(python), "-m", "pip", "install", "--quiet", QILING]):  # fmt: skip
            done = subprocess.run(line, capture_output=True, text=True, timeout=600, check=False)
            if done.returncode:
                said = (done.stderr or done.stdout).strip().splitlines() or [f"exit {done.returncode}"]
                raise OSError(said[-1])
        (place / "ready").touch()
    return str(python)


@cache
def big_file() -> str:
    """A file of 64 MiB whose pages differ."""
    path = cache_directory() / "work" / "64MiB"
    path.parent.mkdir(exist_ok=True)
    if not path.exists() or path.stat().st_size != FILE_BYTES:
        path.write_bytes(b"".join(n.to_bytes(4, "little") * 1024 for n in range(FILE_BYTES >> 12)))
    return str(path)


def missing(peer: str) -> Optional[str]:
    """Why the peer can't run here, or None."""
    if peer == "qiling":
        try:
            qiling_python()
        except (OSError, subprocess.SubprocessError) as problem:
            return f"{QILING} could not be installed: {problem}"
    if peer == "qemu" and shutil.which(QEMU) is None:
        return "qemu-x86_64-static is not installed (Debian: apt install qemu-user-static)"
    if peer == "host" and os.uname().machine != "x86_64":
        return f"this computer is a {os.uname().machine}"
    return None


def command(peer: str, workload: Workload) -> list[str]:
    """The command line that runs the workload on `peer`.

    `view` are options of nopage that are measured: the peer "without" has none of them, and where there are none it is
    nopage without its emit calls (without.py).
    """
    python = [sys.executable]
    arguments = workload.arguments_for(peer)
    if peer == "import unicorn":
        return [*python, "-c", "import unicorn"]
    if peer == "floor":
        return [*python, "-m", "bench.floor", arguments[-1]]
    if peer == "binding":
        return [*python, "-m", "bench.floor", arguments[-1], "--binding"]
    path = str(program(workload.program))
    said = {"@program": path, "@file": big_file() if "@file" in arguments else "", "@qemu": shutil.which(QEMU) or QEMU}
    run = [path, *(said.get(word, word) for word in arguments)]
    if peer == "host":
        return run
    if peer == "qemu":
        return [QEMU, *run]
    if peer == "qiling":
        return [qiling_python(), "-W", "ignore", str(HERE / "run_qiling.py"), *run]
    if peer == "nopage" and workload.view == ("--gdb",):
        return [*python, "-m", "bench.under_gdb", *run]
    options = [word for device in workload.devices for word in ("--device", device)] + list(workload.options)
    if peer == "without":
        return [*python, "-m", "machine" if workload.view else "bench.without", "run", *options, "--", *run]
    return [*python, "-m", "machine", "run", *options, *workload.view, "--", *run]


def environment() -> dict[str, str]:
    """Python finds the checkout from any directory, and keeps its byte code as an installed package does."""
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    path = os.pathsep.join(filter(None, (str(TOP), os.environ.get("PYTHONPATH"))))
    return {**inherited, "PYTHONPATH": path}


def directory() -> str:
    """Where the programs are started: nothing of the checkout is read by accident."""
    place = cache_directory() / "work"
    place.mkdir(exist_ok=True)
    return str(place)


__all__ = ["NAMES", "ToolMissing", "command", "directory", "environment", "missing", "program"]
