"""Every implemented system call with wild pointers, one pointer at a time: what the host answers, we answer.

The program is made from the kernel's own table, so a call that is added is tested at once.
"""

from __future__ import annotations

import errno
import os
import platform
import re
from collections.abc import Callable
from typing import Any

import pytest

from machine.kernel.abi import unistd_32, unistd_64
from machine.kernel.syscalls import load_families
from machine.kernel.syscalls.table import ROWS, Syscall
from tests.conftest import build, run_on_host
from tests.host import is_full_root

POINTERS = ("ptr", "str", "buf")
VALUES = {"fd": "file", "atfd": "AT_FDCWD", "size": "8", "mode": "0600", "off64": "0"}
"""A plausible argument by its type; the others are 0."""

LEFT_OUT = {
    "rt_sigreturn", "sigreturn",  # they take the stack for their argument
    "rt_sigsuspend", "sigsuspend", "sigpause",  # they wait for ever
    "settimeofday", "clock_settime", "clock_settime64", "stime",  # on the host these would set the clock
    "sethostname", "setdomainname", "chroot", "syslog",  # and these would change the host for everybody
}  # fmt: skip

DIFFERENT = {
    "set_thread_area", "get_thread_area",  # the state of the host's C library differs
}  # fmt: skip

MAIN = r"""
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ROOM = 1 << 16 };
static char *good, path[] = "/tmp/nopage-is-not-there/x";
static int file;

static void attempt(const char *name, int number, const char *what, const long *a)
{
	int status;
	fflush(stdout);
	pid_t child = fork();
	if (!child) {
		signal(SIGPIPE, SIG_IGN);
		alarm(3);
		long result = syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
		_exit(result == -1 ? errno : 0);
	}
	waitpid(child, &status, 0);
	if (WIFSIGNALED(status))
		printf("%s %s: signal %d\n", name, what, WTERMSIG(status));
	else if (WEXITSTATUS(status))
		printf("%s %s: %s\n", name, what, strerror(WEXITSTATUS(status)));
	else
		printf("%s %s: success\n", name, what);
}

int main(void)
{
	char *edge = mmap(NULL, 3 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char name[] = "/tmp/nopage-wild-XXXXXX";
	good = mmap(NULL, ROOM, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	munmap(edge + 4096, 4096);
	file = mkstemp(name);
	unlink(name);
	if (write(file, good, 4096) != 4096 || lseek(file, 0, SEEK_SET))
		return 1;
	struct { const char *name; long at; } wild[] = {{"low", 1}, {"gone", (long)(edge + 4096)}, {"high", -4096}};
	(void)path;
%s
	return 0;
}
"""


def words(row: Syscall, abi: str) -> list[tuple[str, str]]:
    """(type, C expression) of each register that the call's arguments take."""
    made = []
    for each in row.types:
        kind = each.split(":")[0]
        value = "(long)path" if kind == "str" else "(long)good" if kind in POINTERS else VALUES.get(kind, "0")
        made.append((kind, value))
        if kind == "off64" and abi == "i386":
            made.append(("", "0"))
    return made


def cases(abi: str, numbers: dict[str, int]) -> str:
    load_families()
    lines = []
    for name, row in sorted(ROWS[abi].items()):
        arguments = words(row, abi)
        places = [i for i, (kind, _) in enumerate(arguments) if kind in POINTERS]
        if not places or name in LEFT_OUT | DIFFERENT:
            continue
        padded = ", ".join(value for _, value in (arguments + [("", "0")] * 6)[:6])
        for place in places:
            lines.append(
                f"\tfor (int i = 0; i < 3; i++) {{ long a[6] = {{{padded}}}; char what[32]; a[{place}] = wild[i].at; "
                f'snprintf(what, sizeof what, "argument {place + 1} %s", wild[i].name); '
                f'attempt("{name}", {numbers[name]}, what, a); }}'
            )
    return "\n".join(lines)


RELEASE = tuple(int(number) for number in re.findall(r"\d+", platform.release())[:2])


@pytest.mark.skipif(not is_full_root(), reason="the host's answers are root's: run as root outside a container")
@pytest.mark.skipif(RELEASE < (6, 8), reason="execve opens the program before it reads argv since Linux 6.8")
@pytest.mark.parametrize("target", ["x86_64", "i386"])
def test_every_call(run_in_machine: Callable[..., Any], target: str) -> None:
    numbers = unistd_64.NUMBERS if target == "x86_64" else unistd_32.NUMBERS
    program = build(MAIN.replace("%s\n\treturn", cases(target, numbers) + "\n\treturn"), target=target)
    host = run_on_host(program).stdout.decode().splitlines()
    ours = run_in_machine(program).stdout.decode().splitlines()
    assert len(host) > 300
    differing = [
        f"{a}   (here: {b.rsplit(': ', 1)[1]})"
        for a, b in zip(host, ours, strict=True)
        if a != b and not a.endswith(os.strerror(errno.ENOSYS))
    ]
    assert not differing, "\n".join(differing)
