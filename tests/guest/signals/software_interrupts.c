/* `int N` of a program: only 3, 4 and 0x80 have gates for it, every other one is a general protection fault. */
#include "check.h"

#include <ucontext.h>

#ifdef __x86_64__
#define IP REG_RIP
#else
#define IP REG_EIP
#endif

static volatile int signal_number, code, trap, error, at;
static char *volatile begin;

static void handler(int signo, siginfo_t *info, void *context)
{
	greg_t *registers = ((ucontext_t *)context)->uc_mcontext.gregs;

	signal_number = signo;
	code = info->si_code;
	trap = registers[REG_TRAPNO];
	error = registers[REG_ERR];
	at = (char *)registers[IP] - begin;
	siglongjmp(fault_return, 1);
}

/* Runs `text`, of `size` bytes, and a return; `where` -1: where it stopped does not matter. */
static void run(const char *name, const char *text, int size, int signo, int si_code, int vector, int err, int where)
{
	static char *page;
	char line[120];

	if (!page)
		page = mmap(NULL, PAGE, RW | PROT_EXEC, ANON, -1, 0);
	memcpy(page, text, size);
	page[size] = 0xc3;
	begin = page;
	signal_number = code = trap = error = at = 0;
	if (!sigsetjmp(fault_return, 1))
		((void (*)(void))page)();
	if (where < 0)
		at = where; /* a processor that a hypervisor has may stop at int1 and not behind it */
	snprintf(line, sizeof line, "%s: signal %d code %d trap %d error %d at +%d", name, signal_number, code, trap, error, at);
	CHECK(line, signal_number == signo && code == si_code && trap == vector && error == err && at == where);
}

static void gate(int number)
{
	char name[20], text[2] = {0xcd, number};

	snprintf(name, sizeof name, "int $%d", number);
	run(name, text, 2, SIGSEGV, SI_KERNEL, 13, number * 8 + 2, 0);
}

int main(void)
{
	struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO};
	static const int closed[] = {0, 1, 2, 5, 6, 7, 8, 10, 13, 14, 16, 19, 31, 32, 127, 129, 255};
	char *absent = mmap(NULL, PAGE, PROT_NONE, ANON, -1, 0);

	sigaction(SIGSEGV, &action, NULL);
	sigaction(SIGTRAP, &action, NULL);
	sigaction(SIGILL, &action, NULL);
	sigaction(SIGFPE, &action, NULL);
	for (unsigned i = 0; i < sizeof closed / sizeof *closed; i++) {
		gate(closed[i]);
		if (!sigsetjmp(fault_return, 1))
			*(volatile char *)absent = 1;
		CHECK("a page fault is one", signal_number == SIGSEGV && code == SEGV_ACCERR && trap == 14);
	}
	run("int3", "\xcc", 1, SIGTRAP, SI_KERNEL, 3, 0, 1);
	run("int $3", "\xcd\x03", 2, SIGTRAP, SI_KERNEL, 3, 0, 2);
	run("int $4", "\xcd\x04", 2, SIGSEGV, SI_KERNEL, 4, 0, 2);
	run("ud2", "\x0f\x0b", 2, SIGILL, 2, 6, 0, 0);
	run("int1", "\xf1", 1, SIGTRAP, TRAP_BRKPT, 1, 0, -1);
	run("int1 with prefixes", "\x66\x2e\xf1", 3, SIGTRAP, TRAP_BRKPT, 1, 0, -1);
	return done();
}
