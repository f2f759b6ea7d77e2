/* What the ptrace tests share. */
#include "check.h"
#include <elf.h>
#include <fcntl.h>
#include <sched.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <time.h>

#ifndef PTRACE_EVENT_STOP
#define PTRACE_EVENT_STOP 128
#endif

#ifdef __x86_64__
#define REG_IP rip
#define REG_AX rax
#define REG_ORIG orig_rax
#define REG_ARG0 rdi
#else
#define REG_IP eip
#define REG_AX eax
#define REG_ORIG orig_eax
#define REG_ARG0 ebx
#endif

static long raw(long request, pid_t pid, unsigned long address, unsigned long data)
{
	return syscall(SYS_ptrace, request, pid, address, data);
}

/* The next stop or end of `pid` (any thread), as the word of wait4. */
static int stop_of(pid_t pid)
{
	int status = -1;

	if (waitpid(pid, &status, __WALL) != pid)
		return -1;
	return status;
}

static int stopped_with(int status)
{
	return WIFSTOPPED(status) ? status >> 8 : -1000 - status;
}
