/* SPDX-License-Identifier: GPL-2.0-or-later */
/* readv and writev of files that take one vector at a time, O_DIRECT where there is no such way, and what epoll_ctl and
   epoll_wait check first, and keep when the events find no memory. */
#include "check.h"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>

static uint64_t numbers[4] = { 1, 2, 3, 4 };

static uint64_t count_of(int fd)
{
	uint64_t count = 0;

	return read(fd, &count, 8) == 8 ? count : 0;
}

static void writes(void)
{
	int fd = eventfd(0, EFD_NONBLOCK);
	char *bytes = (char *)numbers;

	ERRNO("nine bytes", write(fd, bytes, 9), EINVAL);
	ERRNO("eight in two", writev(fd, (struct iovec[]){ { bytes, 4 }, { bytes + 4, 4 } }, 2), EINVAL);
	EQUAL("two numbers", writev(fd, (struct iovec[]){ { bytes, 8 }, { bytes + 8, 8 } }, 2), 16);
	EQUAL("their sum", count_of(fd), 3);
	EQUAL("the second too short", writev(fd, (struct iovec[]){ { bytes, 8 }, { bytes + 8, 4 } }, 2), 8);
	EQUAL("the first", count_of(fd), 1);
	EQUAL("nothing between", writev(fd, (struct iovec[]){ { bytes, 8 }, { bytes, 0 }, { bytes + 16, 8 } }, 3), 16);
	EQUAL("their sum", count_of(fd), 4);
	ERRNO("nothing first", writev(fd, (struct iovec[]){ { bytes, 0 }, { bytes, 8 } }, 2), EINVAL);
	EQUAL("write", write(fd, bytes + 24, 8), 8);
	EQUAL("read in two", readv(fd, (struct iovec[]){ { bytes, 4 }, { bytes + 4, 4 } }, 2), 8);
	EQUAL("the number", numbers[0], 4);
}

static void reads(void)
{
	int watch = inotify_init1(IN_NONBLOCK), fd;
	char name[] = "/tmp/segments.XXXXXX", text[64];

	fd = mkstemp(name);
	inotify_add_watch(watch, name, IN_ATTRIB);
	fchmod(fd, 0600), fchmod(fd, 0640);
	ERRNO("too short", readv(watch, (struct iovec[]){ { text, 8 }, { text + 8, 56 } }, 2), EINVAL);
	EQUAL("one", readv(watch, (struct iovec[]){ { text, 16 }, { text + 16, 8 } }, 2), 16);
	unlink(name);
}

static void direct(void)
{
	static const char *const none[] = { "/dev/null", "/dev/zero", "/proc/version", "/tmp", "/proc", "/dev/urandom" };
	int ends[2], fd;

	for (unsigned n = 0; n < sizeof none / sizeof *none; n++) {
		ERRNO(none[n], open(none[n], O_RDONLY | O_DIRECT), EINVAL);
		fd = open(none[n], O_RDONLY);
		ERRNO("later", fcntl(fd, F_SETFL, O_DIRECT), EINVAL);
		close(fd);
	}
	ERRNO("an eventfd", fcntl(eventfd(0, 0), F_SETFL, O_DIRECT), EINVAL);
	ERRNO("a socket", fcntl(socket(AF_UNIX, SOCK_STREAM, 0), F_SETFL, O_DIRECT), EINVAL);
	pipe(ends);
	EQUAL("a pipe", fcntl(ends[1], F_SETFL, O_DIRECT), 0);
	fd = open("/proc/self/exe", O_RDONLY | O_DIRECT);
	CHECK("a file", fd >= 0 && fcntl(fd, F_GETFL) & O_DIRECT);
}

static void checks(int set, int event)
{
	struct epoll_event one = { .events = EPOLLIN | EPOLLEXCLUSIVE };
	struct { uint32_t usecs; uint16_t budget; uint8_t prefer, padding; } params = { 7, 8, 1, 0 };

	ERRNO("no set, no room", epoll_wait(-1, &one, 0, 0), EBADF);
	ERRNO("no room", epoll_wait(event, &one, 0, 0), EINVAL);
	ERRNO("exclusive later", epoll_ctl(set, EPOLL_CTL_MOD, event, &one), EINVAL);
	one.events |= EPOLLRDHUP;
	ERRNO("exclusive and hung up", epoll_ctl(set, EPOLL_CTL_ADD, event, &one), EINVAL);
	ERRNO("an ioctl that it has not", ioctl(set, FIONREAD, &one), EINVAL);
	EQUAL("busy polling", ioctl(set, 0x40088a01, &params), 0);
	params.usecs = 0;
	EQUAL("is kept", ioctl(set, 0x80088a02, &params), 0);
	CHECK("as it was", params.usecs == 7 && params.budget == 8 && params.prefer == 1);
	params.padding = 1;
	ERRNO("padding", ioctl(set, 0x40088a01, &params), EINVAL);
}

static void no_memory(int set, int event)
{
	struct epoll_event one = { .events = EPOLLIN | EPOLLET, .data.u32 = 5 }, *page;
	int other = eventfd(1, 0);

	page = mmap(NULL, 2 * PAGE, RW, ANON, -1, 0);
	munmap((char *)page + PAGE, PAGE);
	struct epoll_event *last = (void *)((char *)page + PAGE - sizeof one);
	epoll_ctl(set, EPOLL_CTL_ADD, event, &one);
	ERRNO("no memory", epoll_wait(set, last + 1, 2, 0), EFAULT);
	EQUAL("once more", epoll_wait(set, last, 2, 0), 1);
	EQUAL("an edge", epoll_wait(set, last, 2, 0), 0);
	one.events = EPOLLIN | EPOLLONESHOT;
	epoll_ctl(set, EPOLL_CTL_MOD, event, &one), epoll_ctl(set, EPOLL_CTL_ADD, other, &one);
	EQUAL("memory for one", epoll_wait(set, last, 2, 0), 1);
	EQUAL("the other", epoll_wait(set, last, 2, 0), 1);
	EQUAL("both once", epoll_wait(set, last, 2, 0), 0);
}

int main(void)
{
	writes();
	reads();
	direct();
	checks(epoll_create1(0), eventfd(1, 0));
	no_memory(epoll_create1(0), eventfd(1, 0));
	return done();
}
