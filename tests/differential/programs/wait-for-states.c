#include "common.h"

int main(void)
{
	int s;
	pid_t p = fork();
	if (!p) {
		raise(SIGSTOP);
		pause();
	}
	waitpid(p, &s, WUNTRACED);
	status_of(s);
	E(waitpid(p, &s, WNOHANG | WUNTRACED));
	kill(p, SIGCONT);
	waitpid(p, &s, WCONTINUED);
	status_of(s);
	siginfo_t i;
	kill(p, SIGTERM);
	E(waitid(P_PID, p, &i, WEXITED | WNOWAIT));
	P("%d %d %d\n", i.si_code, i.si_status, i.si_pid == p);
	E(waitid(P_PID, p, &i, WEXITED));
	E(waitid(P_PID, p, &i, WEXITED));
	E(waitid(P_ALL, 0, &i, 0));
	return 0;
}
