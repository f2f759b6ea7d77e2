#include "common.h"

int main(void)
{
	char a[3] = "", b[10] = "";
	struct iovec w[3] = {{"ab", 2}, {"", 0}, {"cdefg", 5}}, r[2] = {{a, 2}, {b, 9}};
	int fd = open("v", O_RDWR | O_CREAT, 0600);
	E(writev(fd, w, 3));
	E(lseek(fd, 1, SEEK_SET));
	E(readv(fd, r, 2));
	P("%s|%s\n", a, b);
	E(pwritev(fd, w, 3, 20));
	E(preadv(fd, r, 2, 22));
	P("%s|%s\n", a, b);
	E(writev(fd, w, 2000));
	E(writev(fd, w, -1));
	E(pread(fd, a, 1, -1));
	return 0;
}
