#include "common.h"

static void on(int s)
{
	P("got %d\n", s);
}

int main(void)
{
	sigset_t s, o, e;
	sigemptyset(&e);
	sigemptyset(&s);
	sigaddset(&s, SIGUSR1);
	sigaddset(&s, SIGUSR2);
	sigaddset(&s, SIGKILL);
	signal(SIGUSR1, on);
	signal(SIGUSR2, on);
	sigprocmask(SIG_BLOCK, &s, &o);
	raise(SIGUSR2);
	raise(SIGUSR1);
	raise(SIGUSR1);
	sigpending(&o);
	P("%d %d %d\n", sigismember(&o, SIGUSR1), sigismember(&o, SIGUSR2), sigismember(&o, SIGHUP));
	E(sigsuspend(&e));
	sigprocmask(SIG_SETMASK, &e, &o);
	P("%d\n", sigismember(&o, SIGKILL));
	E(sigprocmask(77, &s, 0));
	struct timespec t = {0, 1000000};
	E(sigtimedwait(&s, 0, &t));
	return 0;
}
