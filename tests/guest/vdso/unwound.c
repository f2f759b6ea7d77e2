/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A signal that comes in read(2), for which i386 enters the kernel in the vDSO, can be traced back to the start.  (As a
 * thread is that is cancelled there, to find its cleanup handlers.) */
#define _GNU_SOURCE
#include "check.h"
#include <execinfo.h>
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

static int ends[2], asleep;
static void *deepest;
static pthread_t me;

static void handler(int signo)
{
	void *frames[32];
	int count = backtrace(frames, 32);

	if (signo)
		asleep = frames[count - 1] == deepest;
	else
		deepest = frames[count - 1]; /* where the program began */
}

static void *waker(void *unused)
{
	(void)unused;
	usleep(500000); /* until it sleeps */
	pthread_kill(me, SIGUSR1);
	usleep(50000);
	return write(ends[1], "x", 1) == 1 ? NULL : unused;
}

int main(void)
{
	struct sigaction action = { .sa_handler = handler, .sa_flags = SA_RESTART };
	pthread_t thread;
	char byte;

	EQUAL("pipe", pipe(ends), 0);
	handler(0);
	sigaction(SIGUSR1, &action, NULL);
	me = pthread_self();
	EQUAL("thread", pthread_create(&thread, NULL, waker, NULL), 0);
	EQUAL("read", read(ends[0], &byte, 1), 1);
	EQUAL("join", pthread_join(thread, NULL), 0);
	EQUAL("traced back", asleep, 1);
	return done();
}
