#include "common.h"

int main(void)
{
	int p[2];
	pipe(p);
	struct pollfd f[3] = {{p[0], POLLIN, 0}, {p[1], POLLOUT, 0}, {99, POLLIN, 0}};
	E(poll(f, 3, 0));
	P("%x %x %x\n", f[0].revents, f[1].revents, f[2].revents);
	write(p[1], "x", 1);
	E(poll(f, 1, 1000));
	close(p[1]);
	E(poll(f, 2, 0));
	P("%x %x\n", f[0].revents, f[1].revents);
	char c;
	read(p[0], &c, 1);
	E(poll(f, 1, -1));
	P("%x\n", f[0].revents);
	E(poll(0, 0, 10));
	struct timespec z = {0, 0};
	E(ppoll(f, 1, &z, 0));
	pipe(p);
	close(p[0]);
	f[0].fd = p[1];
	f[0].events = POLLOUT;
	E(poll(f, 1, 0));
	P("%x\n", f[0].revents);
	return 0;
}
