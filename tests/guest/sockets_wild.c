/* sockets_wild SEED STEPS: sockets are made, sent through each other at random, received, duplicated and closed. */
#include "check.h"

#include <sys/socket.h>
#include <sys/un.h>

#define MOST 24

static union {
	char bytes[256];
	struct cmsghdr align;
} control;
static int open_fds[MOST + 8], count;
static unsigned long long state;

static unsigned any(unsigned below)
{
	state = state * 6364136223846793005ULL + 1442695040888963407ULL;
	return (state >> 33) % below;
}

static void keep(int fd)
{
	if (fd >= 0)
		open_fds[count++] = fd;
}

static void drop(int at)
{
	close(open_fds[at]);
	open_fds[at] = open_fds[--count];
}

static void send_some(int s)
{
	int n = 1 + any(3);
	struct iovec iov = { "x", 1 };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = CMSG_SPACE(n * 4) };
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);

	c->cmsg_level = SOL_SOCKET, c->cmsg_type = SCM_RIGHTS, c->cmsg_len = CMSG_LEN(n * 4);
	for (int i = 0; i < n; i++)
		memcpy(CMSG_DATA(c) + 4 * i, open_fds + any(count), 4);
	sendmsg(s, &m, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static void receive(int s)
{
	char b;
	struct iovec iov = { &b, 1 };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = CMSG_SPACE(12) };
	struct cmsghdr *c;
	int how = MSG_DONTWAIT | (any(6) ? 0 : MSG_PEEK);

	c = recvmsg(s, &m, how) == 1 ? CMSG_FIRSTHDR(&m) : NULL;
	for (int i = 0; c && i < (int)(c->cmsg_len - CMSG_LEN(0)) / 4; i++) {
		int fd;

		memcpy(&fd, CMSG_DATA(c) + 4 * i, 4);
		keep(fd);
		if (count > MOST)
			drop(any(count));
	}
}

/* A connection that waits for accept, whose client may send already. */
static void listening(void)
{
	struct sockaddr_un name = { .sun_family = AF_UNIX };
	socklen_t size = sizeof name;
	int l = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0), c = socket(AF_UNIX, SOCK_STREAM, 0);

	bind(l, (struct sockaddr *)&name, sizeof name.sun_family);
	getsockname(l, (struct sockaddr *)&name, &size);
	listen(l, 3);
	connect(c, (struct sockaddr *)&name, size);
	keep(l), keep(c);
	send_some(c);
}

int main(int argc, char **argv)
{
	int steps = argc > 2 ? atoi(argv[2]) : 100, s[2];

	state = argc > 1 ? atoi(argv[1]) : 1;
	while (steps--) {
		unsigned what = any(100);

		if (count < 2 || (what < 14 && count < MOST)) {
			socketpair(AF_UNIX, any(2) ? SOCK_STREAM : any(2) ? SOCK_DGRAM : SOCK_SEQPACKET, 0, s);
			keep(s[0]), keep(s[1]);
		} else if (what < 18 && count < MOST)
			listening();
		else if (what < 55)
			send_some(open_fds[any(count)]);
		else if (what < 62)
			receive(open_fds[any(count)]);
		else if (what < 65 && count < MOST)
			keep(accept4(open_fds[any(count)], NULL, NULL, SOCK_NONBLOCK));
		else if (what < 68 && count < MOST)
			keep(dup(open_fds[any(count)]));
		else
			drop(any(count));
	}
	while (count)
		drop(count - 1);
	socketpair(AF_UNIX, SOCK_STREAM, 0, s);
	close(s[0]), close(s[1]);
	return done();
}
