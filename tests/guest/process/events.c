/* pipes (capacity, atomicity, packets), eventfd, epoll (edge, one shot, exclusive, nested), select and pselect. */
#include "check.h"
#include "../asleep.h"
#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/select.h>
#include <sys/wait.h>
#include <time.h>

#ifndef EPOLLEXCLUSIVE
#define EPOLLEXCLUSIVE (1u << 28)
#endif

static char page[65536 * 2];

static void capacity(void)
{
	int p[2], n = 0, queued;

	if (pipe2(p, O_NONBLOCK))
		_exit(9);
	EQUAL("default", fcntl(p[1], F_GETPIPE_SZ), 65536);
	while (write(p[1], page, 4096) == 4096)
		n++;
	EQUAL("sixteen pages", n, 16);
	EQUAL("full", errno, EAGAIN);
	ERRNO("one byte more", write(p[1], "x", 1), EAGAIN);
	ERRNO("too small for what is in it", fcntl(p[1], F_SETPIPE_SZ, 4096), EBUSY);
	EQUAL("larger", fcntl(p[1], F_SETPIPE_SZ, 70000), 131072);
	EQUAL("and it takes more", write(p[1], page, 8192), 8192);
	ioctl(p[0], FIONREAD, &queued);
	EQUAL("FIONREAD", queued, 65536 + 8192);
	EQUAL("read it all", read(p[0], page, sizeof page), 65536 + 8192);
	EQUAL("one page", fcntl(p[0], F_SETPIPE_SZ, 1), 4096);
	EQUAL("a long write is cut", write(p[1], page, 5000), 4096);
	read(p[0], page, 4000);
	ERRNO("96 bytes are left: 4000 do not fit, and are not split", write(p[1], page, 4000), EAGAIN);
	close(p[0]);
	close(p[1]);
}

/* Writers of PIPE_BUF bytes or fewer never mix, however many there are. */
static void atomicity(void)
{
	int p[2], i, k, bad = 0, blocks = 0;
	ssize_t n, got = 0;
	static char block[4096];

	if (pipe(p))
		_exit(9);
	for (i = 0; i < 4; i++)
		if (!fork()) {
			memset(block, 'a' + i, sizeof block);
			for (k = 0; k < 40; k++)
				if (write(p[1], block, sizeof block) != sizeof block)
					_exit(1);
			_exit(0);
		}
	close(p[1]);
	while ((n = read(p[0], block + got, sizeof block - got)) > 0) {
		got += n;
		if (got == sizeof block) {
			blocks++;
			bad += !all_are(block, block[0], sizeof block);
			got = 0;
		}
	}
	EQUAL("blocks", blocks, 160);
	EQUAL("mixed", bad, 0);
	while (wait(NULL) > 0)
		;
	close(p[0]);
}

static void packets(void)
{
	char buffer[100];
	int p[2];

	if (pipe2(p, O_DIRECT))
		_exit(9);
	write(p[1], "first", 5);
	write(p[1], "second", 6);
	EQUAL("one packet a read", read(p[0], buffer, 100), 5);
	EQUAL("the rest of a packet is lost", read(p[0], buffer, 3), 3);
	fcntl(p[0], F_SETFL, O_NONBLOCK);
	ERRNO("gone", read(p[0], buffer, 100), EAGAIN);
	ERRNO("unknown flags", pipe2(p, O_APPEND), EINVAL);
}

static int events_of(int ep, struct epoll_event *found, int timeout)
{
	memset(found, 0, 4 * sizeof *found);
	return epoll_wait(ep, found, 4, timeout);
}

static void epolls(void)
{
	struct epoll_event e = {.events = EPOLLIN}, found[4];
	int ep = epoll_create1(0), outer = epoll_create1(0), p[2], third, fd;
	struct pollfd one;
	unsigned long long number = 1;

	if (pipe2(p, O_NONBLOCK))
		_exit(9);
	e.data.u64 = 11;
	ERRNO("add", epoll_ctl(ep, EPOLL_CTL_ADD, p[0], &e), 0);
	ERRNO("twice", epoll_ctl(ep, EPOLL_CTL_ADD, p[0], &e), EEXIST);
	ERRNO("itself", epoll_ctl(ep, EPOLL_CTL_ADD, ep, &e), EINVAL);
	ERRNO("not there", epoll_ctl(ep, EPOLL_CTL_DEL, p[1], NULL), ENOENT);
	ERRNO("no descriptor", epoll_ctl(ep, EPOLL_CTL_ADD, 999, &e), EBADF);
	ERRNO("no epoll", epoll_ctl(p[0], EPOLL_CTL_ADD, p[1], &e), EINVAL);
	fd = temporary_file(10);
	ERRNO("a file", epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e), EPERM);
	ERRNO("no room", epoll_wait(ep, found, 0, 0), EINVAL);
	EQUAL("nothing", events_of(ep, found, 0), 0);
	/* nested */
	e.data.u64 = 22;
	ERRNO("nested", epoll_ctl(outer, EPOLL_CTL_ADD, ep, &e), 0);
	ERRNO("a circle", epoll_ctl(ep, EPOLL_CTL_ADD, outer, &e), ELOOP);
	one = (struct pollfd){outer, POLLIN, 0};
	EQUAL("poll of a quiet set", poll(&one, 1, 0), 0);
	write(p[1], "abc", 3);
	EQUAL("poll of the outer set", poll(&one, 1, 0), 1);
	EQUAL("the outer one has it", events_of(outer, found, 1000) == 1 && found[0].data.u64 == 22, 1);
	EQUAL("the inner one too", events_of(ep, found, 1000) == 1 && found[0].data.u64 == 11 && found[0].events == EPOLLIN, 1);
	EQUAL("level-triggered: again", events_of(ep, found, 0), 1);
	/* edge-triggered */
	e.events = EPOLLIN | EPOLLET;
	e.data.u64 = 33;
	ERRNO("modify", epoll_ctl(ep, EPOLL_CTL_MOD, p[0], &e), 0);
	EQUAL("edge: once", events_of(ep, found, 0) == 1 && found[0].data.u64 == 33, 1);
	EQUAL("edge: no more", events_of(ep, found, 0), 0);
	write(p[1], "d", 1);
	EQUAL("edge: more came", events_of(ep, found, 0), 1);
	read(p[0], page, 2);
	EQUAL("edge: reading a part is no news", events_of(ep, found, 0), 0);
	read(p[0], page, 100);
	write(p[1], "e", 1);
	EQUAL("edge: again", events_of(ep, found, 0), 1);
	/* one shot */
	e.events = EPOLLIN | EPOLLONESHOT;
	epoll_ctl(ep, EPOLL_CTL_MOD, p[0], &e);
	EQUAL("one shot: once", events_of(ep, found, 0), 1);
	write(p[1], "f", 1);
	EQUAL("one shot: never again", events_of(ep, found, 0), 0);
	epoll_ctl(ep, EPOLL_CTL_MOD, p[0], &e);
	EQUAL("one shot: armed", events_of(ep, found, 0), 1);
	close(p[1]);
	e.events = 0;
	epoll_ctl(ep, EPOLL_CTL_MOD, p[0], &e);
	EQUAL("EPOLLHUP unasked", events_of(ep, found, 0) == 1 && found[0].events == EPOLLHUP, 1);
	close(p[0]);
	EQUAL("closed: gone from the set", events_of(ep, found, 0), 0);
	/* exclusive */
	third = eventfd(0, EFD_NONBLOCK);
	e.events = EPOLLIN | EPOLLEXCLUSIVE;
	ERRNO("exclusive", epoll_ctl(ep, EPOLL_CTL_ADD, third, &e), 0);
	ERRNO("can't be modified", epoll_ctl(ep, EPOLL_CTL_MOD, third, &e), EINVAL);
	e.events = EPOLLIN | EPOLLEXCLUSIVE | EPOLLONESHOT;
	epoll_ctl(ep, EPOLL_CTL_DEL, third, NULL);
	ERRNO("nor be one shot", epoll_ctl(ep, EPOLL_CTL_ADD, third, &e), EINVAL);
	e.events = EPOLLIN | EPOLLEXCLUSIVE;
	ERRNO("nor hold a set", epoll_ctl(outer, EPOLL_CTL_MOD, ep, &e), EINVAL);
	int quiet = epoll_create1(0);
	ERRNO("nor be one", epoll_ctl(outer, EPOLL_CTL_ADD, quiet, &e), EINVAL);
	ERRNO("added", epoll_ctl(ep, EPOLL_CTL_ADD, third, &e), 0);
	write(third, &number, 8);
	EQUAL("reported", events_of(ep, found, 1000), 1);
	/* the same file twice, by two descriptors */
	e.events = EPOLLIN;
	fd = dup(third);
	ERRNO("a duplicate", epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e), 0);
	EQUAL("both", events_of(ep, found, 0), 2);
	close(fd);
	EQUAL("a closed duplicate stays while the file is open", events_of(ep, found, 0), 2);
	ERRNO("flags of create", epoll_create1(1), EINVAL);
	ERRNO("size of create", epoll_create(0), EINVAL);
}

/* A set that a fork shares wakes one of two sleepers for one exclusive event at least, and an edge once. */
static void shared_edge(void)
{
	struct epoll_event e = {.events = EPOLLIN | EPOLLET}, found[4];
	int ep = epoll_create1(0), p[2], status, woken = 0, i;
	pid_t pids[3];

	if (pipe(p))
		_exit(9);
	epoll_ctl(ep, EPOLL_CTL_ADD, p[0], &e);
	for (i = 0; i < 3; i++)
		if (!(pids[i] = fork()))
			_exit(events_of(ep, found, 20000));
	for (i = 0; i < 3; i++)
		until_asleep(pids[i]);
	write(p[1], "x", 1);
	wait(&status); /* one; and then no other */
	woken = WEXITSTATUS(status);
	usleep(300000);
	while (waitpid(-1, &status, WNOHANG) > 0)
		woken += WEXITSTATUS(status);
	for (i = 0; i < 3; i++)
		kill(pids[i], SIGKILL);
	while (wait(NULL) > 0)
		;
	EQUAL("one edge, one reader", woken, 1);
}

static void on(int signo)
{
	(void)signo;
}

static void selects(void)
{
	struct timeval tv = {0, 30000};
	struct timespec ts = {5, 0}, none = {0, 0};
	sigset_t all, empty;
	fd_set in, out;
	int p[2], closed;

	if (pipe(p))
		_exit(9);
	FD_ZERO(&in); FD_SET(p[0], &in);
	FD_ZERO(&out); FD_SET(p[1], &out);
	EQUAL("writable", select(p[1] + 1, &in, &out, NULL, &tv), 1);
	CHECK("that one", FD_ISSET(p[1], &out) && !FD_ISSET(p[0], &in));
	FD_SET(p[0], &in);
	EQUAL("time is up", select(p[0] + 1, &in, NULL, NULL, &tv), 0);
	CHECK("nothing is set", !FD_ISSET(p[0], &in));
	closed = dup(p[0]);
	close(closed);
	FD_ZERO(&in); FD_SET(closed, &in);
	ERRNO("not open", select(closed + 1, &in, NULL, NULL, &tv), EBADF);
	ERRNO("negative count", select(-1, NULL, NULL, NULL, &tv), EINVAL);
	tv.tv_sec = -1;
	ERRNO("negative time", select(0, NULL, NULL, NULL, &tv), EINVAL);
	/* pselect and ppoll with a mask that lets a waiting signal in */
	struct sigaction action = {.sa_handler = on};
	sigaction(SIGUSR1, &action, NULL);
	sigfillset(&all);
	sigemptyset(&empty);
	sigprocmask(SIG_SETMASK, &all, NULL);
	raise(SIGUSR1);
	FD_ZERO(&in); FD_SET(p[0], &in);
	ERRNO("pselect", pselect(p[0] + 1, &in, NULL, NULL, &ts, &empty), EINTR);
	raise(SIGUSR1);
	ERRNO("pselect that does not wait", pselect(p[0] + 1, &in, NULL, NULL, &none, &empty), EINTR);
	raise(SIGUSR1);
	struct pollfd one = {p[0], POLLIN, 0};
	ERRNO("ppoll that does not wait", ppoll(&one, 1, &none, &empty), EINTR);
	raise(SIGUSR1);
	int ep = epoll_create1(0);
	struct epoll_event found[1];
	ERRNO("epoll_pwait does not look", epoll_pwait(ep, found, 1, 0, &empty), 0);
	ERRNO("but when it waits it does", epoll_pwait(ep, found, 1, 5000, &empty), EINTR);
	write(p[1], "x", 1);
	raise(SIGUSR1);
	EQUAL("what is ready comes first", ppoll(&one, 1, &none, &empty), 1);
	sigset_t now;
	sigprocmask(SIG_SETMASK, NULL, &now);
	CHECK("the mask is back", sigismember(&now, SIGUSR1) && sigismember(&now, SIGTERM));
	sigprocmask(SIG_SETMASK, &empty, NULL);
}

int main(void)
{
	capacity();
	atomicity();
	packets();
	epolls();
	shared_edge();
	selects();
	return done();
}
