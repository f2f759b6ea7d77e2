#include "common.h"

int main(void)
{
	sigset_t s;
	sigemptyset(&s);
	sigaddset(&s, SIGUSR1);
	sigaddset(&s, SIGUSR2);
	sigprocmask(SIG_BLOCK, &s, 0);
	int fd = signalfd(-1, &s, SFD_NONBLOCK);
	struct signalfd_siginfo i[3];
	E(read(fd, i, sizeof i));
	kill(getpid(), SIGUSR2);
	kill(getpid(), SIGUSR1);
	sigqueue(getpid(), SIGUSR1, (union sigval){.sival_int = 9});
	E(read(fd, i, sizeof i) / (int)sizeof i[0]);
	P("%d %d\n", i[0].ssi_signo, i[1].ssi_signo);
	E(read(fd, i, 10));
	return 0;
}
