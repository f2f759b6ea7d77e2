/* setpgid, setsid, getpgid, getsid: every errno, and what waitid and kill do with groups (kernel/sys.c). */
#include "check.h"
#include <sys/resource.h>
#include <sys/wait.h>

static int go[2], back[2];

static char hear(int fd)
{
	char byte = 0;

	return read(fd, &byte, 1) == 1 ? byte : 0;
}

static void say(int fd)
{
	if (write(fd, "x", 1) != 1)
		_exit(9);
}

/* A child that waits for a byte, does `what`, and waits for another one. */
static pid_t child(int what, char **argv)
{
	pid_t pid = fork();

	if (pid)
		return hear(back[0]), pid;
	if (what == 's')
		setsid();
	if (what == 'e') {
		execl("/proc/self/exe", argv[0], "child", NULL);
		_exit(8);
	}
	say(back[1]);
	hear(go[0]);
	_exit(0);
}

static void end(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

int main(int argc, char **argv)
{
	pid_t me = getpid(), one, two;
	siginfo_t info;
	int status;

	if (argc > 1) {
		say(200);
		hear(201);
		return 0;
	}
	if (pipe(go) || pipe(back) || dup2(back[1], 200) != 200 || dup2(go[0], 201) != 201)
		return 9;
	/* in a child that leads nothing, whatever started us */
	one = fork();
	if (one) {
		waitpid(one, &status, 0);
		return WIFEXITED(status) ? WEXITSTATUS(status) : 9;
	}
	me = getpid();
	ERRNO("setpgid of itself", setpgid(0, 0), 0);
	EQUAL("its group", getpgrp() == me, 1);
	EQUAL("getpgid", getpgid(0) == me, 1);
	ERRNO("setsid of a group leader", setsid(), EPERM);
	ERRNO("negative group", setpgid(0, -5), EINVAL);
	ERRNO("no such process", setpgid(0x3ffffff, 0), ESRCH);
	ERRNO("negative process", setpgid(-1, 0), EINVAL);
	ERRNO("negative process, good group", setpgid(-1, 5), ESRCH);
	ERRNO("its parent", setpgid(getppid(), 0), ESRCH);
	ERRNO("process 1", setpgid(1, 1), ESRCH);
	ERRNO("a group that is not there", setpgid(0, 0x3ffffff), EPERM);
	ERRNO("getpgid of nobody", getpgid(0x3ffffff), ESRCH);
	ERRNO("getpgid of -1", getpgid(-1), ESRCH);
	ERRNO("getsid of nobody", getsid(0x3ffffff), ESRCH);

	one = child('n', argv);
	two = child('n', argv);
	ERRNO("a child becomes a leader", setpgid(one, 0), 0);
	EQUAL("it is", getpgid(one) == one, 1);
	ERRNO("another joins it", setpgid(two, one), 0);
	EQUAL("it did", getpgid(two) == one, 1);
	EQUAL("both are in one session", getsid(one) == getsid(two), 1);
	EQUAL("killpg 0", killpg(one, 0), 0);
	EQUAL("waitid of another group", waitid(P_PGID, getpgrp(), &info, WEXITED | WNOHANG) == -1 && errno == ECHILD, 1);
	memset(&info, 0x55, sizeof info);
	EQUAL("waitid of the group", waitid(P_PGID, one, &info, WEXITED | WNOHANG), 0);
	EQUAL("nothing yet", info.si_pid, 0);
	EQUAL("si_signo is 0", info.si_signo, 0);
	end(one);
	EQUAL("one of two may end", getpgid(two) == one, 1);
	EQUAL("a group lives without its leader", killpg(one, 0), 0);
	end(two);
	ERRNO("and ends with its last member", killpg(one, 0), ESRCH);

	one = child('e', argv);
	ERRNO("after execve it is too late", setpgid(one, 0), EACCES);
	end(one);
	one = child('s', argv);
	ERRNO("a session leader", setpgid(one, one), EPERM);
	ERRNO("a child in another session", setpgid(one, getpgrp()), EPERM);
	EQUAL("its session", getsid(one) == one, 1);
	EQUAL("its group", getpgid(one) == one, 1);
	end(one);

	ERRNO("waitid without options", waitid(P_ALL, 0, &info, 0), EINVAL);
	ERRNO("waitid with unknown options", waitid(P_ALL, 0, &info, WEXITED | 0x40), EINVAL);
	ERRNO("waitid, unknown kind", waitid(77, 0, &info, WEXITED), EINVAL);
	ERRNO("waitid P_PID 0", waitid(P_PID, 0, &info, WEXITED), EINVAL);
	ERRNO("waitid, no child", waitid(P_ALL, 0, &info, WEXITED), ECHILD);
	ERRNO("wait4, unknown options", waitpid(-1, &status, 0x40), EINVAL);
	ERRNO("wait4 of INT_MIN", waitpid(-2147483647 - 1, &status, 0), ESRCH);
	ERRNO("wait4 of a stranger", waitpid(1, &status, 0), ECHILD);
	ERRNO("WCONTINUED alone", waitpid(-1, &status, WCONTINUED), ECHILD);

	one = fork();
	if (!one)
		_exit(5);
	ERRNO("WNOWAIT", waitid(P_PID, one, &info, WEXITED | WNOWAIT), 0);
	EQUAL("the record", info.si_pid == one && info.si_status == 5 && info.si_code == CLD_EXITED, 1);
	EQUAL("who", info.si_uid == getuid() && info.si_signo == SIGCHLD && info.si_errno == 0, 1);
	ERRNO("a zombie can be looked at again", waitid(P_PID, one, &info, WEXITED | WNOWAIT), 0);
	EQUAL("a zombie has a group", getpgid(one) == getpgrp(), 1);
	EQUAL("and can be signalled", kill(one, SIGKILL), 0);
	ERRNO("waited for at last", waitid(P_PGID, 0, &info, WEXITED), 0);
	ERRNO("gone", kill(one, 0), ESRCH);

	one = fork();
	if (!one) {
		raise(SIGSTOP);
		for (;;)
			pause();
	}
	ERRNO("WSTOPPED", waitid(P_PID, one, &info, WSTOPPED | WNOWAIT), 0);
	EQUAL("stopped", info.si_code == CLD_STOPPED && info.si_status == SIGSTOP, 1);
	ERRNO("still to be seen", waitid(P_ALL, 0, &info, WSTOPPED), 0);
	memset(&info, 0, sizeof info);
	ERRNO("only once", waitid(P_ALL, 0, &info, WSTOPPED | WNOHANG), 0);
	EQUAL("nobody", info.si_pid, 0);
	kill(one, SIGCONT);
	ERRNO("WCONTINUED", waitid(P_PID, one, &info, WCONTINUED), 0);
	EQUAL("continued", info.si_code == CLD_CONTINUED && info.si_status == SIGCONT, 1);
	kill(one, SIGKILL);
	ERRNO("its end", waitid(P_PID, one, &info, WEXITED), 0);
	EQUAL("killed", info.si_code == CLD_KILLED && info.si_status == SIGKILL, 1);
	return done();
}
