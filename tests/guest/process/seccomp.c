/* seccomp: strict mode, filters and what they answer, who gets them, and programs that are none. */
#include "check.h"
#include <fcntl.h>
#include <pthread.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>

struct insn { unsigned short code; unsigned char jt, jf; unsigned k; };
struct program { unsigned short len; struct insn *insns; };

#define ALLOW 0x7fff0000u
#define KILL_PROCESS 0x80000000u
#define KILL_THREAD 0u
#define TRAP 0x00030000u
#define ERRNO_ 0x00050000u
#define TRACE 0x7ff00000u
#define LOG 0x7ffc0000u
#define LOAD(at) { 0x20, 0, 0, at }
#define RET(value) { 0x06, 0, 0, value }
#define UNLESS(value, skip) { 0x15, 0, skip, value }
#define ARG0 16
#ifdef __x86_64__
#define ARCH 0xc000003eu
#define ORIG_AX (15 * 8)
#define AX (10 * 8)
#else
#define ARCH 0x40000003u
#define ORIG_AX (11 * 4)
#define AX (6 * 4)
#endif
#define COUNT(insns) (sizeof(insns) / sizeof(*(insns)))

static long install(struct insn *insns, unsigned count, unsigned flags)
{
	struct program program = { count, insns };

	return syscall(SYS_seccomp, 1, flags, &program);
}

/* A filter that answers `answer` for one system call and allows the others. */
static long refuse(long number, unsigned answer)
{
	struct insn insns[] = { LOAD(0), UNLESS(number, 1), RET(answer), RET(ALLOW) };

	return install(insns, COUNT(insns), 0);
}

/* The wait status of a child that runs `body`. */
static int child(void (*body)(void))
{
	pid_t pid = fork();
	int status = -1;

	if (pid == 0) {
		failures = 0;
		body();
		_exit(failures ? 99 : 0);
	}
	waitpid(pid, &status, 0);
	return status;
}

#define ENDS(name, body, by) EQUAL(name, WTERMSIG(child(body)), by)
#define LEAVES(name, body, code) EQUAL(name, child(body), (code) << 8)

static void strict(void)
{
	char byte;
	int ends[2];

	if (pipe(ends) || prctl(PR_SET_SECCOMP, 1, 0, 0, 0))
		_exit(1);
	write(ends[1], "x", 1);
	if (read(ends[0], &byte, 1) == 1)
		syscall(SYS_exit, 7);
	syscall(SYS_exit, 8);
}

static void strict_getpid(void)
{
	syscall(SYS_seccomp, 0, 0, NULL);
	getppid();
	syscall(SYS_exit, 8);
}

static void errnos(void)
{
	EQUAL("an errno", refuse(SYS_getppid, ERRNO_ | 42), 0);
	ERRNO("refused", syscall(SYS_getppid), 42);
	CHECK("others work", getpid() > 1 && getuid() == geteuid());
	EQUAL("errno 0 is success", refuse(SYS_getpgid, ERRNO_), 0);
	EQUAL("a result of 0", syscall(SYS_getpgid, 0), 0);
	EQUAL("too large an errno", refuse(SYS_umask, ERRNO_ | 0xffff), 0);
	EQUAL("is 4095", (errno = 0, syscall(SYS_umask, 0), errno), 4095);
	EQUAL("mode", prctl(PR_GET_SECCOMP, 0, 0, 0, 0), 2);
	ERRNO("strict mode after that", prctl(PR_SET_SECCOMP, 1, 0, 0, 0), EINVAL);
	EQUAL("the strictest wins", refuse(SYS_getppid, ERRNO_ | 43), 0);
	ERRNO("the newest of two alike", syscall(SYS_getppid), 43);
	EQUAL("a weaker one", refuse(SYS_getppid, LOG), 0);
	ERRNO("changes nothing", syscall(SYS_getppid), 43);
	EQUAL("no tracer", refuse(SYS_sched_yield, TRACE | 1), 0);
	ERRNO("is no call", syscall(SYS_sched_yield), ENOSYS);
	EQUAL("logged", refuse(SYS_getsid, LOG), 0);
	CHECK("and made", syscall(SYS_getsid, 0) >= 0);
}

static void arguments(void)
{
	struct insn insns[] = {
		LOAD(4), UNLESS(ARCH, 11), LOAD(0), UNLESS(SYS_close, 9), LOAD(ARG0),
		{ 0x02, 0, 0, 3 }, { 0x61, 0, 0, 3 }, { 0x87, 0, 0, 0 },	/* M[3] = A; X = M[3]; A = X */
		{ 0x54, 0, 0, 0xff }, { 0x04, 0, 0, 5 },			/* A = (A & 255) + 5 */
		{ 0x25, 0, 2, 105 },						/* more than 105? */
		{ 0x44, 0, 0, ERRNO_ }, { 0x16, 0, 0, 0 },			/* that errno */
		RET(ALLOW),
	};
	EQUAL("by argument", install(insns, COUNT(insns), 0), 0);
	ERRNO("close(101)", close(101), 106);
	ERRNO("close(100)", close(100), EBADF);
	ERRNO("close(0x1065)", close(0x1065), 106);
}

static void inherited(void)
{
	int status;

	refuse(SYS_getppid, ERRNO_ | 42);
	if (fork() == 0)
		_exit(syscall(SYS_getppid) == -1 && errno == 42 && refuse(SYS_getppid, ERRNO_ | 44) == 0 ? errno : 0);
	wait(&status);
	EQUAL("a child has it", status, 42 << 8);
	ERRNO("its own is its own", syscall(SYS_getppid), 42);
}

static siginfo_t trapped;

static void on_sigsys(int signo, siginfo_t *info, void *context)
{
	(void)signo, (void)context;
	trapped = *info;
}

static void trap(void)
{
	struct sigaction action = { .sa_sigaction = on_sigsys, .sa_flags = SA_SIGINFO };
	long result;

	sigaction(SIGSYS, &action, NULL);
	refuse(SYS_getppid, TRAP | 0x1234);
	result = syscall(SYS_getppid);
	EQUAL("registers as before", result, SYS_getppid);
	EQUAL("SIGSYS", trapped.si_signo, SIGSYS);
	EQUAL("SYS_SECCOMP", trapped.si_code, 1);
	EQUAL("data", trapped.si_errno, 0x1234);
	EQUAL("number", trapped.si_syscall, SYS_getppid);
	EQUAL("architecture", trapped.si_arch, ARCH);
	CHECK("where", trapped.si_call_addr != NULL);
}

static void trap_default(void)
{
	refuse(SYS_getppid, TRAP);
	getppid();
}

static void trap_blocked(void)
{
	struct sigaction action = { .sa_sigaction = on_sigsys, .sa_flags = SA_SIGINFO };
	sigset_t set;

	sigaction(SIGSYS, &action, NULL);
	sigfillset(&set);
	sigprocmask(SIG_BLOCK, &set, NULL);
	refuse(SYS_getppid, TRAP);
	getppid();
}

static void kill_process(void)
{
	signal(SIGSYS, SIG_IGN);
	refuse(SYS_getppid, KILL_PROCESS);
	getppid();
}

static void kill_single(void)
{
	refuse(SYS_getppid, KILL_THREAD);
	getppid();
}

static volatile int reached;

static void *dies(void *unused)
{
	refuse(SYS_getppid, KILL_THREAD);
	reached = 1;
	syscall(SYS_getppid);
	reached = 2;
	return unused;
}

static void kill_thread(void)
{
	pthread_t thread;
	int i;

	pthread_create(&thread, NULL, dies, NULL);
	for (i = 0; i < 2000 && !reached; i++)
		usleep(1000);
	usleep(20000);
	EQUAL("only the thread", reached, 1);
	CHECK("the others have no filter", getppid() > 0);
	syscall(SYS_exit_group, 5);
}

static volatile int step;

static void *asks(void *unused)
{
	while (step == 0)
		usleep(1000);
	errno = 0;
	reached = syscall(SYS_getppid) == -1 ? errno : 0;
	return unused;
}

static void tsync(void)
{
	struct insn insns[] = { LOAD(0), UNLESS(SYS_getppid, 1), RET(ERRNO_ | 45), RET(ALLOW) };
	pthread_t thread;

	reached = step = 0;
	pthread_create(&thread, NULL, asks, NULL);
	EQUAL("for all threads", install(insns, COUNT(insns), 1), 0);
	step = 1;
	pthread_join(thread, NULL);
	EQUAL("the other has it", reached, 45);
}

static void *has_its_own(void *unused)
{
	refuse(SYS_getsid, ERRNO_);
	step = 1;
	while (step == 1)
		usleep(1000);
	return unused;
}

static void tsync_refused(void)
{
	struct insn allow[] = { RET(ALLOW) };
	pthread_t thread;

	step = 0;
	pthread_create(&thread, NULL, has_its_own, NULL);
	while (step == 0)
		usleep(1000);
	CHECK("the thread in the way", install(allow, 1, 1) > 1);
	ERRNO("or an error", install(allow, 1, 1 | 16), ESRCH);
	step = 2;
	pthread_join(thread, NULL);
}

static void unprivileged(void)
{
	struct insn allow[] = { RET(ALLOW) };
	char text[4096];
	int fd, length;

	if (getuid() == 0 && syscall(SYS_setresuid, 1000, 1000, 1000))
		_exit(1);
	ERRNO("needs no_new_privs", install(allow, 1, 0), EACCES);
	EQUAL("no_new_privs", prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
	EQUAL("now", install(allow, 1, 0), 0);
	EQUAL("and another", install(allow, 1, 2), 0);
	fd = open("/proc/thread-self/status", O_RDONLY);
	length = read(fd, text, sizeof(text) - 1);
	text[length > 0 ? length : 0] = 0;
	CHECK("status", strstr(text, "\nNoNewPrivs:\t1\nSeccomp:\t2\nSeccomp_filters:\t2\n") != NULL);
}

static void programs(void)
{
	static struct insn long_one[4097];
	struct insn bad[][2] = {
		{ LOAD(64), RET(ALLOW) }, { LOAD(2), RET(ALLOW) },	/* beyond the data, across a word */
		{ { 0x28, 0, 0, 0 }, RET(ALLOW) },			/* half a word */
		{ { 0x34, 0, 0, 0 }, RET(ALLOW) },			/* division by 0 */
		{ { 0x64, 0, 0, 32 }, RET(ALLOW) }, { { 0x94, 0, 0, 3 }, RET(ALLOW) },	/* shift by 32, modulo */
		{ { 0x02, 0, 0, 16 }, RET(ALLOW) }, { { 0x60, 0, 0, 1 }, RET(ALLOW) },	/* no M[16]; M[1] was never set */
		{ { 0x05, 0, 0, 1 }, RET(ALLOW) }, { { 0x15, 1, 0, 0 }, RET(ALLOW) },	/* jumps out of it */
		{ RET(ALLOW), LOAD(0) },				/* no end */
	};
	unsigned i, action = TRACE;

	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	for (i = 0; i < COUNT(bad); i++) {
		char name[32];

		snprintf(name, sizeof(name), "bad program %u", i);
		ERRNO(name, install(bad[i], 2, 0), EINVAL);
	}
	ERRNO("none", install(bad[0], 0, 0), EINVAL);
	ERRNO("too long", install(long_one, 4097, 0), EINVAL);
	ERRNO("no program", install(NULL, 1, 0), EINVAL);
	ERRNO("a bad address", install((void *)8, 1, 0), EFAULT);
	ERRNO("no pointer", syscall(SYS_seccomp, 1, 0, NULL), EFAULT);
	ERRNO("prctl, no pointer", prctl(PR_SET_SECCOMP, 2, NULL, 0, 0), EFAULT);
	ERRNO("no mode", prctl(PR_SET_SECCOMP, 3, 0, 0, 0), EINVAL);
	ERRNO("no flags", install(bad[0], 1, 0x80), EINVAL);
	ERRNO("no operation", syscall(SYS_seccomp, 9, 0, NULL), EINVAL);
	ERRNO("strict takes no flags", syscall(SYS_seccomp, 0, 1, NULL), EINVAL);
	EQUAL("an action", syscall(SYS_seccomp, 2, 0, &action), 0);
	action = 0x12340000;
	ERRNO("no action", syscall(SYS_seccomp, 2, 0, &action), EOPNOTSUPP);
	EQUAL("mode", prctl(PR_GET_SECCOMP, 0, 0, 0, 0), 0);
}

static void traced(void)
{
	unsigned long message = 0;
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		ptrace(PTRACE_TRACEME, 0, 0, 0);
		raise(SIGSTOP);
		refuse(SYS_getppid, TRACE | 7);
		_exit(syscall(SYS_getppid) == 123 && syscall(SYS_getppid) > 1 ? 6 : 8);
	}
	waitpid(pid, &status, 0);
	EQUAL("option", ptrace(PTRACE_SETOPTIONS, pid, 0, 0x80), 0);
	ptrace(PTRACE_CONT, pid, 0, 0);
	waitpid(pid, &status, 0);
	EQUAL("event", status >> 8, SIGTRAP | 7 << 8);
	ptrace(PTRACE_GETEVENTMSG, pid, 0, &message);
	EQUAL("data", message, 7);
	EQUAL("which call", ptrace(PTRACE_PEEKUSER, pid, ORIG_AX, 0), SYS_getppid);
	ptrace(PTRACE_POKEUSER, pid, ORIG_AX, -1);
	ptrace(PTRACE_POKEUSER, pid, AX, 123);
	ptrace(PTRACE_CONT, pid, 0, 0);
	waitpid(pid, &status, 0);
	EQUAL("again", status >> 8, SIGTRAP | 7 << 8);
	ptrace(PTRACE_CONT, pid, 0, 0);
	waitpid(pid, &status, 0);
	EQUAL("end", status, 6 << 8);
}

int main(void)
{
	LEAVES("strict: read, write, exit", strict, 7);
	ENDS("strict: nothing else", strict_getpid, SIGKILL);
	LEAVES("errnos", errnos, 0);
	LEAVES("arguments", arguments, 0);
	LEAVES("inherited", inherited, 0);
	LEAVES("trap", trap, 0);
	ENDS("trap without handler", trap_default, SIGSYS);
	ENDS("trap, blocked", trap_blocked, SIGSYS);
	ENDS("kill the process", kill_process, SIGSYS);
	ENDS("kill the only thread", kill_single, SIGSYS);
	LEAVES("kill a thread", kill_thread, 5);
	LEAVES("all threads", tsync, 0);
	LEAVES("not all threads", tsync_refused, 0);
	LEAVES("without root", unprivileged, 0);
	LEAVES("programs", programs, 0);
	LEAVES("tracer", traced, 0);
	return done();
}
