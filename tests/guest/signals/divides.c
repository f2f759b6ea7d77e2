/* Quotients that do not fit: exception 0, with everything as it was; -2^63 by -1 is too much even for the host's IDIV. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <ucontext.h>

static sigjmp_buf back;
static siginfo_t seen;
static unsigned long low, high;
static volatile unsigned long at;

static void handler(int sig, siginfo_t *info, void *context)
{
	greg_t *registers = ((ucontext_t *)context)->uc_mcontext.gregs;

	(void)sig;
	seen = *info;
#ifdef __x86_64__
	low = registers[REG_RAX];
	high = registers[REG_RDX];
#else
	low = registers[REG_EAX];
	high = registers[REG_EDX];
#endif
	siglongjmp(back, 1);
}

#define DIVIDE(code, eax, edx, by)                                                                                     \
	if (sigsetjmp(back, 1) == 0) {                                                                                 \
		low = (unsigned long)(eax);                                                                            \
		high = (unsigned long)(edx);                                                                           \
		__asm__ volatile("lea 1f" RIP ", %4\n\tmov %4, %3\n1:\t" code                                          \
				 : "+a"(low), "+d"(high)                                                               \
				 : "c"((unsigned long)(by)), "m"(at), "r"(0L)                                          \
				 : "memory");                                                                          \
		printf(code " %lx:%lx by %lx: %lx, %lx\n", (unsigned long)(edx), (unsigned long)(eax),                 \
		       (unsigned long)(by), low, high);                                                                \
	} else {                                                                                                       \
		printf(code " %lx:%lx by %lx: signal %d, code %d, %s, %lx:%lx\n", (unsigned long)(edx),                \
		       (unsigned long)(eax), (unsigned long)(by), seen.si_signo, seen.si_code,                         \
		       (unsigned long)seen.si_addr == at ? "there" : "elsewhere", high, low);                          \
	}

#ifdef __x86_64__
#define RIP "(%%rip)"
#else
#define RIP
#endif

int main(void)
{
	static const long values[] = {0, 1, -1, -2, 0x7f, 0x80, 0x8000, 0x7fffffff, (long)0x80000000
#ifdef __x86_64__
				      , INT64_MAX, INT64_MIN
#endif
	};
	const int count = sizeof values / sizeof *values;
	struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO};

	sigaction(SIGFPE, &action, NULL);
	for (int a = 0; a < count; a++)
		for (int d = 0; d < count; d++)
			for (int by = 0; by < count; by++) {
				DIVIDE("idivl %%ecx", values[a], values[d], values[by]);
				DIVIDE("idivw %%cx", values[a], values[d], values[by]);
				DIVIDE("idivb %%cl", values[a], values[d], values[by]);
				DIVIDE("divl %%ecx", values[a], values[d], values[by]);
				DIVIDE("divw %%cx", values[a], values[d], values[by]);
#ifdef __x86_64__
				DIVIDE("idivq %%rcx", values[a], values[d], values[by]);
				DIVIDE("divq %%rcx", values[a], values[d], values[by]);
#endif
			}
	return 0;
}
