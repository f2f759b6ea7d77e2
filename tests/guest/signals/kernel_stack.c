/* The stack pointer leads into the kernel's half: what pops from there faults, whatever is there.  The engine gives
   IRET, LRET and LCALL the kernel's rights; no page of the kernel's may be in their reach. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <ucontext.h>

static sigjmp_buf back;
static siginfo_t seen;
static unsigned long error;

static void handler(int sig, siginfo_t *info, void *context)
{
	(void)sig;
	seen = *info;
	error = ((ucontext_t *)context)->uc_mcontext.gregs[REG_ERR];
	siglongjmp(back, 1);
}

#define POPS(name, at)                                                                                                 \
	if (sigsetjmp(back, 1) == 0) {                                                                                 \
		__asm__ volatile("mov %0, %%rsp\n\t" name : : "r"(at) : "memory");                                     \
		__builtin_unreachable();                                                                               \
	}                                                                                                              \
	printf("%s at %lx: signal %d, code %d, %s, error %lx\n", name, at, seen.si_signo, seen.si_code,                \
	       (unsigned long)seen.si_addr - at < 0x28 ? "there" : "elsewhere", error)

int main(void)
{
	static const unsigned long kernel[] = {
	    0xffff888000000000, /* the direct map: RAM's first pages, the processor's table, frames of processes */
	    0xffff888000100028, 0xffff888000400000, 0xffff888001000008, 0xffffc90000000000, 0xffff800000000000,
	};
	stack_t alternative = {.ss_sp = malloc(65536), .ss_size = 65536};
	struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO | SA_ONSTACK};

	sigaltstack(&alternative, NULL);
	sigaction(SIGSEGV, &action, NULL);
	sigaction(SIGBUS, &action, NULL);
	for (unsigned i = 0; i < sizeof kernel / sizeof *kernel; i++) {
		POPS("iretq", kernel[i]);
		POPS("lretq", kernel[i]);
		POPS("ret", kernel[i]);
	}
	return 0;
}
