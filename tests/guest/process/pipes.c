/* Pipes between processes: order, blocking, atomic writes, ends that are closed, poll(2), duplicates. */
#include "check.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/select.h>
#include <sys/wait.h>

static void basics(void)
{
	int p[2], count;
	char buffer[100];

	ERRNO("pipe", pipe(p), 0);
	EQUAL("write", write(p[1], "hello", 5), 5);
	ERRNO("FIONREAD", ioctl(p[0], FIONREAD, &count), 0);
	EQUAL("...says", count, 5);
	EQUAL("a part", read(p[0], buffer, 2), 2);
	EQUAL("the rest, not more", read(p[0], buffer, 100), 3);
	ERRNO("write to the reading end", write(p[0], "x", 1), EBADF);
	ERRNO("read from the writing end", read(p[1], buffer, 1), EBADF);
	ERRNO("lseek", lseek(p[0], 0, SEEK_SET), ESPIPE);
	ERRNO("pread", pread(p[0], buffer, 1, 0), ESPIPE);
	fcntl(p[0], F_SETFL, O_NONBLOCK);
	ERRNO("nothing there", read(p[0], buffer, 1), EAGAIN);
	close(p[1]);
	EQUAL("the end", read(p[0], buffer, 1), 0);
	if (pipe(p))
		_exit(2);
	close(p[0]);
	signal(SIGPIPE, SIG_IGN);
	ERRNO("nobody reads", write(p[1], "x", 1), EPIPE);
	ERRNO("pipe2, unknown flags", pipe2(p, 0x1000000), EINVAL);
	ERRNO("pipe2", pipe2(p, O_CLOEXEC | O_NONBLOCK), 0);
	EQUAL("FD_CLOEXEC", fcntl(p[0], F_GETFD), FD_CLOEXEC);
	EQUAL("O_NONBLOCK", fcntl(p[1], F_GETFL), O_WRONLY | O_NONBLOCK);
}

static void full(void)
{
	int p[2], fill = 0;
	char block[4096] = "";
	ssize_t done;

	if (pipe2(p, O_NONBLOCK))
		_exit(2);
	EQUAL("F_GETPIPE_SZ", fcntl(p[0], F_GETPIPE_SZ), 65536);
	while ((done = write(p[1], block, sizeof block)) > 0)
		fill += done;
	EQUAL("it holds 64 KiB", fill, 65536);
	EQUAL("and then EAGAIN", errno, EAGAIN);
	EQUAL("take a page", read(p[0], block, 4096), 4096);
	EQUAL("put it back", write(p[1], block, 4096), 4096);
}

/* A child writes more than fits; everything comes, in order. */
static void stream(void)
{
	static unsigned char block[10000];
	unsigned sum = 0, expected = 0, i, k;
	int p[2], status;
	ssize_t got;
	pid_t pid;

	if (pipe(p))
		_exit(2);
	pid = fork();
	if (!pid) {
		close(p[0]);
		for (i = 0; i < 30; i++) {
			memset(block, i, sizeof block);
			if (write(p[1], block, sizeof block) != sizeof block)
				_exit(1);
		}
		_exit(0);
	}
	close(p[1]);
	for (i = 0; i < 30; i++)
		for (k = 0; k < sizeof block; k++)
			expected = expected * 31 + i;
	while ((got = read(p[0], block, 3777)) > 0)
		for (k = 0; k < (unsigned)got; k++)
			sum = sum * 31 + block[k];
	EQUAL("300000 bytes in order", sum, expected);
	waitpid(pid, &status, 0);
	EQUAL("the writer", status, 0);
}

static void ping_pong(void)
{
	int a[2], b[2], i, good = 1, value;
	pid_t pid;

	if (pipe(a) || pipe(b))
		_exit(2);
	pid = fork();
	if (!pid) {
		while (read(a[0], &value, sizeof value) == sizeof value && value >= 0) {
			value *= 2;
			if (write(b[1], &value, sizeof value) != sizeof value)
				_exit(1);
		}
		_exit(0);
	}
	for (i = 0; i < 100; i++) {
		value = i;
		good &= write(a[1], &value, sizeof value) == sizeof value && read(b[0], &value, sizeof value) == sizeof value;
		good &= value == 2 * i;
	}
	value = -1;
	CHECK("a hundred times to and fro", good && write(a[1], &value, sizeof value) == sizeof value);
	waitpid(pid, &i, 0);
	EQUAL("the other side", i, 0);
}

static void polls(void)
{
	int p[2];
	struct pollfd fds[3];
	struct timeval now = {0, 0};
	fd_set set;
	pid_t pid;

	if (pipe(p))
		_exit(2);
	fds[0] = (struct pollfd){p[0], POLLIN, 0};
	fds[1] = (struct pollfd){p[1], POLLOUT, 0};
	fds[2] = (struct pollfd){-1, POLLIN, 0};
	EQUAL("poll: one is ready", poll(fds, 3, 0), 1);
	EQUAL("poll: the writing end", fds[1].revents, POLLOUT);
	EQUAL("poll: not the reading end", fds[0].revents, 0);
	EQUAL("poll: a timeout", poll(fds, 1, 20), 0);
	pid = fork();
	if (!pid) {
		usleep(20000);
		_exit(write(p[1], "x", 1) != 1);
	}
	EQUAL("poll: waits for a child", poll(fds, 1, 10000), 1);
	EQUAL("poll: POLLIN", fds[0].revents, POLLIN);
	waitpid(pid, NULL, 0);
	FD_ZERO(&set);
	FD_SET(p[0], &set);
	EQUAL("select", select(p[0] + 1, &set, NULL, NULL, &now), 1);
	CHECK("select: which", FD_ISSET(p[0], &set));
	close(p[1]);
	poll(fds, 1, 0);
	EQUAL("poll: data and the end", fds[0].revents, POLLIN | POLLHUP);
	fds[0].fd = 999;
	EQUAL("poll: a closed descriptor", poll(fds, 1, 0), 1);
	EQUAL("poll: POLLNVAL", fds[0].revents, POLLNVAL);
	FD_ZERO(&set);
	FD_SET(60, &set);
	ERRNO("select: a closed descriptor", select(61, &set, NULL, NULL, &now), EBADF);
}

static void duplicates(void)
{
	int fd = temporary_file(100), copy, p[2];
	char byte;

	copy = dup(fd);
	lseek(fd, 50, SEEK_SET);
	EQUAL("dup shares the position", lseek(copy, 0, SEEK_CUR), 50);
	EQUAL("dup2", dup2(fd, 77), 77);
	EQUAL("dup2 of itself", dup2(fd, fd), fd);
	ERRNO("dup2 of nothing", dup2(999, 5), EBADF);
	ERRNO("dup3 of itself", dup3(fd, fd, 0), EINVAL);
	EQUAL("dup3", (dup3(fd, 78, O_CLOEXEC), fcntl(78, F_GETFD)), FD_CLOEXEC);
	EQUAL("F_DUPFD", fcntl(fd, F_DUPFD, 80), 80);
	EQUAL("F_DUPFD_CLOEXEC", fcntl(fd, F_DUPFD_CLOEXEC, 80), 81);
	ERRNO("close", close(copy), 0);
	ERRNO("close twice", close(copy), EBADF);
	EQUAL("the lowest number", dup(fd), copy);
	if (pipe(p))
		_exit(2);
	copy = dup(p[1]);
	close(p[1]);
	EQUAL("a pipe with a duplicate is open", write(copy, "x", 1), 1);
	close(copy);
	CHECK("and then at its end", read(p[0], &byte, 1) == 1 && read(p[0], &byte, 1) == 0);
}

int main(void)
{
	basics();
	full();
	stream();
	ping_pong();
	polls();
	duplicates();
	return done();
}
