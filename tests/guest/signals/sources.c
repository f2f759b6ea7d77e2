/* si_code and its fields from every sender; SA_ flags; stop, continue, SIGCHLD with SA_NOCLDSTOP and SA_NOCLDWAIT. */
#include "check.h"
#include <fcntl.h>
#include <pthread.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>

static siginfo_t last;
static volatile sig_atomic_t count;

static void on(int signo, siginfo_t *info, void *context)
{
	(void)context;
	last = *info;
	count += info->si_signo == signo;
}

static void handle(int signo, int flags)
{
	struct sigaction action = {0};

	action.sa_sigaction = on;
	action.sa_flags = flags | SA_SIGINFO;
	sigaction(signo, &action, NULL);
	count = 0;
	memset(&last, 0, sizeof last);
}

static void wait_for(int wanted)
{
	int i;

	for (i = 0; i < 5000 && count < wanted; i++)
		usleep(1000);
}

static void senders(void)
{
	union sigval value = {.sival_int = 77};
	struct itimerval soon = {{0, 0}, {0, 1000}};
	struct itimerspec in = {{0, 0}, {0, 1000000}};
	struct sigevent event;
	timer_t timer;

	handle(SIGUSR1, 0);
	kill(getpid(), SIGUSR1);
	EQUAL("kill", last.si_code == SI_USER && last.si_pid == getpid() && last.si_uid == getuid() && !last.si_errno, 1);
	raise(SIGUSR1);
	EQUAL("tkill", last.si_code == SI_TKILL && last.si_pid == getpid(), 1);
	sigqueue(getpid(), SIGUSR1, value);
	EQUAL("sigqueue", last.si_code == SI_QUEUE && last.si_value.sival_int == 77 && last.si_pid == getpid(), 1);
	handle(SIGALRM, 0);
	setitimer(ITIMER_REAL, &soon, NULL);
	wait_for(1);
	EQUAL("setitimer", last.si_code == SI_KERNEL && last.si_pid == 0, 1);
	memset(&event, 0, sizeof event);
	event.sigev_notify = SIGEV_SIGNAL;
	event.sigev_signo = SIGRTMIN;
	event.sigev_value.sival_int = 5;
	handle(SIGRTMIN, 0);
	timer_create(CLOCK_MONOTONIC, &event, &timer);
	timer_settime(timer, 0, &in, NULL);
	wait_for(1);
	EQUAL("timer_create", last.si_code == SI_TIMER && last.si_value.sival_int == 5 && last.si_overrun == 0, 1);
	timer_delete(timer);
	handle(SIGPIPE, 0);
	int fds[2];
	if (pipe(fds))
		_exit(9);
	close(fds[0]);
	ERRNO("write without readers", write(fds[1], "x", 1), EPIPE);
	EQUAL("SIGPIPE", last.si_code == SI_USER && last.si_pid == getpid(), 1);
}

static void children(void)
{
	struct rlimit { unsigned long a, b; } unused;
	pid_t pid;
	int status;

	(void)unused;
	handle(SIGCHLD, 0);
	if (!(pid = fork()))
		_exit(7);
	wait_for(1);
	EQUAL("exited", last.si_code == CLD_EXITED && last.si_pid == pid && last.si_status == 7, 1);
	waitpid(pid, NULL, 0);
	handle(SIGCHLD, 0);
	if (!(pid = fork()))
		for (;;)
			pause();
	kill(pid, SIGSTOP);
	wait_for(1);
	EQUAL("stopped", last.si_code == CLD_STOPPED && last.si_status == SIGSTOP, 1);
	count = 0;
	kill(pid, SIGCONT);
	wait_for(1);
	EQUAL("continued", last.si_code == CLD_CONTINUED && last.si_status == SIGCONT, 1);
	count = 0;
	kill(pid, SIGTERM);
	wait_for(1);
	EQUAL("killed", last.si_code == CLD_KILLED && last.si_status == SIGTERM, 1);
	waitpid(pid, NULL, 0);

	handle(SIGCHLD, SA_NOCLDSTOP);
	if (!(pid = fork()))
		for (;;)
			pause();
	kill(pid, SIGSTOP);
	waitpid(pid, &status, WUNTRACED);
	kill(pid, SIGCONT);
	waitpid(pid, &status, WCONTINUED);
	EQUAL("SA_NOCLDSTOP: neither", count, 0);
	kill(pid, SIGKILL);
	wait_for(1);
	EQUAL("but its end", last.si_code == CLD_KILLED && count == 1, 1);
	waitpid(pid, NULL, 0);

	handle(SIGCHLD, SA_NOCLDWAIT);
	if (!(pid = fork()))
		_exit(3);
	wait_for(1);
	EQUAL("SA_NOCLDWAIT: told", last.si_code == CLD_EXITED && last.si_status == 3, 1);
	ERRNO("and no zombie", waitpid(pid, NULL, 0), ECHILD);
	signal(SIGCHLD, SIG_IGN);
	if (!(pid = fork())) {
		usleep(20000);
		_exit(3);
	}
	ERRNO("SIG_IGN: wait sleeps until all are gone", wait(NULL), ECHILD);
	for (int i = 0; i < 1000 && !kill(pid, 0); i++)
		usleep(1000); /* the host wakes the parent a moment before */
	ERRNO("they are", kill(pid, 0), ESRCH);
	signal(SIGCHLD, SIG_DFL);
}

static volatile int depth, deepest, order[10], orders;
static void nest(int signo)
{
	depth++;
	if (depth > deepest)
		deepest = depth;
	if (orders < 10)
		order[orders++] = signo;
	if (depth < 3)
		raise(signo);
	depth--;
}

static void flags(void)
{
	struct sigaction action = {0}, old;

	action.sa_handler = nest;
	action.sa_flags = SA_NODEFER;
	sigaction(SIGUSR2, &action, NULL);
	raise(SIGUSR2);
	EQUAL("SA_NODEFER nests", deepest, 3);
	deepest = orders = 0;
	action.sa_flags = 0;
	sigaction(SIGUSR2, &action, NULL);
	depth = 2;
	raise(SIGUSR2);
	depth = 0;
	EQUAL("without it does not", deepest, 3);
	action.sa_flags = SA_RESETHAND | SA_NODEFER;
	sigaction(SIGUSR2, &action, NULL);
	depth = 5;
	raise(SIGUSR2);
	sigaction(SIGUSR2, NULL, &old);
	CHECK("SA_RESETHAND", old.sa_handler == SIG_DFL);
	depth = 0;
	/* several that wait: lowest number first, so the last frame runs first */
	sigset_t set, empty;
	sigfillset(&set);
	sigemptyset(&empty);
	action.sa_flags = 0;
	sigfillset(&action.sa_mask);
	sigaction(SIGUSR1, &action, NULL);
	sigaction(SIGUSR2, &action, NULL);
	sigaction(SIGRTMIN + 1, &action, NULL);
	sigaction(SIGRTMIN + 2, &action, NULL);
	depth = 5;
	orders = 0;
	sigprocmask(SIG_SETMASK, &set, NULL);
	raise(SIGRTMIN + 2);
	raise(SIGRTMIN + 1);
	raise(SIGUSR2);
	raise(SIGUSR1);
	raise(SIGRTMIN + 1);
	sigprocmask(SIG_SETMASK, &empty, NULL);
	EQUAL("five handlers", orders, 5);
	EQUAL("in this order", order[0] == SIGUSR1 && order[1] == SIGUSR2 && order[2] == SIGRTMIN + 1 &&
	      order[3] == SIGRTMIN + 1 && order[4] == SIGRTMIN + 2, 1);
	ERRNO("SIGKILL has no handler", sigaction(SIGKILL, &action, NULL), EINVAL);
	ERRNO("nor SIGSTOP", sigaction(SIGSTOP, &action, NULL), EINVAL);
	ERRNO("but can be asked for", sigaction(SIGKILL, NULL, &old), 0);
	ERRNO("there is no signal 65", syscall(SYS_rt_sigaction, 65, &action, NULL, 8), EINVAL);
	ERRNO("a mask has 8 bytes", syscall(SYS_rt_sigaction, SIGUSR1, NULL, NULL, 4), EINVAL);
}

/* What each signal does by default, to a child. */
static void defaults(void)
{
	static const int fatal[] = {SIGHUP, SIGINT, SIGKILL, SIGUSR1, SIGPIPE, SIGALRM, SIGTERM, SIGVTALRM, SIGPROF, SIGIO, SIGPWR,
		SIGSTKFLT, 34, 64};
	static const int core[] = {SIGQUIT, SIGILL, SIGTRAP, SIGABRT, SIGBUS, SIGFPE, SIGSEGV, SIGXCPU, SIGXFSZ, SIGSYS};
	static const int ignored[] = {SIGCHLD, SIGCONT, SIGURG, SIGWINCH};
	static const int stop[] = {SIGSTOP, SIGTSTP, SIGTTIN, SIGTTOU};
	char name[40];
	int status;
	unsigned i;
	pid_t pid;

	for (i = 1; i < 65; i++)
		signal(i, SIG_DFL);

#define EACH(list) for (i = 0; i < sizeof list / sizeof *list; i++)
	EACH(fatal) {
		if (!(pid = fork())) {
			syscall(SYS_kill, getpid(), fatal[i]);
			_exit(0);
		}
		waitpid(pid, &status, 0);
		snprintf(name, sizeof name, "%d ends it", fatal[i]);
		EQUAL(name, WIFSIGNALED(status) && WTERMSIG(status) == fatal[i] && !WCOREDUMP(status), 1);
	}
	EACH(core) {
		if (!(pid = fork())) {
			syscall(SYS_kill, getpid(), core[i]);
			_exit(0);
		}
		waitpid(pid, &status, 0);
		snprintf(name, sizeof name, "%d ends it", core[i]);
		EQUAL(name, WIFSIGNALED(status) && WTERMSIG(status) == core[i], 1);
	}
	EACH(ignored) {
		if (!(pid = fork())) {
			syscall(SYS_kill, getpid(), ignored[i]);
			_exit(4);
		}
		waitpid(pid, &status, 0);
		snprintf(name, sizeof name, "%d does nothing", ignored[i]);
		EQUAL(name, WIFEXITED(status) && WEXITSTATUS(status) == 4, 1);
	}
	EACH(stop) {
		if (!(pid = fork())) {
			setpgid(0, 0);
			syscall(SYS_kill, getpid(), stop[i]);
			_exit(4);
		}
		waitpid(pid, &status, WUNTRACED);
		snprintf(name, sizeof name, "%d stops it", stop[i]);
		EQUAL(name, WIFSTOPPED(status) && WSTOPSIG(status) == stop[i], 1);
		kill(pid, SIGCONT);
		waitpid(pid, &status, 0);
		EQUAL("and it goes on", WEXITSTATUS(status), 4);
	}
}

/* A thread takes a signal while another blocks it; a spinning one is interrupted at once. */
static volatile pthread_t taker;
static volatile int spinning;
static void take(int signo)
{
	(void)signo;
	taker = pthread_self();
	spinning = 0;
}

static void *spin(void *unused)
{
	spinning = 1;
	while (spinning)
		;
	return unused;
}

static void threads(void)
{
	pthread_t thread;
	sigset_t set;

	signal(SIGUSR1, take);
	sigemptyset(&set);
	pthread_create(&thread, NULL, spin, NULL);
	sigaddset(&set, SIGUSR1);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	while (!spinning)
		usleep(1000);
	kill(getpid(), SIGUSR1);
	pthread_join(thread, NULL);
	CHECK("the thread that spins takes it", pthread_equal(taker, thread));
	pthread_create(&thread, NULL, spin, NULL);
	while (!spinning)
		usleep(1000);
	pthread_kill(thread, SIGUSR1);  /* it inherited the mask: pending there alone */
	usleep(10000);
	CHECK("blocked in that thread", spinning);
	sigset_t pending;
	sigpending(&pending);
	CHECK("not pending here", !sigismember(&pending, SIGUSR1));
	spinning = 0;
	pthread_join(thread, NULL);
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
}

int main(void)
{
	senders();
	children();
	flags();
	defaults();
	threads();
	return done();
}
