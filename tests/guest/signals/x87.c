/* Exceptions of the x87 that are not masked: SIGFPE at the next instruction that waits for them. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <ucontext.h>

#ifdef __x86_64__
#define RIP "(%%rip)"
#else
#define RIP
#endif

static sigjmp_buf back;
static siginfo_t seen;
static unsigned long trap, error;
static volatile unsigned long at;

static void handler(int sig, siginfo_t *info, void *context)
{
	greg_t *registers = ((ucontext_t *)context)->uc_mcontext.gregs;

	(void)sig;
	seen = *info;
	trap = registers[REG_TRAPNO];
	error = registers[REG_ERR];
	siglongjmp(back, 1);
}

static void divide(unsigned short control, double a, double b)
{
	double quotient;

	if (sigsetjmp(back, 1) == 0) {
		__asm__ volatile("fninit\n\tfldcw %2\n\tfldl %3\n\tfldl %4\n\tfdivrp\n\tlea 1f" RIP ", %1\n\tmov %1, %5\n"
				 "1:\tfwait\n\tfstpl %0\n\tfninit"
				 : "=m"(quotient), "=&r"((long){0}) : "m"(control), "m"(a), "m"(b), "m"(at));
		printf("%x, %g / %g: %g\n", control, a, b, quotient);
	} else {
		__asm__ volatile("fninit");
		printf("%x, %g / %g: signal %d, code %d, trap %lu, error %lu, %s\n", control, a, b, seen.si_signo,
		       seen.si_code, trap, error, (unsigned long)seen.si_addr == at ? "there" : "elsewhere");
	}
}

int main(void)
{
	static const unsigned short controls[] = {0x340, 0x37f, 0x37b, 0x37e};
	struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO};

	sigaction(SIGFPE, &action, NULL);
	sigaction(SIGSEGV, &action, NULL);
	for (int i = 0; i < 4; i++) {
		divide(controls[i], 1, 0);
		divide(controls[i], 6, 3);
	}
	return 0;
}
