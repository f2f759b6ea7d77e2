/* SIGIO of a pipe: F_SETOWN, F_SETOWN_EX, F_SETSIG, O_ASYNC. */
#include "check.h"
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#define SETSIG 10
#define GETSIG 11
#define SETOWN_EX 15
#define GETOWN_EX 16

static sigset_t set;
static siginfo_t info;

/* The signal that waits, 0 for none. */
static int taken(void)
{
	struct timespec zero = { 0, 0 };
	int signo = sigtimedwait(&set, &info, &zero);

	return signo < 0 ? 0 : signo;
}

int main(void)
{
	int ends[2], status, file;
	struct { int type, pid; } owner = { -1, -1 };
	char byte = 0;
	pid_t child;

	sigemptyset(&set);
	sigaddset(&set, SIGIO);
	sigaddset(&set, SIGRTMIN + 3);
	sigprocmask(SIG_BLOCK, &set, NULL);
	if (pipe(ends))
		return 2;

	EQUAL("nobody", syscall(SYS_fcntl, ends[0], F_GETOWN), 0);
	EQUAL("no signal", fcntl(ends[0], GETSIG), 0);
	ERRNO("no such process", syscall(SYS_fcntl, ends[0], F_SETOWN, 0x3ffffff), ESRCH);
	ERRNO("no such group", syscall(SYS_fcntl, ends[0], F_SETOWN, -0x3ffffff), ESRCH);
	ERRNO("no group at all", syscall(SYS_fcntl, ends[0], F_SETOWN, 0x80000000UL), EINVAL);
	ERRNO("no signal 65", fcntl(ends[0], SETSIG, 65), EINVAL);
	ERRNO("no signal -1", fcntl(ends[0], SETSIG, -1), EINVAL);
	ERRNO("no kind 3", (owner.type = 3, fcntl(ends[0], SETOWN_EX, &owner)), EINVAL);
	ERRNO("bad address", fcntl(ends[0], GETOWN_EX, (void *)8), EFAULT);

	fcntl(ends[0], F_SETFL, O_ASYNC);
	EQUAL("flag", fcntl(ends[0], F_GETFL) & O_ASYNC, O_ASYNC);
	CHECK("written", write(ends[1], "x", 1) == 1);
	EQUAL("for nobody", taken(), 0);

	EQUAL("set", fcntl(ends[0], F_SETOWN, getpid()), 0);
	EQUAL("get", syscall(SYS_fcntl, ends[0], F_GETOWN), getpid());
	EQUAL("get_ex", fcntl(ends[0], GETOWN_EX, &owner), 0);
	CHECK("a process", owner.type == 1 && owner.pid == getpid());
	CHECK("written", write(ends[1], "x", 1) == 1);
	EQUAL("SIGIO", taken(), SIGIO);
	EQUAL("once", taken(), 0);

	EQUAL("setsig", fcntl(ends[0], SETSIG, SIGRTMIN + 3), 0);
	CHECK("written twice", write(ends[1], "x", 1) == 1 && write(ends[1], "x", 1) == 1);
	EQUAL("queued", taken(), SIGRTMIN + 3);
	CHECK("of this file", info.si_fd == ends[0] && info.si_code == POLL_IN && info.si_band == 0x41);
	EQUAL("and queued", taken(), SIGRTMIN + 3);

	owner.type = 0;
	owner.pid = syscall(SYS_gettid);
	EQUAL("set a thread", fcntl(ends[0], SETOWN_EX, &owner), 0);
	CHECK("written", write(ends[1], "x", 1) == 1);
	EQUAL("the thread", taken(), SIGRTMIN + 3);

	EQUAL("set a group", fcntl(ends[0], F_SETOWN, -getpgrp()), 0);
	EQUAL("get it", fcntl(ends[0], GETOWN_EX, &owner), 0);
	CHECK("a group", owner.type == 2 && owner.pid == getpgrp());
	EQUAL("back", fcntl(ends[0], F_SETOWN, getpid()), 0);

	EQUAL("the writing end", fcntl(ends[1], F_SETFL, O_ASYNC), 0);
	fcntl(ends[1], F_SETOWN, getpid());
	fcntl(ends[1], SETSIG, SIGRTMIN + 3);
	CHECK("read", read(ends[0], &byte, 1) == 1);
	EQUAL("room", taken(), SIGRTMIN + 3);
	CHECK("for writing", info.si_fd == ends[1] && info.si_code == POLL_OUT && info.si_band == 0x304);
	EQUAL("off", fcntl(ends[1], F_SETFL, 0), 0);
	CHECK("read", read(ends[0], &byte, 1) == 1);
	EQUAL("silent", taken(), 0);

	child = fork();
	if (!child) {
		close(ends[0]);
		_exit(write(ends[1], "x", 1) != 1);
	}
	waitpid(child, &status, 0);
	EQUAL("a child writes", taken(), SIGRTMIN + 3);
	close(ends[1]);
	EQUAL("the end is closed", taken(), SIGRTMIN + 3);
	CHECK("as input", info.si_code == POLL_IN);

	fcntl(ends[0], F_SETFL, 0);
	file = 1;
	EQUAL("FIOASYNC", ioctl(ends[0], FIOASYNC, &file), 0);
	EQUAL("flag on", fcntl(ends[0], F_GETFL) & O_ASYNC, O_ASYNC);
	file = 0;
	EQUAL("FIOASYNC off", ioctl(ends[0], FIOASYNC, &file), 0);
	EQUAL("flag off", fcntl(ends[0], F_GETFL) & O_ASYNC, 0);
	ERRNO("FIOASYNC, bad address", ioctl(ends[0], FIOASYNC, (void *)8), EFAULT);

	file = temporary_file(1);
	status = 1;
	ERRNO("FIOASYNC of a file without signals", ioctl(file, FIOASYNC, &status), ENOTTY);
	EQUAL("a plain file has an owner", fcntl(file, F_SETOWN, getpid()), 0);
	EQUAL("and it is told", syscall(SYS_fcntl, file, F_GETOWN), getpid());
	return done();
}
