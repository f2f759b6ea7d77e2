/* A tracer changes a segment register that holds a TLS descriptor and puts it back; a signal handler does the same. */
#include "check.h"
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>

#ifdef __x86_64__
#define SEGMENT "gs"
#define SELECTOR (26 * 8)
#else
#define SEGMENT "fs"
#define SELECTOR (9 * 4)
#endif
#define VALUE 0x1337f00d

struct desc { unsigned number, base, limit, bits; };

static unsigned short selector;

static unsigned short shown(void)
{
	unsigned short now;

	__asm__ volatile("mov %%" SEGMENT ", %0" : "=r"(now));
	return now;
}

static void load(unsigned short value)
{
	__asm__ volatile("mov %0, %%" SEGMENT : : "r"(value));
}

static unsigned through(void)
{
	unsigned value;

	__asm__ volatile("movl %%" SEGMENT ":0, %0" : "=r"(value));
	return value;
}

static void make_segment(void)
{
	/* Below 4 GiB, for the call of i386 that x86-64 programs make too. */
	unsigned *memory = mmap(NULL, PAGE, RW, ANON | 0x40 /* MAP_32BIT */, -1, 0);
	struct desc *desc = (void *)(memory + 16);
	long result;

	*memory = VALUE;
	*desc = (struct desc){ -1, (unsigned)(unsigned long)memory, 0xfffff, 1 };
	__asm__ volatile("int $0x80" : "=a"(result) : "a"(243), "b"(desc) : "memory"
#ifdef __x86_64__
			 , "r8", "r9", "r10", "r11"
#endif
	);
	EQUAL("set_thread_area", result, 0);
	selector = desc->number << 3 | 3;
	load(selector);
	EQUAL("loaded", through(), VALUE);
}

static void changes(int signo)
{
	(void)signo;
	load(0);
}

int main(void)
{
	struct user_regs_struct regs;
	int status;
	pid_t pid;

	make_segment();
	signal(SIGUSR1, changes);
	raise(SIGUSR1);
#ifndef __x86_64__	/* its frame has the segment registers */
	EQUAL("after the handler", shown(), selector);
	EQUAL("and its base", through(), VALUE);
#endif
	load(selector);

	pid = fork();
	if (pid == 0) {
		ptrace(PTRACE_TRACEME, 0, 0, 0);
		raise(SIGSTOP);
		if (shown() != 0)
			_exit(1);
		raise(SIGSTOP);
		_exit(shown() != selector ? 2 : through() != VALUE ? 3 : 7);
	}
	waitpid(pid, &status, 0);
	EQUAL("registers", ptrace(PTRACE_GETREGS, pid, 0, &regs), 0);
	EQUAL("selector", ptrace(PTRACE_PEEKUSER, pid, SELECTOR, 0) & 0xffff, selector);
	ERRNO("of another ring", ptrace(PTRACE_POKEUSER, pid, SELECTOR, selector & ~3), EIO);
	EQUAL("of no descriptor", ptrace(PTRACE_POKEUSER, pid, SELECTOR, 0xfff3), 0);
	ptrace(PTRACE_CONT, pid, 0, 0);
	waitpid(pid, &status, 0);
	EQUAL("second stop", status >> 8, SIGSTOP);
	EQUAL("put back", ptrace(PTRACE_POKEUSER, pid, SELECTOR, selector), 0);
#ifdef __x86_64__
	EQUAL("its base", ptrace(PTRACE_POKEUSER, pid, 22 * 8, regs.gs_base), 0);
#endif
	ptrace(PTRACE_CONT, pid, 0, 0);
	waitpid(pid, &status, 0);
#ifdef __x86_64__
	EQUAL("the child sees both", status, 7 << 8);
#else
	CHECK("the child sees the selector", status == 7 << 8 || status == 3 << 8 || WIFSIGNALED(status));
#endif
	return done();
}
