#include "common.h"

static void on(int s)
{
	(void)s;
}

int main(void)
{
	int p[2];
	char c;
	pipe(p);
	struct sigaction a = {.sa_handler = on};
	sigaction(SIGALRM, &a, 0);
	struct itimerval t = {{0, 20000}, {0, 20000}}, off = {{0, 0}, {0, 0}}; /* the first may come too early */
	setitimer(ITIMER_REAL, &t, 0);
	E(read(p[0], &c, 1));
	setitimer(ITIMER_REAL, &t, 0);
	struct timespec w = {50, 0}, left;
	E(nanosleep(&w, &left));
	setitimer(ITIMER_REAL, &off, 0);
	P("%d\n", left.tv_sec >= 30 && left.tv_sec < 50);
	a.sa_flags = SA_RESTART;
	sigaction(SIGALRM, &a, 0);
	if (!fork()) {
		usleep(60000);
		write(p[1], "r", 1);
		_exit(0);
	}
	setitimer(ITIMER_REAL, &t, 0);
	E(read(p[0], &c, 1));
	setitimer(ITIMER_REAL, &t, 0);
	E(pause());
	setitimer(ITIMER_REAL, &t, 0);
	E(poll(0, 0, 20000));
	setitimer(ITIMER_REAL, &off, 0);
	wait(0);
	return 0;
}
