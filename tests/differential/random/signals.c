/* SPDX-License-Identifier: GPL-2.0-or-later */
/* signals SEED COUNT: three threads that do what they are told, one at a time: block, catch, send, queue and take signals,
   handlers on alternate stacks, with flags, that send signals themselves.  After each call every thread is asked to answer:
   then what could be delivered was.  Printed by thread: which of two is faster nobody knows. */
#define _GNU_SOURCE
#include "random.h"

#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

enum { THREADS = 3, LOG = 60, STACK = 65536 };
static const int numbers[] = { SIGHUP, SIGUSR1, SIGUSR2, SIGTERM, SIGCHLD, SIGWINCH, SIGURG, 35, 36, 40, 64 };

static struct thread {
	pthread_t id;
	int tid, orders[2], answers[2], events, depth;
	char log[LOG][100], text[200], came[64];
	long result;
	char *stack;
} threads[THREADS];

static __thread struct thread *self;
static int process;
static volatile int nested; /* handlers send this, once each */

/* Sent to the process, and blocked by all threads but one: of several that could have it any may get it. */
static const int common[] = { SIGUSR1, SIGCHLD, SIGTERM, 35, 40 };

static int one_signal(void)
{
	return ONE_OF(numbers);
}

static unsigned set_sum(const sigset_t *set)
{
	unsigned result = 0;

	for (unsigned n = 0; n < sizeof numbers / sizeof *numbers; n++)
		result |= (unsigned)(sigismember(set, numbers[n]) > 0) << n;
	return result;
}

static int who(int pid)
{
	return pid == process ? 1 : pid == 0 ? 0 : 2;
}

static void handler(int number, siginfo_t *info, void *context)
{
	ucontext_t *user = context;
	struct thread *me = self;
	sigset_t now;
	stack_t stack;
	int saved = errno, send = nested;

	nested = 0;
	me->depth++;
	sigprocmask(SIG_BLOCK, NULL, &now);
	sigaltstack(NULL, &stack);
	if (me->events < LOG)
		snprintf(me->log[me->events++], 100, "%d(%d,%d,%d) in %x before %x on %d deep %d", number, info->si_code,
			 info->si_code == SI_USER || info->si_code == SI_TKILL ? 0 : info->si_value.sival_int, who(info->si_pid), set_sum(&now),
			 set_sum(&user->uc_sigmask), stack.ss_flags & SS_ONSTACK, me->depth);
	if (send)
		syscall(SYS_tgkill, process, me->tid, send);
	me->depth--;
	errno = saved;
}

static void add_common(sigset_t *set)
{
	for (unsigned n = 0; self != threads && n < sizeof common / sizeof *common; n++)
		sigaddset(set, common[n]);
}

static void random_set(sigset_t *set)
{
	sigemptyset(set);
	for (unsigned n = 0; n < sizeof numbers / sizeof *numbers; n++)
		if (!below(3))
			sigaddset(set, numbers[n]);
}

static long catches(void)
{
	static const int flags[] = { SA_RESTART, SA_NODEFER, SA_RESETHAND, SA_ONSTACK };
	struct sigaction act = { .sa_sigaction = handler, .sa_flags = SA_SIGINFO }, old;
	int number = one_signal();
	long result;

	random_set(&act.sa_mask);
	for (int n = 0; n < 4; n++)
		if (!below(3))
			act.sa_flags |= flags[n];
	if (number != SIGCHLD && number != SIGWINCH && number != SIGURG)
		act.sa_flags &= ~SA_RESETHAND; /* the others would end the process then */
	if (!below(6))
		act.sa_handler = SIG_IGN, act.sa_flags &= ~SA_SIGINFO;
	result = sigaction(below(20) ? number : SIGKILL, below(8) ? &act : NULL, &old);
	if (!result)
		sprintf(self->text, "%d was %s %x %x", number, old.sa_handler == SIG_IGN ? "ignored" : old.sa_handler == SIG_DFL ? "default" : "caught",
			(unsigned)old.sa_flags & ~0x04000000u, old.sa_handler == SIG_DFL ? 0 : set_sum(&old.sa_mask));
	return result;
}

static long queue(int way)
{
	union sigval value = { .sival_int = below(1000) };
	struct thread *to = &threads[below(THREADS)];
	int number = below(20) ? way == 1 || way == 4 ? one_signal() : ONE_OF(common) : below(2) ? 0 : 99;
	siginfo_t info;

	sprintf(self->text, "%d", number);
	memset(&info, 0, sizeof info);
	info.si_code = below(4) ? -5 : below(2) ? SI_QUEUE : SI_USER;
	info.si_value = value;
	info.si_pid = process;
	switch (way) {
	case 0:
		return kill(process, number);
	case 1:
		return syscall(SYS_tgkill, process, to->tid, number);
	case 2:
		return sigqueue(process, number, value);
	case 3:
		return syscall(SYS_rt_sigqueueinfo, process, number, &info);
	default:
		return syscall(SYS_rt_tgsigqueueinfo, process, to->tid, number, &info);
	}
}

static long masks(void)
{
	static const int ways[] = { SIG_BLOCK, SIG_UNBLOCK, SIG_SETMASK, SIG_BLOCK, SIG_SETMASK, 7 };
	sigset_t set, old;
	long result;

	random_set(&set);
	result = sigprocmask(ONE_OF(ways), below(10) ? &set : NULL, &old);
	if (!result)
		sprintf(self->text, "%x", set_sum(&old));
	sigemptyset(&set);
	add_common(&set);
	sigprocmask(SIG_BLOCK, &set, NULL);
	return result;
}

static long taken(void)
{
	struct timespec now = { 0, 0 };
	sigset_t set;
	siginfo_t info;
	long result;

	random_set(&set);
	memset(&info, 0, sizeof info);
	result = sigtimedwait(&set, &info, &now);
	if (result > 0)
		sprintf(self->text, "%d %d", info.si_code, info.si_code == SI_USER || info.si_code == SI_TKILL ? 0 : info.si_value.sival_int);
	return result;
}

static long suspended(void)
{
	struct timespec soon = { 0, 200000 };
	sigset_t set;

	random_set(&set);
	add_common(&set);
	return ppoll(NULL, 0, &soon, &set);
}

static long alternate(void)
{
	stack_t stack = { .ss_sp = self->stack, .ss_size = below(8) ? STACK : 100, .ss_flags = below(4) ? 0 : below(2) ? SS_DISABLE : 5 }, old;
	long result = sigaltstack(below(4) ? &stack : NULL, &old);

	if (!result)
		sprintf(self->text, "%d %d", old.ss_flags, (int)old.ss_size);
	return result;
}

static long by_descriptor(void)
{
	struct signalfd_siginfo info[3];
	sigset_t set;
	int fd;
	long result;

	random_set(&set);
	fd = signalfd(-1, &set, SFD_NONBLOCK);
	result = read(fd, info, sizeof *info * (1 + below(3)));
	for (long n = 0; n < result / (long)sizeof *info; n++)
		sprintf(self->text + strlen(self->text), "%d %d ", (int)info[n].ssi_signo, info[n].ssi_code);
	close(fd);
	return result;
}

static long pending(void)
{
	sigset_t set;
	long result = sigpending(&set);

	sprintf(self->text, "%x", set_sum(&set));
	return result;
}

static long one(int call)
{
	sigjmp_buf out;

	switch (call) {
	case 0: case 1: case 2:
		return catches();
	case 3: case 4: case 5: case 6: case 7:
		return queue(call - 3);
	case 8: case 9:
		return masks();
	case 10:
		return taken();
	case 11:
		return suspended();
	case 12:
		return alternate();
	case 13:
		return by_descriptor();
	case 14:
		return pending();
	case 15:
		nested = one_signal();
		return syscall(SYS_tgkill, process, self->tid, one_signal());
	default:
		return sigsetjmp(out, 1) ? 5 : (siglongjmp(out, 1), 0);
	}
}

static void answered(struct thread *thread, char what)
{
	while (write(thread->answers[1], &what, 1) < 0)
		;
}

static void *serve(void *argument)
{
	char what;

	sigset_t set;

	self = argument;
	self->tid = syscall(SYS_gettid);
	sigemptyset(&set);
	add_common(&set);
	sigprocmask(SIG_BLOCK, &set, NULL);
	answered(self, 0);
	for (;;) {
		if (read(self->orders[0], &what, 1) != 1)
			continue; /* a handler without SA_RESTART */
		if (what >= 0) {
			errno = 0;
			self->text[0] = 0;
			self->result = one(what);
			strcpy(self->came, came(self->result));
		}
		answered(self, what);
	}
	return NULL;
}

static char told(struct thread *thread, char what)
{
	char answer;

	while (write(thread->orders[1], &what, 1) < 0)
		;
	while (read(thread->answers[0], &answer, 1) < 0)
		;
	return answer;
}

int main(int argc, char **argv)
{
	int count = argc > 2 ? atoi(argv[2]) : 1000;
	struct sigaction first = { .sa_sigaction = handler, .sa_flags = SA_SIGINFO };
	sigset_t all;

	seed(argc > 1 ? argv[1] : "1");
	process = getpid();
	for (unsigned n = 0; n < sizeof numbers / sizeof *numbers; n++)
		sigaction(numbers[n], &first, NULL);
	for (int n = 0; n < THREADS; n++) {
		struct thread *each = &threads[n];
		char c;

		each->stack = mmap(NULL, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (pipe(each->orders) || pipe(each->answers) || pthread_create(&each->id, NULL, serve, each))
			return perror("thread"), 1;
		if (read(each->answers[0], &c, 1) != 1)
			return 1;
	}
	sigfillset(&all); /* the first thread only gives orders */
	sigprocmask(SIG_SETMASK, &all, NULL);
	for (int n = 0; n < count; n++) {
		int call = below(17), who = below(THREADS);

		told(&threads[who], call);
		printf("%d %d %s = %s\n", who, call, threads[who].text, threads[who].came);
		for (int each = 0; each < THREADS; each++)
			told(&threads[each], -1);
		for (int each = 0; each < THREADS; each++) {
			for (int event = 0; event < threads[each].events; event++)
				printf("  %d: %s\n", each, threads[each].log[event]);
			threads[each].events = 0;
		}
	}
	fflush(stdout);
	_exit(0);
}
