#include "common.h"

int main(void)
{
	int fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
	uint64_t v = 0;
	struct itimerspec t = {{100, 10000000}, {0, 10000000}}, o;
	E(read(fd, &v, 8));
	E(timerfd_settime(fd, 0, &t, 0));
	usleep(55000);
	E(read(fd, &v, 8));
	P("%d\n", v == 1);
	E(timerfd_gettime(fd, &o));
	P("%d\n", (int)o.it_interval.tv_nsec);
	t.it_value.tv_nsec = 2000000000;
	E(timerfd_settime(fd, 0, &t, 0));
	memset(&t, 0, sizeof t);
	E(timerfd_settime(fd, 0, &t, 0));
	E(timerfd_create(99, 0));
	struct pollfd p = {fd, POLLIN, 0};
	E(poll(&p, 1, 5));
	return 0;
}
