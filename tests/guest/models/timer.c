/* A timer behind any mapping: `timer PATH [OFFSET]`; what it does is named by the third word. */
#define _GNU_SOURCE
#define _FILE_OFFSET_BITS 64
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { CTRL, COUNT, PERIOD, STATUS, DATA, DEPTH, SOURCE, TARGET };

static volatile uint32_t *regs;

static void on_bus_error(int signo, siginfo_t *info, void *context)
{
	(void)context;
	printf("signal %d at register %d\n", signo, (int)((uintptr_t)info->si_addr & 0xfff) / 4);
	fflush(stdout);
	_exit(3);
}

static int start(void)
{
	regs[PERIOD] = 1000;
	regs[CTRL] = 1;
	printf("count %u\n", regs[COUNT]);
	return 0;
}

static int wait_for_interrupts(int fd, int times)
{
	uint32_t n = 0, one = 1;
	regs[PERIOD] = 500;
	regs[CTRL] = 3;
	while (times--) {
		struct pollfd p = { fd, POLLIN, 0 };
		if (poll(&p, 1, 10000) != 1 || read(fd, &n, 4) != 4)
			return perror("interrupt"), 1;
		printf("interrupt %u status %u\n", n, regs[STATUS]);
		regs[STATUS] = 1;
		if (write(fd, &one, 4) != 4 && times)
			one = 1; /* a device without an irqcontrol */
	}
	regs[CTRL] = 0;
	return 0;
}

static int queue(void)
{
	for (unsigned i = 0; i < 6; i++)
		regs[DATA] = 10 + i;
	printf("depth %u:", regs[DEPTH]);
	for (unsigned i = 0; i < 6; i++)
		printf(" %u", regs[DATA]);
	volatile uint8_t *bytes = (volatile uint8_t *)(regs + 64);
	volatile uint16_t *halves = (volatile uint16_t *)(regs + 64);
	bytes[0] = 0xaa;
	bytes[1] = 0xbb;
	halves[1] = 0xccdd;
	printf("\nmemory %x %x\n", regs[64], halves[1]);
	return 0;
}

int main(int argc, char **argv)
{
	struct sigaction action = { .sa_sigaction = on_bus_error, .sa_flags = SA_SIGINFO };
	off_t offset = argc > 2 ? strtoull(argv[2], NULL, 0) : 0;
	const char *what = argc > 3 ? argv[3] : "start";
	int fd = open(argv[1], O_RDWR | O_SYNC);
	if (fd < 0)
		return perror(argv[1]), 1;
	regs = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, offset);
	if (regs == MAP_FAILED)
		return perror("mmap"), 1;
	if (!strcmp(what, "start"))
		return start();
	if (!strcmp(what, "wait"))
		return wait_for_interrupts(fd, 3);
	if (!strcmp(what, "queue"))
		return queue();
	if (!strcmp(what, "divide")) {
		if (argc > 4)
			sigaction(SIGBUS, &action, NULL);
		regs[PERIOD] = 0;
		printf("%x\n", regs[CTRL]);
		regs[CTRL] = 1; /* divide */
		printf("not reached\n");
		return 0;
	}
	if (!strcmp(what, "sleep")) {
		regs[CTRL] = 1; /* sleep */
		for (;;)
			pause();
	}
	return 2;
}
