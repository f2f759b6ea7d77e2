/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Calls that read or write no byte: what still fails, what they change (nothing), who hears of it. */
#include "check.h"

#include <fcntl.h>
#include <sys/inotify.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>

static char in[200];
static struct iovec none[3] = { { in, 0 }, { (void *)8, 0 }, { in, 0 } };

static int open_temporary(char *name)
{
	int file = mkstemp(name);

	EQUAL("three bytes", write(file, "abc", 3), 3);
	return file;
}

static void where(const char *name, int file, int size, int position)
{
	struct stat now;

	fstat(file, &now);
	EQUAL(name, now.st_size, size);
	EQUAL(name, lseek(file, 0, SEEK_CUR), position);
}

static void files(void)
{
	char name[] = "/tmp/nothing.XXXXXX";
	int file = open_temporary(name), end = open(name, O_RDWR | O_APPEND), reader = open(name, O_RDONLY);
	int watch = inotify_init1(IN_NONBLOCK);
	struct stat before, after;

	inotify_add_watch(watch, name, IN_ALL_EVENTS);
	fstat(file, &before);
	EQUAL("from nowhere", write(file, (void *)8, 0), 0);
	EQUAL("far behind the end", pwrite(file, in, 0, 1 << 20), 0);
	EQUAL("in pieces", writev(file, none, 3), 0);
	EQUAL("in no piece", writev(file, (void *)8, 0), 0);
	EQUAL("in pieces, far behind", pwritev(file, none, 2, 1 << 20), 0);
	where("neither larger nor elsewhere", file, 3, 3);
	EQUAL("at the end", write(end, in, 0), 0);
	EQUAL("in pieces", writev(end, none, 3), 0);
	where("not at the end", end, 3, 0);
	fstat(file, &after);
	EQUAL("the time it was", memcmp(&before.st_mtim, &after.st_mtim, sizeof before.st_mtim), 0);
	ERRNO("before the start", pwrite(file, in, 0, -1), EINVAL);
	ERRNO("only read", write(reader, in, 0), EBADF);
	ERRNO("only read, in no piece", writev(reader, none, 0), EBADF);
	ERRNO("nobody heard of it", read(watch, in, sizeof in), EAGAIN);

	EQUAL("to nowhere", read(file, (void *)8, 0), 0);
	EQUAL("from far behind", pread(file, in, 0, 1 << 20), 0);
	ERRNO("nobody heard of that", read(watch, in, sizeof in), EAGAIN);
	EQUAL("in pieces", readv(file, none, 3), 0);
	EQUAL("heard, since it was readv", read(watch, in, sizeof in) > 0, 1);
	EQUAL("the end", read(file, in, 10), 0);
	ERRNO("nobody heard of the end", read(watch, in, sizeof in), EAGAIN);
	EQUAL("the end, by readv", readv(file, (struct iovec[]){ { in, 10 } }, 1), 0);
	EQUAL("heard", read(watch, in, sizeof in) > 0, 1);
	EQUAL("a directory, in no piece", readv(open("/", O_RDONLY), none, 3), 0);

	off_t from = 5000;
	EQUAL("sendfile", sendfile(file, reader, NULL, 0), 0);
	EQUAL("sendfile from behind the end", sendfile(file, reader, &from, 10), 0);
	EQUAL("where that is", from, 5000);
	where("as it was", file, 3, 3);
	unlink(name);
	close(file), close(end), close(reader), close(watch);
}

static void streams(void)
{
	int pipes[2], datagrams[2], bytes[2];

	EQUAL("a pipe", pipe2(pipes, O_NONBLOCK), 0);
	EQUAL("in", write(pipes[1], in, 0) | writev(pipes[1], none, 3), 0);
	EQUAL("out", read(pipes[0], in, 0) | readv(pipes[0], none, 3), 0);
	ERRNO("it is empty", read(pipes[0], in, 1), EAGAIN);

	EQUAL("datagrams", socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0, datagrams), 0);
	EQUAL("an empty one", write(datagrams[0], in, 0), 0);
	EQUAL("it came", read(datagrams[1], in, 1), 0);
	ERRNO("one came", read(datagrams[1], in, 1), EAGAIN);
	EQUAL("none, from pieces", writev(datagrams[0], none, 3), 0);
	ERRNO("none came", read(datagrams[1], in, 1), EAGAIN);
	EQUAL("an empty one, from pieces",
	      sendmsg(datagrams[0], &(struct msghdr){ .msg_iov = none, .msg_iovlen = 3 }, 0), 0);
	EQUAL("readv takes none", readv(datagrams[1], none, 3), 0);
	EQUAL("it came", recv(datagrams[1], in, 1, MSG_DONTWAIT), 0);
	ERRNO("one came", recv(datagrams[1], in, 1, MSG_DONTWAIT), EAGAIN);

	EQUAL("a stream", socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, bytes), 0);
	EQUAL("in", write(bytes[0], in, 0) | writev(bytes[0], none, 3), 0);
	ERRNO("it is empty", read(bytes[1], in, 1), EAGAIN);
}

static void devices(void)
{
	int full = open("/dev/full", O_RDWR), null = open("/dev/null", O_RDWR), zero = open("/dev/zero", O_RDWR);

	ERRNO("no room for a byte", write(full, in, 1), ENOSPC);
	EQUAL("nor for none, but nobody asks the driver", writev(full, none, 3), 0);
	EQUAL("gone", write(null, (void *)8, 0) | writev(null, none, 3), 0);
	EQUAL("no zeros", read(zero, in, 0) | readv(zero, none, 3), 0);
}

int main(void)
{
	files();
	streams();
	devices();
	return done();
}
