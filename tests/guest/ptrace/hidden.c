/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A process that is not dumpable is nobody's to look at but root's and its own (__ptrace_may_access): system calls and
 * files of /proc; and a program that seccomp ends is not saved by its tracer. */
#define _GNU_SOURCE
#include "check.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#define SHOW(what) \
	do { \
		errno = 0; \
		long result = (what); \
		printf("%-40s %d %s\n", #what, result < 0 ? -1 : 0, result < 0 ? strerror(errno) : ""); \
	} while (0)

static char buffer[64], path[64];
static int other;

static const char *name(const char *file)
{
	snprintf(path, sizeof path, "/proc/%d/%s", other, file);
	return path;
}

static int look(const char *file)
{
	int fd = open(name(file), O_RDONLY), kept;
	long got;

	if (fd < 0)
		return -1;
	got = read(fd, buffer, 1);
	kept = errno;
	close(fd);
	errno = kept;
	return got < 0 ? -1 : 0;
}

static int link_of(const char *file)
{
	return readlink(name(file), buffer, sizeof buffer);
}

static void look_at(void)
{
	static const char *const files[] = { "maps", "smaps", "mem", "environ", "auxv", "pagemap", "personality", "stat",
		"status", "cmdline", "statm", "limits", "comm", "wchan", "mountinfo", "fd/0", "fdinfo/0", "oom_score_adj" };
	static const char *const links[] = { "exe", "cwd", "root", "fd/0" };
	static const char *const owned[] = { "", "maps", "exe", "fd", "fdinfo", "status", "mem", "task", "environ", "cwd" };
	struct iovec here = { buffer, 4 }, there = { buffer, 4 }, nothing = { 0, 0 };
	struct stat info;
	long head, length;
	int pidfd = syscall(SYS_pidfd_open, other, 0);

	SHOW(syscall(SYS_pidfd_getfd, pidfd, 1, 0));
	SHOW(process_vm_readv(other, &here, 1, &there, 1, 0));
	SHOW(process_vm_writev(other, &here, 1, &there, 1, 0));
	SHOW(syscall(SYS_kcmp, getpid(), other, 1, 0, 0));
	SHOW(syscall(SYS_get_robust_list, other, &head, &length));
	SHOW(syscall(440 /* process_madvise */, pidfd, &nothing, 1, 20, 0));
	SHOW(kill(other, 0));
	for (unsigned n = 0; n < sizeof files / sizeof files[0]; n++)
		printf("%s: %d %s\n", files[n], look(files[n]), look(files[n]) < 0 ? strerror(errno) : "");
	for (unsigned n = 0; n < sizeof links / sizeof links[0]; n++)
		printf("%s: %s\n", links[n], link_of(links[n]) < 0 ? strerror(errno) : "led");
	for (unsigned n = 0; n < sizeof owned / sizeof owned[0]; n++) {
		int failed = lstat(name(owned[n]), &info);

		printf("%s: %o, root's %d\n", owned[n], failed ? 0 : info.st_mode, failed ? -1 : info.st_uid == 0);
	}
	SHOW(open(name("comm"), O_WRONLY));
	SHOW(open(name("oom_score_adj"), O_WRONLY));
	SHOW(open(name("fd"), O_RDONLY));
	SHOW(open(name("fdinfo"), O_RDONLY));
	SHOW(ptrace(PTRACE_SEIZE, other, 0, 0));
	close(pidfd);
}

static void another(int dumpable)
{
	int ready[2], end[2];

	EQUAL("pipe", pipe(ready) | pipe(end), 0);
	other = fork();
	if (!other) {
		close(end[1]);
		prctl(PR_SET_DUMPABLE, dumpable);
		other = getpid();
		if (!dumpable) { /* its own threads may look all the same */
			printf("itself\n");
			SHOW(look("maps"));
			SHOW(look("fdinfo/0"));
			SHOW(link_of("exe"));
			SHOW(open(name("fd"), O_RDONLY));
			SHOW(open(name("fdinfo"), O_RDONLY));
			fflush(stdout);
		}
		if (write(ready[1], "x", 1) == 1)
			_exit(read(end[0], buffer, 1));
	}
	EQUAL("ready", read(ready[0], buffer, 1), 1);
	printf("dumpable %d\n", dumpable);
	look_at();
	kill(other, SIGKILL);
	waitpid(other, NULL, 0);
	close(ready[0]), close(ready[1]), close(end[0]), close(end[1]);
}

static void killed(unsigned action)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getppid, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, action),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { 4, filter };
	int status, child = fork();

	if (!child) {
		ptrace(PTRACE_TRACEME, 0, 0, 0);
		raise(SIGSTOP);
		prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
		prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
		syscall(SYS_getppid);
		_exit(7);
	}
	while (waitpid(child, &status, 0) == child && WIFSTOPPED(status)) {
		printf("stopped by %d\n", WSTOPSIG(status));
		ptrace(PTRACE_CONT, child, 0, 0);
	}
	printf("ended: %d by %d\n", WIFEXITED(status) ? WEXITSTATUS(status) : -1, WIFSIGNALED(status) ? WTERMSIG(status) : 0);
}

int main(void)
{
	setvbuf(stdout, NULL, _IONBF, 0);
	killed(SECCOMP_RET_KILL_THREAD);
	killed(SECCOMP_RET_KILL_PROCESS);
	if (!getuid()) {
		EQUAL("setgid", setgid(54321), 0);
		EQUAL("setuid", setuid(54321), 0);
		prctl(PR_SET_DUMPABLE, 1);
	}
	another(1);
	another(0);
	return done();
}
