/* splice, tee, vmsplice: bytes that go between pipes and files. */
#include "check.h"

#include <fcntl.h>
#include <sys/uio.h>
#include <sys/wait.h>

static char b[100];

static void arguments(int p[2], int q[2], int file)
{
	loff_t at = 0, negative = -1;

	EQUAL("nothing to do", splice(-1, NULL, -1, NULL, 0, -1), 0);
	ERRNO("flags", splice(-1, NULL, -1, NULL, 1, 0x10), EINVAL);
	ERRNO("closed", splice(-1, NULL, p[1], NULL, 1, 0), EBADF);
	ERRNO("closed too", splice(p[0], NULL, 99, NULL, 1, 0), EBADF);
	ERRNO("no pipe", splice(file, NULL, file, NULL, 1, 0), EINVAL);
	ERRNO("the same pipe", splice(p[0], NULL, p[1], NULL, 1, 0), EINVAL);
	ERRNO("wrong end", splice(p[1], NULL, q[1], NULL, 1, 0), EBADF);
	ERRNO("other wrong end", splice(p[0], NULL, q[0], NULL, 1, 0), EBADF);
	ERRNO("offset of a pipe", splice(p[0], &at, file, NULL, 1, 0), ESPIPE);
	ERRNO("offset of the other", splice(file, NULL, p[1], &at, 1, 0), ESPIPE);
	ERRNO("offset, bad pointer", splice(file, (loff_t *)8, p[1], NULL, 1, 0), EFAULT);
	ERRNO("negative offset", splice(file, &negative, p[1], NULL, 1, 0), EINVAL);
	ERRNO("empty", splice(p[0], NULL, file, NULL, 1, SPLICE_F_NONBLOCK), EAGAIN);
	ERRNO("a directory", splice(open("/", O_RDONLY), NULL, p[1], NULL, 1, 0), EINVAL);
	EQUAL("tee, nothing to do", tee(-1, -1, 0, 0), 0);
	ERRNO("tee, flags", tee(p[0], q[1], 1, 0x10), EINVAL);
	ERRNO("tee, closed", tee(-1, q[1], 1, 0), EBADF);
	ERRNO("tee, a file", tee(file, q[1], 1, 0), EINVAL);
	ERRNO("tee, the same", tee(p[0], p[1], 1, 0), EINVAL);
	ERRNO("tee, empty", tee(p[0], q[1], 1, SPLICE_F_NONBLOCK), EAGAIN);
	ERRNO("vmsplice, a file", vmsplice(file, &(struct iovec){ b, 1 }, 1, 0), EBADF);
	ERRNO("vmsplice, bad vector", vmsplice(p[1], (struct iovec *)8, 1, 0), EFAULT);
	ERRNO("vmsplice, bad memory", vmsplice(p[1], &(struct iovec){ (void *)8, 1 }, 1, 0), EFAULT);
}

static void moves(int p[2], int q[2], int file)
{
	loff_t at = PAGE - 3;

	EQUAL("file to pipe", splice(file, &at, p[1], NULL, 6, 0), 6);
	EQUAL("offset", at, PAGE + 3);
	EQUAL("position", lseek(file, 0, SEEK_SET), 0);
	EQUAL("tee", tee(p[0], q[1], 4, 0), 4);
	EQUAL("the copy", read(q[0], b, 99), 4);
	CHECK("its bytes", !memcmp(b, "aaab", 4));
	EQUAL("pipe to pipe", splice(p[0], NULL, q[1], NULL, 5, 0), 5);
	EQUAL("the rest", read(p[0], b, 99), 1);
	at = 10;
	EQUAL("pipe to file", splice(q[0], NULL, file, &at, 3, 0), 3);
	EQUAL("offset", at, 13);
	EQUAL("what is there", splice(q[0], NULL, file, NULL, 100, 0), 2);
	EQUAL("position", lseek(file, 0, SEEK_CUR), 2);
	pread(file, b, 20, 0);
	CHECK("in the file", !memcmp(b, "bbaaaaaaaaaaaaaaaaaa", 20));
	lseek(file, -1, SEEK_END);
	EQUAL("to the end", splice(file, NULL, p[1], NULL, 100, 0), 1);
	EQUAL("beyond", splice(file, NULL, p[1], NULL, 100, 0), 0);
	EQUAL("vmsplice out", vmsplice(p[1], (struct iovec[]){ { "one", 3 }, { "two", 3 } }, 2, 0), 6);
	EQUAL("read", read(p[0], b, 99), 7);
	CHECK("both", !memcmp(b + 1, "onetwo", 6));
	EQUAL("vmsplice in", (write(p[1], "abc", 3), vmsplice(p[0], &(struct iovec){ b, 9 }, 1, 0)), 3);
	CHECK("bytes", !memcmp(b, "abc", 3));
	fcntl(file, F_SETFL, O_APPEND);
	write(p[1], "x", 1);
	ERRNO("O_APPEND", splice(p[0], NULL, file, NULL, 1, 0), EINVAL);
	EQUAL("not lost", read(p[0], b, 9), 1);
}

static void ends(int p[2], int q[2])
{
	int status;

	if (!fork()) {
		usleep(20000);
		_exit(write(p[1], "late", 4) != 4);
	}
	EQUAL("waits", splice(p[0], NULL, q[1], NULL, 10, 0), 4);
	wait(&status);
	EQUAL("read", read(q[0], b, 9), 4);
	close(p[1]);
	EQUAL("no writer", splice(p[0], NULL, q[1], NULL, 1, 0), 0);
	EQUAL("tee, no writer", tee(p[0], q[1], 1, 0), 0);
	signal(SIGPIPE, SIG_IGN);
	close(q[0]);
	ERRNO("no reader", vmsplice(q[1], &(struct iovec){ b, 1 }, 1, 0), EPIPE);
}

int main(void)
{
	int p[2], q[2], file = temporary_file(2 * PAGE);

	if (pipe(p) || pipe(q))
		return 2;
	arguments(p, q, file);
	moves(p, q, file);
	ends(p, q);
	return done();
}
