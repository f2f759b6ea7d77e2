"""/dev/tty, /dev/console and /dev/tty1: the host's terminal, or nothing."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from guest.toolchain import compile
from machine import Machine

PROGRAM = r"""
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
static void try(const char *name)
{
	struct stat info;
	int fd = open(name, O_RDWR);
	printf("%s: %s", name, fd < 0 ? strerror(errno) : "open");
	if (fd >= 0) {
		printf(", %s", isatty(fd) ? "terminal" : "no terminal");
		fstat(fd, &info);
		printf(", %s", S_ISCHR(info.st_mode) ? "character" : "other");
		write(fd, "hello\n", 6);
	}
	putchar('\n');
	fflush(stdout);
}
int main(int argc, char **argv)
{
	if (argc > 1 && !fork()) {
		setsid();
		try("/dev/tty");
		_exit(0);
	}
	if (argc > 1) {
		wait(NULL);
		return 0;
	}
	try("/dev/tty");
	try("/dev/console");
	try("/dev/tty1");
	return 0;
}
"""


@pytest.fixture(scope="module")
def program() -> Path:
    return compile(PROGRAM)


def test_without_a_terminal(machine_clean: Callable[..., Machine], program: Path) -> None:
    result = machine_clean().run([str(program)])
    assert result.stdout.decode().splitlines() == [
        "/dev/tty: No such device or address",
        "/dev/console: No such device",
        "/dev/tty1: No such device",
    ]


def test_with_the_hosts_terminal(machine_clean: Callable[..., Machine], program: Path) -> None:
    master, slave = os.openpty()
    try:
        result = machine_clean().run([str(program)], stdin=slave)
        assert result.stdout.decode().splitlines() == [
            f"/dev/{name}: open, terminal, character" for name in ("tty", "console", "tty1")
        ]
        shown = b""
        while len(shown) < 21:
            shown += os.read(master, 100)
        assert shown == b"hello\r\n" * 3
        outcast = machine_clean().run([str(program), "setsid"], stdin=slave)
        assert outcast.stdout == b"/dev/tty: No such device or address\n"
    finally:
        os.close(master)
        os.close(slave)
