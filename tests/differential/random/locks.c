/* SPDX-License-Identifier: GPL-2.0-or-later */
/* locks SEED COUNT [DIRECTORY]: processes that fork, pass descriptors on by that, and lock parts of two files in all three
   ways, one call at a time.  Processes are named by the order in which they were made. */
#define _GNU_SOURCE
#include "random.h"

#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

enum { MOST = 5, KNOWN = 120, FILES = 4 };
enum what { OPEN, DUP, CLOSE, FORK, EXIT, SETLK, GETLK, OFD_SETLK, OFD_GETLK, FLOCK, WAITS, TRUNCATE, SEEK, LAST };

static const char *const names[] = { "a", "b" };
static const off_t places[] = { 0, 0, 1, 5, 10, 10, 11, 20, 20, 30, 100, 0, 7, 3, -1, -5, LONG_MAX, LONG_MAX - 5 };

static struct shared {
	int pids[KNOWN], made, what, turn;
	unsigned long long state;
	char answer[300];
	volatile int answered;
} *shared;

static int own, orders[KNOWN][2], fds[FILES];

static int name_of(int pid)
{
	for (int n = 0; n < shared->made; n++)
		if (shared->pids[n] == pid)
			return n;
	return pid;
}

static void serve(void);

static void order_fork(char *text)
{
	int next = shared->made++, pid;

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

static void order_lock(char *text, int what, int fd)
{
	static const int commands[] = { F_SETLK, F_GETLK, F_OFD_SETLK, F_OFD_GETLK };
	static const int types[] = { F_RDLCK, F_WRLCK, F_UNLCK, F_RDLCK, F_WRLCK, F_UNLCK, F_WRLCK, F_RDLCK, F_UNLCK, F_WRLCK, 7 };
	struct flock lock = { .l_type = ONE_OF(types), .l_whence = below(12) ? SEEK_SET : below(4), .l_start = ONE_OF(places),
			      .l_len = ONE_OF(places), .l_pid = below(20) ? 0 : 0x7ffffff0 };
	int asked = lock.l_type, from = lock.l_whence, result;

	sprintf(text, "%d from %d: %lld %lld ", asked, from, (long long)lock.l_start, (long long)lock.l_len);
	errno = 0;
	result = fcntl(fd, commands[what - SETLK], &lock);
	strcat(text, came(result));
	if (!result && (what == GETLK || what == OFD_GETLK))
		sprintf(text + strlen(text), "; %d of %d from %d: %lld %lld", lock.l_type, name_of(lock.l_pid), lock.l_whence,
			(long long)lock.l_start, (long long)lock.l_len);
}

static void nothing(int number)
{
	(void)number;
}

/* A lock that is waited for: an alarm ends it, if it is not a deadlock at once. */
static void order_wait(char *text, int fd)
{
	struct flock lock = { .l_type = below(2) ? F_RDLCK : F_WRLCK, .l_start = below(20), .l_len = below(20) };
	int command = below(2) ? F_SETLKW : F_OFD_SETLKW, whole = !below(3), result;
	struct sigaction act = { .sa_handler = nothing };

	sigaction(SIGALRM, &act, NULL);
	ualarm(20000, 20000);
	errno = 0;
	result = whole ? flock(fd, below(2) ? LOCK_SH : LOCK_EX) : fcntl(fd, command, &lock);
	sprintf(text, "%d %d ", whole, command);
	strcat(text, came(result));
	ualarm(0, 0);
}

static void order(int what, char *text)
{
	static const int ways[] = { O_RDWR, O_RDWR, O_RDONLY, O_WRONLY, O_RDWR | O_CLOEXEC, O_PATH };
	static const int flocks[] = { LOCK_SH, LOCK_EX, LOCK_UN, LOCK_SH, LOCK_EX, LOCK_UN, 0, LOCK_SH | LOCK_EX };
	int n = below(FILES), second = below(FILES), fd;

	sprintf(text, "%d: ", n);
	text += strlen(text);
	errno = 0;
	switch (what) {
	case OPEN:
		fd = open(ONE_OF(names), ONE_OF(ways));
		close(fds[n]);
		fds[n] = fd < 0 ? -1 : fcntl(fd, F_DUPFD, 50);
		close(fd); /* takes the locks on the file away */
		strcpy(text, came(fds[n] < 0 ? -1 : 0));
		break;
	case DUP:
		fd = dup(fds[second]);
		close(fds[n]);
		fds[n] = fd;
		strcpy(text, came(fd < 0 ? -1 : 0));
		break;
	case CLOSE:
		strcpy(text, came(close(fds[n])));
		fds[n] = -1;
		break;
	case FORK:
		order_fork(text);
		break;
	case FLOCK:
		strcpy(text, came(flock(fds[n], ONE_OF(flocks) | (below(9) ? LOCK_NB : LOCK_UN))));
		break;
	case WAITS:
		order_wait(text, fds[n]);
		break;
	case TRUNCATE:
		strcpy(text, came(ftruncate(fds[n], below(30))));
		break;
	case SEEK:
		strcpy(text, came(lseek(fds[n], below(30), SEEK_SET)));
		break;
	default:
		order_lock(text, what, fds[n]);
	}
}

static void serve(void)
{
	char c;

	while (read(orders[own][0], &c, 1) == 1) {
		random_state = shared->state;
		if (shared->what == EXIT) {
			shared->answered = 1;
			_exit(0);
		}
		shared->answer[0] = 0;
		order(shared->what, shared->answer);
		shared->state = random_state;
		__sync_synchronize();
		shared->answered = 1;
	}
	_exit(0);
}

static int alive[KNOWN];

static int one_alive(void)
{
	int who;

	do
		who = 1 + below(shared->made - 1);
	while (!alive[who]);
	return who;
}

static void turn(int who, int what, int *living)
{
	int made = shared->made;

	shared->what = what;
	shared->answered = 0;
	shared->state = random_state;
	__sync_synchronize();
	if (write(orders[who][1], "x", 1) != 1)
		exit(1);
	while (!shared->answered)
		usleep(20);
	if (what == EXIT) {
		while (!kill(shared->pids[who], 0))
			usleep(20);
		alive[who] = 0, --*living;
		printf("%d ends\n", who);
		return;
	}
	random_state = shared->state;
	if (made < shared->made)
		alive[made] = 1, ++*living;
	printf("%d %d %s\n", who, what, shared->answer);
}

int main(int argc, char **argv)
{
	static const int often[] = { OPEN, OPEN, OPEN, DUP, CLOSE, FORK, EXIT, SETLK, SETLK, SETLK, SETLK, GETLK, GETLK, OFD_SETLK, OFD_SETLK,
				     OFD_SETLK, OFD_GETLK, OFD_GETLK, FLOCK, FLOCK, FLOCK, TRUNCATE, SEEK };
	char directory[PATH_MAX];
	int count = argc > 2 ? atoi(argv[2]) : 1000, living = 1;

	seed(argc > 1 ? argv[1] : "1");
	snprintf(directory, sizeof directory, "%s/random.XXXXXX", argc > 3 ? argv[3] : "/tmp");
	if (!mkdtemp(directory) || chdir(directory))
		return perror(directory), 1;
	for (unsigned n = 0; n < 2; n++)
		close(open(names[n], O_CREAT | O_RDWR, 0644));
	shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	memset(fds, -1, sizeof fds);
	shared->made = 1;
	shared->pids[0] = getpid();
	alive[1] = 1;
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	signal(SIGCHLD, SIG_IGN); /* whoever ends is gone, whose child it may be */
	for (int n = 1; n < KNOWN; n++)
		if (pipe(orders[n]))
			return perror("pipe"), 1;
	{
		char text[100];

		order_fork(text);
	}
	for (int n = 0; n < count; n++) {
		int what = below(12) ? (int)ONE_OF(often) : WAITS;

		if ((what == FORK && (living >= MOST || shared->made >= KNOWN)) || (what == EXIT && living < 2))
			what = OPEN;
		turn(one_alive(), what, &living);
	}
	while (living)
		turn(one_alive(), EXIT, &living);
	for (unsigned n = 0; n < 2; n++)
		unlink(names[n]);
	rmdir(directory);
	return fflush(stdout) != 0;
}
