/* Single requests that other projects' tests ask for. */
#include "traced.h"

#define SYSEMU 31
#define ARCH_PRCTL 30
#define PEEKSIGINFO 0x4209

/* PTRACE_SYSEMU leaves a call out; PTRACE_SYSCALL from its stop still stops at its end. */
static void emulated(void)
{
	int status;
	pid_t pid = fork();

	if (!pid) {
		raw(PTRACE_TRACEME, 0, 0, 0);
		raise(SIGSTOP);
		_exit(syscall(SYS_getppid) == -1 && errno == ENOSYS && syscall(SYS_getppid) > 1 ? 7 : 8);
	}
	waitpid(pid, &status, 0);
	raw(PTRACE_SETOPTIONS, pid, 0, PTRACE_O_TRACESYSGOOD);
	do {	/* what raise does after its signal */
		raw(PTRACE_SYSCALL, pid, 0, 0);
		waitpid(pid, &status, 0);
		if (ptrace(PTRACE_PEEKUSER, pid, offsetof(struct user, regs.REG_ORIG), 0) == SYS_getppid)
			break;
		raw(PTRACE_SYSCALL, pid, 0, 0);
		waitpid(pid, &status, 0);
	} while (WIFSTOPPED(status));
	/* At the entry of the first getppid, which is made; its end, then the second one's entry is emulated. */
	ptrace(PTRACE_POKEUSER, pid, offsetof(struct user, regs.REG_ORIG), -1);
	raw(SYSEMU, pid, 0, 0);
	EQUAL("next entry", stopped_with(stop_of(pid)), SIGTRAP | 0x80);
	EQUAL("is the second call", ptrace(PTRACE_PEEKUSER, pid, offsetof(struct user, regs.REG_ORIG), 0), SYS_getppid);
	raw(PTRACE_SYSCALL, pid, 0, 0);
	EQUAL("its end", stopped_with(stop_of(pid)), SIGTRAP | 0x80);
	EQUAL("it was not made", (int)ptrace(PTRACE_PEEKUSER, pid, offsetof(struct user, regs.REG_AX), 0), -ENOSYS);
	ptrace(PTRACE_POKEUSER, pid, offsetof(struct user, regs.REG_AX), 5);
	raw(PTRACE_CONT, pid, 0, 0);
	EQUAL("end", stop_of(pid), 7 << 8);
}

/* Signals that wait, into memory that ends too early: as many as there is room for. */
static void peeked(void)
{
	struct { unsigned long long off; unsigned flags; int count; } args = { 0, 0, 3 };
	char *memory = mmap(NULL, 2 * PAGE, RW, ANON, -1, 0);
	sigset_t set;
	int status, i;
	pid_t pid;

	munmap(memory + PAGE, PAGE);
	sigemptyset(&set);
	sigaddset(&set, SIGRTMIN + 1);
	sigprocmask(SIG_BLOCK, &set, NULL);
	pid = fork();
	if (!pid) {
		for (i = 0; i < 3; i++)
			syscall(SYS_tgkill, getpid(), getpid(), SIGRTMIN + 1);
		raw(PTRACE_TRACEME, 0, 0, 0);
		raise(SIGSTOP);
		_exit(0);
	}
	waitpid(pid, &status, 0);
	EQUAL("all", raw(PEEKSIGINFO, pid, (unsigned long)&args, (unsigned long)memory), 3);
	EQUAL("two", raw(PEEKSIGINFO, pid, (unsigned long)&args, (unsigned long)(memory + PAGE - 256)), 2);
	ERRNO("none", raw(PEEKSIGINFO, pid, (unsigned long)&args, (unsigned long)(memory + PAGE)), EFAULT);
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
}

static void look(int signo, siginfo_t *info, void *context)
{
	_exit(info->si_signo == signo && info->si_code == SI_USER && info->si_pid == getppid() ? 7 : 8);
}

/* A number in siginfo that is not the one that is delivered: the whole siginfo is made anew. */
static void spoiled(int number)
{
	struct sigaction action = {.sa_sigaction = look, .sa_flags = SA_SIGINFO};
	siginfo_t info;
	pid_t pid = fork();

	if (!pid) {
		sigaction(SIGUSR1, &action, NULL);
		raw(PTRACE_TRACEME, 0, 0, 0);
		raise(SIGUSR1);
		_exit(1);
	}
	EQUAL("stopped", stopped_with(stop_of(pid)), SIGUSR1);
	raw(PTRACE_GETSIGINFO, pid, 0, (unsigned long)&info);
	info.si_signo = number;
	info.si_code = 1234;
	EQUAL("spoiled", raw(PTRACE_SETSIGINFO, pid, 0, (unsigned long)&info), 0);
	raw(PTRACE_CONT, pid, 0, SIGUSR1);
	EQUAL("what the handler sees", stop_of(pid), 7 << 8);
}

#ifdef __x86_64__
static void bases(void)
{
	unsigned long base = 0, zero = 0;
	int status;
	pid_t pid = fork();

	if (!pid) {
		raw(PTRACE_TRACEME, 0, 0, 0);
		raise(SIGSTOP);
		syscall(SYS_arch_prctl, 0x1004, &base);
		_exit(base == 0x12345000 ? 7 : 8);
	}
	waitpid(pid, &status, 0);
	syscall(SYS_arch_prctl, 0x1003, &zero);
	EQUAL("get FS", raw(ARCH_PRCTL, pid, (unsigned long)&base, 0x1003), 0);
	CHECK("as here", base == zero);
	EQUAL("set GS", raw(ARCH_PRCTL, pid, 0x12345000, 0x1001), 0);
	EQUAL("get GS", raw(ARCH_PRCTL, pid, (unsigned long)&base, 0x1004), 0);
	EQUAL("that", base, 0x12345000);
	ERRNO("no user address", raw(ARCH_PRCTL, pid, 1UL << 63, 0x1001), EPERM);
	ERRNO("no option", raw(ARCH_PRCTL, pid, 0, 0x1234), EINVAL);
	raw(PTRACE_CONT, pid, 0, 0);
	waitpid(pid, &status, 0);
	EQUAL("the child's own", status, 7 << 8);
}
#endif

int main(void)
{
	emulated();
	peeked();
	spoiled(0);
	spoiled(-1);
	spoiled(1000);
#ifdef __x86_64__
	bases();
#endif
	return done();
}
