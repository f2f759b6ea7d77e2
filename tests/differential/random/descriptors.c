/* SPDX-License-Identifier: GPL-2.0-or-later */
/* descriptors SEED COUNT: random calls on pipes, socket pairs, eventfds, timers, signalfds, epoll sets and their copies,
   none of which waits; after each, what poll says of all.  Left out is what depends on a kernel's idea of how much memory
   a message takes: little is ever sent to one that nobody reads. */
#define _GNU_SOURCE
#include "random.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/select.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <unistd.h>

enum { FIRST = 3, LAST = 26, ROOM = 9000 };

static char bytes[ROOM], got[ROOM];
static char extra[400];

static int fd(void)
{
	return FIRST + below(LAST - FIRST);
}

static size_t size(void)
{
	static const int sizes[] = { 0, 1, 4, 7, 8, 9, 100, 511, 512, 4095, 4096, 4097 };

	return below(4) ? (unsigned)ONE_OF(sizes) : below(1000);
}

static int is_socket(int which)
{
	int type;

	return !getsockopt(which, SOL_SOCKET, SO_TYPE, &type, &(socklen_t){ sizeof type });
}

/* Whether there is room: a message's memory is nobody's business here. */
static int may_send(int which)
{
	int waiting = 0;

	return !is_socket(which) || (!ioctl(which, TIOCOUTQ, &waiting) && waiting < 20000);
}

static long fresh(const char **what)
{
	static const int kinds[] = { SOCK_STREAM, SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET };
	int pair[2] = { -1, -1 };
	sigset_t set;

	switch (below(7)) {
	case 0:
		return *what = "pipe2", pipe2(pair, O_NONBLOCK | (below(6) ? 0 : O_DIRECT) | (below(4) ? 0 : O_CLOEXEC));
	case 1: case 2:
		return *what = "socketpair", socketpair(AF_UNIX, ONE_OF(kinds) | SOCK_NONBLOCK, below(30) ? 0 : 7, pair);
	case 3:
		return *what = "eventfd", eventfd(below(3), EFD_NONBLOCK | (below(3) ? 0 : EFD_SEMAPHORE) | (below(30) ? 0 : 2));
	case 4:
		return *what = "epoll", epoll_create1(below(20) ? 0 : 1);
	case 5:
		sigemptyset(&set);
		sigaddset(&set, SIGUSR1 + (below(2) ? 0 : SIGUSR2 - SIGUSR1));
		sigaddset(&set, SIGRTMIN + below(2));
		return *what = "signalfd", signalfd(below(5) ? -1 : fd(), &set, SFD_NONBLOCK);
	default:
		return *what = "timerfd", timerfd_create(below(2) ? CLOCK_MONOTONIC : CLOCK_REALTIME, TFD_NONBLOCK);
	}
}

static long duplicated(const char **what, int from)
{
	switch (below(4)) {
	case 0:
		return *what = "dup", dup(from);
	case 1:
		return *what = "dup2", dup2(from, fd());
	case 2:
		return *what = "dup3", dup3(from, fd(), below(3) ? O_CLOEXEC : below(3));
	default:
		return *what = "F_DUPFD", fcntl(from, below(2) ? F_DUPFD : F_DUPFD_CLOEXEC, fd());
	}
}

static long flags(const char **what, int of)
{
	switch (below(5)) {
	case 0:
		return *what = "F_GETFL", fcntl(of, F_GETFL);
	case 1:
		return *what = "F_GETFD", fcntl(of, F_GETFD);
	case 2:
		return *what = "F_SETFD", fcntl(of, F_SETFD, below(4));
	case 3:
		return *what = "F_SETFL", fcntl(of, F_SETFL, O_NONBLOCK | (below(3) ? 0 : O_APPEND) | (below(6) ? 0 : O_DIRECT));
	default:
		return *what = "F_GETPIPE_SZ", fcntl(of, below(2) ? F_GETPIPE_SZ : F_SETPIPE_SZ, below(200000));
	}
}

static long writing(const char **what, int to)
{
	struct iovec parts[3] = { { bytes, size() / 3 }, { bytes + 3000, size() / 3 }, { bytes + 6000, size() / 3 } };
	unsigned long long number = below(3) ? below(1000) : ~0ULL - below(3);

	if (!may_send(to))
		return *what = "full", 0;
	switch (below(5)) {
	case 0:
		return *what = "writev", writev(to, parts, below(4));
	case 1: case 2:
		return *what = "number", write(to, &number, 8);
	default:
		return *what = "write", write(to, bytes, size());
	}
}

/* The one number in a signalfd's records that differs from run to run: who sent the signal. */
static long without_pid(long result)
{
	for (int n = 12; result > 0 && result % 128 == 0 && n < result; n += 128)
		memset(got + n, 0, 4);
	return result;
}

static long reading(const char **what, int from)
{
	size_t one = size() / 3, two = size() / 3;
	struct iovec parts[3] = { { got, one }, { got + one, two }, { got + one + two, size() / 3 } };

	memset(got, 0, sizeof got);
	if (below(4))
		return *what = "read", without_pid(read(from, got, size()));
	return *what = "readv", without_pid(readv(from, parts, below(4)));
}

static long sending(const char **what, int to)
{
	static const int ways[] = { 0, MSG_NOSIGNAL, MSG_EOR, MSG_MORE, MSG_DONTROUTE };
	union { struct cmsghdr header; char room[CMSG_SPACE(3 * sizeof(int))]; } control;
	struct iovec parts[2] = { { bytes, size() }, { bytes + 4500, size() } };
	struct msghdr message = { .msg_iov = parts, .msg_iovlen = below(3) };
	int passed = below(3), way = MSG_DONTWAIT | (below(3) ? 0 : ONE_OF(ways)), sent[2] = { fd(), fd() };

	if (is_socket(sent[0]) || is_socket(sent[1])) /* when those that only reach each other go is nobody's business */
		passed = 0;
	if (!may_send(to))
		return *what = "full", 0;
	if (!below(3))
		return *what = "send", send(to, bytes, size(), way);
	if (passed) {
		message.msg_control = &control, message.msg_controllen = CMSG_SPACE(passed * sizeof(int));
		memset(&control, 0, sizeof control);
		control.header.cmsg_level = SOL_SOCKET, control.header.cmsg_type = SCM_RIGHTS;
		control.header.cmsg_len = CMSG_LEN(passed * sizeof(int));
		memcpy(CMSG_DATA(&control.header), sent, passed * sizeof(int));
	}
	return snprintf(extra, sizeof extra, " with %d", passed), *what = "sendmsg", sendmsg(to, &message, way);
}

static void close_above(void)
{
	for (int high = LAST; high < 120; high++)
		close(high);
}

static long receiving(const char **what, int from)
{
	static const int ways[] = { 0, 0, MSG_PEEK, MSG_TRUNC, MSG_WAITALL, MSG_CMSG_CLOEXEC, MSG_PEEK | MSG_TRUNC };
	union { struct cmsghdr header; char room[200]; } control;
	struct iovec parts[2] = { { got, size() }, { got + 4500, size() } };
	struct msghdr message = { .msg_iov = parts, .msg_iovlen = below(3) };
	int way = MSG_DONTWAIT | ONE_OF(ways), passed = 0;
	long result;

	memset(got, 0, sizeof got);
	if (!below(3))
		return *what = "recv", recv(from, got, size(), way);
	memset(&control, 0, sizeof control);
	message.msg_control = &control, message.msg_controllen = below(2) ? sizeof control : below(40);
	result = recvmsg(from, &message, way);
	*what = "recvmsg";
	if (result < 0)
		return result;
	if (message.msg_controllen >= sizeof control.header)
		passed = control.header.cmsg_len;
	snprintf(extra, sizeof extra, " flags %x control %ld %d", (unsigned)message.msg_flags, (long)message.msg_controllen, passed);
	return result;
}

static long polled(const char **what, int set)
{
	struct epoll_event events[4] = { 0 };
	int changed = fd(), result;
	static const unsigned modes[] = { 0, 0, EPOLLET, EPOLLONESHOT, EPOLLEXCLUSIVE };

	if (below(2)) {
		events[0].events = (below(8) << (below(4) ? 0 : 3)) | ONE_OF(modes);
		events[0].data.u32 = changed;
		*what = "epoll_ctl";
		result = epoll_ctl(set, 1 + below(3), changed, events);
		snprintf(extra, sizeof extra, " %d %x", changed, events[0].events);
		return result;
	}
	*what = "epoll_wait";
	result = epoll_wait(set, events, below(20) ? 4 : 0, 0);
	for (int n = 0, at = 0; n < result; n++)
		at += snprintf(extra + at, sizeof extra - at, " %u:%x", events[n].data.u32, events[n].events);
	return result;
}

static long others(const char **what, int of)
{
	struct itimerspec far = { .it_value.tv_sec = below(2) * 1000000 }, past = { .it_value.tv_nsec = 1 };
	int number = 0;
	long result;
	siginfo_t info;
	sigset_t all;

	switch (below(8)) {
	case 0:
		result = ioctl(of, FIONREAD, &number);
		return *what = "FIONREAD", snprintf(extra, sizeof extra, " %d", number), result;
	case 1:
		return *what = "shutdown", shutdown(of, below(4));
	case 2:
		return *what = "settime", timerfd_settime(of, 0, &far, NULL);
	case 3:
		return *what = "expired", timerfd_settime(of, TFD_TIMER_ABSTIME, &past, NULL);
	case 4:
		return *what = "kill", kill(getpid(), SIGUSR1 + (below(2) ? 0 : SIGUSR2 - SIGUSR1));
	case 5:
		return *what = "sigqueue", sigqueue(getpid(), SIGRTMIN + below(2), (union sigval){ .sival_int = below(100) });
	case 6:
		sigfillset(&all);
		result = sigtimedwait(&all, &info, &(struct timespec){ 0 });
		if (result > 0)
			snprintf(extra, sizeof extra, " code %d", info.si_code);
		return *what = "sigtimedwait", result;
	default:
		return *what = "lseek", lseek(of, 0, SEEK_CUR);
	}
}

static void look(void)
{
	struct pollfd all[LAST - FIRST];
	fd_set in, out, except;

	for (int n = FIRST; n < LAST; n++)
		all[n - FIRST] = (struct pollfd){ n, POLLIN | POLLOUT | POLLPRI | POLLRDHUP | POLLRDNORM | POLLRDBAND | POLLWRNORM | POLLWRBAND, 0 };
	printf(" |%d", poll(all, LAST - FIRST, 0));
	memset(&in, 0, sizeof in), memset(&out, 0, sizeof out), memset(&except, 0, sizeof except);
	for (int n = 0; n < LAST - FIRST; n++) {
		printf(" %x", all[n].revents);
		if (!(all[n].revents & POLLNVAL))
			FD_SET(n + FIRST, &in), FD_SET(n + FIRST, &out), FD_SET(n + FIRST, &except);
	}
	printf(" |%d", select(LAST, &in, &out, &except, &(struct timeval){ 0 }));
	printf(" %x %x %x\n", sum(&in, 8), sum(&out, 8), sum(&except, 8));
}

int main(int argc, char **argv)
{
	int count = argc > 2 ? atoi(argv[2]) : 1000;
	sigset_t all;

	seed(argc > 1 ? argv[1] : "1");
	for (int n = 0; n < ROOM; n++)
		bytes[n] = n * 7 + n / 300;
	for (int n = FIRST; n < 300; n++)
		close(n);
	sigfillset(&all), sigprocmask(SIG_SETMASK, &all, NULL);
	for (int turn = 0; turn < count; turn++) {
		int which = fd();
		const char *what = "";
		long result;

		*extra = 0, errno = 0;
		switch (below(12)) {
		case 0: case 1:
			result = fresh(&what);
			break;
		case 2:
			result = below(2) ? duplicated(&what, which) : (what = "close", close(which));
			break;
		case 3:
			result = flags(&what, which);
			break;
		case 4: case 5:
			result = writing(&what, which);
			break;
		case 6: case 7:
			result = reading(&what, which);
			break;
		case 8:
			result = sending(&what, which);
			break;
		case 9:
			result = receiving(&what, which);
			break;
		case 10:
			result = polled(&what, which);
			break;
		default:
			result = others(&what, which);
		}
		printf("%d: %s %d = %s%s %x", turn, what, which, came(result), extra, result > 0 ? sum(got, ROOM) : 0);
		close_above();
		look();
	}
	return fflush(stdout) != 0;
}
