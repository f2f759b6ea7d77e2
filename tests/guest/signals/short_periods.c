/* Timers whose period is shorter than anything can be: the expiries are counted, and the program goes on. */
#include "check.h"
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <time.h>

static volatile int alarms;

static void on_alarm(int signo)
{
	(void)signo;
	if (++alarms == 20) {
		struct itimerval off = { { 0, 0 }, { 0, 0 } };

		setitimer(ITIMER_REAL, &off, NULL);
	}
}

static void pass(long nanoseconds)
{
	struct timespec time = { 0, nanoseconds };

	while (nanosleep(&time, &time))
		;
}

int main(void)
{
	struct itimerspec spec = { { 0, 1 }, { 0, 1000 } };
	struct itimerval often = { { 0, 1 }, { 0, 1 } };
	struct sigevent event = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1 };
	unsigned long long ticks = 0, more = 0;
	siginfo_t info;
	sigset_t set;
	timer_t timer;
	int fd = timerfd_create(CLOCK_MONOTONIC, 0);

	EQUAL("timerfd, 1 ns", timerfd_settime(fd, 0, &spec, NULL), 0);
	pass(20000000);
	EQUAL("read", read(fd, &ticks, 8), 8);
	CHECK("one tick a nanosecond", ticks > 15000000);
	EQUAL("again", read(fd, &more, 8), 8);
	CHECK("from there on", more > 0 && more < ticks + 4000000000ULL);
	close(fd);

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_BLOCK, &set, NULL);
	EQUAL("timer_create", timer_create(CLOCK_MONOTONIC, &event, &timer), 0);
	EQUAL("1 ns", timer_settime(timer, 0, &spec, NULL), 0);
	pass(20000000);
	EQUAL("signal", sigwaitinfo(&set, &info), SIGUSR1);
	CHECK("overruns", info.si_overrun > 15000000);
	EQUAL("kept", timer_getoverrun(timer), info.si_overrun);
	EQUAL("how long still", timer_gettime(timer, &spec), 0);
	EQUAL("a nanosecond", spec.it_value.tv_sec * 1000000000LL + spec.it_value.tv_nsec, 1);
	timer_delete(timer);

	signal(SIGALRM, on_alarm);
	EQUAL("setitimer, 1 us", setitimer(ITIMER_REAL, &often, NULL), 0);
	while (alarms < 20)
		pass(1000000);
	EQUAL("and it goes on", alarms >= 20, 1);
	return done();
}
