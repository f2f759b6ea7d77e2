/* i386: programs that go to 64-bit code and back, with any selector in FS, and signals meanwhile. */
#include "check.h"

#include <sys/wait.h>
#include <ucontext.h>

#define USER_CS 0x33

static void leave(int signo)
{
	_exit(signo);
}

static void in_64_bits(unsigned selector)
{
	__asm__ volatile("mov %0, %%fs\n\tljmp $0x33, $1f\n1:\tud2" ::"r"(selector));
}

static void to_64_bits(int signo, siginfo_t *info, void *context)
{
	greg_t *registers = ((ucontext_t *)context)->uc_mcontext.gregs;

	registers[REG_CS] = USER_CS;
	registers[REG_EIP] = 8; /* where nothing is */
}

static int child(unsigned selector)
{
	struct sigaction action = {.sa_handler = leave}, wide = {.sa_sigaction = to_64_bits, .sa_flags = SA_SIGINFO};
	int status;

	if (!fork()) {
		sigaction(SIGILL, &action, NULL);
		sigaction(SIGSEGV, &action, NULL);
		sigaction(SIGUSR1, &wide, NULL);
		if (selector)
			in_64_bits(selector);
		else
			raise(SIGUSR1);
	}
	wait(&status);
	return status;
}

int main(void)
{
	EQUAL("FS: USER_DS", child(0x2b), SIGILL << 8);
	EQUAL("...a code segment", child(0x23), SIGILL << 8);
	EQUAL("...that of 64 bits", child(0x33), SIGILL << 8);
	EQUAL("...null", child(3), SIGILL << 8);
	EQUAL("...one that is not there", child(0x83 + 0x80), SIGSEGV << 8);
	EQUAL("the frame of a handler says 64 bits", child(0), SIGSEGV << 8);
	return done();
}
