#include "common.h"

int main(void)
{
	int s, p[2];
	char b;
	pipe(p);
	signal(SIGTERM, SIG_IGN);
	pid_t c[3];
	for (int i = 0; i < 3; i++) {
		c[i] = fork();
		if (!c[i]) {
			setpgid(0, i ? c[0] : 0);
			signal(SIGTERM, i == 2 ? SIG_IGN : SIG_DFL);
			write(p[1], "r", 1);
			pause();
			_exit(0);
		}
		setpgid(c[i], c[0]);
	}
	for (int i = 0; i < 3; i++)
		read(p[0], &b, 1);
	E(kill(-c[0], SIGTERM));
	waitpid(c[0], &s, 0);
	status_of(s);
	waitpid(c[1], &s, 0);
	status_of(s);
	E(waitpid(c[2], &s, WNOHANG));
	kill(c[2], SIGKILL);
	waitpid(c[2], &s, 0);
	status_of(s);
	return 0;
}
