/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which of two errors comes first, limits that hold where nothing is moved, and what sendfile puts into a pipe. */
#include "check.h"

#include <fcntl.h>
#include <limits.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/uio.h>

static char bytes[16 * PAGE];

static void errors(int file, const char *name)
{
	int reader = open(name, O_RDONLY), writer = open(name, O_WRONLY), p[2];
	struct iovec *nowhere = (void *)8, one = { bytes, 1 };
	off_t before = -5;

	pipe(p);
	ERRNO("a length before a descriptor", ftruncate(-1, -1), EINVAL);
	ERRNO("O_TMPFILE only to be read", open("/nowhere/at/all", O_TMPFILE | O_RDONLY), EINVAL);
	ERRNO("O_TMPFILE to be created", open("/nowhere/at/all", O_TMPFILE | O_RDWR | O_CREAT, 0600), EINVAL);
	ERRNO("O_TMPFILE in no directory", open("/nowhere/at/all", O_TMPFILE | O_RDWR, 0600), ENOENT);
	ERRNO("the direction before the pieces", readv(writer, nowhere, 1), EBADF);
	ERRNO("the direction before the pieces", writev(reader, nowhere, 1), EBADF);
	ERRNO("then the pieces", writev(writer, nowhere, 1), EFAULT);
	ERRNO("the direction before the flags", pwritev2(reader, &one, 1, 0, 0x4000), EBADF);
	ERRNO("the direction before the flags", preadv2(writer, &one, 1, 0, 0x4000), EBADF);
	ERRNO("then the flags", pwritev2(writer, &one, 1, 0, 0x4000), EOPNOTSUPP);
	one.iov_len = 0;
	EQUAL("flags of nothing", pwritev2(writer, &one, 1, 0, 0x4000), 0);
	ERRNO("a stream before a position", sendfile(file, p[0], &before, 1), ESPIPE);
	ERRNO("a position before the other file", sendfile(-1, reader, &before, 1), EINVAL);
	close(reader), close(writer), close(p[0]), close(p[1]);
}

/* The last position that a file has is 2^63 - 1; 32-bit programs have none of these. */
static void far_away(int file)
{
#ifdef __LP64__
	ERRNO("behind the last", pread(file, bytes, 100, LONG_MAX - 50), EINVAL);
	EQUAL("up to the last", pread(file, bytes, 50, LONG_MAX - 50), 0);
	ERRNO("write behind the last", pwrite(file, bytes, 100, LONG_MAX - 50), EINVAL);
	EQUAL("nothing at the last", pwrite(file, bytes, 0, LONG_MAX), 0);
	off_t at = LONG_MAX - 50;
	ERRNO("sendfile", sendfile(1, file, &at, 100), EINVAL);
#else
	EQUAL("the end", pread(file, bytes, 100, 0x7fffff00), 0);
#endif
}

static void copies(int file)
{
	char name[] = "/tmp/order.XXXXXX";
	off_t from = -(off_t)PAGE, to = 0;
	int other = mkstemp(name);

	ERRNO("from before the start", copy_file_range(file, &from, other, &to, 1, 0), EINVAL);
	ERRNO("of nothing", copy_file_range(other, &from, other, &to, 1, 0), EINVAL);
	ERRNO("nothing", copy_file_range(file, &from, other, &to, 0, 0), EINVAL);
	from = 0, to = -(off_t)PAGE;
	ERRNO("to before it", copy_file_range(file, &from, other, &to, 1, 0), EINVAL);
	ERRNO("up to it", copy_file_range(file, &from, other, &to, PAGE, 0), EOVERFLOW);
	from = 0x7fffffffffffffff;
	to = 0;
	EQUAL("from the last", copy_file_range(file, &from, other, &to, 100, 0), 0);
	close(other), unlink(name);
}

static void limits(int file)
{
	struct rlimit limit, before;
	off_t from = 30000, to = 60000;

	signal(SIGXFSZ, SIG_IGN);
	getrlimit(RLIMIT_FSIZE, &before);
	limit = before;
	limit.rlim_cur = 50000;
	setrlimit(RLIMIT_FSIZE, &limit);
	ERRNO("nothing to copy, beyond the limit", copy_file_range(file, &from, file, &to, 100, 0), EFBIG);
	to = 49999;
	EQUAL("nothing to copy, below it", copy_file_range(file, &from, file, &to, 100, 0), 0);
	EQUAL("nothing to write, beyond it", pwrite(file, bytes, 0, 60000), 0);
	setrlimit(RLIMIT_FSIZE, &before);
}

static void into_a_pipe(int file)
{
	int p[2];
	off_t from = PAGE - 1;

	pipe2(p, O_NONBLOCK);
	EQUAL("as much as the pipe holds", sendfile(p[1], file, NULL, 20 * PAGE), 5 * PAGE);
	EQUAL("no more", sendfile(p[1], file, NULL, PAGE), 0);
	EQUAL("a byte, a page, a byte: three slots", sendfile(p[1], file, &from, PAGE + 2), PAGE + 2);
	EQUAL("eight are free", write(p[1], bytes, 16 * PAGE), 8 * PAGE);
	ERRNO("none is", write(p[1], bytes, 1), EAGAIN);
	ERRNO("full, before the bytes are looked at", write(p[1], (void *)8, 1), EAGAIN);
	ERRNO("full, before the source is", sendfile(p[1], open("/", O_RDONLY), NULL, 1), EAGAIN);
	EQUAL("emptied", read(p[0], bytes, sizeof bytes), 14 * PAGE + 2);
	fcntl(p[1], F_SETFL, O_NONBLOCK | O_APPEND);
	from = 0;
	EQUAL("a pipe has only an end", sendfile(p[1], file, &from, 10), 10);
	ERRNO("the bytes, since there is room", write(p[1], (void *)8, PAGE), EFAULT);
	EQUAL("ten", read(p[0], bytes, sizeof bytes), 10);
	fcntl(p[1], F_SETFL, 0);
	from = 0;
	ftruncate(file, 30 * PAGE);
	EQUAL("it waits for nobody to read the rest", sendfile(p[1], file, &from, 30 * PAGE), 16 * PAGE);
	close(p[0]);
	signal(SIGPIPE, SIG_IGN);
	ERRNO("broken, before the bytes are looked at", write(p[1], (void *)8, 1), EPIPE);
	close(p[1]);
}

int main(void)
{
	char name[] = "/tmp/order.XXXXXX";
	int file = mkstemp(name);

	for (int n = 0; n < 5; n++)
		memset(bytes, 'a' + n, PAGE), write(file, bytes, PAGE);
	errors(file, name);
	far_away(file);
	copies(file);
	limits(file);
	lseek(file, 0, SEEK_SET);
	into_a_pipe(file);
	unlink(name);
	return done();
}
