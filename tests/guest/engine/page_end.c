/* Code that runs on into a page where none is: the fault is at the first byte of that page, all before it was executed. */
#include "check.h"

#include <ucontext.h>

static volatile long at, ip, count;
static char *page;

static void handler(int signo, siginfo_t *info, void *context)
{
	greg_t *registers = ((ucontext_t *)context)->uc_mcontext.gregs;

	at = (char *)info->si_addr - page;
#ifdef __x86_64__
	ip = (char *)registers[REG_RIP] - page;
	count = registers[REG_RAX];
#else
	ip = (char *)registers[REG_EIP] - page;
	count = registers[REG_EAX];
#endif
	siglongjmp(fault_return, 1);
}

/* `unit` bytes of code, again and again, the first `before` bytes before the end of the page. */
static void run(const char *unit, int size, int before, int where, int times)
{
	int i;

	memset(page, 0xcc, PAGE);
	for (i = PAGE - before; i + size <= PAGE; i += size)
		memcpy(page + i, unit, size);
	memcpy(page + i, unit, PAGE - i);
	at = ip = count = -1;
	if (!sigsetjmp(fault_return, 1))
		__asm__ volatile("call *%1" ::"a"(0), "r"(page + PAGE - before) : "memory");
	EQUAL("the address", at, PAGE);
	EQUAL("the instruction", ip, where);
	if (times < 0)
		EQUAL("TF", count & 0x100, 0);
	else
		EQUAL("executed", count, times);
}

int main(void)
{
	struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO};

	page = mmap(NULL, 2 * PAGE, RW | PROT_EXEC, ANON, -1, 0);
	mprotect(page + PAGE, PAGE, PROT_NONE);
	sigaction(SIGSEGV, &action, NULL);
	run("\x83\xc0\x01", 3, 90, PAGE, 30); /* add $1, %eax */
	run("\x83\xc0\x01", 3, 1000, PAGE - 1, 333);
	run("\x83\xc0\x01", 3, 2, PAGE - 2, 0);
	run("\x66\x90", 2, 4000, PAGE, 0);
	mprotect(page + PAGE, PAGE, PROT_READ);
	run("\x83\xc0\x01", 3, 999, PAGE, 333);
	run("\x9c\x58\x90", 3, 3, PAGE, -1); /* pushf; pop %eax; nop: TF is not the program's */
	munmap(page + PAGE, PAGE);
	run("\x83\xc0\x01", 3, 90, PAGE, 30);
	return done();
}
