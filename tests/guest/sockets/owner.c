/* Who gets the SIGIO of a descriptor is a process, not a number: another that gets the number later hears nothing. */
#include <errno.h>
#include <linux/sched.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "check.h"

/* A child with this number, or with any (0); it ends by itself if nobody kills it. */
static int child(int number, int group)
{
	pid_t wanted[1] = { number };
	struct clone_args how = { .exit_signal = SIGCHLD, .set_tid = (uintptr_t)wanted, .set_tid_size = 1 };
	int pid = number ? (int)syscall(SYS_clone3, &how, sizeof how) : fork();

	if (pid)
		return pid;
	if (group)
		setpgid(0, 0);
	nanosleep(&(struct timespec){ .tv_nsec = 300000000 }, NULL);
	_exit(7);
}

static void end(int pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

static void reused(const char *name, int group)
{
	int pair[2], status, first = child(0, group), second;
	struct f_owner { int type, pid; } owner;

	socketpair(AF_UNIX, SOCK_STREAM, 0, pair);
	if (group)
		setpgid(first, first);
	ERRNO(name, fcntl(pair[0], F_SETOWN, group ? -first : first), 0);
	EQUAL("its owner", fcntl(pair[0], F_GETOWN) == (group ? -first : first), 1);
	fcntl(pair[0], F_SETFL, O_ASYNC);
	end(first);
	EQUAL("the owner is gone", fcntl(pair[0], F_GETOWN), 0);
	EQUAL("F_GETOWN_EX", fcntl(pair[0], 16, &owner), 0);
	EQUAL("its type", owner.type, group ? 2 : 1);
	EQUAL("its number", owner.pid, 0);
	second = child(first, group);
	if (second < 0 && errno == EPERM) {	/* not root: no numbers by choice */
		second = child(0, group);
		first = second;
	}
	EQUAL("the number again", second, first);
	if (group)
		setpgid(second, second);
	EQUAL("write", write(pair[1], "x", 1), 1);
	waitpid(second, &status, 0);
	EQUAL("the other ends by itself", status, 7 << 8);
	EQUAL("nobody's still", fcntl(pair[0], F_GETOWN), 0);
	close(pair[0]);
	close(pair[1]);
}

/* A group's number is taken as long as the group has somebody. */
static void group_stays(void)
{
	int leader = child(0, 1), member, pair[2];

	setpgid(leader, leader);
	member = child(0, 0);
	setpgid(member, leader);
	socketpair(AF_UNIX, SOCK_STREAM, 0, pair);
	fcntl(pair[0], F_SETOWN, -leader);
	fcntl(pair[0], F_SETFL, O_ASYNC);
	end(leader);
	EQUAL("the group is there", fcntl(pair[0], F_GETOWN) == -leader, 1);
	errno = 0;
	CHECK("its number is taken", child(leader, 0) == -1 && (errno == EEXIST || errno == EPERM));
	EQUAL("write", write(pair[1], "x", 1), 1);
	int status;
	waitpid(member, &status, 0);
	EQUAL("its member is told", WIFSIGNALED(status) ? WTERMSIG(status) : -1, SIGIO);
	close(pair[0]);
	close(pair[1]);
}

/* Files that have no signals to send do not keep O_ASYNC. */
static void not_kept(const char *name, int fd, int kept)
{
	ERRNO(name, fcntl(fd, F_SETFL, O_ASYNC | O_NONBLOCK), 0);
	EQUAL("O_ASYNC", !!(fcntl(fd, F_GETFL) & O_ASYNC), kept);
	close(fd);
}

int main(void)
{
	int ends[2];

	reused("a process", 0);
	reused("a group", 1);
	group_stays();
	not_kept("eventfd", eventfd(0, 0), 0);
	not_kept("timerfd", timerfd_create(CLOCK_MONOTONIC, 0), 0);
	not_kept("epoll", epoll_create1(0), 0);
	not_kept("/dev/null", open("/dev/null", O_RDWR), 0);
	pipe(ends);
	not_kept("pipe", ends[0], 1);
	not_kept("the other end", ends[1], 1);
	return done();
}
