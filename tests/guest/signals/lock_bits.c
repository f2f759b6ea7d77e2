/* LOCK with a bit instruction on a register is an invalid opcode; Unicorn's translator calls abort() for it. */
#include "check.h"

static volatile int seen;
static void *volatile where;

static void handler(int signo, siginfo_t *info, void *context)
{
	seen = signo;
	where = info->si_addr;
	siglongjmp(fault_return, 1);
}

int main(void)
{
	static const unsigned char codes[][6] = {
		{0xf0, 0x0f, 0xba, 0xf8, 0}, {0xf0, 0x0f, 0xba, 0xe8, 1}, {0xf0, 0x0f, 0xba, 0xf0, 2},
		{0xf0, 0x0f, 0xb3, 0xc8}, {0xf0, 0x0f, 0xbb, 0xd8}, {0xf0, 0x0f, 0xab, 0xc1},
	};
	struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO};
	unsigned char *page = mmap(NULL, PAGE, RW | PROT_EXEC, ANON, -1, 0);
	int i;

	memset(page, 0xcc, PAGE);
	sigaction(SIGILL, &action, NULL);
	for (i = 0; i < 60; i++) {
		unsigned char *code = page + 64 * i;

		memcpy(code, codes[i % 6], 6);
		seen = 0;
		if (!sigsetjmp(fault_return, 1))
			((void (*)(void))code)();
		CHECK("an invalid opcode, there", seen == SIGILL && where == code);
	}
	return done();
}
