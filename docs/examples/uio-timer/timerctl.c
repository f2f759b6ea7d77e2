/* timerctl PERIOD COUNT: start the timer of /dev/uio0, wait for COUNT interrupts, stop it. */
#include <fcntl.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

enum { CTRL, PERIOD, STATUS, TICKS };
#define CTRL_ENABLE 0x1
#define CTRL_IRQ 0x2
#define STATUS_EXPIRED 0x1

static volatile uint32_t *timer;

static int wait_for_interrupt(int fd)
{
	struct pollfd waiting = {.fd = fd, .events = POLLIN};
	uint32_t number, on = 1;

	if (write(fd, &on, sizeof on) != sizeof on)
		return perror("timerctl: can't switch the interrupt on"), -1;
	if (poll(&waiting, 1, 100) != 1)
		return fprintf(stderr, "timerctl: no interrupt for 100 ms\n"), -1;
	if (read(fd, &number, sizeof number) != sizeof number)
		return perror("timerctl: read"), -1;
	if (!(timer[STATUS] & STATUS_EXPIRED))
		return fprintf(stderr, "timerctl: an interrupt, and the timer has not expired\n"), -1;
	timer[STATUS] = STATUS_EXPIRED;
	return 0;
}

int main(int argc, char **argv)
{
	int fd, left, failed = 0;

	if (argc != 3)
		return fprintf(stderr, "usage: timerctl PERIOD COUNT\n"), 2;
	fd = open("/dev/uio0", O_RDWR);
	if (fd < 0)
		return perror("timerctl: /dev/uio0"), 1;
	timer = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (timer == MAP_FAILED)
		return perror("timerctl: mmap"), 1;
	timer[PERIOD] = strtoul(argv[1], NULL, 0);
	timer[CTRL] = CTRL_ENABLE | CTRL_IRQ;
	for (left = atoi(argv[2]); left && !failed; left--)
		failed = wait_for_interrupt(fd);
	timer[CTRL] = 0;
	if (failed)
		return 3;
	printf("%u ticks\n", timer[TICKS]);
	return 0;
}
