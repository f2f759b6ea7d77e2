#include "common.h"

static volatile int n;
static void on(int s, siginfo_t *i, void *u)
{
	(void)s, (void)u;
	n++;
	P("%d %d\n", i->si_code, i->si_status);
}

int main(void)
{
	struct sigaction a = {.sa_sigaction = on, .sa_flags = SA_SIGINFO | SA_NOCLDSTOP};
	sigset_t mask, old;
	sigaction(SIGCHLD, &a, 0);
	sigemptyset(&mask);
	sigaddset(&mask, SIGCHLD);
	sigprocmask(SIG_BLOCK, &mask, &old);
	if (!fork())
		_exit(4);
	while (n < 1)
		sigsuspend(&old);
	E(wait(0) > 0);
	pid_t p = fork();
	if (!p)
		pause();
	kill(p, SIGSTOP);
	usleep(20000);
	kill(p, SIGKILL);
	while (n < 2)
		sigsuspend(&old);
	sigprocmask(SIG_SETMASK, &old, 0);
	wait(0);
	signal(SIGCHLD, SIG_IGN);
	if (!fork())
		_exit(0);
	E(wait(0));
	return 0;
}
