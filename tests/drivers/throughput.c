/* Stores over a megabyte of each mapping, in turn: nanoseconds a store, the best of the rounds. */
#define _FILE_OFFSET_BITS 64
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#define BYTES (1 << 20)

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1e9 + t.tv_nsec;
}

static double once(volatile uint32_t *p)
{
	double started = now();

	for (unsigned n = 0; n < BYTES / 4; n++)
		p[n] = n;
	return (now() - started) / (BYTES / 4);
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name, *path;
		int flags;
		off_t offset;
	} kinds[] = {
		{"anonymous", NULL, 0, 0},
		{"fb0", "/dev/fb0", O_RDWR, 0},
		{"cached", "/dev/mem", O_RDWR, 0xe8000000},
		{"sync", "/dev/mem", O_RDWR | O_SYNC, 0xe8000000},
		{"combining", "/dev/bad", O_RDWR, 0},
	};
	enum { KINDS = sizeof kinds / sizeof *kinds };
	volatile uint32_t *p[KINDS];
	double best[KINDS];
	int rounds = argc > 1 ? atoi(argv[1]) : 10;

	for (int i = 0; i < KINDS; i++) {
		int fd = kinds[i].path ? open(kinds[i].path, kinds[i].flags) : -1;
		int flags = kinds[i].path ? MAP_SHARED : MAP_PRIVATE | MAP_ANONYMOUS;

		p[i] = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, flags, fd, kinds[i].offset);
		if (p[i] == MAP_FAILED)
			return perror(kinds[i].name), 1;
		best[i] = once(p[i]);
	}
	while (rounds--)
		for (int i = 0; i < KINDS; i++) {
			double took = once(p[i]);

			if (took < best[i])
				best[i] = took;
		}
	for (int i = 0; i < KINDS; i++)
		printf("%s %.3f\n", kinds[i].name, best[i]);
	return 0;
}
