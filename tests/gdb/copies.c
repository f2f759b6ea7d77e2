/* A repeated string instruction faults in its middle, where the second page begins. */
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

static char source[8192] = "the source of the copy";

int main(void)
{
	char *page = mmap((void *)0x20000000, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	char *to = page + 4000, *from = source;
	unsigned long count = 200;

	if (page == MAP_FAILED)
		return perror("mmap"), 1;
	source[4096] = *page;
	__asm__ volatile("rep movsb /* copies */" : "+D"(to), "+S"(from), "+c"(count) : : "memory");
	printf("%d %lu %s\n", (int)(to - page), count, page + 4000);
	return 0;
}
