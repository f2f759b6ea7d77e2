/* model DEVICE [BASE] < STEPS: steps of four bytes on a device from BASE on and an arena of pages, a line each;
 * tests/drivers/test_model.py. */
#include "check.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/wait.h>

#define PAGES 12

int main(int argc, char **argv)
{
	unsigned char code[4], byte;
	char *arena = hole(PAGES), line[60];
	int fd = open(argv[1], O_RDWR), status, length, got;
	long long base = argc > 2 ? atoll(argv[2]) : 0;
	pid_t pid;

	if (argc < 2 || fd < 0)
		return 2;
	catch_faults();
	mmap(arena, PAGES * PAGE, PROT_NONE, ANON | MAP_FIXED, -1, 0);
	munmap(arena, PAGES * PAGE);
	while (read(0, code, 4) == 4) {
		char *p = arena + code[1] * PAGE;

		errno = 0;
		got = 0;
		switch (code[0]) {
		case 0: /* a byte into page code[1] of the device */
			got = pwrite(fd, &code[2], 1, base + code[1] * PAGE);
			break;
		case 1: /* map code[2] pages of the device from page code[3] on; odd sizes of `code[3]` above 128 are private */
			got = mmap(p, code[2] * PAGE, RW, (code[3] & 128 ? MAP_PRIVATE : MAP_SHARED) | MAP_FIXED, fd,
				   base + (code[3] & 127) * PAGE) == MAP_FAILED ? errno : 0;
			break;
		case 2:
			got = munmap(p, code[2] * PAGE);
			break;
		case 3: /* read */
			got = touch(p, -1);
			if (!got)
				got = 1000 + *(unsigned char *)p;
			break;
		case 4: /* store */
			got = touch(p, code[2]);
			break;
		case 5: /* a child that maps nothing of its own */
			pid = fork();
			if (!pid)
				_exit(touch(p, -1));
			waitpid(pid, &status, 0);
			got = status >> 8;
			break;
		default:
			byte = 255;
			got = pread(fd, &byte, 1, base + code[1] * PAGE) == 1 ? byte : -1;
		}
		length = snprintf(line, sizeof line, "%d\n", got);
		if (write(1, line, length) != length)
			return 3;
	}
	return 0;
}
