#include "common.h"

int main(void)
{
	int fd = eventfd(3, EFD_NONBLOCK);
	uint64_t v;
	E(read(fd, &v, 8));
	P("%d\n", (int)v);
	E(read(fd, &v, 8));
	v = 5;
	E(write(fd, &v, 8));
	E(write(fd, &v, 8));
	E(read(fd, &v, 8));
	P("%d\n", (int)v);
	v = UINT64_MAX;
	E(write(fd, &v, 8));
	v--;
	E(write(fd, &v, 8));
	E(write(fd, &v, 8));
	E(write(fd, &v, 4));
	int s = eventfd(2, EFD_SEMAPHORE);
	E(read(s, &v, 8));
	P("%d\n", (int)v);
	E(eventfd(0, 0x1234));
	return 0;
}
