/* i386: programs that go to 64-bit code and back, with any selector in FS, and signals meanwhile. */
#include "check.h"

#include <sys/mman.h>
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

static unsigned short gs;
static volatile unsigned flags, cs;

static void look(int signo)
{
	unsigned now, segment;

	__asm__ volatile("mov %2, %%gs\n\tpushf\n\tpop %0\n\tmov %%cs, %1" : "=r"(now), "=r"(segment) : "r"(gs));
	if (flags) { /* the CLI below */
		_exit(flags & 0x1a3000 ? 1 : cs != 0x23 ? 2 : signo == SIGSEGV ? 42 : 3);
	}
	flags = now;
	cs = segment;
	__asm__ volatile("cli");
	_exit(4);
}

/* IRET with VM in the flags: no program gets there (the engine's does, and comes back by UD2), and a handler is ring 3. */
static int to_virtual_8086(void)
{
	static unsigned frame[9] = {0x100, 0x1000, 0x23202, 0x800, 0x1000, 0x1000, 0x1000, 0x1000, 0x1000};
	struct sigaction action = {.sa_handler = look, .sa_flags = SA_NODEFER | SA_ONSTACK};
	unsigned char *low = mmap((void *)0x10000, 65536, PROT_READ | PROT_WRITE | PROT_EXEC,
				  MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	stack_t other = {.ss_sp = malloc(65536), .ss_size = 65536};
	int status;

	if (low != (void *)0x10000)
		return -1;
	low[0x100] = 0x0f;
	low[0x101] = 0x0b;
	if (!fork()) {
		sigaltstack(&other, NULL);
		sigaction(SIGILL, &action, NULL);
		sigaction(SIGSEGV, &action, NULL);
		__asm__ volatile("mov %%gs, %0" : "=r"(gs));
		__asm__ volatile("mov %0, %%esp\n\tiretl" ::"r"(frame) : "memory");
	}
	wait(&status);
	return status;
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
	EQUAL("IRET to virtual-8086 mode", to_virtual_8086(), 42 << 8);
	return done();
}
