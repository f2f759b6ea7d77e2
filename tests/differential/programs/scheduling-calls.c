#include "common.h"

int main(void)
{
	struct sched_param p = {0};
	E(sched_yield());
	E(sched_getscheduler(0) >= -1);
	E(sched_get_priority_max(SCHED_FIFO));
	E(sched_get_priority_min(SCHED_OTHER));
	E(getpriority(PRIO_PROCESS, 0));
	E(setpriority(PRIO_PROCESS, 0, 10));
	E(getpriority(PRIO_PROCESS, 0));
	E(nice(5));
	E(getpriority(PRIO_PROCESS, 99999));
	cpu_set_t c;
	E(sched_getaffinity(0, sizeof c, &c) >= 0);
	P("%d\n", CPU_COUNT(&c));
	CPU_ZERO(&c);
	E(sched_setaffinity(0, sizeof c, &c));
	E(sched_getaffinity(99999, sizeof c, &c));
	(void)p;
	return 0;
}
