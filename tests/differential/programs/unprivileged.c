/* What a user without privileges is refused, of himself and of a child of his. */
#include "common.h"
#include <sched.h>
#include <sys/prctl.h>

static long advise(int pidfd, void *page)
{
	struct iovec one = { page, 4096 };
	return syscall(440, pidfd, &one, 1, MADV_COLD, 0);
}

int main(void)
{
	struct sched_param none = { 0 };
	char *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int child, own, other;
	page[0] = 1;
	E(setresgid(1000, 1000, 1000));
	E(setresuid(1000, 1000, 1000));
	prctl(PR_SET_DUMPABLE, 1);
	child = fork();
	if (!child)
		for (;;)
			pause();
	E((own = syscall(434, getpid(), 0)) >= 0);
	E((other = syscall(434, child, 0)) >= 0);
	E(advise(own, page));
	E(advise(other, page));
	kill(child, SIGKILL);
	wait(NULL);
	E(syscall(SYS_sched_setscheduler, 0, SCHED_BATCH | SCHED_RESET_ON_FORK, &none));
	E(syscall(SYS_sched_setparam, 0, &none));
	E(syscall(SYS_sched_getscheduler, 0));
	E(syscall(SYS_sched_setscheduler, 0, SCHED_OTHER, &none));
	E(syscall(SYS_sched_getscheduler, 0));
	E(syscall(SYS_sched_setscheduler, 0, SCHED_IDLE | SCHED_RESET_ON_FORK, &none));
	E(syscall(SYS_sched_setscheduler, 0, SCHED_BATCH | SCHED_RESET_ON_FORK, &none));
	E(syscall(SYS_sched_setscheduler, 0, SCHED_IDLE | SCHED_RESET_ON_FORK, &none));
	E(syscall(SYS_sched_getscheduler, 0));
	E(syscall(SYS_sched_setscheduler, 0, SCHED_FIFO | SCHED_RESET_ON_FORK, &none));
	E(prctl(28, 0, 0, 0, 0));
	return 0;
}
