/* execve in detail: errnos, ETXTBSY, scripts, threads that end, what is kept; getrusage and times with real figures. */
#include "check.h"
#include "../alone.h"
#include <fcntl.h>
#include <pthread.h>
#include <sys/auxv.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>

static char *self;

static int run(char *path, char *const argv[])
{
	int status;
	pid_t pid = fork();

	if (!pid) {
		execve(path, argv, (char *[]){"KEPT=yes", NULL});
		_exit(errno);
	}
	waitpid(pid, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

static void script(const char *name, const char *text)
{
	int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC, 0755);

	write(fd, text, strlen(text));
	close(fd);
}

static void scripts(void)
{
	char text[400], deep[40];
	int i;

	snprintf(text, sizeof text, "#!%s script  one argument \nrest\n", self);
	script("/tmp/np-a", text);
	EQUAL("a script", run("/tmp/np-a", (char *[]){"zero", "more", NULL}), 41);
	script("/tmp/np-b", "#!/tmp/np-a\n");
	EQUAL("a script of a script", run("/tmp/np-b", (char *[]){"zero", NULL}), 42);
	script("/tmp/np-c", "#!/nowhere/at/all\n");
	EQUAL("no interpreter", run("/tmp/np-c", (char *[]){"x", NULL}), ENOENT);
	script("/tmp/np-d", "no format\n");
	EQUAL("no format", run("/tmp/np-d", (char *[]){"x", NULL}), ENOEXEC);
	script("/tmp/np-e", "#!\n");
	EQUAL("an empty line", run("/tmp/np-e", (char *[]){"x", NULL}), ENOEXEC);
	script("/tmp/np-0", text);
	for (i = 1; i < 8; i++) {
		snprintf(text, sizeof text, "#!/tmp/np-%d\n", i - 1);
		snprintf(deep, sizeof deep, "/tmp/np-%d", i);
		script(deep, text);
	}
	EQUAL("four deep", run("/tmp/np-3", (char *[]){"x", NULL}) < 50, 1);
	EQUAL("seven deep", run("/tmp/np-7", (char *[]){"x", NULL}), ELOOP);
	script("/tmp/np-e", "");
	EQUAL("an empty file", run("/tmp/np-e", (char *[]){"x", NULL}), ENOEXEC);
	chmod("/tmp/np-d", 0644);
	EQUAL("not executable", run("/tmp/np-d", (char *[]){"x", NULL}), EACCES);
	EQUAL("a directory", run("/tmp", (char *[]){"x", NULL}), EACCES);
	EQUAL("below a file", run("/tmp/np-a/x", (char *[]){"x", NULL}), ENOTDIR);
	EQUAL("nothing", run("/tmp/np-none", (char *[]){"x", NULL}), ENOENT);
	for (i = 0; i < 8; i++) {
		snprintf(deep, sizeof deep, "/tmp/np-%d", i);
		unlink(deep);
	}
	unlink("/tmp/np-a"); unlink("/tmp/np-b"); unlink("/tmp/np-c"); unlink("/tmp/np-d"); unlink("/tmp/np-e");
}

static void busy(void)
{
	static char copy[1 << 20];
	int in = open(self, O_RDONLY), out = open("/tmp/np-copy", O_WRONLY | O_CREAT | O_TRUNC, 0755);
	ssize_t n;
	int p[2];
	char byte;
	pid_t pid;

	while ((n = read(in, copy, sizeof copy)) > 0)
		write(out, copy, n);
	EQUAL("open for writing: ETXTBSY", run("/tmp/np-copy", (char *[]){"x", "status", NULL}), ETXTBSY);
	close(out);
	EQUAL("closed", run("/tmp/np-copy", (char *[]){"x", "status", NULL}), 33);
	if (pipe(p))
		_exit(9);
	if (!(pid = fork())) {
		dup2(p[1], 100);
		execl("/tmp/np-copy", "x", "sleep", NULL);
		_exit(9);
	}
	read(p[0], &byte, 1);
	ERRNO("a program that runs can't be written", open("/tmp/np-copy", O_WRONLY), ETXTBSY);
	ERRNO("nor cut", truncate("/tmp/np-copy", 0), ETXTBSY);
	ERRNO("but removed", unlink("/tmp/np-copy"), 0);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

static void too_big(void)
{
	static char huge[140000];
	char **many = calloc(300001, sizeof *many);
	int i;

	memset(huge, 'x', sizeof huge - 1);
	EQUAL("one string of 128 KiB", run(self, (char *[]){"x", huge, NULL}), E2BIG);
	huge[131071] = 0;
	EQUAL("one byte less", run(self, (char *[]){"x", "status", huge, NULL}), 33);
	for (i = 0; i < 300000; i++)
		many[i] = "abcdefgh";
	EQUAL("too many", run(self, many), E2BIG);
	free(many);
}

static void *sleeper(void *unused)
{
	for (;;)
		pause();
	return unused;
}

static void threaded(void)
{
	pthread_t thread;
	int status, i;
	pid_t pid = fork();

	if (!pid) {
		for (i = 0; i < 5; i++)
			pthread_create(&thread, NULL, sleeper, NULL);
		execl(self, "x", "threads", NULL);
		_exit(9);
	}
	waitpid(pid, &status, 0);
	EQUAL("threads end at execve", WEXITSTATUS(status), 1);
}

static void usage(void)
{
	struct rusage before, after, child;
	char *p = mmap(NULL, 400 * PAGE, RW, ANON, -1, 0);
	int i, status;
	volatile int spin = 0;
	pid_t pid;

	madvise(p, 400 * PAGE, MADV_NOHUGEPAGE);
	getrusage(RUSAGE_SELF, &before);
	for (i = 0; i < 400; i++)
		p[i * PAGE] = 1;
	getrusage(RUSAGE_SELF, &after);
	CHECK("minor faults", after.ru_minflt - before.ru_minflt >= 400 && after.ru_minflt - before.ru_minflt < 480);
	EQUAL("no major ones", after.ru_majflt - before.ru_majflt, 0);
	for (i = 0; i < 400; i++)
		p[i * PAGE] = 2;
	getrusage(RUSAGE_SELF, &before);
	CHECK("the second touch is none", before.ru_minflt - after.ru_minflt < 20);
	CHECK("resident", after.ru_maxrss >= 1600);
	pid = fork();
	if (!pid) {
		for (i = 0; i < 400; i++)
			p[i * PAGE] = 3;
		for (i = 0; i < 30000000; i++)
			spin++;
		_exit(0);
	}
	wait4(pid, &status, 0, &child);
	CHECK("a child's copies", child.ru_minflt >= 400 && child.ru_minflt < 700);
	CHECK("a child's time", child.ru_utime.tv_sec || child.ru_utime.tv_usec || child.ru_stime.tv_sec || child.ru_stime.tv_usec);
	getrusage(RUSAGE_CHILDREN, &after);
	CHECK("are those of the children", after.ru_minflt >= child.ru_minflt && after.ru_utime.tv_sec >= child.ru_utime.tv_sec);
	getrusage(RUSAGE_SELF, &before);
	usleep(1000);
	getrusage(RUSAGE_SELF, &after);
	CHECK("a sleep is a voluntary switch", after.ru_nvcsw > before.ru_nvcsw);
	ERRNO("who", getrusage(5, &after), EINVAL);
}

static volatile sig_atomic_t ticks;
static void tick(int signo)
{
	(void)signo;
	ticks++;
}

/* CPU time timers run while the program does, and not while it sleeps. */
static void cpu_timers(void)
{
	struct itimerval often = {{0, 10000}, {0, 10000}}, off = {{0, 0}, {0, 0}}, left;
	struct timespec start, now;
	volatile int spin = 0;

	signal(SIGPROF, tick);
	signal(SIGVTALRM, tick);
	ticks = 0;
	setitimer(ITIMER_PROF, &often, NULL);
	usleep(100000);
	CHECK("none while it sleeps", ticks <= 3); /* ten if they went on; it takes some time to fall asleep */
	while (ticks < 4)
		spin++;
	setitimer(ITIMER_PROF, &off, &left);
	CHECK("what was left", left.it_interval.tv_usec >= 10000 && left.it_value.tv_usec > 0);
	ticks = 0;
	setitimer(ITIMER_VIRTUAL, &often, NULL);
	while (ticks < 3)
		spin++;
	setitimer(ITIMER_VIRTUAL, &off, NULL);
	ERRNO("no such timer", setitimer(7, &off, NULL), EINVAL);
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &start);
	while (clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now), now.tv_nsec == start.tv_nsec)
		;
	CHECK("CPU time passes", now.tv_sec > start.tv_sec || now.tv_nsec > start.tv_nsec);
}

int main(int argc, char **argv)
{
	static char name[300];
	ssize_t n;

	if (argc > 1 && !strcmp(argv[1], "script  one argument"))  /* the interpreter: its one argument, the script, the rest */
		return argc == 4 && !strcmp(argv[3], "more") ? 41 : argc == 3 || argc == 4 ? 42 : argc;
	if (argc > 1 && !strcmp(argv[1], "status"))
		return getenv("KEPT") ? 33 : 34;
	if (argc > 1 && !strcmp(argv[1], "sleep")) {
		write(100, "r", 1);
		return sleeper(NULL) == NULL;
	}
	if (argc > 1 && !strcmp(argv[1], "threads")) {
		struct stat about;

		return stat("/proc/self/task", &about) ? 90 : (int)about.st_nlink - 2;
	}
	n = readlink("/proc/self/exe", name, sizeof name - 1);
	name[n > 0 ? n : 0] = 0;
	self = name;
	alone("/tmp/np-alone");
	scripts();
	busy();
	too_big();
	threaded();
	usage();
	cpu_timers();
	return done();
}
