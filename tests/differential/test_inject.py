"""`-e` against strace itself: the same calls fail, with the same lines, and the program sees the same."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ENVIRONMENT, build

SOURCE = """
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>
int main(void)
{
    for (int i = 0; i < 8; i++) printf("%d ", (int)getpgid(-1));
    for (int i = 0; i < 8; i++) printf("%d ", dup(9 + i));
    printf("%d\\n", msync((void *)4096, 0, MS_SYNC));
    return 0;
}
"""

EXPRESSIONS = [
    ["trace=getpgid,dup", "inject=getpgid:error=EPERM:when=2"],
    ["trace=getpgid,dup", "inject=getpgid,dup:error=EPERM:when=2+3"],
    ["trace=getpgid,dup,msync", "inject=dup:retval=77:when=3+", "fault=msync"],
    ["trace=!write,mmap,brk,fstat", "inject=getpgid:retval=5:when=2..6+2", "inject=dup:error=5:when=1..3"],
    ["trace=/^getpg|^du", "inject=dup:delay_enter=100:when=4", "inject=getpgid:error=EIO:when=7+9"],
    ["trace=dup", "inject=getpgid:error=EIO"],
    ["%desc", "trace=%memory,getpgid", "inject=all:error=ENOTTY:when=4"],
]


@pytest.mark.parametrize("expressions", EXPRESSIONS, ids=" ".join)
def test_as_strace_does(expressions: list[str], tmp_path: Path) -> None:
    """# F2"""
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("strace is not installed")
    source = tmp_path / "calls.c"
    source.write_text(SOURCE)
    program = build(source, static=True)
    words = [word for each in expressions for word in ("-e", each)]
    host = subprocess.run([strace, "-f", *words, str(program)], capture_output=True, text=True, env=ENVIRONMENT,
                          timeout=60, check=False)  # fmt: skip
    if "ptrace" in host.stderr:
        pytest.skip(f"strace can't trace here: {host.stderr.strip()}")
    here = subprocess.run([sys.executable, "-m", "machine", "run", "-f", *words, str(program)], capture_output=True,
                          text=True, timeout=120, check=False)  # fmt: skip
    assert here.stdout == host.stdout and here.returncode == host.returncode
    wanted = [line for line in host.stderr.splitlines() if line.startswith(("getpgid", "dup", "msync"))]
    assert [line for line in here.stderr.splitlines() if line.startswith(("getpgid", "dup", "msync"))] == wanted
