/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What is left in a socket when its other end goes, errors that wait, and files that come with bytes nobody asked for. */
#include "check.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/uio.h>

static char text[100];

static int pending(int fd)
{
	int error = -1;

	getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &(socklen_t){ sizeof error });
	return error;
}

static void pass(int to, int fd, int count)
{
	union { struct cmsghdr header; char room[CMSG_SPACE(sizeof(int))]; } control = { 0 };
	struct iovec bytes = { text, count };
	struct msghdr message = { .msg_iov = &bytes, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control };

	control.header = (struct cmsghdr){ .cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS };
	memcpy(CMSG_DATA(&control.header), &fd, sizeof fd);
	EQUAL("sendmsg", sendmsg(to, &message, 0), count);
}

/* How many files come with `count` bytes at most; closes them. */
static int files_of(int from, int count, int flags)
{
	union { struct cmsghdr header; char room[CMSG_SPACE(sizeof(int))]; } control = { 0 };
	struct iovec bytes = { text, count };
	struct msghdr message = { .msg_iov = &bytes, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control };
	int fd;

	if (recvmsg(from, &message, flags | MSG_DONTWAIT) < 0 || message.msg_controllen < CMSG_LEN(sizeof fd))
		return 0;
	memcpy(&fd, CMSG_DATA(&control.header), sizeof fd);
	return !close(fd);
}

static void files(void)
{
	int pair[2];

	socketpair(AF_UNIX, SOCK_STREAM, 0, pair);
	pass(pair[0], 0, 10);
	EQUAL("a peek for no byte", files_of(pair[1], 0, MSG_PEEK), 1);
	EQUAL("a read of no byte takes them", files_of(pair[1], 0, 0), 1);
	EQUAL("they are gone", files_of(pair[1], 3, 0), 0);
	EQUAL("the bytes are not", read(pair[1], text, 100), 7);
	EQUAL("plain", write(pair[0], text, 20), 20);
	pass(pair[0], 0, 10);
	EQUAL("a peek looks ahead", files_of(pair[1], 5, MSG_PEEK), 1);
	EQUAL("a read does not", files_of(pair[1], 5, 0), 0);
	close(pair[0]), close(pair[1]);
}

static void errors(int type, const char *name)
{
	int pair[2];

	socketpair(AF_UNIX, type, 0, pair);
	EQUAL(name, write(pair[0], text, 10), 10);
	EQUAL("unread", write(pair[1], text, 10), 10);
	close(pair[0]);
	if (type == SOCK_STREAM)
		EQUAL("bytes before the error", recv(pair[1], text, 5, 0), 5);
	else
		ERRNO("the error before the packet", recv(pair[1], text, 5, 0), ECONNRESET);
	EQUAL("the rest", recv(pair[1], text, 90, MSG_WAITALL), type == SOCK_STREAM ? 5 : 10);
	EQUAL("its error went with it", pending(pair[1]), 0);
	EQUAL("the end", read(pair[1], text, 1), 0);
	close(pair[1]);
}

static void nothing_unread(void)
{
	int pair[2];

	socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair);
	EQUAL("an empty packet", send(pair[1], text, 0, 0), 0);
	close(pair[0]);
	EQUAL("is not unread", pending(pair[1]), 0);
	close(pair[1]);
}

static void datagrams(void)
{
	int pair[2];

	signal(SIGPIPE, SIG_IGN);
	socketpair(AF_UNIX, SOCK_DGRAM, 0, pair);
	EQUAL("one", write(pair[0], text, 10), 10);
	close(pair[0]);
	ERRNO("nobody there", write(pair[1], text, 10), ECONNREFUSED);
	ERRNO("what had come is lost", recv(pair[1], text, 10, MSG_DONTWAIT), EAGAIN);
	ERRNO("nobody known", write(pair[1], text, 10), ENOTCONN);
	shutdown(pair[1], SHUT_RDWR);
	ERRNO("shut down", write(pair[1], text, 10), EPIPE);
	socketpair(AF_UNIX, SOCK_DGRAM, 0, pair);
	shutdown(pair[0], SHUT_RDWR);
	ERRNO("does not wait", recv(pair[0], text, 10, MSG_DONTWAIT), EAGAIN);
	EQUAL("would wait", recv(pair[0], text, 10, 0), 0);
	ERRNO("too long", send(pair[0], text, 1 << 30, 0), EMSGSIZE);
}

int main(void)
{
	files();
	errors(SOCK_STREAM, "a stream");
	errors(SOCK_SEQPACKET, "packets");
	nothing_unread();
	datagrams();
	return done();
}
