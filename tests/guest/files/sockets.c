/* Calls of sockets on what is none, and families that no kernel has. */
#include "check.h"

#include <sys/socket.h>
#include <sys/syscall.h>

int main(void)
{
	char b[8] = "";
	struct msghdr message = { 0 };
	socklen_t length = 0;
	int p[2], pair[2];

	if (pipe(p))
		return 2;
	ERRNO("family", socket(46, SOCK_STREAM, 0), EAFNOSUPPORT);
	ERRNO("negative family", socket(-1, SOCK_STREAM, 0), EAFNOSUPPORT);
	ERRNO("family before type", socket(99, 15, 0), EAFNOSUPPORT);
	ERRNO("type", socket(AF_UNIX, 15, 0), EINVAL);
	ERRNO("flags", socket(99, SOCK_STREAM | 0x100, 0), EINVAL);
	ERRNO("pair", socketpair(46, SOCK_STREAM, 0, pair), EAFNOSUPPORT);
	ERRNO("pair, flags", socketpair(46, 0x100, 0, pair), EINVAL);
	ERRNO("pair, pointer", socketpair(46, SOCK_STREAM, 0, (int *)8), EFAULT);
	ERRNO("bind", bind(p[0], (void *)b, 2), ENOTSOCK);
	ERRNO("bind, closed", bind(99, (void *)b, 2), EBADF);
	ERRNO("connect", connect(p[0], (void *)b, 2), ENOTSOCK);
	ERRNO("listen", listen(p[0], 1), ENOTSOCK);
	ERRNO("accept", accept(p[0], NULL, NULL), ENOTSOCK);
	ERRNO("accept4, flags", accept4(p[0], NULL, NULL, 1), EINVAL);
	ERRNO("accept4, closed", accept4(99, NULL, NULL, 1), EBADF);
	ERRNO("getsockname", getsockname(p[0], (void *)b, &length), ENOTSOCK);
	ERRNO("getpeername", getpeername(0, (void *)b, &length), ENOTSOCK);
	ERRNO("send", send(p[1], b, 1, 0), ENOTSOCK);
	ERRNO("send, closed", send(99, b, 1, 0), EBADF);
	ERRNO("recv", recv(p[0], b, 1, 0), ENOTSOCK);
	ERRNO("sendto", sendto(p[1], b, 1, 0, (void *)b, 2), ENOTSOCK);
	ERRNO("sendmsg", sendmsg(p[1], &message, 0), ENOTSOCK);
	ERRNO("recvmsg", recvmsg(p[0], &message, 0), ENOTSOCK);
	ERRNO("shutdown", shutdown(p[0], 9), ENOTSOCK);
	ERRNO("setsockopt", setsockopt(p[0], 1, 2, b, 4), ENOTSOCK);
	ERRNO("getsockopt", getsockopt(p[0], 1, 2, b, &length), ENOTSOCK);
#ifdef SYS_socketcall
	{
		long made[] = { 46, SOCK_STREAM, 0 }, pipes[] = { p[0], 1 };

		ERRNO("socketcall, no such call", syscall(SYS_socketcall, 0, made), EINVAL);
		ERRNO("socketcall, no such call", syscall(SYS_socketcall, 21, made), EINVAL);
		ERRNO("socketcall, pointer", syscall(SYS_socketcall, 1, 8), EFAULT);
		ERRNO("socketcall, socket", syscall(SYS_socketcall, 1, made), EAFNOSUPPORT);
		ERRNO("socketcall, listen", syscall(SYS_socketcall, 4, pipes), ENOTSOCK);
	}
#endif
	return done();
}
