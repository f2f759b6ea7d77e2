/* SPDX-License-Identifier: GPL-2.0-or-later */
/* SIGIO from sockets and inotify: for data, connections, space, the end; and not for who sleeps in a receive. */
#define _GNU_SOURCE
#include "check.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define FIOSETOWN 0x8901
#define SIOCSPGRP 0x8902
#define FIOGETOWN 0x8903
#define SIOCGPGRP 0x8904

static volatile int count, band;

static void handler(int signo, siginfo_t *info, void *context)
{
	(void)context;
	count++;
	band = signo == SIGIO ? 0 : info->si_band;
}

static void show(const char *what)
{
	printf("%s: %d, band %x\n", what, count, band);
	count = band = 0;
}

static void want(int fd)
{
	int on = 1, pid = getpid(), owner = 7;

	EQUAL("FIOSETOWN", ioctl(fd, FIOSETOWN, &pid), 0);
	EQUAL("FIOGETOWN", ioctl(fd, FIOGETOWN, &owner), 0);
	EQUAL("owner", owner == pid, 1);
	pid = -getpgrp();
	EQUAL("SIOCSPGRP", ioctl(fd, SIOCSPGRP, &pid), 0);
	EQUAL("SIOCGPGRP", ioctl(fd, SIOCGPGRP, &owner), 0);
	EQUAL("group", owner == pid, 1);
	EQUAL("F_GETOWN", fcntl(fd, F_GETOWN) == pid, 1);
	EQUAL("F_SETOWN", fcntl(fd, F_SETOWN, getpid()), 0);
	EQUAL("F_SETSIG", fcntl(fd, F_SETSIG, SIGRTMIN), 0);
	EQUAL("FIOASYNC", ioctl(fd, FIOASYNC, &on), 0);
	EQUAL("O_ASYNC", !!(fcntl(fd, F_GETFL) & O_ASYNC), 1);
}

static void pair(const char *name, int kind)
{
	char block[4096] = "";
	int s[2], off = 0;
	struct pollfd full = { .events = POLLOUT };

	printf("%s\n", name);
	EQUAL("socketpair", socketpair(AF_UNIX, kind, 0, s), 0);
	want(s[0]);
	EQUAL("write", write(s[1], "ab", 2), 2), show("data");
	EQUAL("write", write(s[1], "c", 1), 1), show("more");
	EQUAL("read", read(s[0], block, 2), 2), show("read");
	fcntl(s[0], F_SETFL, O_NONBLOCK | O_ASYNC);
	while (write(s[0], block, sizeof block) > 0)
		;
	EQUAL("full", errno, EAGAIN), show("full");
	full.fd = s[0];
	EQUAL("poll", poll(&full, 1, 0), 0);
	for (int n = 0; n < 200; n++)
		if (recv(s[1], block, sizeof block, MSG_DONTWAIT) <= 0)
			break;
	show("space");
	if (kind != SOCK_DGRAM) {
		EQUAL("shutdown", shutdown(s[1], SHUT_WR), 0), show("half of it");
		EQUAL("shutdown", shutdown(s[1], SHUT_RDWR), 0), show("all of it");
	}
	close(s[1]), show("the end");
	EQUAL("off", ioctl(s[0], FIOASYNC, &off), 0);
	close(s[0]);
}

static void *late(void *fd)
{
	usleep(50000);
	return write(*(int *)fd, "x", 1) == 1 ? NULL : fd;
}

static void asleep(void)
{
	int s[2];
	char one;
	pthread_t thread;

	EQUAL("socketpair", socketpair(AF_UNIX, SOCK_STREAM, 0, s), 0);
	want(s[0]);
	pthread_create(&thread, NULL, late, &s[1]);
	EQUAL("read", read(s[0], &one, 1), 1), show("who sleeps needs none");
	pthread_join(thread, NULL);
	close(s[0]), close(s[1]);
}

static void listener(void)
{
	struct sockaddr_un name = { .sun_family = AF_UNIX, .sun_path = "\0nopage-async" };
	int here = socket(AF_UNIX, SOCK_STREAM, 0), there = socket(AF_UNIX, SOCK_STREAM, 0);

	EQUAL("bind", bind(here, (struct sockaddr *)&name, sizeof name), 0);
	EQUAL("listen", listen(here, 3), 0);
	want(here);
	EQUAL("connect", connect(there, (struct sockaddr *)&name, sizeof name), 0), show("a connection");
	close(there), show("which goes");
	close(here);
}

static void watched(void)
{
	int fd = inotify_init1(IN_NONBLOCK), on = 1, size = 0;

	mkdir("async.d", 0755);
	EQUAL("watch", inotify_add_watch(fd, "async.d", IN_CREATE), 1);
	fcntl(fd, F_SETOWN, getpid()), fcntl(fd, F_SETSIG, SIGRTMIN);
	EQUAL("FIOASYNC", ioctl(fd, FIOASYNC, &on), 0);
	close(open("async.d/f", O_CREAT | O_WRONLY, 0600)), show("an event");
	unlink("async.d/f"), rmdir("async.d"), show("the watch ends");
	close(fd);
	for (int n = 0; n < 3; n++) {
		fd = n == 0 ? open(".", O_RDONLY) : n == 1 ? socket(AF_UNIX, SOCK_STREAM, 0) : inotify_init();
		EQUAL("FIGETBSZ", ioctl(fd, 2, &size), 0);
		EQUAL("size", size > 0, 1);
		close(fd);
	}
}

int main(void)
{
	struct sigaction action = { .sa_sigaction = handler, .sa_flags = SA_SIGINFO | SA_RESTART };

	sigaction(SIGIO, &action, NULL);
	sigaction(SIGRTMIN, &action, NULL);
	pair("stream", SOCK_STREAM);
	pair("dgram", SOCK_DGRAM);
	pair("seqpacket", SOCK_SEQPACKET);
	asleep();
	listener();
	watched();
	return done();
}
