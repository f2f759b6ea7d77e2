#include "common.h"

int main(void)
{
	P("%d %d\n", getpgrp() == getpid(), getsid(0) == getpid());
	pid_t c = fork();
	if (!c) {
		E(setpgid(0, 0));
		P("%d\n", getpgrp() == getpid());
		E(setsid());
		_exit(0);
	}
	wait(0);
	c = fork();
	if (!c) {
		P("%d %d\n", setsid() == getpid(), getsid(0) == getpid());
		_exit(0);
	}
	wait(0);
	E(setsid());
	E(getpgid(99999));
	E(setpgid(99999, 0));
	E(setpgid(0, -1));
	E(getsid(99999));
	E(kill(-99999, 0));
	return 0;
}
