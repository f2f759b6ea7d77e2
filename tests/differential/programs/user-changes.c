#include "common.h"

int main(void)
{
	E(setresgid(50, 50, 50));
	E(setresuid(1000, 1000, 0));
	E(getuid());
	E(geteuid());
	E(open("made", O_CREAT | O_WRONLY, 0600));
	E(chown(".", 1, 1));
	E(kill(1, 0));
	E(setuid(5));
	E(seteuid(0));
	E(geteuid());
	E(setresuid(1000, 1000, 1000));
	E(setuid(0));
	uid_t a, b, c;
	getresuid(&a, &b, &c);
	P("%d %d %d\n", a, b, c);
	E(prctl(PR_GET_DUMPABLE, 0, 0, 0, 0));
	E(nice(-5));
	E(setpriority(PRIO_PROCESS, 0, 5));
	return 0;
}
