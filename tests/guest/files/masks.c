/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which bits poll(2) and epoll_wait(2) give for each kind of anonymous file, and whether it has a position. */
#include "check.h"

#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/wait.h>

static void mask(const char *name, int fd, int bits)
{
	struct pollfd one = { fd, 0x23ff, 0 };

	EQUAL(name, poll(&one, 1, 0), bits != 0);
	EQUAL("its bits", one.revents, bits);
}

static void position(const char *name, int fd, int error)
{
	if (error)
		ERRNO(name, lseek(fd, 5, SEEK_SET), error);
	else
		EQUAL(name, lseek(fd, 5, SEEK_SET), 0);
}

static void counters(void)
{
	struct itimerspec soon = { .it_value.tv_nsec = 1 };
	int event = eventfd(0, EFD_NONBLOCK), timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
	uint64_t number = 3, most = UINT64_MAX - 4;

	mask("an empty eventfd", event, POLLOUT);
	EQUAL("write", write(event, &number, 8), 8);
	mask("one that counts", event, POLLIN | POLLOUT);
	EQUAL("write", write(event, &most, 8), 8);
	mask("a full one", event, POLLIN);
	position("eventfd", event, 0);
	mask("a timer", timer, 0);
	timerfd_settime(timer, TFD_TIMER_ABSTIME, &soon, NULL);
	mask("an expired timer", timer, POLLIN);
	position("timerfd", timer, 0);
}

static void signals(void)
{
	sigset_t set;

	sigemptyset(&set), sigaddset(&set, SIGUSR1), sigprocmask(SIG_BLOCK, &set, NULL);
	int fd = signalfd(-1, &set, SFD_NONBLOCK);
	mask("a signalfd", fd, 0);
	kill(getpid(), SIGUSR1);
	mask("one with a signal", fd, POLLIN);
	position("signalfd", fd, 0);
}

static void others(void)
{
	int set = epoll_create1(0), watch = inotify_init1(IN_NONBLOCK), event = eventfd(1, 0);
	struct epoll_event one = { .events = 0x23ff };

	mask("an empty set", set, 0);
	epoll_ctl(set, EPOLL_CTL_ADD, event, &one);
	mask("one with an event", set, POLLIN | POLLRDNORM);
	one.events = 0;
	EQUAL("epoll_wait", epoll_wait(set, &one, 1, 0), 1);
	EQUAL("its bits", one.events, EPOLLIN | EPOLLOUT);
	position("epoll", set, 0);
	mask("inotify", watch, 0);
	inotify_add_watch(watch, "/tmp", IN_CREATE | IN_ISDIR);
	char name[] = "/tmp/masks.XXXXXX";
	int file = mkstemp(name);
	mask("inotify with an event", watch, POLLIN | POLLRDNORM);
	position("inotify", watch, 0);
	mask("a file", file, POLLIN | POLLOUT | POLLRDNORM | POLLWRNORM);
	unlink(name);
}

static void process(void)
{
	int child = fork(), fd = syscall(SYS_pidfd_open, child, 0);
	siginfo_t info;

	if (!child)
		pause();
	mask("a process", fd, 0);
	kill(child, SIGKILL);
	waitid(P_PID, child, &info, WEXITED | WNOWAIT);
	mask("one that has ended", fd, POLLIN | POLLRDNORM);
	waitpid(child, NULL, 0);
	mask("one that is waited for", fd, POLLIN | POLLRDNORM | POLLHUP);
	position("pidfd", fd, ESPIPE);
}

int main(void)
{
	counters();
	signals();
	others();
	process();
	return done();
}
