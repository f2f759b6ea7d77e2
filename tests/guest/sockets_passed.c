/* sockets_passed N: N sockets are in flight at once, between them N circles of sockets that nobody can receive. */
#include "check.h"

#include <fcntl.h>
#include <sys/socket.h>

#define EACH 4

static union {
	char bytes[CMSG_SPACE(EACH * sizeof(int))];
	struct cmsghdr align;
} control;

static int send_fds(int s, const int *fds, int count)
{
	struct iovec iov = { "x", 1 };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = CMSG_SPACE(count * 4) };
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);

	memset(&control, 0, sizeof control);
	c->cmsg_level = SOL_SOCKET, c->cmsg_type = SCM_RIGHTS, c->cmsg_len = CMSG_LEN(count * 4);
	memcpy(CMSG_DATA(c), fds, count * 4);
	return sendmsg(s, &m, MSG_DONTWAIT);
}

static int recv_fd(int s)
{
	char b;
	struct iovec iov = { &b, 1 };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control };

	if (recvmsg(s, &m, MSG_DONTWAIT) != 1 || !CMSG_FIRSTHDR(&m))
		return -1;
	return *(int *)CMSG_DATA(CMSG_FIRSTHDR(&m));
}

/* A circle of two sockets and of one, which hold the pipe's end. */
static int circle(int end)
{
	int a[2], b[2], failed;

	failed = socketpair(AF_UNIX, SOCK_STREAM, 0, a) || socketpair(AF_UNIX, SOCK_DGRAM, 0, b);
	failed |= send_fds(a[0], (int[]){ a[1], end }, 2) != 1;
	failed |= send_fds(a[0], b, 1) != 1 || send_fds(b[1], a, 2) != 1;
	close(a[0]), close(b[1]), close(b[0]), close(a[1]);
	return failed;
}

int main(int argc, char **argv)
{
	int count = argc > 1 ? atoi(argv[1]) : 200, ways = (count + 99) / 100, way[ways][2], p[2], s[2], i, fd, failed = 0, alive = 0;
	char b;

	pipe(p);
	fcntl(p[0], F_SETFL, O_NONBLOCK);
	for (i = 0; i < ways; i++)
		failed += socketpair(AF_UNIX, SOCK_STREAM, 0, way[i]) < 0;
	for (i = 0; i < count; i++) {
		failed += socketpair(AF_UNIX, SOCK_STREAM, 0, s) < 0;
		failed += write(s[0], "y", 1) != 1;
		failed += send_fds(way[i / 100][0], s + 1, 1) != 1;
		close(s[1]);
		close(s[0]);
		failed += circle(p[1]);
	}
	EQUAL("all were sent", failed, 0);
	close(p[1]);
	for (i = 0; i < count; i++) {
		fd = recv_fd(way[i / 100][1]);
		alive += read(fd, &b, 1) == 1 && b == 'y';
		close(fd);
	}
	EQUAL("what can be received is alive", alive, count);
	/* recent kernels look for circles a moment after a socket was closed */
	for (i = 0; i < 10000 && (fd = read(p[0], &b, 1)) != 0; i++) {
		socketpair(AF_UNIX, SOCK_STREAM, 0, s);
		close(s[0]), close(s[1]);
		usleep(1000);
	}
	EQUAL("what nobody can receive is closed", fd, 0);
	return done();
}
