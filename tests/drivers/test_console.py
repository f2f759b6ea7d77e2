"""A program on a terminal of the machine's own, typed on from outside: `Machine.spawn(terminal=...)` (E3)."""

from __future__ import annotations

from collections.abc import Callable

from machine import Machine
from machine.kernel.tty.console import Console
from tests.conftest import build

SOURCE = r"""
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>
static volatile int interrupts;
static void count(int signo) { interrupts += signo == SIGINT; }
int main(void)
{
	char line[100];
	struct winsize size;
	ioctl(0, TIOCGWINSZ, &size);
	printf("%s %dx%d session %d group %d\n", ttyname(0), size.ws_col, size.ws_row, tcgetsid(0) == getpid(),
		tcgetpgrp(0) == getpgrp());
	printf("/dev/tty %d\n", open("/dev/tty", O_RDWR) >= 0);
	struct sigaction action = {.sa_handler = count};
	sigaction(SIGINT, &action, 0);
	while (!interrupts)
		printf("read %d errno %d\n", (int)read(0, line, sizeof line), errno == EINTR);
	for (int i = 0; i < 30000; i++)
		puts("0123456789");
	return 5;
}
"""


def test_a_program_on_it(machine_clean: Callable[..., Machine], target: str) -> None:
    """Size, session, foreground group, lines, Ctrl-C, and more output than the terminal holds at a time."""
    m = machine_clean(deterministic=True)
    kernel = m.kernel
    with m.entered():
        console = Console(kernel, 100, 40)
    process = m.spawn([str(build(SOURCE, target=target))], terminal=console)
    shown = bytearray()
    keys = [b"hal\x7fl", b"lo\r", b"\x03"]

    def tick() -> None:
        shown.extend(console.read())
        if keys and len(shown) > 20:
            console.type(keys.pop(0))
        if not process.ended:
            kernel.sched.call_at(kernel.clock.monotonic_ns() + 20_000_000, tick)

    tick()
    assert m.wait(process, 200).exit == 5
    shown.extend(console.read())
    text = shown.decode().replace("\r\n", "\n")
    head, _, rest = text.partition("0123456789\n")
    assert head == ("/dev/pts/0 100x40 session 1 group 1\n/dev/tty 1\nhal\b \bllo\nread 6 errno 0\n^Cread -1 errno 1\n")
    assert rest == "0123456789\n" * 29999
    with m.entered():
        console.close()
    assert not kernel.vfs.ptys
