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

CAREFUL = (
    HEAD
    + r"""
#include <errno.h>
/* argv[1]: "careful" checks everything, "careless" nothing. */
int main(int argc, char **argv)
{
	int careful = argc < 2 || strcmp(argv[1], "careless");
	volatile uint32_t *timer = registers();
	char text[8] = "";
	char *page = mmap(0, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int fd, got, done = 0;
	if (careful && page == MAP_FAILED)
		return fprintf(stderr, "no page: %d\n", errno), 3;
	page[4096] = 'x';
	fd = open("/proc/version", O_RDONLY);
	if (careful && fd < 0)
		return fprintf(stderr, "no file: %d\n", errno), 4;
	do {
		got = read(fd, text + done, 5 - done);
		if (careful && got < 0 && errno != EINTR)
			return fprintf(stderr, "no text: %d\n", errno), 5;
		done += got > 0 ? got : 0;
	} while (careful && done < 5);
	timer[0] = 1;
	printf("%s %u\n", text, timer[1]);
	return 0;
}
"""
)

WAITER = (
    HEAD
    + r"""
/* Waits for the ready bit, at most argv[1] reads; then for one interrupt of /dev/uio0 when there are two arguments. */
int main(int argc, char **argv)
{
	volatile uint32_t *timer;
	uint32_t count = 0;
	int left = atoi(argv[1]), fd = open("/dev/uio0", O_RDWR);
	timer = fd < 0 ? registers() : mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	timer[0] = 1;
	while (!(timer[3] & 1))
		if (!--left)
			return printf("not ready\n"), 1;
	if (argc > 2 && read(fd, &count, 4) != 4)
		return perror("read"), 2;
	printf("ready, %d left, %u\n", left, count);
	return 0;
}
"""
)

CATCHER = (
    HEAD
    + r"""
#include <setjmp.h>
static sigjmp_buf back;
static void on_bus(int signo)
{
	siglongjmp(back, signo);
}
int main(void)
{
	volatile uint32_t *timer = registers();
	signal(SIGBUS, on_bus);
	if (sigsetjmp(back, 1))
		return printf("bus error\n"), 7;
	timer[2] = 5;
	timer[0] = timer[2];
	return 0;
}
"""
)
