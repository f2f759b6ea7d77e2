"""Odd command lines: an error is a line or two and an exit status, never a Python traceback."""

from __future__ import annotations

import contextlib
import gc
import io
import random

from machine import cli
from machine.errors import NopageError
from tests.fuzz.findings import Findings

TEXTS = (
    "",
    " ",
    "-",
    "--",
    "=",
    ":",
    "::",
    ",",
    "0",
    "-1",
    "1",
    "16M",
    "512m",
    "1e9",
    "nan",
    "inf",
    "1e999",
    "99999999999999999999",
    "16.5M",
    "0x10",
    "\u0661\u0666M",
    "\udcff",
    "a" * 5000,
    "/",
    "/tmp",
    "/tmp:/x",
    "/tmp:/x:rw",
    "/tmp:x",
    "/nope:/x",
    ":/x",
    "/tmp:",
    "/tmp:/proc",
    "/tmp:/",
    "/tmp:/dev/null",
    "/etc/passwd:/usr",
    "/tmp:/x/../../y",
    "A=B",
    "A",
    "=B",
    "-A",
    "A=",
    "A\0=B",
    "1000:1000",
    "0:",
    "4294967295",
    "4294967294:0",
    "root",
    "-5",
    "scullp",
    "scullp,",
    "scullp,=",
    "scullp,x=1",
    "scullp,scullp_qset",
    "scullp,scullp_qset=",
    "scullp,scullp_qset=-1",
    "scullp,scullp_qset=99999999999999999999",
    "scullp,scullp_devs=0",
    "scullp,scullp_devs=-3",
    "scullp,scullp_order=99",
    "scullp,scullp_major=-1",
    "scullp,scullp_major=99999",
    "scullp,,",
    "mem",
    "nope",
    "./nope.py",
    "/etc/passwd",
    "..",
    "/dev/null",
    "\n",
    "%s",
    "'",
    '"',
    "a 'b",
    "/nope/x",
    "hello",
    "\U0001f600",
)

OPTIONS = (
    "--ram",
    "--bind",
    "--device",
    "--env",
    "--user",
    "--timeout",
    "--root",
    "--export",
    "--exec",
    "--strace",
    "--faults",
    "--deterministic",
    "-v",
    "-L",
    "--nope",
    "-x",
)


def command_line(rng: random.Random) -> list[str]:
    """``run``, some options with values that may be fine, and a small program."""
    words = ["run"]
    for _ in range(rng.randint(1, 3)):
        option = rng.choice(OPTIONS[:5]) if rng.random() < 0.7 else rng.choice(OPTIONS)
        if option in ("--strace", "--faults", "--export"):
            words.append(f"{option}=/nope/{rng.choice(TEXTS)}")
        elif option.startswith("--") and rng.random() < 0.5:
            words.append(f"{option}={rng.choice(TEXTS)}")
        else:
            words += [option, rng.choice(TEXTS)]
    return [*words, "--timeout=10", *(["hello"] if rng.random() < 0.8 else [])]


def fuzz_options(seed: int, count: int = 30) -> Findings:
    """`count` command lines."""
    rng = random.Random(seed)
    found = Findings(cases=count)
    for _ in range(count):
        words = command_line(rng)
        complaint = _one(words)
        if complaint:
            found.problems.append(f"{words}: {complaint}")
    return found


def _one(words: list[str]) -> str:
    error = io.StringIO()
    try:
        with contextlib.redirect_stderr(error), contextlib.redirect_stdout(io.StringIO()):
            status = cli.main(words)
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else -1
    except NopageError as wrong:
        return f"came out of main: {wrong!r}"
    except Exception as wrong:
        return f"{wrong!r}"
    finally:
        gc.unfreeze()  # a session freezes its machine: it is the only one of its process
    text = error.getvalue()
    if "Traceback" in text:
        return text
    if status in (2, 125) and not text.startswith("nopage: "):
        return f"status {status} with {text!r}"
    return "" if 0 <= status < 256 else f"status {status}"
