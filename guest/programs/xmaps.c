/*
 * xmaps: map the graphics adapter through /dev/mem where an X server does, and show what /proc says of it.
 *
 * Prints the lines of /proc/self/maps that name /dev/mem, an empty line, and /proc/iomem.  The first two addresses are
 * those of the memory itself, below the program; the 64-bit build maps the other two where the book's X server had them.
 *
 * Exit code: 0; 1 when a call failed.
 */
#define _FILE_OFFSET_BITS 64
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

struct window {
	unsigned long address, length;
	int prot, flags;
	off_t offset;
};

static const struct window windows[] = {
	{0xa0000, 0x20000, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_SHARED | MAP_FIXED, 0xa0000},
	{0xf0000, 0x10000, PROT_READ | PROT_EXEC, MAP_SHARED | MAP_FIXED, 0xf0000},
#ifdef __x86_64__
	{0x2a95828000, 0x80000, PROT_READ | PROT_WRITE, MAP_SHARED, 0xfcc00000},
	{0x2a958a8000, 0x8000000, PROT_READ | PROT_WRITE, MAP_SHARED, 0xe8000000},
#else
	{0, 0x80000, PROT_READ | PROT_WRITE, MAP_SHARED, 0xfcc00000},
	{0, 0x8000000, PROT_READ | PROT_WRITE, MAP_SHARED, 0xe8000000},
#endif
};

static void show(const char *path, const char *wanted)
{
	char line[512];
	FILE *file = fopen(path, "r");

	if (!file) {
		perror(path);
		exit(1);
	}
	while (fgets(line, sizeof line, file))
		if (strstr(line, wanted))
			fputs(line, stdout);
	fclose(file);
}

int main(void)
{
	unsigned i;
	int fd = open("/dev/mem", O_RDWR);

	if (fd < 0) {
		perror("/dev/mem");
		return 1;
	}
	for (i = 0; i < sizeof windows / sizeof windows[0]; i++) {
		const struct window *w = windows + i;

		if (mmap((void *)w->address, w->length, w->prot, w->flags, fd, w->offset) == MAP_FAILED) {
			perror("mmap");
			return 1;
		}
	}
	show("/proc/self/maps", "/dev/mem");
	putchar('\n');
	show("/proc/iomem", "");
	return 0;
}
