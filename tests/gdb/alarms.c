/* Signals while something beside the watched variable is written: how many handlers found the trap flag in their frame. */
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <sys/time.h>
#include <ucontext.h>

volatile int alarms, traps;
volatile long beside;

static void on_alarm(int signo, siginfo_t *info, void *context)
{
	(void)signo;
	(void)info;
	alarms++;
	traps += (((ucontext_t *)context)->uc_mcontext.gregs[REG_EFL] & 0x100) != 0;
}

int main(void)
{
	struct sigaction action = {.sa_sigaction = on_alarm, .sa_flags = SA_SIGINFO | SA_RESTART};
	struct itimerval often = {{0, 2000}, {0, 2000}}, never = {{0, 0}, {0, 0}};

	sigaction(SIGALRM, &action, NULL);
	setitimer(ITIMER_REAL, &often, NULL);
	while (alarms < 100)
		beside++;
	setitimer(ITIMER_REAL, &never, NULL);
	printf("%d\n", traps);
	return 0;
}
