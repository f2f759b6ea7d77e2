/* AF_UNIX datagrams and packets: boundaries, truncation, who may send to whom, full queues, sendmmsg, recvmmsg. */
#include "check.h"
#include "../alone.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>

static socklen_t named(struct sockaddr_un *sun, const char *name)
{
	memset(sun, 0, sizeof *sun);
	sun->sun_family = AF_UNIX;
	strcpy(sun->sun_path + 1, name);
	return 3 + strlen(name);
}

static void boundaries(int type)
{
	struct iovec iov[2] = { { "ab", 2 }, { "cde", 3 } };
	struct msghdr m = { .msg_iov = iov, .msg_iovlen = 2 };
	char b[16] = "", c[2], d[2];
	int s[2], n = -1;

	ERRNO("pair", socketpair(AF_UNIX, type, 0, s), 0);
	EQUAL("one", write(s[0], "one", 3), 3);
	EQUAL("none", write(s[0], b, 0), 0);
	EQUAL("gathered", writev(s[0], iov, 2), 5);
	EQUAL("gathered", sendmsg(s[0], &m, 0), 5);
	ioctl(s[1], FIONREAD, &n);
	EQUAL("FIONREAD", n, type == SOCK_DGRAM ? 3 : 13);
	EQUAL("one at a time", recv(s[1], b, sizeof b, 0), 3);
	EQUAL("the empty one", recv(s[1], b, sizeof b, 0), 0);
	EQUAL("peek", recv(s[1], b, 2, MSG_PEEK), 2);
	EQUAL("its real length", recv(s[1], b, 2, MSG_PEEK | MSG_TRUNC), 5);
	iov[0].iov_base = c, iov[1].iov_base = d;
	iov[1].iov_len = 2;
	EQUAL("scattered and cut", recvmsg(s[1], &m, 0), 4);
	EQUAL("MSG_TRUNC", m.msg_flags & MSG_TRUNC, MSG_TRUNC);
	CHECK("bytes", !memcmp(c, "ab", 2) && !memcmp(d, "cd", 2));
	ERRNO("EFAULT", recv(s[1], (void *)8, 9, 0), EFAULT);
	ERRNO("it is lost", recv(s[1], b, 9, MSG_DONTWAIT), EAGAIN);
	ERRNO("too long", send(s[0], malloc(1 << 20), 1 << 20, 0), EMSGSIZE);
	close(s[0]);
	if (type == SOCK_DGRAM) {
		ERRNO("to nobody", send(s[1], b, 1, 0), ECONNREFUSED);
		ERRNO("then not connected", send(s[1], b, 1, 0), ENOTCONN);
		ERRNO("from nobody", recv(s[1], b, 1, MSG_DONTWAIT), EAGAIN);
	} else {
		ERRNO("to nobody", send(s[1], b, 1, MSG_NOSIGNAL), EPIPE);
		EQUAL("from nobody", recv(s[1], b, 1, MSG_DONTWAIT), 0);
	}
	close(s[1]);
}

static void addressed(void)
{
	struct sockaddr_un one, two, from;
	socklen_t first = named(&one, "nopage-one"), second = named(&two, "nopage-two"), size = sizeof from;
	int a = socket(AF_UNIX, SOCK_DGRAM, 0), b = socket(AF_UNIX, SOCK_DGRAM, 0), c = socket(AF_UNIX, SOCK_DGRAM, 0);
	struct sockaddr none = { .sa_family = AF_UNSPEC };
	char data[8];

	ERRNO("not connected", send(a, "x", 1, 0), ENOTCONN);
	ERRNO("nobody there", sendto(a, "x", 1, 0, (void *)&two, second), ECONNREFUSED);
	ERRNO("bind", bind(a, (void *)&one, first), 0);
	ERRNO("bind", bind(b, (void *)&two, second), 0);
	EQUAL("sendto", sendto(a, "x", 1, 0, (void *)&two, second), 1);
	EQUAL("recvfrom", recvfrom(b, data, 8, 0, (void *)&from, &size), 1);
	CHECK("the sender", size == first && !memcmp(&from, &one, first));
	EQUAL("without a name", sendto(c, "y", 1, 0, (void *)&two, second), 1);
	size = sizeof from;
	EQUAL("recvfrom", recvfrom(b, data, 8, 0, (void *)&from, &size), 1);
	EQUAL("no name", size, 0);
	ERRNO("connect", connect(b, (void *)&one, first), 0);
	EQUAL("answer", send(b, "z", 1, 0), 1);
	ERRNO("others may not send to it", sendto(c, "y", 1, 0, (void *)&two, second), EPERM);
	ERRNO("nor connect", connect(c, (void *)&two, second), EPERM);
	ERRNO("listen", listen(a, 1), EOPNOTSUPP);
	ERRNO("accept", accept(a, NULL, NULL), EOPNOTSUPP);
	ERRNO("disconnect", connect(b, &none, sizeof none), 0);
	EQUAL("now they may", sendto(c, "y", 1, 0, (void *)&two, second), 1);
	ERRNO("a stream to it", connect(socket(AF_UNIX, SOCK_STREAM, 0), (void *)&two, second), ECONNREFUSED);
	EQUAL("to itself", sendto(a, "me", 2, 0, (void *)&one, first), 2);
	EQUAL("two wait", recv(a, data, 8, 0), 1);
	EQUAL("its own", recv(a, data, 8, 0), 2);
	close(a), close(b), close(c);
	a = socket(AF_UNIX, SOCK_DGRAM, 0);
	one.sun_family = AF_UNIX;
	strcpy(one.sun_path, "/tmp/nopage-path");
	ERRNO("bind to a path", bind(a, (void *)&one, sizeof one), 0);
	ERRNO("a stream to it", connect(socket(AF_UNIX, SOCK_STREAM, 0), (void *)&one, sizeof one), EPROTOTYPE);
	unlink(one.sun_path);
	close(a);
	a = socket(AF_UNIX, SOCK_DGRAM, 0);
	ERRNO("autobind", bind(a, (void *)&one, 2), 0);
	size = sizeof from;
	getsockname(a, (void *)&from, &size);
	CHECK("five digits", size == 8 && !from.sun_path[0] && strspn(from.sun_path + 1, "0123456789abcdef") >= 5);
	close(a);
	a = socket(AF_UNIX, SOCK_DGRAM, 0);
	ERRNO("no family", bind(a, (void *)&one, 1), EINVAL);
	one.sun_family = 2;
	ERRNO("another family", bind(a, (void *)&one, first), EINVAL);
	ERRNO("too long", bind(a, (void *)&one, 111), EINVAL);
	ERRNO("negative", bind(a, (void *)&one, -1), EINVAL);
	ERRNO("EFAULT", bind(a, (void *)8, 10), EFAULT);
	close(a);
}

static void full(void)
{
	struct sockaddr_un sun;
	socklen_t length = named(&sun, "nopage-full");
	int r = socket(AF_UNIX, SOCK_DGRAM, 0), s = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0), n = 0, status;
	struct pollfd p = { .fd = s, .events = POLLOUT };
	char b[4];

	bind(r, (void *)&sun, length);
	connect(s, (void *)&sun, length);
	while (send(s, "x", 1, 0) == 1)
		n++;
	EQUAL("full", errno, EAGAIN);
	CHECK("after some", n > 5 && n < 1000);
	EQUAL("not writable", poll(&p, 1, 0), 0);
	if (!fork()) {
		fcntl(s, F_SETFL, 0);
		_exit(send(s, "y", 1, 0) == 1 ? 3 : 4);
	}
	usleep(10000);
	while (n-- >= 0)
		recv(r, b, 4, 0);
	CHECK("the one that waited", b[0] == 'y');
	wait(&status);
	EQUAL("its end", status >> 8, 3);
	EQUAL("writable", poll(&p, 1, 0), 1);
	close(r), close(s);
}

static void packets(void)
{
	struct sockaddr_un sun;
	socklen_t length = named(&sun, "nopage-packets");
	int l = socket(AF_UNIX, SOCK_SEQPACKET, 0), c = socket(AF_UNIX, SOCK_SEQPACKET, 0), a;
	char b[8];

	ERRNO("read", read(c, b, 1), ENOTCONN);
	ERRNO("write", write(c, b, 1), ENOTCONN);
	bind(l, (void *)&sun, length);
	listen(l, 3);
	ERRNO("connect", connect(c, (void *)&sun, length), 0);
	a = accept(l, NULL, NULL);
	write(c, "abc", 3), write(c, "de", 2);
	EQUAL("packet", read(a, b, 8), 3);
	EQUAL("packet", read(a, b, 8), 2);
	shutdown(c, SHUT_WR);
	EQUAL("end", read(a, b, 8), 0);
	ERRNO("EPIPE", write(c, b, 1), EPIPE);
	close(a), close(c), close(l);
}

static void many(void)
{
	static char data[4][8];
	struct iovec iov[4];
	struct mmsghdr v[4];
	struct timespec ts = { 1, 0 };
	int s[2], i;

	socketpair(AF_UNIX, SOCK_DGRAM, 0, s);
	memset(v, 0, sizeof v);
	for (i = 0; i < 4; i++) {
		iov[i].iov_base = data[i], iov[i].iov_len = i + 1;
		v[i].msg_hdr.msg_iov = iov + i, v[i].msg_hdr.msg_iovlen = 1;
		memset(data[i], 'a' + i, 8);
	}
	EQUAL("sendmmsg", sendmmsg(s[0], v, 4, 0), 4);
	CHECK("lengths", v[0].msg_len == 1 && v[3].msg_len == 4);
	for (i = 0; i < 4; i++)
		iov[i].iov_len = 8, v[i].msg_len = 99;
	EQUAL("recvmmsg", recvmmsg(s[1], v, 3, 0, &ts), 3);
	CHECK("lengths", v[0].msg_len == 1 && v[2].msg_len == 3 && v[3].msg_len == 99);
	EQUAL("what is there", recvmmsg(s[1], v, 4, MSG_WAITFORONE, NULL), 1);
	CHECK("bytes", !memcmp(data[0], "dddd", 4));
	ERRNO("nothing", recvmmsg(s[1], v, 4, MSG_DONTWAIT, NULL), EAGAIN);
	close(s[0]), close(s[1]);
}

int main(void)
{
	alone("/tmp/nopage-messages-alone");
	signal(SIGPIPE, SIG_IGN);
	boundaries(SOCK_DGRAM);
	boundaries(SOCK_SEQPACKET);
	addressed();
	full();
	packets();
	many();
	return done();
}
