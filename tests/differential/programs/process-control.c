#include "common.h"

int main(void)
{
	char n[16];
	E(prctl(PR_SET_NAME, "a long name that is cut"));
	E(prctl(PR_GET_NAME, n));
	P("%s\n", n);
	E(prctl(PR_SET_PDEATHSIG, SIGTERM));
	int v;
	E(prctl(PR_GET_PDEATHSIG, &v));
	P("%d\n", v);
	E(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
	E(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0));
	E(prctl(99999));
	E(prctl(PR_SET_CHILD_SUBREAPER, 1));
	int p[2];
	pipe(p);
	if (!fork()) {
		if (!fork()) {
			while (getppid() == 1)
				;
			usleep(20000);
			_exit(7);
		}
		_exit(0);
	}
	int s, k = 0;
	while (wait(&s) > 0)
		k += WEXITSTATUS(s);
	P("%d\n", k);
	return 0;
}
