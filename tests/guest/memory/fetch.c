/* Instruction fetches that the area forbids: an absent page is brought first, and the next fetch finds that it may not be
 * executed (arch/x86/mm/fault.c: access_error).  Behind the end of a file it is the file that refuses. */
#include "check.h"

#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#define PAGE 4096UL

static sigjmp_buf back;
static int signo, code;
static unsigned long error;

static void on(int number, siginfo_t *info, void *context)
{
	signo = number;
	code = info->si_code;
	error = ((ucontext_t *)context)->uc_mcontext.gregs[REG_ERR];
	siglongjmp(back, 1);
}

static void jump(void *to)
{
	signo = 0;
	if (!sigsetjmp(back, 1))
		((void (*)(void))to)();
}

static void visit(volatile char *at, int value)
{
	signo = 0;
	if (!sigsetjmp(back, 1)) {
		if (value < 0)
			(void)*at;
		else
			*at = (char)value;
	}
}

int main(void)
{
	struct sigaction action = {.sa_sigaction = on, .sa_flags = SA_SIGINFO | SA_NODEFER};
	int fd = memfd_create("short", 0), kinds[] = {PROT_READ, PROT_READ | PROT_WRITE, PROT_NONE};
	char *p;

	sigaction(SIGSEGV, &action, NULL);
	sigaction(SIGBUS, &action, NULL);
	ERRNO("a file of one page", ftruncate(fd, PAGE), 0);
	p = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	jump(p + PAGE);
	EQUAL("behind the end: SIGBUS", signo, SIGBUS);
	EQUAL("BUS_ADRERR", code, BUS_ADRERR);
	jump(p);
	EQUAL("in the file: SIGSEGV", signo, SIGSEGV);
	EQUAL("SEGV_ACCERR", code, SEGV_ACCERR);
	EQUAL("of a page that is there", (int)error, 0x15);
	for (int n = 0; n < 3; n++) {
		p = mmap(NULL, PAGE, kinds[n], MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		jump(p);
		EQUAL("SIGSEGV", signo, SIGSEGV);
		EQUAL("its code", code, SEGV_ACCERR);
		EQUAL("its error code", (int)error, kinds[n] ? 0x15 : 0x14);
		visit(p, 1);
		EQUAL("a write afterwards", signo, kinds[n] & PROT_WRITE ? 0 : SIGSEGV);
		if (signo)
			EQUAL("and its error code", (int)error, kinds[n] ? 7 : 6);
	}
	jump(NULL);
	EQUAL("no area", code, SEGV_MAPERR);
	EQUAL("no page either", (int)error, 0x14);
	visit((char *)(sizeof(long) == 8 ? ~0UL / 0x20000 - PAGE + 1 : 0xfffff000UL), -1);
	EQUAL("the last page", signo, SIGSEGV);
	if (sizeof(long) == 8)
		EQUAL("is beyond what a task may have", (int)error, 5);
	return done();
}
