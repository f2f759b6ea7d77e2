/* Events: fork, vfork, clone, exec, exit; ATTACH, SEIZE, INTERRUPT, LISTEN, DETACH; the end of a tracer. */
#include "traced.h"
#include <pthread.h>

static void *thread(void *unused)
{
	return unused;
}

static pid_t start(void (*body)(void), long options)
{
	pid_t pid = fork();

	if (!pid) {
		raw(PTRACE_TRACEME, 0, 0, 0);
		raise(SIGSTOP);
		body();
		_exit(6);
	}
	stop_of(pid);
	raw(PTRACE_SETOPTIONS, pid, 0, options);
	raw(PTRACE_CONT, pid, 0, 0);
	return pid;
}

static void forks(void)
{
	pid_t pid = fork();

	if (!pid)
		_exit(3);
	waitpid(pid, NULL, 0);
}

static void vforks(void)
{
	pid_t pid = vfork();

	if (!pid)
		_exit(3);
	waitpid(pid, NULL, 0);
}

static void clones(void)
{
	pthread_t other;

	pthread_create(&other, NULL, thread, NULL);
	pthread_join(other, NULL);
}

/* A new child: its maker's event with its number, its own SIGSTOP, its end, its maker's end. */
static void new_child(const char *name, void (*body)(void), long option, int event, int thread_too)
{
	unsigned long message = 0;
	pid_t pid = start(body, option), other;
	int status, ended = 0, stopped = 0, done_event = 0, i;

	EQUAL(name, stopped_with(stop_of(pid)), SIGTRAP | event << 8);
	raw(PTRACE_GETEVENTMSG, pid, 0, (unsigned long)&message);
	CHECK("its number", message > 1 && (pid_t)message != pid);
	raw(PTRACE_CONT, pid, 0, 0);
	for (i = 0; i < 20 && ended < 2; i++) {
		other = waitpid(-1, &status, __WALL);
		if (other < 0)
			break;
		if (WIFEXITED(status)) {
			ended++;
			if (thread_too && other != pid)
				status = 3 << 8;  /* 6 when exit_group was faster */
			EQUAL("its status", WEXITSTATUS(status), other == pid ? 6 : 3);
			continue;
		}
		if (WIFSTOPPED(status) && other == (pid_t)message && WSTOPSIG(status) == SIGSTOP)
			stopped++;
		if (status >> 8 == (SIGTRAP | PTRACE_EVENT_VFORK_DONE << 8))
			done_event++;
		raw(PTRACE_CONT, other, 0, WSTOPSIG(status) == SIGCHLD ? SIGCHLD : 0);
	}
	EQUAL("two ends", ended, 2);
	EQUAL("the new one stopped first", stopped, 1);
	EQUAL("vfork done", done_event, event == PTRACE_EVENT_VFORK);
	ERRNO("nobody is left", waitpid(-1, &status, __WALL), ECHILD);
}

static void execs(void)
{
	execl("/proc/self/exe", "self", "after", NULL);
}

static void exec_and_exit(void)
{
	unsigned long message = 0;
	pid_t pid = start(execs, PTRACE_O_TRACEEXEC | PTRACE_O_TRACEEXIT);

	EQUAL("exec", stopped_with(stop_of(pid)), SIGTRAP | PTRACE_EVENT_EXEC << 8);
	raw(PTRACE_GETEVENTMSG, pid, 0, (unsigned long)&message);
	EQUAL("who it was", (pid_t)message == pid, 1);
	raw(PTRACE_CONT, pid, 0, 0);
	EQUAL("exit", stopped_with(stop_of(pid)), SIGTRAP | PTRACE_EVENT_EXIT << 8);
	raw(PTRACE_GETEVENTMSG, pid, 0, (unsigned long)&message);
	EQUAL("its status to be", message, 5 << 8);
	raw(PTRACE_CONT, pid, 0, 0);
	EQUAL("its end", WEXITSTATUS(stop_of(pid)), 5);

	pid = start(execs, 0);
	EQUAL("without the option a SIGTRAP", stopped_with(stop_of(pid)), SIGTRAP);
	raw(PTRACE_CONT, pid, 0, 0);
	EQUAL("its end", WEXITSTATUS(stop_of(pid)), 5);
}

static pid_t sleeper(void)
{
	int fds[2];
	char byte;
	pid_t pid;

	if (pipe(fds))
		_exit(9);
	pid = fork();
	if (!pid) {
		if (write(fds[1], "r", 1) != 1)
			_exit(1);
		for (;;)
			pause();
	}
	if (read(fds[0], &byte, 1) != 1)
		_exit(9);
	close(fds[0]);
	close(fds[1]);
	return pid;
}

static char state_of(pid_t pid)
{
	char path[64], text[512], *p;
	int fd, length;

	snprintf(path, sizeof path, "/proc/%d/stat", pid);
	fd = open(path, O_RDONLY);
	length = fd < 0 ? 0 : read(fd, text, sizeof text - 1);
	close(fd);
	text[length > 0 ? length : 0] = 0;
	p = strrchr(text, ')');
	return p ? p[2] : '-';
}

static char until(pid_t pid, char state)
{
	int i;

	for (i = 0; i < 3000 && state_of(pid) != state; i++)
		usleep(1000);
	return state_of(pid);
}

static void attached(void)
{
	pid_t pid = sleeper();

	ERRNO("ATTACH", raw(PTRACE_ATTACH, pid, 0, 0), 0);
	EQUAL("it stops", stopped_with(stop_of(pid)), SIGSTOP);
	EQUAL("state", state_of(pid), 't');
	ERRNO("DETACH", raw(PTRACE_DETACH, pid, 0, 0), 0);
	EQUAL("it sleeps again", until(pid, 'S'), 'S');
	ERRNO("not traced any more", raw(PTRACE_CONT, pid, 0, 0), ESRCH);
	ERRNO("ATTACH again", raw(PTRACE_ATTACH, pid, 0, 0), 0);
	stop_of(pid);
	ERRNO("DETACH with SIGTERM", raw(PTRACE_DETACH, pid, 0, SIGTERM), 0);
	EQUAL("it dies of that", WTERMSIG(stop_of(pid)), SIGTERM);
	pid = sleeper();
	kill(pid, SIGSTOP);
	waitpid(pid, NULL, WUNTRACED);
	ERRNO("ATTACH to a stopped one", raw(PTRACE_ATTACH, pid, 0, 0), 0);
	EQUAL("its stop", stopped_with(stop_of(pid)), SIGSTOP);
	raw(PTRACE_DETACH, pid, 0, 0);
	EQUAL("it is stopped as before", until(pid, 'T'), 'T');
	kill(pid, SIGKILL);
	stop_of(pid);
}

static void seized(void)
{
	pid_t pid = sleeper();
	siginfo_t info;
	int status;

	ERRNO("an unknown option", raw(PTRACE_SEIZE, pid, 0, 1 << 30), EIO);
	ERRNO("SEIZE", raw(PTRACE_SEIZE, pid, 0, PTRACE_O_TRACESYSGOOD), 0);
	EQUAL("it does not stop", waitpid(pid, &status, WNOHANG | __WALL), 0);
	ERRNO("so it answers nothing", raw(PTRACE_GETSIGINFO, pid, 0, (unsigned long)&info), ESRCH);
	ERRNO("INTERRUPT", raw(PTRACE_INTERRUPT, pid, 0, 0), 0);
	EQUAL("it stops", stopped_with(stop_of(pid)), SIGTRAP | PTRACE_EVENT_STOP << 8);
	raw(PTRACE_CONT, pid, 0, 0);
	/* a group stop is one that the tracer sees, and can leave as it is */
	kill(pid, SIGSTOP);
	EQUAL("SIGSTOP is coming", stopped_with(stop_of(pid)), SIGSTOP);
	raw(PTRACE_CONT, pid, 0, SIGSTOP);
	EQUAL("the group stop", stopped_with(stop_of(pid)), SIGSTOP | PTRACE_EVENT_STOP << 8);
	ERRNO("LISTEN", raw(PTRACE_LISTEN, pid, 0, 0), 0);
	ERRNO("it answers nothing", raw(PTRACE_GETSIGINFO, pid, 0, (unsigned long)&info), ESRCH);
	EQUAL("no news", waitpid(pid, &status, WNOHANG | __WALL), 0);
	kill(pid, SIGCONT);
	EQUAL("SIGCONT: a trap", stopped_with(stop_of(pid)), SIGTRAP | PTRACE_EVENT_STOP << 8);
	raw(PTRACE_CONT, pid, 0, 0);
	EQUAL("and the signal", stopped_with(stop_of(pid)), SIGCONT);
	raw(PTRACE_CONT, pid, 0, SIGCONT);
	kill(pid, SIGKILL);
	EQUAL("its end", WTERMSIG(stop_of(pid)), SIGKILL);
	pid = sleeper();
	raw(PTRACE_ATTACH, pid, 0, 0);
	stop_of(pid);
	ERRNO("INTERRUPT is for seized ones", raw(PTRACE_INTERRUPT, pid, 0, 0), EIO);
	raw(PTRACE_KILL, pid, 0, 0);
	stop_of(pid);
}

/* The tracer is no parent: both hear of the end, the tracer first; and when the tracer ends. */
static void tracer_ends(long options, const char *name, int killed)
{
	pid_t pid = sleeper(), tracer;
	int status = 0;

	tracer = fork();
	if (!tracer) {
		raw(PTRACE_SEIZE, pid, 0, options);
		_exit(0);
	}
	waitpid(tracer, NULL, 0);
	if (killed) {
		EQUAL(name, waitpid(pid, &status, 0) == pid && WTERMSIG(status) == SIGKILL, 1);
		return;
	}
	usleep(20000);
	EQUAL(name, waitpid(pid, &status, WNOHANG), 0);
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
}

static void stranger(void)
{
	int fds[2], status = 0;
	char answer = 0;
	pid_t pid = sleeper(), tracer;

	if (pipe(fds))
		_exit(9);
	tracer = fork();
	if (!tracer) {
		raw(PTRACE_ATTACH, pid, 0, 0);
		stop_of(pid);
		raw(PTRACE_CONT, pid, 0, 0);
		answer = write(fds[1], "k", 1) == 1 && WTERMSIG(stop_of(pid)) == SIGTERM ? 'y' : 'n';
		_exit(write(fds[1], &answer, 1) != 1);
	}
	if (read(fds[0], &answer, 1) != 1)
		_exit(9);
	EQUAL("a stop for the tracer is none for the parent", waitpid(pid, &status, WNOHANG | WUNTRACED), 0);
	kill(pid, SIGKILL);
	EQUAL("the parent sees the end", waitpid(pid, &status, 0) == pid && WTERMSIG(status) == SIGKILL, 1);
	(void)!read(fds[0], &answer, 1);
	EQUAL("the tracer saw it too", answer, 'n');
	waitpid(tracer, NULL, 0);
}

int main(int argc, char **argv)
{
	(void)argv;
	if (argc > 1)
		return 5;
	new_child("fork", forks, PTRACE_O_TRACEFORK, PTRACE_EVENT_FORK, 0);
	new_child("vfork", vforks, PTRACE_O_TRACEVFORK | PTRACE_O_TRACEVFORKDONE, PTRACE_EVENT_VFORK, 0);
	new_child("clone", clones, PTRACE_O_TRACECLONE, PTRACE_EVENT_CLONE, 1);
	exec_and_exit();
	attached();
	seized();
	tracer_ends(0, "a tracer's end lets it go", 0);
	tracer_ends(PTRACE_O_EXITKILL, "or kills it", 1);
	stranger();
	return done();
}
