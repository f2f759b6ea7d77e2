/* Memory written from one end to the other: 16 MiB at 0x50000000, or COUNT pages from page FIRST on.  With a third
   argument the stack, made larger before, grows by a page each sixteenth time.  straight [FIRST COUNT [stack]] */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

__attribute__((noinline)) static void dig(unsigned long bytes)
{
	volatile char *frame = __builtin_alloca(bytes + 4096);

	frame[0] = 1;
}

int main(int argc, char **argv)
{
	unsigned long first = argc > 2 ? strtoul(argv[1], 0, 0) : 0x50000, count = argc > 2 ? strtoul(argv[2], 0, 0) : 4096;
	unsigned char *memory = (void *)(first << 12), *end = memory + (count << 12), *page;
	unsigned long sum = 0;

	__asm__("" : "+r"(memory)); /* for all that the compiler knows it is not NULL */
	if (mmap(memory, count << 12, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != memory)
		return 1;
	for (page = memory; page < end; page += 4096) {
		*page = (page - memory) >> 12;
		if (argc > 3 && (((page - memory) >> 12) & 15) == 7)
			dig((256 << 10) + ((page - memory) >> 4));
	}
	for (page = memory; page < end; page += 4096)
		sum += *page + page[4095];
	printf("%lu\n", sum);
	return 0;
}
