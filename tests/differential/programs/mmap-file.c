#include "common.h"

int main(void)
{
	int fd = open("m", O_RDWR | O_CREAT, 0600);
	E(ftruncate(fd, 10000));
	char *p = mmap(0, 10000, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0),
	     *q = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 4096);
	strcpy(p + 4090, "across the page");
	q[0] = 'X';
	P("%s %c %c\n", p + 4090, p[4096], q[1]);
	E(msync(p, 10000, MS_SYNC));
	char b[20] = "";
	E(pread(fd, b, 15, 4090));
	P("%s\n", b);
	E(munmap(p, 10000));
	E(munmap(q, 4096));
	return 0;
}
