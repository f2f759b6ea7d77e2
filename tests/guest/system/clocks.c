/* Clocks, sleeping, interval timers and POSIX timers. */
#include "show.h"

#include <poll.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <time.h>

static volatile int alarms, last_value, last_code, overruns;
static int timer_id = -1;

static void on_alarm(int signo, siginfo_t *info, void *context)
{
	(void)context;
	alarms++;
	last_value = info->si_value.sival_int;
	last_code = info->si_code;
	if (signo == SIGUSR1) { /* of this delivery: the next one has a number of its own */
		int count = syscall(SYS_timer_getoverrun, timer_id);

		overruns = count > overruns ? count : overruns;
	}
}

static long long now(clockid_t clock)
{
	struct timespec time;

	clock_gettime(clock, &time);
	return time.tv_sec * 1000000000LL + time.tv_nsec;
}

static void reading(void)
{
	static const int clocks[] = {-1, 0, 1, 2, 3, 4, 5, 6, 7, 10, 11, 12, 16, -6, -2, 1000};
	struct timespec read, resolution;
	struct timeval day;
	unsigned i;
	time_t seconds;

	for (i = 0; i < sizeof clocks / sizeof *clocks; i++) {
		show("clock %d ", clocks[i]);
		outcome("gettime", CALL(SYS_clock_gettime, clocks[i], &read) ? -1 : 0);
		show("clock %d ", clocks[i]);
		outcome("getres", CALL(SYS_clock_getres, clocks[i], &resolution) ? -1 : 0);
	}
	TRY(SYS_clock_gettime, CLOCK_REALTIME, BAD);
	TRY(SYS_clock_gettime, CLOCK_REALTIME, NULL);
	TRY(SYS_clock_getres, CLOCK_REALTIME, NULL);
	TRY(SYS_clock_getres, CLOCK_REALTIME, BAD);
	clock_getres(CLOCK_MONOTONIC, &resolution);
	show("%ld %ld\n", (long)resolution.tv_sec, resolution.tv_nsec);
	CHECK("monotonic time goes on", now(CLOCK_MONOTONIC) <= now(CLOCK_MONOTONIC));
	CHECK("CPU time too", now(CLOCK_PROCESS_CPUTIME_ID) <= now(CLOCK_PROCESS_CPUTIME_ID));
	CHECK("a thread has less of it", now(CLOCK_THREAD_CPUTIME_ID) <= now(CLOCK_PROCESS_CPUTIME_ID));
	gettimeofday(&day, NULL);
	seconds = time(NULL);
	CHECK("two clocks agree", seconds - day.tv_sec <= 60 && day.tv_sec - seconds <= 2);
	TRY(SYS_gettimeofday, NULL, NULL);
	TRY(SYS_gettimeofday, BAD, NULL);
	TRY(SYS_gettimeofday, NULL, BAD);
#ifdef SYS_time
	TRY(SYS_time, BAD);
	TRY(SYS_time, NULL);
#endif
}

static void sleeping(void)
{
	struct timespec good = {0, 30000000}, bad = {0, 1000000000}, negative = {-1, 0}, left = {5, 5};
	struct sigaction action = {.sa_sigaction = on_alarm, .sa_flags = SA_SIGINFO};
	struct itimerval once = {{0, 0}, {0, 10000}}, often = {{0, 50000}, {0, 50000}}, none = {{0, 0}, {0, 0}};
	long long before = now(CLOCK_MONOTONIC);

	TRY(SYS_nanosleep, &good, NULL);
	CHECK("slept long enough", now(CLOCK_MONOTONIC) - before >= 30000000);
	TRY(SYS_nanosleep, &bad, NULL);
	TRY(SYS_nanosleep, &negative, NULL);
	TRY(SYS_nanosleep, BAD, NULL);
	TRY(SYS_nanosleep, NULL, NULL);
	TRY(SYS_clock_nanosleep, CLOCK_MONOTONIC, 0, &good, NULL);
	TRY(SYS_clock_nanosleep, CLOCK_REALTIME, 0, &good, NULL);
	TRY(SYS_clock_nanosleep, CLOCK_BOOTTIME, 0, &good, NULL);
	TRY(SYS_clock_nanosleep, CLOCK_MONOTONIC_RAW, 0, &good, NULL);
	TRY(SYS_clock_nanosleep, CLOCK_REALTIME_COARSE, 0, &good, NULL);
	TRY(SYS_clock_nanosleep, CLOCK_THREAD_CPUTIME_ID, 0, &good, NULL);
	TRY(SYS_clock_nanosleep, 100, 0, &good, NULL);
	for (int clock = -5; clock < 0; clock++) /* a descriptor's; this thread's three; none */
		TRY(SYS_clock_nanosleep, clock, 0, &good, NULL);
	TRY(SYS_clock_nanosleep, ~getpid() * 8 | 6, 0, &good, NULL);
	TRY(SYS_clock_nanosleep, CLOCK_MONOTONIC, 1, &good, NULL); /* long past */
	TRY(SYS_clock_nanosleep, CLOCK_MONOTONIC, 0, &bad, NULL);
	sigaction(SIGALRM, &action, NULL);
	setitimer(ITIMER_REAL, &once, NULL);
	while (!alarms)
		usleep(1000);
	usleep(50000);
	EQUAL("one alarm", alarms, 1);
	setitimer(ITIMER_REAL, &often, NULL); /* the first may come before the call */
	good.tv_sec = 100;
	TRY(SYS_nanosleep, &good, &left);
	CHECK("what was left", left.tv_sec >= 60 && left.tv_sec <= 100);
	show("code %d\n", last_code);
	TRY(SYS_nanosleep, &good, BAD);
	setitimer(ITIMER_REAL, &none, NULL);
}

static void intervals(void)
{
	struct itimerval bad = {{0, 0}, {0, 1000000}}, none = {{0, 0}, {0, 0}}, every = {{0, 10000}, {0, 10000}}, old;
	struct itimerval far = {{5, 0}, {100, 0}};
	int i;

	TRY(SYS_setitimer, 3, &none, NULL);
	TRY(SYS_setitimer, -1, &none, NULL);
	TRY(SYS_setitimer, ITIMER_REAL, &bad, NULL);
	TRY(SYS_setitimer, ITIMER_REAL, BAD, NULL);
	TRY(SYS_setitimer, ITIMER_REAL, NULL, NULL);
	TRY(SYS_getitimer, 3, &old);
	TRY(SYS_getitimer, ITIMER_REAL, BAD);
	TRY(SYS_setitimer, ITIMER_REAL, &far, NULL);
	TRY(SYS_setitimer, ITIMER_REAL, &none, &old);
	CHECK("the old value", old.it_value.tv_sec >= 60 && old.it_value.tv_sec <= 100 && old.it_interval.tv_sec == 5);
	TRY(SYS_getitimer, ITIMER_REAL, &old);
	CHECK("none is left", !old.it_value.tv_sec && !old.it_value.tv_usec && !old.it_interval.tv_sec);
	alarms = 0;
	setitimer(ITIMER_REAL, &every, NULL);
	while (alarms < 3)
		pause();
	setitimer(ITIMER_REAL, &none, NULL);
	CHECK("it fires again and again", alarms >= 3);
	alarm(100);
	i = alarm(0);
	CHECK("alarm says what is left", i <= 100 && i >= 60);
	VALUE(SYS_alarm, 0);
	signal(SIGVTALRM, SIG_DFL);
	{
		struct sigaction action = {.sa_sigaction = on_alarm, .sa_flags = SA_SIGINFO};

		sigaction(SIGPROF, &action, NULL);
	}
	alarms = 0;
	setitimer(ITIMER_PROF, &every, NULL);
	while (alarms < 2)
		getppid(); /* where time is virtual it moves in the kernel only */
	setitimer(ITIMER_PROF, &none, NULL);
	CHECK("CPU time fires", alarms >= 2);
}

static void posix(void)
{
	struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1, .sigev_value.sival_int = 77};
	struct sigaction action = {.sa_sigaction = on_alarm, .sa_flags = SA_SIGINFO};
	struct itimerspec soon = {{0, 0}, {0, 10000000}}, bad = {{0, 0}, {0, -1}}, state;
	int id = -1;
	sigset_t set, old;

	sigaction(SIGUSR1, &action, NULL);
	TRY(SYS_timer_create, CLOCK_MONOTONIC, &event, &id);
	show("first timer: %d\n", id);
	timer_id = id;
	alarms = 0;
	TRY(SYS_timer_settime, id, 0, &soon, NULL);
	while (!alarms)
		usleep(1000);
	show("value %d code %d\n", last_value, last_code);
	VALUE(SYS_timer_getoverrun, id);
	TRY(SYS_timer_gettime, id, &state);
	CHECK("disarmed", !state.it_value.tv_sec && !state.it_value.tv_nsec);
	TRY(SYS_timer_settime, id, 0, &bad, NULL);
	TRY(SYS_timer_settime, id, 0, NULL, NULL);
	TRY(SYS_timer_settime, id, 0, BAD, NULL);
	TRY(SYS_timer_settime, id + 1, 0, &soon, NULL);
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_BLOCK, &set, &old);
	soon.it_interval.tv_nsec = 10000000;
	alarms = overruns = 0;
	TRY(SYS_timer_settime, id, 0, &soon, &state);
	usleep(100000);
	sigprocmask(SIG_SETMASK, &old, NULL);
	CHECK("expiries that could not be delivered are counted", overruns >= 3);
	TRY(SYS_timer_delete, id);
	TRY(SYS_timer_delete, id);
	TRY(SYS_timer_gettime, id, &state);
	TRY(SYS_timer_create, 100, &event, &id);
	TRY(SYS_timer_create, CLOCK_MONOTONIC_COARSE, &event, &id);
	TRY(SYS_timer_create, CLOCK_MONOTONIC, &event, BAD);
	TRY(SYS_timer_create, CLOCK_MONOTONIC, BAD, &id);
	event.sigev_signo = 65;
	TRY(SYS_timer_create, CLOCK_MONOTONIC, &event, &id);
	event.sigev_notify = 9;
	TRY(SYS_timer_create, CLOCK_MONOTONIC, &event, &id);
}

static void descriptors(void)
{
	struct itimerspec every = {{0, 10000000}, {0, 10000000}}, bad = {{0, 0}, {0, 1000000000}}, none = {{0, 0}, {0, 0}}, state;
	uint64_t count = 0;
	struct pollfd waiting;
	int fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);

	TRY(SYS_timerfd_create, CLOCK_PROCESS_CPUTIME_ID, 0);
	TRY(SYS_timerfd_create, 100, 0);
	TRY(SYS_timerfd_create, CLOCK_MONOTONIC, 1);
	VALUE(SYS_read, fd, &count, 8);
	TRY(SYS_timerfd_settime, fd, 0, &every, &state);
	VALUE(SYS_read, fd, &count, 4);
	waiting.fd = fd, waiting.events = POLLIN;
	EQUAL("poll waits for it", poll(&waiting, 1, 5000), 1);
	EQUAL("it can be read", waiting.revents, POLLIN);
	usleep(50000);
	VALUE(SYS_read, fd, &count, 8);
	CHECK("expiries are counted", count >= 4);
	TRY(SYS_timerfd_gettime, fd, &state);
	CHECK("it goes on", state.it_interval.tv_nsec == 10000000 && state.it_value.tv_nsec > 0);
	TRY(SYS_timerfd_settime, fd, 0, &none, NULL);
	TRY(SYS_timerfd_settime, fd, 0, &bad, NULL);
	TRY(SYS_timerfd_settime, fd, 8, &none, NULL);
	TRY(SYS_timerfd_settime, fd, 0, BAD, NULL);
	TRY(SYS_timerfd_settime, fd, 0, NULL, NULL);
	TRY(SYS_timerfd_settime, 0, 0, &none, NULL);
	TRY(SYS_timerfd_settime, -1, 0, &none, NULL);
	TRY(SYS_timerfd_gettime, 0, &state);
	TRY(SYS_timerfd_gettime, fd, BAD);
	VALUE(SYS_write, fd, &count, 8);
	close(fd);
	fd = timerfd_create(CLOCK_REALTIME, 0);
	every.it_interval.tv_nsec = 0;
	timerfd_settime(fd, 0, &every, NULL);
	VALUE(SYS_read, fd, &count, 8);
	show("%d\n", (int)count);
	close(fd);
	fd = timerfd_create(CLOCK_REALTIME, TFD_NONBLOCK);
	every.it_value.tv_sec = 1; /* of 1970 */
	for (int i = 0; i < 3; i++) {
		timerfd_settime(fd, TFD_TIMER_ABSTIME, &every, NULL);
		VALUE(SYS_read, fd, &count, 8);
	}
	close(fd);
}

int main(void)
{
	descriptors();
	reading();
	sleeping();
	intervals();
	posix();
	return done();
}
