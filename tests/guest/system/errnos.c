/* What the small system calls answer to good and bad arguments: the host's words are expected. */
#include "show.h"

#include <sched.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/sysinfo.h>
#include <sys/time.h>
#include <sys/times.h>
#include <sys/utsname.h>
#include <time.h>

static char buffer[4096];

static void names(void)
{
	struct utsname name;

	TRY(SYS_uname, &name);
	show("%s %s\n", name.sysname, name.machine);
	TRY(SYS_uname, BAD);
	TRY(SYS_uname, NULL);
	TRY(SYS_sysinfo, BAD);
	TRY(SYS_sysinfo, buffer);
	CHECK("sysinfo has memory", ((struct sysinfo *)buffer)->totalram > 0);
	VALUE(SYS_personality, 0xffffffff);
	VALUE(SYS_personality, 0x0008);
	TRY(SYS_uname, &name);
	show("%s\n", name.machine);
	VALUE(SYS_personality, 0);
}

static void random_bytes(void)
{
	VALUE(SYS_getrandom, buffer, 100, 0);
	VALUE(SYS_getrandom, buffer, 0, 0);
	VALUE(SYS_getrandom, BAD, 0, 0);
	VALUE(SYS_getrandom, BAD, 1, 0);
	VALUE(SYS_getrandom, buffer, 10, 1);
	VALUE(SYS_getrandom, buffer, 10, 4);
	VALUE(SYS_getrandom, buffer, 10, 6);
	VALUE(SYS_getrandom, buffer, 10, 8);
}

static void limits(void)
{
	struct rlimit limit, old;
	uint64_t wide[2] = {5, 4};
	int i;

	for (i = -1; i <= 17; i++)
		outcome("getrlimit", CALL(SYS_prlimit64, 0, i, NULL, wide));
	TRY(SYS_getrlimit, RLIMIT_NOFILE, BAD);
	TRY(SYS_getrlimit, 16, &limit);
	TRY(SYS_setrlimit, RLIMIT_NOFILE, BAD);
	TRY(SYS_setrlimit, 16, &limit);
	wide[0] = 5, wide[1] = 4;
	TRY(SYS_prlimit64, 0, RLIMIT_CORE, wide, NULL);
	TRY(SYS_prlimit64, 0, RLIMIT_CORE, BAD, NULL);
	TRY(SYS_prlimit64, 0, RLIMIT_CORE, NULL, BAD);
	TRY(SYS_prlimit64, 0, RLIMIT_CORE, NULL, NULL);
	TRY(SYS_prlimit64, 999999, RLIMIT_CORE, NULL, NULL);
	TRY(SYS_prlimit64, -1, RLIMIT_CORE, NULL, NULL);
	TRY(SYS_prlimit64, getpid(), RLIMIT_CORE, NULL, NULL);
	limit.rlim_cur = 7, limit.rlim_max = 100;
	EQUAL("setrlimit", setrlimit(RLIMIT_CORE, &limit), 0);
	EQUAL("getrlimit", getrlimit(RLIMIT_CORE, &old), 0);
	show("%ld %ld\n", (long)old.rlim_cur, (long)old.rlim_max);
	limit.rlim_cur = 101;
	ERRNO("soft above hard", setrlimit(RLIMIT_CORE, &limit), EINVAL);
	limit.rlim_cur = limit.rlim_max = 1 << 30;
	ERRNO("more files than there can be", setrlimit(RLIMIT_NOFILE, &limit), EPERM);
	getrlimit(RLIMIT_AS, &old);
	CHECK("no limit", old.rlim_cur == RLIM_INFINITY);
}

static void usage(void)
{
	struct rusage use;
	struct tms times_;

	TRY(SYS_getrusage, RUSAGE_SELF, &use);
	CHECK("resident size", use.ru_maxrss > 0);
	CHECK("faults", use.ru_minflt > 0);
	TRY(SYS_getrusage, RUSAGE_CHILDREN, &use);
	TRY(SYS_getrusage, RUSAGE_THREAD, &use);
	TRY(SYS_getrusage, 2, &use);
	TRY(SYS_getrusage, -2, &use);
	TRY(SYS_getrusage, RUSAGE_SELF, BAD);
	TRY(SYS_times, &times_);
	TRY(SYS_times, NULL);
	TRY(SYS_times, BAD);
}

static void scheduling(void)
{
	struct sched_param param = {0};
	unsigned char attribute[200] = {0};
	unsigned cpu = 99, node = 99;
	unsigned long mask[32] = {0};
	int i;

	TRY(SYS_sched_yield, 0);
	TRY(SYS_sched_getaffinity, 0, 4, mask);
	TRY(SYS_sched_getaffinity, 0, 0, mask);
	TRY(SYS_sched_getaffinity, 0, 9, mask);
	TRY(SYS_sched_getaffinity, 0, 128, BAD);
	TRY(SYS_sched_getaffinity, 999999, 128, mask);
	TRY(SYS_sched_getaffinity, -1, 128, mask);
	TRY(SYS_sched_getaffinity, 0, 128, mask);
	CHECK("there is a CPU", mask[0] & 1);
	TRY(SYS_sched_setaffinity, 0, 128, mask);
	TRY(SYS_sched_setaffinity, 0, 128, BAD);
	memset(mask, 0, sizeof mask);
	TRY(SYS_sched_setaffinity, 0, 128, mask);
	TRY(SYS_sched_setaffinity, 999999, 128, mask);
	TRY(SYS_sched_setaffinity, -1, 128, mask);
	TRY(SYS_getcpu, &cpu, &node, NULL);
	CHECK("the node", node == 0);
	TRY(SYS_getcpu, NULL, NULL, NULL);
	TRY(SYS_getcpu, BAD, NULL, NULL);
	for (i = -1; i <= 6; i++) {
		value("sched_get_priority_max", CALL(SYS_sched_get_priority_max, i));
		value("sched_get_priority_min", CALL(SYS_sched_get_priority_min, i));
	}
	VALUE(SYS_sched_getscheduler, 0);
	VALUE(SYS_sched_getscheduler, -1);
	VALUE(SYS_sched_getscheduler, 999999);
	TRY(SYS_sched_getparam, 0, &param);
	TRY(SYS_sched_getparam, 0, NULL);
	TRY(SYS_sched_getparam, 0, BAD);
	TRY(SYS_sched_getparam, -1, &param);
	TRY(SYS_sched_setparam, 0, &param);
	TRY(SYS_sched_setparam, 0, NULL);
	TRY(SYS_sched_setscheduler, 0, SCHED_BATCH, &param);
	VALUE(SYS_sched_getscheduler, 0);
	TRY(SYS_sched_setscheduler, 0, SCHED_OTHER | SCHED_RESET_ON_FORK, &param);
	VALUE(SYS_sched_getscheduler, 0);
	TRY(SYS_sched_setscheduler, 0, SCHED_OTHER, &param);
	TRY(SYS_sched_setscheduler, 0, 4, &param);
	TRY(SYS_sched_setscheduler, 0, -1, &param);
	TRY(SYS_sched_setscheduler, 0, SCHED_OTHER, NULL);
	TRY(SYS_sched_setscheduler, 0, SCHED_OTHER, BAD);
	param.sched_priority = 1;
	TRY(SYS_sched_setscheduler, 0, SCHED_OTHER, &param);
	TRY(SYS_sched_setscheduler, 999999, SCHED_OTHER, &param);
	TRY(SYS_sched_rr_get_interval, -1, buffer);
	TRY(SYS_sched_rr_get_interval, 999999, buffer);
	TRY(SYS_sched_rr_get_interval, 0, BAD);
	TRY(SYS_sched_getattr, 0, attribute, 48, 0);
	TRY(SYS_sched_getattr, 0, attribute, 47, 0);
	TRY(SYS_sched_getattr, 0, attribute, 5000, 0);
	TRY(SYS_sched_getattr, 0, attribute, 48, 1);
	TRY(SYS_sched_getattr, 0, NULL, 48, 0);
	TRY(SYS_sched_getattr, 0, BAD, 48, 0);
	TRY(SYS_sched_getattr, 999999, attribute, 48, 0);
	TRY(SYS_sched_setattr, 0, attribute, 0);
	TRY(SYS_sched_setattr, 0, attribute, 1);
	TRY(SYS_sched_setattr, 0, NULL, 0);
	*(unsigned *)attribute = 20;
	TRY(SYS_sched_setattr, 0, attribute, 0);
	VALUE(SYS_getpriority, 0, 0);
	TRY(SYS_setpriority, 0, 0, 5);
	VALUE(SYS_getpriority, 0, 0);
	TRY(SYS_setpriority, 0, 0, 100);
	VALUE(SYS_getpriority, 0, 0);
	VALUE(SYS_getpriority, 3, 0);
	VALUE(SYS_getpriority, -1, 0);
	VALUE(SYS_getpriority, 0, 999999);
	TRY(SYS_setpriority, 3, 0, 0);
	TRY(SYS_setpriority, 0, 999999, 0);
	TRY(SYS_membarrier, 0, 0, 0);
	TRY(SYS_membarrier, 1, 0, 0);
	TRY(SYS_membarrier, 1, 5, 0);
	TRY(SYS_membarrier, 3, 0, 0);
}

static void process(void)
{
	int number = 99;
	char name[20] = "xxxxxxxxxxxxxxxxxxx";

	CHECK("getpid", CALL(SYS_getpid, 0) == CALL(SYS_gettid, 0));
	CHECK("set_tid_address", CALL(SYS_set_tid_address, NULL) == getpid());
	TRY(SYS_set_robust_list, buffer, 3 * sizeof(long));
	TRY(SYS_set_robust_list, buffer, 1);
	TRY(SYS_get_robust_list, 0, BAD, buffer);
	TRY(SYS_get_robust_list, 0, buffer, buffer + 8);
	TRY(SYS_get_robust_list, 999999, buffer, buffer + 8);
	TRY(SYS_set_robust_list, NULL, 3 * sizeof(long));
	TRY(SYS_prctl, PR_SET_NAME, "a name that is too long", 0, 0, 0);
	TRY(SYS_prctl, PR_GET_NAME, name, 0, 0, 0);
	show("%s, %c\n", name, name[16]);
	TRY(SYS_prctl, PR_SET_NAME, BAD, 0, 0, 0);
	TRY(SYS_prctl, PR_GET_NAME, BAD, 0, 0, 0);
	TRY(SYS_prctl, PR_SET_PDEATHSIG, 65, 0, 0, 0);
	TRY(SYS_prctl, PR_SET_PDEATHSIG, 9, 0, 0, 0);
	TRY(SYS_prctl, PR_GET_PDEATHSIG, &number, 0, 0, 0);
	show("%d\n", number);
	TRY(SYS_prctl, PR_GET_PDEATHSIG, BAD, 0, 0, 0);
	TRY(SYS_prctl, PR_SET_PDEATHSIG, 0, 0, 0, 0);
	VALUE(SYS_prctl, PR_GET_DUMPABLE, 0, 0, 0, 0);
	TRY(SYS_prctl, PR_SET_DUMPABLE, 2, 0, 0, 0);
	TRY(SYS_prctl, PR_SET_DUMPABLE, 0, 0, 0, 0);
	VALUE(SYS_prctl, PR_GET_DUMPABLE, 0, 0, 0, 0);
	VALUE(SYS_prctl, PR_GET_KEEPCAPS, 0, 0, 0, 0);
	TRY(SYS_prctl, PR_SET_KEEPCAPS, 2, 0, 0, 0);
	TRY(SYS_prctl, PR_SET_KEEPCAPS, 1, 0, 0, 0);
	VALUE(SYS_prctl, PR_GET_KEEPCAPS, 0, 0, 0, 0);
	VALUE(SYS_prctl, PR_GET_TIMING, 0, 0, 0, 0);
	TRY(SYS_prctl, PR_SET_TIMING, 1, 0, 0, 0);
	VALUE(SYS_prctl, PR_GET_TIMERSLACK, 0, 0, 0, 0);
	TRY(SYS_prctl, PR_SET_TIMERSLACK, 1000, 0, 0, 0);
	VALUE(SYS_prctl, PR_GET_TIMERSLACK, 0, 0, 0, 0);
	TRY(SYS_prctl, PR_SET_TIMERSLACK, 0, 0, 0, 0);
	VALUE(SYS_prctl, PR_GET_TIMERSLACK, 0, 0, 0, 0);
	TRY(SYS_prctl, PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
	TRY(SYS_prctl, PR_GET_CHILD_SUBREAPER, &number, 0, 0, 0);
	show("%d\n", number);
	TRY(SYS_prctl, PR_GET_NO_NEW_PRIVS, 1, 0, 0, 0);
	VALUE(SYS_prctl, PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0);
	TRY(SYS_prctl, PR_SET_NO_NEW_PRIVS, 0, 0, 0, 0);
	TRY(SYS_prctl, PR_SET_NO_NEW_PRIVS, 1, 1, 0, 0);
	TRY(SYS_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	VALUE(SYS_prctl, PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0);
	TRY(SYS_prctl, PR_CAPBSET_READ, 41, 0, 0, 0);
	TRY(SYS_prctl, PR_CAPBSET_READ, 0, 0, 0, 0);
	TRY(SYS_prctl, PR_GET_SECCOMP, 0, 0, 0, 0);
	TRY(SYS_prctl, 12345, 0, 0, 0, 0);
	TRY(SYS_prctl, 0, 0, 0, 0, 0);
}

int main(void)
{
	names();
	random_bytes();
	limits();
	usage();
	scheduling();
	process();
	return done();
}
