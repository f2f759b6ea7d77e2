/* TRACEME, memory, registers, signals, system calls, steps, and every errno (kernel/ptrace.c). */
#include "traced.h"

static volatile long cell = 41;
static volatile int handled;

static void on(int signo)
{
	handled = signo;
}

static pid_t child(void)
{
	pid_t pid = fork();

	if (!pid) {
		if (raw(PTRACE_TRACEME, 0, 0, 0))
			_exit(90);
		signal(SIGUSR1, on);
		raise(SIGSTOP);
		if (cell != 42)
			_exit(91);
		raise(SIGUSR1);
		_exit(handled == SIGUSR2 ? 92 : handled == SIGUSR1 ? 93 : cell);
	}
	return pid;
}

static void memory(void)
{
	unsigned long word = 0;
	pid_t pid = child();
	char path[64];
	int fd, value;
	siginfo_t info;

	EQUAL("its SIGSTOP", stopped_with(stop_of(pid)), SIGSTOP);
	ERRNO("peek", raw(PTRACE_PEEKDATA, pid, (unsigned long)&cell, (unsigned long)&word), 0);
	EQUAL("the word", word, 41);
	ERRNO("poke", raw(PTRACE_POKEDATA, pid, (unsigned long)&cell, 42), 0);
	EQUAL("ours is as it was", cell, 41);
	ERRNO("peek at nothing", raw(PTRACE_PEEKTEXT, pid, 16, (unsigned long)&word), EIO);
	ERRNO("poke at nothing", raw(PTRACE_POKETEXT, pid, 16, 1), EIO);
	ERRNO("peek to nowhere", raw(PTRACE_PEEKDATA, pid, (unsigned long)&cell, 16), EFAULT);
	snprintf(path, sizeof path, "/proc/%d/mem", pid);
	fd = open(path, O_RDWR);
	CHECK("its memory as a file", fd >= 0);
	EQUAL("read", pread(fd, &value, 4, (unsigned long)&cell), 4);
	EQUAL("what was poked", value, 42);
	value = 43;
	EQUAL("written", pwrite(fd, &value, 4, (unsigned long)&cell), 4);
	raw(PTRACE_PEEKDATA, pid, (unsigned long)&cell, (unsigned long)&word);
	EQUAL("peeked", word, 43);
	raw(PTRACE_POKEDATA, pid, (unsigned long)&cell, 42);
	close(fd);
	ERRNO("siginfo", raw(PTRACE_GETSIGINFO, pid, 0, (unsigned long)&info), 0);
	EQUAL("who sent it", info.si_signo == SIGSTOP && info.si_pid == pid && info.si_code == SI_TKILL, 1);
	ERRNO("no such signal", raw(PTRACE_CONT, pid, 0, 65), EIO);
	ERRNO("no such request", raw(0x5555, pid, 0, 0), EIO);
	ERRNO("an unknown option", raw(PTRACE_SETOPTIONS, pid, 0, 1 << 30), EINVAL);
	ERRNO("it is traced already", raw(PTRACE_ATTACH, pid, 0, 0), EPERM);
	ERRNO("go on", raw(PTRACE_CONT, pid, 0, 0), 0);
	EQUAL("its SIGUSR1", stopped_with(stop_of(pid)), SIGUSR1);
	ERRNO("siginfo again", raw(PTRACE_GETSIGINFO, pid, 0, (unsigned long)&info), 0);
	EQUAL("SIGUSR1", info.si_signo, SIGUSR1);
	ERRNO("without the signal", raw(PTRACE_CONT, pid, 0, 0), 0);
	EQUAL("which it did not see", WEXITSTATUS(stop_of(pid)), 42);
	ERRNO("it is gone", raw(PTRACE_CONT, pid, 0, 0), ESRCH);

	pid = child();
	stop_of(pid);
	raw(PTRACE_POKEDATA, pid, (unsigned long)&cell, 42);
	raw(PTRACE_CONT, pid, 0, 0);
	stop_of(pid);
	ERRNO("with the signal", raw(PTRACE_CONT, pid, 0, SIGUSR1), 0);
	EQUAL("it came", WEXITSTATUS(stop_of(pid)), 93);

	pid = child();
	stop_of(pid);
	raw(PTRACE_POKEDATA, pid, (unsigned long)&cell, 42);
	raw(PTRACE_CONT, pid, 0, 0);
	stop_of(pid);
	raw(PTRACE_CONT, pid, 0, SIGKILL);
	EQUAL("another signal: SIGKILL", WTERMSIG(stop_of(pid)), SIGKILL);
	pid = child();
	stop_of(pid);
	ERRNO("PTRACE_KILL", raw(PTRACE_KILL, pid, 0, 0), 0);
	EQUAL("killed", WTERMSIG(stop_of(pid)), SIGKILL);
	pid = child();
	stop_of(pid);
	ERRNO("kill(2)", kill(pid, SIGKILL), 0);
	EQUAL("ends a stopped one", WTERMSIG(stop_of(pid)), SIGKILL);
	ERRNO("of nobody", raw(PTRACE_ATTACH, 0x3ffffff, 0, 0), ESRCH);
	ERRNO("of itself", raw(PTRACE_ATTACH, getpid(), 0, 0), EPERM);
	ERRNO("of init", raw(PTRACE_CONT, 1, 0, 0), ESRCH);
	ERRNO("SEIZE with an address", raw(PTRACE_SEIZE, getppid(), 1, 0), EIO);
}

static void registers(void)
{
	struct user_regs_struct regs, set;
	struct iovec iov = {&set, sizeof set};
	static char fp[4096], fp2[4096];
	unsigned long word = 0;
	pid_t pid = fork();

	if (!pid) {
		raw(PTRACE_TRACEME, 0, 0, 0);
		raise(SIGSTOP);
		syscall(SYS_getpid);
		_exit(syscall(SYS_getppid) == 1234 ? 7 : 8);
	}
	stop_of(pid);
	ERRNO("GETREGS", raw(PTRACE_GETREGS, pid, 0, (unsigned long)&regs), 0);
	ERRNO("GETREGSET", raw(PTRACE_GETREGSET, pid, NT_PRSTATUS, (unsigned long)&iov), 0);
	EQUAL("all of it", iov.iov_len, sizeof regs);
	CHECK("the same", !memcmp(&regs, &set, sizeof regs));
	ERRNO("PEEKUSER", raw(PTRACE_PEEKUSER, pid, offsetof(struct user_regs_struct, REG_IP), (unsigned long)&word), 0);
	CHECK("the instruction pointer", word == (unsigned long)regs.REG_IP);
	ERRNO("PEEKUSER off a word", raw(PTRACE_PEEKUSER, pid, 1, (unsigned long)&word), EIO);
	ERRNO("PEEKUSER beyond", raw(PTRACE_PEEKUSER, pid, sizeof(struct user) + 64, (unsigned long)&word), EIO);
	ERRNO("no such set", raw(PTRACE_GETREGSET, pid, 0x7777, (unsigned long)&iov), EINVAL);
	iov.iov_len = sizeof regs - 1;
	ERRNO("a part of a word", raw(PTRACE_GETREGSET, pid, NT_PRSTATUS, (unsigned long)&iov), EINVAL);
	iov = (struct iovec){fp, sizeof fp};
	ERRNO("floating point", raw(PTRACE_GETREGSET, pid, NT_PRFPREG, (unsigned long)&iov), 0);
	EQUAL("its size", iov.iov_len, sizeof(void *) == 8 ? 512 : 108);
	ERRNO("GETFPREGS", raw(PTRACE_GETFPREGS, pid, 0, (unsigned long)fp2), 0);
	CHECK("the same", !memcmp(fp, fp2, iov.iov_len));
	EQUAL("control word", *(unsigned short *)fp, 0x37f);
	ERRNO("set them", raw(PTRACE_SETFPREGS, pid, 0, (unsigned long)fp2), 0);
	iov = (struct iovec){fp, sizeof fp};
	ERRNO("XSAVE", raw(PTRACE_GETREGSET, pid, NT_X86_XSTATE, (unsigned long)&iov), 0);
	CHECK("at least 576 bytes", iov.iov_len >= 576);

	/* system calls: numbers, arguments, results, and changing them */
	raw(PTRACE_SETOPTIONS, pid, 0, PTRACE_O_TRACESYSGOOD);
	do {
		raw(PTRACE_SYSCALL, pid, 0, 0);
		EQUAL("a call", stopped_with(stop_of(pid)), SIGTRAP | 0x80);
		raw(PTRACE_GETREGS, pid, 0, (unsigned long)&regs);
		if (regs.REG_ORIG == SYS_getpid)
			break;
		raw(PTRACE_SYSCALL, pid, 0, 0);
		EQUAL("its end", stopped_with(stop_of(pid)), SIGTRAP | 0x80);
	} while (1);
	EQUAL("before a call", (long)regs.REG_AX, -ENOSYS);
	raw(PTRACE_SYSCALL, pid, 0, 0);
	stop_of(pid);
	raw(PTRACE_GETREGS, pid, 0, (unsigned long)&regs);
	EQUAL("its result", (long)regs.REG_AX == pid, 1);
	raw(PTRACE_SYSCALL, pid, 0, 0);
	stop_of(pid);
	raw(PTRACE_GETREGS, pid, 0, (unsigned long)&regs);
	EQUAL("getppid", regs.REG_ORIG, SYS_getppid);
	regs.REG_ORIG = -1;  /* not made */
	raw(PTRACE_SETREGS, pid, 0, (unsigned long)&regs);
	raw(PTRACE_SYSCALL, pid, 0, 0);
	stop_of(pid);
	ERRNO("POKEUSER", raw(PTRACE_POKEUSER, pid, offsetof(struct user_regs_struct, REG_AX), 1234), 0);
	raw(PTRACE_SYSCALL, pid, 0, 0);
	stop_of(pid);
	raw(PTRACE_GETREGS, pid, 0, (unsigned long)&regs);
	EQUAL("it got the answer", regs.REG_ORIG == SYS_exit_group && regs.REG_ARG0 == 7, 1);
	raw(PTRACE_CONT, pid, 0, 0);
	EQUAL("its end", WEXITSTATUS(stop_of(pid)), 7);
}

static void syscall_info(void)
{
	struct { unsigned char op, pad[3]; unsigned arch; unsigned long long ip, sp, nr, args[6]; } info;
	pid_t pid = fork();
	long size;

	if (!pid) {
		raw(PTRACE_TRACEME, 0, 0, 0);
		raise(SIGSTOP);
		close(-7);
		_exit(0);
	}
	stop_of(pid);
	EQUAL("no call", raw(0x420e, pid, sizeof info, (unsigned long)&info), 24);
	EQUAL("op", info.op, 0);
	EQUAL("arch", info.arch, sizeof(void *) == 8 ? 0xc000003e : 0x40000003);
	raw(PTRACE_SETOPTIONS, pid, 0, PTRACE_O_TRACESYSGOOD);
	do {
		raw(PTRACE_SYSCALL, pid, 0, 0);
		stop_of(pid);
		size = raw(0x420e, pid, sizeof info, (unsigned long)&info);
		EQUAL("size", size, info.op == 1 ? 80 : 33);
	} while (info.op != 1 || info.nr != SYS_close);
	EQUAL("argument", (int)info.args[0], -7);
	raw(PTRACE_SYSCALL, pid, 0, 0);
	stop_of(pid);
	EQUAL("at the end", raw(0x420e, pid, sizeof info, (unsigned long)&info), 33);
	EQUAL("op", info.op, 2);
	EQUAL("result", (long long)info.nr, -EBADF);
	EQUAL("an error", *(unsigned char *)&info.args[0], 1);
	EQUAL("cut short", raw(0x420e, pid, 8, (unsigned long)&info), 33);
	raw(PTRACE_KILL, pid, 0, 0);
	stop_of(pid);
}

extern char first_step[], last_step[];

static void steps(void)
{
	struct user_regs_struct regs;
	unsigned long at[8];
	siginfo_t info;
	int i, status;
	pid_t pid = fork();

	if (!pid) {
		raw(PTRACE_TRACEME, 0, 0, 0);
		signal(SIGUSR1, on);
		raise(SIGSTOP);
		__asm__ volatile(".global first_step, last_step\n int3\nfirst_step: nop\n inc %%eax\n cmc\n clc\nlast_step: nop"
			: : : "eax", "cc", "memory");
		_exit(13);
	}
	stop_of(pid);
	raw(PTRACE_CONT, pid, 0, 0);
	EQUAL("int3", stopped_with(stop_of(pid)), SIGTRAP);
	raw(PTRACE_GETSIGINFO, pid, 0, (unsigned long)&info);
	EQUAL("SI_KERNEL", info.si_code, SI_KERNEL);
	for (i = 0; i < 5; i++) {
		raw(PTRACE_GETREGS, pid, 0, (unsigned long)&regs);
		at[i] = regs.REG_IP;
		EQUAL("TF is not shown", regs.eflags & 0x100, 0);
		raw(PTRACE_SINGLESTEP, pid, 0, 0);
		EQUAL("a step", stopped_with(stop_of(pid)), SIGTRAP);
		raw(PTRACE_GETSIGINFO, pid, 0, (unsigned long)&info);
		EQUAL("TRAP_TRACE", info.si_code, TRAP_TRACE);
	}
	CHECK("from", at[0] == (unsigned long)first_step);
	CHECK("to", at[4] == (unsigned long)last_step);
	/* a handler starts with a stop at its first instruction */
	kill(pid, SIGUSR1);
	raw(PTRACE_CONT, pid, 0, 0);
	EQUAL("SIGUSR1", stopped_with(stop_of(pid)), SIGUSR1);
	raw(PTRACE_SINGLESTEP, pid, 0, SIGUSR1);
	EQUAL("into the handler", stopped_with(stop_of(pid)), SIGTRAP);
	raw(PTRACE_GETREGS, pid, 0, (unsigned long)&regs);
	CHECK("its first instruction", (unsigned long)regs.REG_IP == (unsigned long)on);
	/* on through system calls to the end: each step moves */
	for (i = 0; i < 2000; i++) {
		raw(PTRACE_SINGLESTEP, pid, 0, 0);
		status = stop_of(pid);
		if (stopped_with(status) != SIGTRAP)
			break;
	}
	EQUAL("the end", WIFEXITED(status) ? WEXITSTATUS(status) : -1, 13);
	CHECK("in many steps", i > 10 && i < 1900);
}

int main(void)
{
	memory();
	registers();
	syscall_info();
	steps();
	return done();
}
