/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Files beyond 2 GiB: an i386 program says O_LARGEFILE, a 64-bit program's files are all large. */
#include "check.h"

#include <fcntl.h>
#include <sys/sendfile.h>
#include <sys/syscall.h>

#define O_LARGEFILE_RAW 0100000
#define WIDE (sizeof(long) == 8)

static const long long edge = 0x7fffffff;
static char name[] = "/tmp/nopage-large-XXXXXX";

static int raw_open(int flags)
{
	int fd = syscall(SYS_open, name, flags, 0);

	return fd < 0 ? -errno : fd;
}

static int opens(int flags)
{
	int fd = raw_open(flags);

	if (fd >= 0)
		close(fd);
	return fd < 0 ? fd : 0;
}

static void opening(int large)
{
	EQUAL("to the edge", ftruncate(large, edge), 0);
	EQUAL("opens", opens(O_RDONLY), 0);
	EQUAL("one more", ftruncate(large, edge + 1), 0);
	EQUAL("does not", opens(O_RDONLY), WIDE ? 0 : -EOVERFLOW);
	EQUAL("but as O_LARGEFILE", opens(O_RDONLY | O_LARGEFILE_RAW), 0);
	EQUAL("or as a path", opens(O_PATH), 0);
	EQUAL("not to be truncated", opens(O_WRONLY | O_TRUNC), WIDE ? 0 : -EOVERFLOW);
	EQUAL("what is left", lseek(large, 0, SEEK_END), WIDE ? 0 : edge + 1);
	ftruncate(large, 0);
}

static void writing(int fd)
{
	int p[2], from = open("/proc/self/exe", O_RDONLY);
	off_t at = 0;

	EQUAL("across the edge", pwrite(fd, "xyz", 3, edge - 1), WIDE ? 3 : 1);
	EQUAL("behind it", pwrite(fd, "xyz", 3, edge), WIDE ? 3 : -1);
	EQUAL("nothing there", pwrite(fd, "", 0, edge), 0);
	lseek(fd, edge - 2, SEEK_SET);
	EQUAL("sendfile", sendfile(fd, from, &at, 10), WIDE ? 10 : 2);
	EQUAL("sendfile behind", sendfile(fd, from, &at, 10), WIDE ? 10 : -1);
	pipe(p);
	write(p[1], "0123456789", 10);
	at = edge - 3;
	EQUAL("splice", splice(p[0], NULL, fd, &at, 5, 0), WIDE ? 5 : 3);
	EQUAL("splice behind", splice(p[0], NULL, fd, &at, 5, 0), WIDE ? 5 : -1);
	EQUAL("ftruncate to the edge", ftruncate(fd, edge), 0);
	EQUAL("ftruncate behind", ftruncate(fd, edge + 1), WIDE ? 0 : -1);
	EQUAL("truncate behind", truncate(name, edge + 1), 0);
	close(p[0]), close(p[1]), close(from);
}

/* Locks of an open file description answer F_GETLK of 32-bit structures. */
static void locks(int large, int fd)
{
	struct flock whole = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 10, .l_len = 0x100000000 };
	struct {
		short type, whence;
		long start, length;
		int pid;
	} ask = { F_WRLCK, SEEK_SET, 0, 0, 0 };

	EQUAL("lock", fcntl(large, F_OFD_SETLK, &whole), 0);
	EQUAL("its length is cut", syscall(SYS_fcntl, fd, 5, &ask), 0);
	EQUAL("start", ask.start, 10);
	EQUAL("length", ask.length, WIDE ? 0x100000000 : edge);
	whole.l_type = F_UNLCK;
	fcntl(large, F_OFD_SETLK, &whole);
	whole.l_type = F_WRLCK, whole.l_start = edge + 1;
	EQUAL("lock behind the edge", fcntl(large, F_OFD_SETLK, &whole), 0);
	ask.type = F_WRLCK, ask.whence = SEEK_SET, ask.start = ask.length = ask.pid = 0;
	errno = 0;
	EQUAL("can't be said", syscall(SYS_fcntl, fd, 5, &ask), WIDE ? 0 : -1);
	EQUAL("why", errno, WIDE ? 0 : EOVERFLOW);
}

int main(void)
{
	int large = mkstemp(name), fd;

	opening(large);
	fd = raw_open(O_RDWR);
	EQUAL("flags", syscall(SYS_fcntl, fd, F_GETFL), O_RDWR | (WIDE ? O_LARGEFILE_RAW : 0));
	writing(fd);
	locks(large, fd);
	unlink(name);
	return done();
}
