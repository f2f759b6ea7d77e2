/* Has a device copy one part of this program's memory to another. */
#define _FILE_OFFSET_BITS 64
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static uint64_t physical(int pagemap, void *p)
{
	uint64_t entry;
	if (pread(pagemap, &entry, 8, (uintptr_t)p / 4096 * 8) != 8 || !(entry >> 63))
		exit(9);
	return (entry & ((1ULL << 55) - 1)) * 4096 + (uintptr_t)p % 4096;
}

int main(void)
{
	int fd = open("/dev/uio0", O_RDWR), pagemap = open("/proc/self/pagemap", O_RDONLY);
	volatile uint32_t *regs = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	static char from[4096] __attribute__((aligned(4096))), to[4096] __attribute__((aligned(4096)));
	uint32_t n;
	strcpy(from + 100, "copied");
	to[0] = 1;
	regs[6] = physical(pagemap, from + 100);
	regs[7] = physical(pagemap, to + 7);
	regs[0] = 7;
	if (read(fd, &n, 4) != 4)
		return perror("read"), 1;
	regs[3] = 1;
	printf("interrupt %u: %s\n", n, to + 7);
	return 0;
}
