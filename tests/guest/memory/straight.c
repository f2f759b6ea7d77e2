/* 16 MiB of memory at 0x50000000 written from one end to the other. */
#include <stdio.h>
#include <sys/mman.h>

int main(void)
{
	unsigned char *memory = (void *)0x50000000, *end = memory + (16 << 20), *page;
	unsigned long sum = 0;

	if (mmap(memory, 16 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != memory)
		return 1;
	for (page = memory; page < end; page += 4096)
		*page = (page - memory) >> 12;
	for (page = memory; page < end; page += 4096)
		sum += *page + page[4095];
	printf("%lu\n", sum);
	return 0;
}
