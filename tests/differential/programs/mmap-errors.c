#include "common.h"

int main(void)
{
	int fd = open("m", O_RDONLY | O_CREAT, 0600);
	E(mmap(0, 0, 1, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
	E(mmap(0, 4096, 3, MAP_SHARED, fd, 0));
	E(mmap(0, 4096, 1, MAP_SHARED, 77, 0));
	E(mmap(0, 4096, 1, 0x20, -1, 0));
	E(mmap((void *)0x1001, 4096, 1, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
	E(munmap((void *)1, 4096));
	E(mprotect((void *)4096, 4096, 1));
	return 0;
}
