/* prctl, option by option: what it answers, what is inherited by fork and by a thread, and what execve leaves. */
#include "check.h"
#include <pthread.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#ifndef PR_SET_SPECULATION_CTRL
#define PR_SET_SPECULATION_CTRL 53
#endif

static void *thread(void *unused)
{
	char name[16] = "";

	(void)unused;
	prctl(PR_SET_NAME, "worker");
	prctl(PR_GET_NAME, name);
	CHECK("a thread has a name of its own", !strcmp(name, "worker"));
	prctl(PR_SET_TIMERSLACK, 77777UL);
	return NULL;
}

static int child_status(int (*body)(void))
{
	int status;
	pid_t pid = fork();

	if (!pid)
		_exit(body());
	waitpid(pid, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

static int inherited(void)
{
	int sig = -1, reaper = -1;

	prctl(PR_GET_PDEATHSIG, &sig);
	prctl(PR_GET_CHILD_SUBREAPER, &reaper);
	return sig * 8 + reaper * 4 + prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) * 2 + !prctl(PR_GET_DUMPABLE);
}

static int slack_of_child(void)
{
	return prctl(PR_GET_TIMERSLACK) == 60000;
}

static volatile int seen;
static void on(int signo)
{
	seen = signo;
}

/* A child whose parent dies gets its PR_SET_PDEATHSIG. */
static int pdeath(void)
{
	int fds[2];
	char byte = 0;
	pid_t pid;

	if (pipe(fds))
		return 1;
	pid = fork();
	if (!pid) {
		if (!fork()) {
			signal(SIGUSR1, on);
			prctl(PR_SET_PDEATHSIG, SIGUSR1);
			if (write(fds[1], "r", 1) != 1)
				_exit(1);
			while (!seen)
				usleep(1000);
			byte = seen == SIGUSR1 ? 'y' : 'n';
			_exit(write(fds[1], &byte, 1) != 1);
		}
		_exit(read(fds[0], &byte, 1) != 1);
	}
	waitpid(pid, NULL, 0);
	return read(fds[0], &byte, 1) != 1 || byte != 'y';
}

int main(int argc, char **argv)
{
	char name[17] = "................";
	int value = 5, i;
	unsigned long tid = 0;
	pthread_t other;

	if (argc > 1) {  /* after execve */
		prctl(PR_GET_NAME, name);
		CHECK("execve gives the name of the file", !strncmp(name, argv[2], 15));
		prctl(PR_GET_PDEATHSIG, &value);
		EQUAL("execve keeps PDEATHSIG", value, SIGUSR2);
		EQUAL("and NO_NEW_PRIVS", prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0), 1);
		EQUAL("but not KEEPCAPS", prctl(PR_GET_KEEPCAPS), 0);
		EQUAL("DUMPABLE is 1 again", prctl(PR_GET_DUMPABLE), 1);
		value = -1;
		prctl(PR_GET_CHILD_SUBREAPER, &value);
		EQUAL("a subreaper stays one", value, 1);
		EQUAL("the timer slack stays", prctl(PR_GET_TIMERSLACK), 60000);
		return done();
	}
	ERRNO("name", prctl(PR_SET_NAME, "a name of more than fifteen"), 0);
	prctl(PR_GET_NAME, name);
	CHECK("cut to fifteen bytes", !strcmp(name, "a name of more "));
	ERRNO("name, bad address", prctl(PR_SET_NAME, (char *)8), EFAULT);
	ERRNO("get name, bad address", prctl(PR_GET_NAME, (char *)8), EFAULT);

	ERRNO("PDEATHSIG 65", prctl(PR_SET_PDEATHSIG, 65), EINVAL);
	ERRNO("PDEATHSIG -1", prctl(PR_SET_PDEATHSIG, -1L), EINVAL);
	ERRNO("PDEATHSIG", prctl(PR_SET_PDEATHSIG, SIGUSR2), 0);
	ERRNO("get PDEATHSIG", prctl(PR_GET_PDEATHSIG, &value), 0);
	EQUAL("PDEATHSIG is", value, SIGUSR2);
	EQUAL("a parent's death", child_status(pdeath), 0);

	EQUAL("DUMPABLE", prctl(PR_GET_DUMPABLE), 1);
	ERRNO("DUMPABLE 2", prctl(PR_SET_DUMPABLE, 2), EINVAL);
	ERRNO("DUMPABLE 0", prctl(PR_SET_DUMPABLE, 0), 0);
	EQUAL("DUMPABLE now", prctl(PR_GET_DUMPABLE), 0);
	ERRNO("SUBREAPER", prctl(PR_SET_CHILD_SUBREAPER, 7), 0);
	prctl(PR_GET_CHILD_SUBREAPER, &value);
	EQUAL("is 1", value, 1);
	EQUAL("a child inherits", child_status(inherited), 1);
	ERRNO("NO_NEW_PRIVS 0", prctl(PR_SET_NO_NEW_PRIVS, 0, 0, 0, 0), EINVAL);
	ERRNO("NO_NEW_PRIVS with rest", prctl(PR_SET_NO_NEW_PRIVS, 1, 1, 0, 0), EINVAL);
	ERRNO("NO_NEW_PRIVS", prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
	ERRNO("get NO_NEW_PRIVS with rest", prctl(PR_GET_NO_NEW_PRIVS, 0, 1, 0, 0), EINVAL);
	EQUAL("a child inherits that too", child_status(inherited), 3);
	ERRNO("KEEPCAPS 2", prctl(PR_SET_KEEPCAPS, 2), EINVAL);
	ERRNO("KEEPCAPS", prctl(PR_SET_KEEPCAPS, 1), 0);
	EQUAL("KEEPCAPS is", prctl(PR_GET_KEEPCAPS), 1);

	EQUAL("slack", prctl(PR_GET_TIMERSLACK), 50000);
	ERRNO("slack 60000", prctl(PR_SET_TIMERSLACK, 60000UL), 0);
	EQUAL("slack now", prctl(PR_GET_TIMERSLACK), 60000);
	EQUAL("a child has it", child_status(slack_of_child), 1);
	pthread_create(&other, NULL, thread, NULL);
	pthread_join(other, NULL);
	EQUAL("a thread has its own", prctl(PR_GET_TIMERSLACK), 60000);
	prctl(PR_GET_NAME, name);
	CHECK("and its own name", !strcmp(name, "a name of more "));

	EQUAL("seccomp", prctl(PR_GET_SECCOMP), 0);
	EQUAL("CAPBSET_READ 0", prctl(PR_CAPBSET_READ, 0), 1);
	ERRNO("CAPBSET_READ 64", prctl(PR_CAPBSET_READ, 64), EINVAL);
	CHECK("SECUREBITS", prctl(PR_GET_SECUREBITS) >= 0);
	EQUAL("TIMING", prctl(PR_GET_TIMING), 0);
	ERRNO("TIMING 1", prctl(PR_SET_TIMING, 1), EINVAL);
	ERRNO("TSC", prctl(PR_GET_TSC, &value), 0);
	EQUAL("TSC is", value, PR_TSC_ENABLE);
	ERRNO("TSC 7", prctl(PR_SET_TSC, 7), EINVAL);
	ERRNO("THP with rest", prctl(PR_GET_THP_DISABLE, 1, 0, 0, 0), EINVAL);
	EQUAL("THP", prctl(PR_GET_THP_DISABLE, 0, 0, 0, 0), 0);
	ERRNO("THP on", prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0), 0);
	EQUAL("THP is on", prctl(PR_GET_THP_DISABLE, 0, 0, 0, 0), 1);
	ERRNO("THP off", prctl(PR_SET_THP_DISABLE, 0, 0, 0, 0), 0);
	ERRNO("ambient, unknown", prctl(PR_CAP_AMBIENT, 9, 0, 0, 0), EINVAL);
	ERRNO("ambient, clear all", prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0), 0);
	ERRNO("MCE_KILL", prctl(PR_MCE_KILL, PR_MCE_KILL_SET, PR_MCE_KILL_EARLY, 0, 0), 0);
	EQUAL("MCE_KILL is", prctl(PR_MCE_KILL_GET, 0, 0, 0, 0), PR_MCE_KILL_EARLY);
	ERRNO("MCE_KILL, unknown", prctl(PR_MCE_KILL, 5, 0, 0, 0), EINVAL);
	ERRNO("UNALIGN", prctl(PR_SET_UNALIGN, 1), EINVAL);
	ERRNO("FPEMU", prctl(PR_GET_FPEMU, &value), EINVAL);
	ERRNO("ENDIAN", prctl(PR_GET_ENDIAN, &value), EINVAL);
	ERRNO("an option that is not there", prctl(12345, 0, 0, 0, 0), EINVAL);
	ERRNO("option -1", prctl(-1, 0, 0, 0, 0), EINVAL);
	if (prctl(PR_GET_TID_ADDRESS, &tid) == 0)
		CHECK("TID_ADDRESS", tid != 0);
	for (i = 0; i < 2; i++)
		prctl(PR_SET_DUMPABLE, i);
	prctl(PR_SET_DUMPABLE, 0);
	fflush(stdout);
	execl("/proc/self/exe", argv[0], "after", strrchr(argv[0], '/') ? "exe" : "exe", NULL);
	report(0, "execl", strerror(errno));
	return done();
}
