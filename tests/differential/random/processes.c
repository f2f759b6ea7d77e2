/* SPDX-License-Identifier: GPL-2.0-or-later */
/* processes SEED COUNT: a few processes do what they are told by a pipe, one at a time: fork, exit, kill, wait, change
   group or session, block, catch and ignore signals.  After each step the first waits until all rest, and prints what each
   is and what it has.  Processes are named by the order in which they were made, never by number. */
#define _GNU_SOURCE
#include "random.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MOST = 7, KNOWN = 400 };
enum what {
	FORK, EXIT, KILL, KILL_GROUP, WAIT, WAIT_ANY, WAIT_GROUP, WAITID, SETPGID, SETSID, BLOCK, UNBLOCK, CATCH, IGNORE, DEFAULT,
	QUEUE, TAKE, PENDING, SUBREAPER, DEATHSIG, GETS, NICE, ALARM, SUSPEND, LAST
};

static const int signals[] = { SIGHUP, SIGINT, SIGUSR1, SIGUSR2, SIGTERM, SIGCHLD, SIGCONT, SIGSTOP, SIGTSTP, SIGTTIN,
			       SIGKILL, SIGWINCH, SIGALRM, 35, 40 };

/* For whole groups: of two that die at once either may be the first, and what becomes of the other depends on it. */
static const int gentle[] = { SIGSTOP, SIGTSTP, SIGTTIN, SIGWINCH, SIGCHLD };

/* What all share: who is who, the order to one, its answer. */
static struct shared {
	int pids[KNOWN], made;
	int what, arguments[4];
	int turn;
	char answer[300];
	volatile int answered;
	int caught[KNOWN][65];
} *shared;

static int own, orders[KNOWN][2];

static void handler(int signal, siginfo_t *info, void *context)
{
	(void)info, (void)context;
	shared->caught[own][signal]++;
}

/* The name of a process: its place in the order, or what is special about the number. */
static int name_of(int pid)
{
	for (int n = shared->made - 1; n >= 0; n--)
		if (shared->pids[n] == pid)
			return n;
	return pid > 0 ? 900 : pid;
}

static int pid_of(int name)
{
	return name < 0 || name >= shared->made ? 0x3ffffff : shared->pids[name];
}

static void set_of_signals(char *text, const char *title, const sigset_t *set)
{
	strcat(text, title);
	for (int n = 1; n < 65; n++)
		if (n != 32 && n != 33 && n != 34 && sigismember(set, n) > 0)
			sprintf(text + strlen(text), " %d", n);
}

static void status_text(char *text, int result, int status)
{
	if (result == -1)
		sprintf(text, "%s", strerror(errno));
	else
		sprintf(text, "%d %s %d", result > 0 ? name_of(result) : 0,
			!result ? "none" : WIFEXITED(status) ? "exit" : WIFSTOPPED(status) ? "stop" :
			WIFCONTINUED(status) ? "cont" : WCOREDUMP(status) ? "core" : "signal",
			!result || WIFCONTINUED(status) ? 0 : WIFEXITED(status) ? WEXITSTATUS(status) :
			WIFSTOPPED(status) ? WSTOPSIG(status) : WTERMSIG(status));
}

static void serve(void);

static void order_fork(char *text)
{
	int next = shared->made, pid;

	if (next >= KNOWN) {
		strcpy(text, "enough");
		return;
	}
	shared->made++;
	shared->pids[next] = 0;
	pid = fork();
	if (!pid) {
		own = next;
		shared->pids[next] = getpid();
		serve();
	}
	while (pid > 0 && !*(volatile int *)&shared->pids[next])
		sched_yield();
	sprintf(text, "%s", pid < 0 ? strerror(errno) : "made");
}

static void order_wait(char *text, int what, const int *arguments)
{
	static const int ways[] = { 0, 0, WUNTRACED, WCONTINUED, WUNTRACED | WCONTINUED, __WALL, __WNOTHREAD };
	int status = 0, way = WNOHANG | ways[arguments[1] % 7];
	int whom = what == WAIT ? pid_of(arguments[0]) : what == WAIT_ANY ? -1 : arguments[0] ? -getpgid(pid_of(arguments[0])) : 0;

	if (whom == 1)
		whom = -0x3ffffff;
	errno = 0;
	status_text(text, waitpid(whom, &status, way), status);
}

static void order_waitid(char *text, const int *arguments)
{
	static const int ways[] = { WEXITED, WSTOPPED, WCONTINUED, WEXITED | WSTOPPED | WCONTINUED, WEXITED | WNOWAIT, 0,
				    WSTOPPED | WNOWAIT };
	static const int kinds[] = { P_ALL, P_PID, P_PGID };
	siginfo_t info;
	int kind = kinds[arguments[2] % 3];

	memset(&info, 0, sizeof info);
	if (waitid(kind, kind == P_ALL ? 0 : kind == P_PID ? pid_of(arguments[0]) : getpgrp(), &info,
		   WNOHANG | ways[arguments[1] % 7]))
		sprintf(text, "%s", strerror(errno));
	else
		sprintf(text, "%d %d %d", info.si_pid ? name_of(info.si_pid) : 0, info.si_code, info.si_status);
}

static void order_signals(char *text, int what, const int *arguments)
{
	struct sigaction action = { .sa_flags = (arguments[1] & 1 ? SA_NOCLDSTOP : 0) | (arguments[1] & 2 ? SA_NOCLDWAIT : 0) |
				    (arguments[1] & 4 ? SA_RESETHAND : 0) | SA_RESTART };
	int signal = signals[arguments[0] % (sizeof signals / sizeof *signals)];
	sigset_t set;
	int result;

	sigemptyset(&set), sigaddset(&set, signal), sigaddset(&set, signals[arguments[1] % 15]);
	if (what == BLOCK || what == UNBLOCK) {
		result = sigprocmask(what == BLOCK ? SIG_BLOCK : SIG_UNBLOCK, &set, NULL);
	} else {
		action.sa_handler = what == IGNORE ? SIG_IGN : SIG_DFL;
		if (what == CATCH)
			action.sa_sigaction = handler, action.sa_flags |= SA_SIGINFO;
		result = sigaction(signal, &action, NULL);
	}
	sprintf(text, "%d %s", signal, result ? strerror(errno) : "done");
}

static void order_take(char *text, const int *arguments)
{
	siginfo_t info;
	sigset_t set;
	int signal;

	sigemptyset(&set);
	for (int n = 0; n < 5; n++)
		sigaddset(&set, signals[(arguments[0] + n * 3) % 15]);
	signal = sigtimedwait(&set, &info, &(struct timespec){ 0 });
	if (signal < 0)
		sprintf(text, "%s", strerror(errno));
	else
		sprintf(text, "%d %d %d", signal, info.si_code, name_of(info.si_pid));
}

static void order_gets(char *text, const int *arguments)
{
	int other = pid_of(arguments[0]);
	int result = getpgid(other), session, priority;

	sprintf(text, "pgid %s", result < 0 ? strerror(errno) : "");
	if (result >= 0)
		sprintf(text + strlen(text), "%d", name_of(result));
	session = getsid(other);
	sprintf(text + strlen(text), " sid %d parent %d", session < 0 ? -1 : name_of(session), name_of(getppid()));
	errno = 0, priority = getpriority(PRIO_PROCESS, other);
	sprintf(text + strlen(text), " nice %d %s", priority, errno ? strerror(errno) : "");
}

/* One step, in the process that was told to. */
static void obey(char *text)
{
	const int *arguments = shared->arguments;
	int what = shared->what, signal = signals[arguments[1] % 15], result = 0;
	sigset_t set;

	errno = 0;
	switch (what) {
	case FORK:
		order_fork(text);
		return;
	case EXIT:
		shared->answered = 1;
		_exit(arguments[0] * 7 & 255);
	case KILL: /* what it does to the sender comes before the answer, or ends it */
		shared->answered = arguments[0] == own;
		result = kill(pid_of(arguments[0]), arguments[2] % 8 ? signal : 0);
		break;
	case KILL_GROUP:
		shared->answered = getpgid(pid_of(arguments[0])) == getpgrp();
		signal = gentle[arguments[1] % 5];
		result = arguments[0] ? killpg(getpgid(pid_of(arguments[0])), signal) : 0;
		break;
	case QUEUE:
		shared->answered = arguments[0] == own;
		result = sigqueue(pid_of(arguments[0]), signal, (union sigval){ .sival_int = 5 });
		break;
	case WAIT: case WAIT_ANY: case WAIT_GROUP:
		order_wait(text, what, arguments);
		return;
	case WAITID:
		order_waitid(text, arguments);
		return;
	case SETPGID:
		result = setpgid(pid_of(arguments[0]), arguments[2] % 3 ? pid_of(arguments[1]) : arguments[2] % 2 ? 0 : -5);
		break;
	case SETSID:
		result = setsid();
		result = result > 0 ? 1 : result;
		break;
	case BLOCK: case UNBLOCK: case CATCH: case IGNORE: case DEFAULT:
		order_signals(text, what, arguments);
		return;
	case TAKE:
		order_take(text, arguments);
		return;
	case PENDING:
		sigpending(&set);
		set_of_signals(text, "", &set);
		return;
	case SUBREAPER:
		result = prctl(PR_SET_CHILD_SUBREAPER, arguments[0] & 1);
		break;
	case DEATHSIG:
		result = prctl(PR_SET_PDEATHSIG, arguments[2] % 4 ? signal : arguments[0] % 3 * 40);
		break;
	case GETS:
		order_gets(text, arguments);
		return;
	case NICE:
		result = setpriority(PRIO_PROCESS, pid_of(arguments[0]), arguments[1] % 19);
		break;
	default:
		result = -2;
	}
	sprintf(text, "%s", came(result));
}

static void serve(void)
{
	for (;;) {
		char order, text[300] = "";
		ssize_t got = read(orders[own][0], &order, 1);
		int turn = shared->turn;

		if (got != 1)
			_exit(99);
		obey(text);
		if (turn != shared->turn)
			continue; /* it had stopped itself */
		strcpy(shared->answer, text);
		shared->answered = 2;
	}
}

static char state_of(int pid)
{
	char path[40], text[400] = "", *after;
	int fd;

	sprintf(path, "/proc/%d/stat", pid);
	fd = open(path, O_RDONLY);
	if (fd < 0)
		return '-';
	if (read(fd, text, sizeof text - 1) <= 0)
		text[0] = 0;
	close(fd);
	after = strrchr(text, ')');
	return after ? after[2] : '-';
}

/* Until nobody runs: what a signal does to a process is done by itself. */
static void settle(char *states)
{
	for (int calm = 0; calm < 2;) {
		int busy = 0;

		for (int n = 1; n < shared->made; n++) {
			states[n] = shared->pids[n] > 0 ? state_of(shared->pids[n]) : '-';
			busy |= states[n] == 'R' || states[n] == 'D' || states[n] == 'X';
		}
		calm = busy ? 0 : calm + 1;
		if (busy)
			usleep(50);
	}
}

static int field(const char *text, const char *title, char *out)
{
	const char *found = strstr(text, title);
	unsigned long long value;

	if (!found)
		return 0;
	value = strtoull(found + strlen(title), NULL, 16);
	return sprintf(out, " %llx", value & ~0x180000000ULL);
}

static void show(const char *states)
{
	for (int n = 1; n < shared->made; n++) {
		char path[40], text[4000] = "", line[300];
		int fd, at = 0, parent, group, session;

		if (states[n] == '-')
			continue;
		sprintf(path, "/proc/%d/stat", shared->pids[n]);
		fd = open(path, O_RDONLY);
		if (fd < 0 || read(fd, text, sizeof text - 1) <= 0)
			continue;
		close(fd);
		sscanf(strrchr(text, ')') + 3, "%d %d %d", &parent, &group, &session);
		printf(" | %d%c p%d g%d s%d", n, states[n], name_of(parent), name_of(group), name_of(session));
		sprintf(path, "/proc/%d/status", shared->pids[n]);
		memset(text, 0, sizeof text);
		fd = open(path, O_RDONLY);
		if (fd < 0 || read(fd, text, sizeof text - 1) <= 0)
			continue;
		close(fd);
		at += field(text, "\nSigPnd:", line + at), at += field(text, "\nShdPnd:", line + at);
		at += field(text, "\nSigBlk:", line + at), at += field(text, "\nSigIgn:", line + at);
		at += field(text, "\nSigCgt:", line + at);
		printf("%s", at ? line : "");
	}
}

static int alive(const char *states)
{
	int found = 0;

	for (int n = 1; n < shared->made; n++)
		found += states[n] == 'S';
	return found;
}

static int some(const char *states, const char *kinds)
{
	int chosen[KNOWN], count = 0;

	for (int n = 1; n < shared->made; n++)
		if (strchr(kinds, states[n]))
			chosen[count++] = n;
	return count ? chosen[below(count)] : 0;
}

static void tell(int whom, char *states)
{
	shared->answered = 0;
	shared->turn++;
	*shared->answer = 0;
	if (write(orders[whom][1], "x", 1) != 1)
		return;
	while (!shared->answered && !strchr("ZT-", state_of(shared->pids[whom])))
		usleep(20);
	settle(states);
}

static void make_first(int name)
{
	int pid;

	shared->pids[name] = 0, shared->made = name + 1;
	pid = fork();
	if (!pid) {
		own = name;
		setsid();
		shared->pids[name] = getpid();
		serve();
	}
	while (pid > 0 && !*(volatile int *)&shared->pids[name])
		usleep(20);
}

static void end(void)
{
	for (int n = 1; n < shared->made; n++)
		if (shared->pids[n] > 0 && state_of(shared->pids[n]) != '-')
			kill(shared->pids[n], SIGKILL);
	while (waitpid(-1, NULL, __WALL) > 0)
		;
}

int main(int argc, char **argv)
{
	int count = argc > 2 ? atoi(argv[2]) : 500;
	struct rlimit files = { 1024, 1024 };
	static char states[KNOWN];

	seed(argc > 1 ? argv[1] : "1");
	setrlimit(RLIMIT_NOFILE, &files);
	shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	setpgid(0, 0);
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	shared->pids[0] = getpid(), shared->made = 1;
	for (int n = 1; n < KNOWN; n++)
		if (pipe(orders[n]))
			return perror("pipe"), 1;
	for (int turn = 0; turn < count; turn++) {
		int whom, dead;

		settle(states);
		while ((dead = waitpid(-1, NULL, WNOHANG)) > 0)
			printf("%d: gone %d\n", turn, name_of(dead));
		if (shared->made > KNOWN - 3)
			break;
		whom = some(states, "S");
		if (!whom || (alive(states) < 2 && below(2))) {
			fflush(stdout);
			make_first(shared->made);
			printf("%d: new", turn);
			settle(states);
		} else {
			shared->what = alive(states) >= MOST && below(2) ? EXIT : below(LAST);
			if (shared->what == FORK && alive(states) >= MOST)
				shared->what = GETS;
			shared->arguments[0] = below(4) ? some(states, "SSSTZ") : below(12) ? below(shared->made) : -1;
			shared->arguments[1] = below(30), shared->arguments[2] = below(30);
			if (!shared->arguments[0])
				shared->arguments[0] = 1;
			printf("%d: %d does %d (%d %d %d)", turn, whom, shared->what, shared->arguments[0], shared->arguments[1],
			       shared->arguments[2]);
			fflush(stdout);
			tell(whom, states);
			printf(" = %s;", shared->answer);
		}
		show(states);
		for (int n = 1; n < shared->made; n++)
			for (int signal = 1; signal < 65; signal++)
				if (shared->caught[n][signal])
					printf(" ! %d got %d x%d", n, signal, shared->caught[n][signal]), shared->caught[n][signal] = 0;
		printf("\n");
	}
	end();
	return fflush(stdout) != 0;
}
