/* Descriptors and credentials in messages, options, /proc/net/unix. */
#include "check.h"
#include "../alone.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/wait.h>

static union {
	char bytes[256];
	struct cmsghdr align;
} control;

static int send_fds(int s, const int *fds, int count, const char *text)
{
	struct iovec iov = { (void *)text, strlen(text) };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = CMSG_SPACE(count * 4) };
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);

	memset(&control, 0, sizeof control);
	c->cmsg_level = SOL_SOCKET, c->cmsg_type = SCM_RIGHTS, c->cmsg_len = CMSG_LEN(count * 4);
	memcpy(CMSG_DATA(c), fds, count * 4);
	return sendmsg(s, &m, 0);
}

/* The bytes received; descriptors go to `fds`, their number to *count, flags to *flags. */
static int recv_fds(int s, char *text, int size, int room, int *fds, int *count, int *flags, int how)
{
	struct iovec iov = { text, size };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = room };
	int n = recvmsg(s, &m, how);
	struct cmsghdr *c;

	*count = 0;
	*flags = m.msg_flags;
	for (c = n < 0 ? NULL : CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c))
		if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS) {
			*count = (c->cmsg_len - CMSG_LEN(0)) / 4;
			memcpy(fds, CMSG_DATA(c), *count * 4);
		}
	return n;
}

static void rights(int type)
{
	int s[2], p[2], fds[16], n, flags, i;
	char b[32];

	socketpair(AF_UNIX, type, 0, s);
	pipe(p);
	EQUAL("send two", send_fds(s[0], p, 2, "two"), 3);
	close(p[0]), close(p[1]);
	EQUAL("received", recv_fds(s[1], b, sizeof b, 256, fds, &n, &flags, MSG_CMSG_CLOEXEC), 3);
	EQUAL("two descriptors", n, 2);
	EQUAL("flags", flags, MSG_CMSG_CLOEXEC);
	EQUAL("close-on-exec", fcntl(fds[0], F_GETFD), FD_CLOEXEC);
	EQUAL("the pipe lives", write(fds[1], "through", 7), 7);
	EQUAL("through both", read(fds[0], b, 32), 7);
	EQUAL("send them on", send_fds(s[0], fds, 2, "x"), 1);
	close(fds[1]);
	EQUAL("room for one", recv_fds(s[1], b, sizeof b, CMSG_LEN(4), fds + 2, &n, &flags, 0), 1);
	EQUAL("one", n, 1);
	EQUAL("MSG_CTRUNC", flags, MSG_CTRUNC);
	fcntl(fds[0], F_SETFL, O_NONBLOCK);
	EQUAL("the writer that did not arrive is closed", read(fds[0], b, 32), 0);
	close(fds[2]);
	EQUAL("send", send_fds(s[0], fds, 1, "peek"), 4);
	EQUAL("peek", recv_fds(s[1], b, sizeof b, 256, fds + 2, &n, &flags, MSG_PEEK), 4);
	CHECK("a descriptor of its own", n == 1 && fds[2] != fds[0]);
	close(fds[2]);
	EQUAL("read drops them", read(s[1], b, sizeof b), 4);
	ERRNO("a bad one", send_fds(s[0], (int[]){ 99 }, 1, "x"), EBADF);
	if (type == SOCK_STREAM) {
		write(s[0], "before", 6);
		send_fds(s[0], fds, 1, "with");
		write(s[0], "after", 5);
		EQUAL("files end a receive", recv_fds(s[1], b, sizeof b, 256, fds + 2, &n, &flags, 0), 10);
		EQUAL("one", n, 1);
		EQUAL("the rest", recv_fds(s[1], b, sizeof b, 256, fds + 3, &n, &flags, 0), 5);
		EQUAL("none", n, 0);
		close(fds[2]);
	}
	for (i = 0; i < 3; i++)
		send_fds(s[0], fds, 1, "unread");
	close(fds[0]);
	close(s[1]), close(s[0]);
	i = dup(0);
	CHECK("no descriptor is left", i == s[0]);
	close(i);
}

static void garbage(void)
{
	int s[2], t[2], p[2];
	char b[4];

	pipe(p);
	socketpair(AF_UNIX, SOCK_STREAM, 0, s);
	socketpair(AF_UNIX, SOCK_DGRAM, 0, t);
	send_fds(s[0], s + 1, 1, "itself");
	send_fds(s[0], p + 1, 1, "pipe");
	send_fds(s[0], t, 2, "others");
	send_fds(t[0], s, 2, "circle");
	close(p[1]);
	close(t[0]), close(t[1]), close(s[0]), close(s[1]);
	/* Linux 6.18 notices this circle when the next socket is closed. */
	socketpair(AF_UNIX, SOCK_STREAM, 0, s);
	close(s[0]), close(s[1]);
	EQUAL("what nobody can receive is closed", read(p[0], b, 4), 0);
	close(p[0]);
}

static void credentials(void)
{
	int s[2], on = 1, n;
	struct ucred cred, wanted = { getpid(), 0, 0 };
	struct iovec iov = { "x", 1 };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };
	char b[4];
	socklen_t size = sizeof cred;
	struct cmsghdr *c;

	wanted.uid = getuid(), wanted.gid = getgid();
	socketpair(AF_UNIX, SOCK_DGRAM, 0, s);
	ERRNO("SO_PEERCRED", getsockopt(s[0], SOL_SOCKET, SO_PEERCRED, &cred, &size), 0);
	CHECK("of this process", size == sizeof cred && !memcmp(&cred, &wanted, sizeof cred));
	ERRNO("SO_PASSCRED", setsockopt(s[1], SOL_SOCKET, SO_PASSCRED, &on, sizeof on), 0);
	send(s[0], "x", 1, 0);
	iov.iov_base = b;
	m.msg_control = &control, m.msg_controllen = sizeof control;
	EQUAL("recvmsg", recvmsg(s[1], &m, 0), 1);
	c = CMSG_FIRSTHDR(&m);
	CHECK("credentials", c && c->cmsg_type == SCM_CREDENTIALS && c->cmsg_len == CMSG_LEN(sizeof cred));
	CHECK("of this process", c && !memcmp(CMSG_DATA(c), &wanted, sizeof cred));
	EQUAL("controllen", m.msg_controllen, CMSG_SPACE(sizeof cred));
	m.msg_controllen = 0;
	send(s[0], "x", 1, 0);
	recvmsg(s[1], &m, 0);
	EQUAL("no room", m.msg_flags, MSG_CTRUNC);
	m.msg_controllen = CMSG_SPACE(sizeof cred);
	memset(&control, 0, sizeof control);
	c = CMSG_FIRSTHDR(&m);
	c->cmsg_level = SOL_SOCKET, c->cmsg_type = SCM_CREDENTIALS, c->cmsg_len = CMSG_LEN(sizeof cred);
	memcpy(CMSG_DATA(c), &wanted, sizeof cred);
	EQUAL("given", sendmsg(s[0], &m, 0), 1);
	((struct ucred *)CMSG_DATA(c))->pid = 0x3fffff;
	ERRNO("of nobody", sendmsg(s[0], &m, 0), ESRCH);
	c->cmsg_len = 3;
	ERRNO("too short", sendmsg(s[0], &m, 0), EINVAL);
	c->cmsg_len = CMSG_LEN(sizeof cred), c->cmsg_type = 77;
	ERRNO("unknown", sendmsg(s[0], &m, 0), EINVAL);
	m.msg_iovlen = 1025;
	ERRNO("too many vectors", sendmsg(s[0], &m, 0), EMSGSIZE);
	close(s[0]), close(s[1]);
	n = socket(AF_UNIX, SOCK_STREAM, 0);
	getsockopt(n, SOL_SOCKET, SO_PEERCRED, &cred, &size);
	CHECK("no peer", !cred.pid && cred.uid == (uid_t)-1);
	close(n);
}

static int option(int s, int name)
{
	int value = -1;
	socklen_t size = sizeof value;

	return getsockopt(s, SOL_SOCKET, name, &value, &size) || size != 4 ? -errno : value;
}

static void options(void)
{
	struct timeval tv = { 0, 20000 }, got;
	int s[2], value = 10000, i;
	socklen_t size;
	char b[4];

	ERRNO("protocol", socket(AF_UNIX, SOCK_STREAM, 2), EPROTONOSUPPORT);
	ERRNO("type", socket(AF_UNIX, SOCK_RDM, 0), ESOCKTNOSUPPORT);
	i = socket(AF_UNIX, SOCK_RAW, 0);
	EQUAL("raw is datagrams", option(i, SO_TYPE), SOCK_DGRAM);
	close(i);
	socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, AF_UNIX, s);
	EQUAL("type", option(s[0], SO_TYPE), SOCK_STREAM);
	EQUAL("domain", option(s[0], SO_DOMAIN), AF_UNIX);
	EQUAL("listens", option(s[0], SO_ACCEPTCONN), 0);
	EQUAL("error", option(s[0], SO_ERROR), 0);
	EQUAL("send buffer", option(s[0], SO_SNDBUF), 212992);
	ERRNO("set it", setsockopt(s[0], SOL_SOCKET, SO_SNDBUF, &value, 4), 0);
	EQUAL("twice that", option(s[0], SO_SNDBUF), 20000);
	value = 1;
	setsockopt(s[0], SOL_SOCKET, SO_SNDBUF, &value, 4);
	EQUAL("not less", option(s[0], SO_SNDBUF), 4608);
	setsockopt(s[0], SOL_SOCKET, SO_RCVBUF, &value, 4);
	EQUAL("not less", option(s[0], SO_RCVBUF), 2304);
	setsockopt(s[0], SOL_SOCKET, SO_KEEPALIVE, &value, 4);
	EQUAL("kept", option(s[0], SO_KEEPALIVE), 1);
	EQUAL("unknown", option(s[0], 999), -ENOPROTOOPT);
	ERRNO("level", getsockopt(s[0], 6, 1, &value, &size), EOPNOTSUPP);
	ERRNO("too short", setsockopt(s[0], SOL_SOCKET, SO_SNDBUF, &value, 2), EINVAL);
	ERRNO("EFAULT", setsockopt(s[0], SOL_SOCKET, SO_SNDBUF, (void *)8, 4), EFAULT);
	ERRNO("timeout", setsockopt(s[0], SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv), 0);
	size = sizeof got;
	getsockopt(s[0], SOL_SOCKET, SO_RCVTIMEO, &got, &size);
	CHECK("about what was set", size == sizeof got && got.tv_sec == 0 && got.tv_usec >= 20000 && got.tv_usec < 40000);
	ERRNO("it passes", read(s[0], b, 1), EAGAIN);
	tv.tv_usec = 1000000;
	ERRNO("microseconds", setsockopt(s[0], SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv), EDOM);
	write(s[1], "unread", 6);
	close(s[0]);
	EQUAL("reset", option(s[1], SO_ERROR), ECONNRESET);
	EQUAL("once", option(s[1], SO_ERROR), 0);
	close(s[1]);
}

static void waiting(void)
{
	struct epoll_event e = { .events = EPOLLIN | EPOLLRDHUP | EPOLLET };
	int s[2], ep = epoll_create1(0), status;
	char b[8];
	fd_set set;

	socketpair(AF_UNIX, SOCK_STREAM, 0, s);
	epoll_ctl(ep, EPOLL_CTL_ADD, s[0], &e);
	EQUAL("nothing", epoll_wait(ep, &e, 1, 0), 0);
	if (!fork()) {
		usleep(10000);
		write(s[1], "a", 1);
		_exit(0);
	}
	EQUAL("woken", epoll_wait(ep, &e, 1, -1), 1);
	EQUAL("by data", e.events, EPOLLIN);
	EQUAL("no new edge", epoll_wait(ep, &e, 1, 0), 0);
	write(s[1], "b", 1);
	EQUAL("a new edge", epoll_wait(ep, &e, 1, 0), 1);
	read(s[0], b, 8);
	wait(&status);
	FD_ZERO(&set);
	FD_SET(s[0], &set);
	EQUAL("select", select(s[0] + 1, NULL, &set, NULL, NULL), 1);
	close(s[1]);
	EQUAL("the end is one", epoll_wait(ep, &e, 1, -1), 1);
	EQUAL("all of it", e.events, EPOLLIN | EPOLLRDHUP | EPOLLHUP);
	close(s[0]), close(ep);
}

static void files(void)
{
	int s[2], fd = temporary_file(10000), p[2];
	off_t at = 4096;
	char b[10000], name[64], line[300];
	struct sockaddr_un sun = { AF_UNIX, "/tmp/nopage-listed" };
	FILE *f;
	int found = 0;

	socketpair(AF_UNIX, SOCK_STREAM, 0, s);
	EQUAL("sendfile", sendfile(s[0], fd, &at, 5000), 5000);
	EQUAL("read", recv(s[1], b, 5000, MSG_WAITALL), 5000);
	CHECK("bytes", b[0] == 'b' && b[4999] == 'c');
	pipe(p);
	write(s[0], "spliced", 7);
	EQUAL("splice out", splice(s[1], NULL, p[1], NULL, 100, 0), 7);
	EQUAL("splice in", splice(p[0], NULL, s[1], NULL, 100, 0), 7);
	EQUAL("read", read(s[0], b, 100), 7);
	sprintf(name, "/proc/self/fd/%d", s[0]);
	CHECK("its name", readlink(name, line, sizeof line) > 9 && !memcmp(line, "socket:[", 8));
	bind(s[0], (void *)&sun, sizeof sun);
	f = fopen("/proc/net/unix", "r");
	while (f && fgets(line, sizeof line, f))
		found += strstr(line, " /tmp/nopage-listed\n") && strstr(line, " 00000003 00000000 00000000 0001 03 ");
	EQUAL("/proc/net/unix", found, 1);
	if (f)
		fclose(f);
	unlink(sun.sun_path);
	close(fd), close(s[0]), close(s[1]), close(p[0]), close(p[1]);
}

/* What is left behind the last header is passed over; for an i386 program on a 64-bit kernel one byte is a header. */
static void leftovers(void)
{
	const int least = sizeof(long) == 4 ? EINVAL : 0, head = sizeof(struct cmsghdr), word = sizeof(long);
	int s[2], length, wrong = 0;
	struct iovec iov = { "x", 1 };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control };
	struct cmsghdr *c = (void *)&control;

	socketpair(AF_UNIX, SOCK_DGRAM, 0, s);
	memset(&control, 0, sizeof control);
	c->cmsg_level = 1234, c->cmsg_len = head + 4;
	for (length = 0; length < head + word + head; length++) {
		int want = !length ? 0 : length < head ? least : length < head + 4 ? EINVAL : length > head + word ? least : 0;
		char byte;

		m.msg_controllen = length;
		if (sendmsg(s[0], &m, MSG_DONTWAIT) == 1)
			wrong += recv(s[1], &byte, 1, 0) != 1 || want;
		else
			wrong += errno != want;
	}
	EQUAL("left over", wrong, 0);
	close(s[0]), close(s[1]);
}

int main(void)
{
	alone("/tmp/nopage-control-alone");
	signal(SIGPIPE, SIG_IGN);
	rights(SOCK_STREAM);
	rights(SOCK_DGRAM);
	rights(SOCK_SEQPACKET);
	garbage();
	credentials();
	options();
	waiting();
	files();
	leftovers();
	return done();
}
