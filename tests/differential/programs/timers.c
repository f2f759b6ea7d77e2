#include "common.h"

static volatile int n;
static void on(int s)
{
	(void)s;
	n++;
}

int main(void)
{
	signal(SIGALRM, on);
	signal(SIGVTALRM, on);
	E(alarm(50));
	E(alarm(0));
	struct itimerval t = {{0, 5000}, {0, 5000}}, o;
	E(setitimer(ITIMER_REAL, &t, 0));
	while (n < 5)
		pause();
	E(getitimer(ITIMER_REAL, &o));
	P("%d\n", (int)o.it_interval.tv_usec);
	memset(&t, 0, sizeof t);
	setitimer(ITIMER_REAL, &t, 0);
	t.it_value.tv_usec = 10000;
	n = 0;
	setitimer(ITIMER_VIRTUAL, &t, 0);
	while (!n)
		;
	P("virtual\n");
	timer_t id;
	struct sigevent ev = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGALRM};
	E(timer_create(CLOCK_MONOTONIC, &ev, &id));
	struct itimerspec i = {{0, 0}, {0, 5000000}};
	n = 0;
	sigset_t mask, old;
	sigemptyset(&mask);
	sigaddset(&mask, SIGALRM);
	sigprocmask(SIG_BLOCK, &mask, &old);
	E(timer_settime(id, 0, &i, 0));
	while (!n)
		sigsuspend(&old);
	sigprocmask(SIG_SETMASK, &old, 0);
	E(timer_getoverrun(id));
	E(timer_delete(id));
	E(setitimer(9, &t, 0));
	return 0;
}
