#include "common.h"

int main(void)
{
	int e = epoll_create1(EPOLL_CLOEXEC), p[2];
	pipe(p);
	struct epoll_event v = {EPOLLIN, {.u64 = 77}}, o[4];
	E(epoll_ctl(e, EPOLL_CTL_ADD, p[0], &v));
	E(epoll_ctl(e, EPOLL_CTL_ADD, p[0], &v));
	E(epoll_wait(e, o, 4, 0));
	write(p[1], "ab", 2);
	E(epoll_wait(e, o, 4, 0));
	P("%x %d\n", o[0].events, (int)o[0].data.u64);
	E(epoll_wait(e, o, 4, 0));
	v.events = EPOLLIN | EPOLLET;
	E(epoll_ctl(e, EPOLL_CTL_MOD, p[0], &v));
	E(epoll_wait(e, o, 4, 0));
	E(epoll_wait(e, o, 4, 0));
	v.events = EPOLLIN | EPOLLONESHOT;
	epoll_ctl(e, EPOLL_CTL_MOD, p[0], &v);
	E(epoll_wait(e, o, 4, 0));
	E(epoll_wait(e, o, 4, 0));
	int fd = open("f", O_CREAT | O_RDWR, 0600);
	E(epoll_ctl(e, EPOLL_CTL_ADD, fd, &v));
	E(epoll_ctl(e, EPOLL_CTL_DEL, fd, 0));
	E(epoll_ctl(e, EPOLL_CTL_ADD, e, &v));
	close(p[1]);
	close(p[0]);
	E(epoll_wait(e, o, 4, 10));
	E(epoll_wait(e, o, 0, 10));
	return 0;
}
