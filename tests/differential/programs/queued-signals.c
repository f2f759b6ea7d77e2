#include "common.h"

static void on(int s, siginfo_t *i, void *u)
{
	(void)u;
	P("%d %d %d\n", s - SIGRTMIN, i->si_value.sival_int, i->si_code);
}

int main(void)
{
	struct sigaction a = {.sa_sigaction = on, .sa_flags = SA_SIGINFO};
	sigset_t s, e;
	sigfillset(&s);
	sigemptyset(&e);
	for (int i = 0; i < 3; i++)
		sigaction(SIGRTMIN + i, &a, 0);
	sigprocmask(SIG_BLOCK, &s, 0);
	for (int i = 0; i < 6; i++)
		sigqueue(getpid(), SIGRTMIN + 2 - i % 3, (union sigval){.sival_int = i});
	sigprocmask(SIG_SETMASK, &e, 0);
	E(sigqueue(99999, SIGUSR1, (union sigval){0}));
	return 0;
}
