/* x86-64: programs that go to 32-bit code, with selectors in the data segments, and signals meanwhile. */
#include "check.h"

#include <sys/wait.h>
#include <ucontext.h>

#define USER32_CS 0x23
#define CODE ((char *)0x10000000)

static unsigned cs_now(void)
{
	unsigned cs;

	__asm__("mov %%cs, %0" : "=r"(cs));
	return cs;
}

static void leave(int signo)
{
	_exit(cs_now());
}

static void to_32_bits(int signo, siginfo_t *info, void *context)
{
	greg_t *registers = ((ucontext_t *)context)->uc_mcontext.gregs;

	((unsigned short *)&registers[REG_CSGSFS])[0] = USER32_CS;
	registers[REG_RIP] = (long)CODE;
}

static int child(unsigned selector, int by_frame)
{
	struct sigaction back = {.sa_handler = leave, .sa_flags = SA_ONSTACK}, there = {.sa_sigaction = to_32_bits, .sa_flags = SA_SIGINFO};
	struct { unsigned offset; unsigned short selector; } to = {(unsigned long)CODE, USER32_CS};
	stack_t stack = {.ss_sp = CODE + PAGE, .ss_size = 15 * PAGE};
	int status;

	if (!fork()) {
		sigaltstack(&stack, NULL);
		sigaction(SIGILL, &back, NULL);
		sigaction(SIGUSR1, &there, NULL);
		__asm__ volatile("mov %0, %%ds\n\tmov %0, %%es\n\tmov %0, %%gs" ::"r"(selector));
		if (by_frame)
			raise(SIGUSR1);
		else
			__asm__ volatile("ljmp *%0" ::"m"(to));
	}
	wait(&status);
	return status;
}

int main(void)
{
	static const unsigned selectors[] = {0, 3, 0x23, 0x2b, 0x33};
	unsigned i;

	if (mmap(CODE, 16 * PAGE, RW | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != CODE)
		return 2;
	memcpy(CODE, "\x0f\x0b", 2);
	for (i = 0; i < sizeof selectors / sizeof *selectors; i++) {
		EQUAL("a handler has 64 bits, after a jump", child(selectors[i], 0), 0x33 << 8);
		EQUAL("...after a frame that says 32", child(selectors[i], 1), 0x33 << 8);
	}
	return done();
}
