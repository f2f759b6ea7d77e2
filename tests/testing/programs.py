"""Guest programs of these tests, and the model that they drive."""

from __future__ import annotations

from machine.testing import Reg, RegisterBlock

WHERE = "/dev/mem@0xfe000000"


class Timer(RegisterBlock):
    """Starts when told to; ready when the test says so."""

    ctrl = Reg(0x00)
    count = Reg(0x04, access="ro", reset=42)
    period = Reg(0x08)
    status = Reg(0x0C)


HEAD = r"""
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
static volatile uint32_t *registers(void)
{
	int fd = open("/dev/mem", O_RDWR | O_SYNC);
	void *at = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0xfe000000);
	if (at == MAP_FAILED) {
		perror("mmap");
		exit(2);
	}
	return at;
}
"""

TIMER = (
    HEAD
    + r"""
int main(int argc, char **argv)
{
	volatile uint32_t *timer = registers();
	timer[2] = 1000;
	timer[0] = 1;
	while (argc > 1 && !(timer[3] & 1))
		;
	printf("%u\n", timer[1]);
	return 0;
}
"""
)

ECHO = (
    HEAD
    + r"""
int main(void)
{
	char line[100];
	while (fgets(line, sizeof line, stdin)) {
		printf("got %s", line);
		fflush(stdout);
	}
	return 3;
}
"""
)

WILD = (
    HEAD
    + r"""
__attribute__((noinline)) static void poke(volatile int *at)
{
	*at = 1;
}
int main(int argc, char **argv)
{
	if (argc > 1)
		for (;;)
			;
	fprintf(stderr, "about to\n");
	poke((int *)0x10);
	return 0;
}
"""
)

SLEEPER = (
    HEAD
    + r"""
int main(void)
{
	int ends[2];
	char c;
	if (pipe(ends))
		return 1;
	return read(ends[0], &c, 1) != 1;
}
"""
)
