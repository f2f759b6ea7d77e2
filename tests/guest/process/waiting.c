/* fork(2), wait4(2), waitid(2), process groups, orphans, exit codes. */
#include "check.h"

#include <sched.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

static pid_t child(int code)
{
	pid_t pid = fork();

	if (!pid)
		_exit(code);
	return pid;
}

static void waits(void)
{
	int status = 0;
	struct rusage usage;
	siginfo_t info;
	pid_t pid = child(7), other;

	EQUAL("wait gives the pid", wait(&status) == pid, 1);
	EQUAL("and the code", status, 7 << 8);
	ERRNO("no children", wait(&status), ECHILD);
	pid = child(256 + 3);
	EQUAL("eight bits of it", (waitpid(pid, &status, 0), status), 3 << 8);
	pid = child(1);
	other = child(2);
	EQUAL("the one asked for", waitpid(other, &status, 0) == other && status == 2 << 8, 1);
	EQUAL("the other is still there", waitpid(-1, &status, 0) == pid && status == 1 << 8, 1);
	ERRNO("a stranger", waitpid(1, &status, WNOHANG), ECHILD);
	ERRNO("unknown options", waitpid(-1, &status, 0x100), EINVAL);
	pid = fork();
	if (!pid) {
		pause();
		_exit(1);
	}
	EQUAL("WNOHANG", waitpid(pid, &status, WNOHANG), 0);
	kill(pid, SIGKILL);
	EQUAL("killed", (waitpid(pid, &status, 0), status), SIGKILL);
	ERRNO("kill of one that is gone", kill(pid, 0), ESRCH);
	pid = child(5);
	memset(&info, 0, sizeof info);
	ERRNO("waitid WNOWAIT", waitid(P_PID, pid, &info, WEXITED | WNOWAIT), 0);
	EQUAL("si_code", info.si_code, CLD_EXITED);
	EQUAL("si_status", info.si_status, 5);
	EQUAL("si_pid", info.si_pid == pid, 1);
	EQUAL("si_signo", info.si_signo, SIGCHLD);
	EQUAL("it is still there", wait4(pid, &status, 0, &usage) == pid && status == 5 << 8, 1);
	ERRNO("waitid without a state", waitid(P_ALL, 0, &info, WNOHANG), EINVAL);
	ERRNO("waitid without children", waitid(P_ALL, 0, &info, WEXITED), ECHILD);
}

static void stops(void)
{
	int status, gate[2];
	pid_t pid;

	EQUAL("a gate", pipe(gate), 0); /* a child that ended has not "continued" any more */
	if (!(pid = fork())) {
		raise(SIGSTOP);
		_exit(read(gate[0], &status, 1) == 1 ? 6 : 1);
	}
	EQUAL("stopped", waitpid(pid, &status, WUNTRACED) == pid && WIFSTOPPED(status) && WSTOPSIG(status) == SIGSTOP, 1);
	kill(pid, SIGCONT);
	EQUAL("continued", waitpid(pid, &status, WCONTINUED) == pid && WIFCONTINUED(status), 1);
	EQUAL("opened", write(gate[1], "", 1), 1);
	EQUAL("ended", waitpid(pid, &status, 0) == pid && WEXITSTATUS(status) == 6, 1);
	close(gate[0]), close(gate[1]);
}

static void groups(void)
{
	int status;
	pid_t pid = fork();

	if (!pid) {
		setpgid(0, 0);
		_exit(getpgrp() == getpid() && getsid(0) != getpid() ? 7 : 1);
	}
	waitpid(pid, &status, 0);
	EQUAL("setpgid", WEXITSTATUS(status), 7);
	pid = fork();
	if (!pid) {
		int good = setsid() == getpid() && getpgrp() == getpid() && getsid(0) == getpid();

		_exit(good && setsid() == -1 && errno == EPERM ? 7 : 1);
	}
	waitpid(pid, &status, 0);
	EQUAL("setsid", WEXITSTATUS(status), 7);
	ERRNO("setpgid of a stranger", setpgid(1, 0), ESRCH);
	ERRNO("setpgid, negative", setpgid(0, -1), EINVAL);
	ERRNO("getpgid of nobody", getpgid(99999999), ESRCH);
}

static void orphans(void)
{
	int pipes[2], status;
	char byte = 0;
	pid_t pid;

	prctl(PR_SET_CHILD_SUBREAPER, 1);
	if (pipe(pipes))
		_exit(2);
	pid = fork();
	if (!pid) {
		pid_t parent = getpid();

		if (!fork()) {
			while (getppid() == parent)
				sched_yield();
			_exit(write(pipes[1], &byte, 1) == 1 ? 8 : 1);
		}
		_exit(3);
	}
	EQUAL("the parent", waitpid(pid, &status, 0) == pid && WEXITSTATUS(status) == 3, 1);
	EQUAL("the orphan has a new parent", read(pipes[0], &byte, 1), 1);
	EQUAL("its reaper waits for it", wait(&status) > 0 && WEXITSTATUS(status) == 8, 1);
}

static void exits(void)
{
	int status;
	pid_t pid = fork();

	if (!pid) {
		syscall(SYS_exit, 4);
	}
	EQUAL("exit of the only thread", (waitpid(pid, &status, 0), status), 4 << 8);
	pid = fork();
	if (!pid)
		abort();
	EQUAL("abort", (waitpid(pid, &status, 0), WTERMSIG(status)), SIGABRT);
	pid = fork();
	if (!pid) {
		__asm__ volatile("xor %%ecx, %%ecx; xor %%edx, %%edx; idivl %%ecx" : : "a"(1) : "ecx", "edx", "cc");
		_exit(0);
	}
	EQUAL("a division by zero", (waitpid(pid, &status, 0), WTERMSIG(status)), SIGFPE);
	pid = fork();
	if (!pid)
		__builtin_trap();
	EQUAL("an undefined instruction", (waitpid(pid, &status, 0), WTERMSIG(status)), SIGILL);
	pid = fork();
	if (!pid) {
		__asm__ volatile("hlt");
		_exit(0);
	}
	EQUAL("a privileged instruction", (waitpid(pid, &status, 0), WTERMSIG(status)), SIGSEGV);
	pid = fork();
	if (!pid) {
		__asm__ volatile("int3");
		_exit(0);
	}
	EQUAL("a breakpoint", (waitpid(pid, &status, 0), WTERMSIG(status)), SIGTRAP);
}

static void many(void)
{
	int i, status, sum = 0;

	for (i = 0; i < 30; i++)
		child(i);
	while (wait(&status) > 0)
		sum += WEXITSTATUS(status);
	EQUAL("thirty children", sum, 435);
}

int main(void)
{
	waits();
	stops();
	groups();
	orphans();
	exits();
	many();
	return done();
}
