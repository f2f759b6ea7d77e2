/* Descriptors of anonymous inodes: lseek works on most and means nothing, pread and pwrite are refused at once. */
#include "check.h"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/sendfile.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/uio.h>

static void refused(const char *name, int fd)
{
	char text[100], buffer[64] = "12345678";
	struct iovec vector = {buffer, 8};
	off_t at = 0;

#define NAMED(what) (snprintf(text, sizeof text, "%s: %s", name, what), text)
	CHECK(NAMED("is there"), fd >= 0);
	ERRNO(NAMED("pread"), pread(fd, buffer, sizeof buffer, 0), ESPIPE);
	ERRNO(NAMED("pwrite"), pwrite(fd, buffer, 8, 0), ESPIPE);
	ERRNO(NAMED("preadv"), preadv(fd, &vector, 1, 0), ESPIPE);
	ERRNO(NAMED("pwritev"), pwritev(fd, &vector, 1, 0), ESPIPE);
	ERRNO(NAMED("sendfile from a position"), sendfile(1, fd, &at, 8), ESPIPE);
	ERRNO(NAMED("pread before the start"), pread(fd, buffer, sizeof buffer, -1), EINVAL);
}

int main(void)
{
	sigset_t set;
	int fd, user = syscall(SYS_userfaultfd, O_CLOEXEC | 1);
	char buffer[8];

	alarm(20);
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	fd = eventfd(0, 0);
	refused("an eventfd", fd);
	ERRNO("an eventfd: lseek", lseek(fd, 5, SEEK_SET), 0);
	EQUAL("an eventfd: write", write(fd, "\1\0\0\0\0\0\0\0", 8), 8);
	EQUAL("an eventfd: read", read(fd, buffer, 8), 8);
	refused("a timerfd", timerfd_create(CLOCK_MONOTONIC, 0));
	refused("an epoll set", epoll_create1(0));
	refused("an inotify descriptor", inotify_init());
	refused("a signalfd", signalfd(-1, &set, 0));
	ERRNO("a pidfd: lseek", lseek(syscall(434, getpid(), 0), 0, SEEK_SET), ESPIPE); /* pread: ESPIPE up to Linux 6.8 */
	if (user >= 0)
		refused("a userfaultfd", user);
	fd = open("/dev/null", O_RDWR);
	EQUAL("/dev/null has positions", pread(fd, buffer, 8, 0), 0);
	EQUAL("...for pwrite", pwrite(fd, buffer, 8, 3), 8);
	fd = open("/dev/zero", O_RDWR);
	EQUAL("/dev/zero, too", pread(fd, buffer, 8, 7), 8);
	fd = open("/dev/urandom", O_RDONLY);
	EQUAL("/dev/urandom, too", pread(fd, buffer, 8, 7), 8);
	return done();
}
