#include "common.h"

int main(void)
{
	int s;
	for (int i = 0; i < 5; i++)
		if (!fork())
			_exit(i * 60);
	int n = 0, t = 0;
	while (wait(&s) > 0) {
		n++;
		t += WEXITSTATUS(s);
	}
	P("%d %d %s\n", n, t, strerror(errno));
	if (!fork())
		abort();
	wait(&s);
	P("%d\n", WTERMSIG(s));
	if (!fork()) {
		*(volatile int *)8 = 1;
	}
	wait(&s);
	P("%d\n", WTERMSIG(s));
	if (!fork())
		raise(SIGKILL);
	wait(&s);
	status_of(s);
	E(waitpid(99999, &s, 0));
	E(waitpid(-1, &s, 99));
	return 0;
}
