#include "common.h"

int main(void)
{
	int fd = open("a", O_RDWR | O_CREAT | O_APPEND, 0600);
	E(write(fd, "one", 3));
	E(lseek(fd, 0, SEEK_SET));
	E(write(fd, "two", 3));
	E(pwrite(fd, "xx", 2, 0));
	show("a");
	E(lseek(fd, -1, SEEK_SET));
	E(lseek(fd, 2, SEEK_CUR));
	E(lseek(fd, -2, SEEK_END));
	E(lseek(fd, 0, 99));
	E(lseek(fd, 100000, SEEK_SET));
	return 0;
}
