#include "common.h"

int main(void)
{
	int fd = open("s", O_RDWR | O_CREAT, 0600);
	E(pwrite(fd, "x", 1, 1 << 20));
	E(lseek(fd, 0, SEEK_DATA));
	E(lseek(fd, 0, SEEK_HOLE));
	E(lseek(fd, 1 << 20, SEEK_HOLE));
	E(lseek(fd, 2 << 20, SEEK_DATA));
	E(ftruncate(fd, 5));
	E(ftruncate(fd, -1));
	E(posix_fallocate(fd, 0, 9000));
	struct stat s;
	fstat(fd, &s);
	P("%d\n", (int)s.st_size);
	return 0;
}
