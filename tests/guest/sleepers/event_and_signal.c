/*
 * A sleeper that is signalled, and whose event comes before it has run again: it must see the event.  For one
 * processor only: with several, the sleeper may look between the two.
 */
#include "check.h"
#include <fcntl.h>
#include <linux/futex.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/select.h>
#include <sys/sem.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>

static int fds[2], full[2], pair[2], event, epoll, lock, other_lock, sem, queue, listener, record;
static volatile int *word;
static volatile sig_atomic_t handled;
static struct sockaddr_un name = {.sun_family = AF_UNIX, .sun_path = "\0nopage-event"};

static void on(int signo)
{
	(void)signo;
	handled++;
}

static long futex(int op, int value)
{
	return syscall(SYS_futex, word, op, value, NULL, NULL, 0);
}

static struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};

/* Sleep in the way `kind`: 0 when the event was seen. */
static int sleep_in(int kind)
{
	struct pollfd one = {.fd = fds[0], .events = POLLIN};
	struct timespec second = {20, 0};
	struct timeval twenty = {20, 0};
	struct sembuf take = {0, -1, 0};
	struct { long type; char text[1]; } message;
	struct epoll_event found;
	unsigned long long number;
	char byte;
	fd_set set;

	switch (kind) {
	case 0: return read(fds[0], &byte, 1) != 1;
	case 1: return poll(&one, 1, -1) != 1;
	case 2: return poll(&one, 1, 20000) != 1;
	case 3: return ppoll(&one, 1, &second, NULL) != 1;
	case 4: FD_ZERO(&set); FD_SET(fds[0], &set); return select(fds[0] + 1, &set, NULL, NULL, &twenty) != 1;
	case 5: return epoll_wait(epoll, &found, 1, -1) != 1;
	case 6: return read(event, &number, 8) != 8;
	case 7: return futex(FUTEX_WAIT, 0) != 0;
	case 8: return recv(pair[0], &byte, 1, 0) != 1;
	case 9: return flock(lock, LOCK_EX) != 0;
	case 10: return semop(sem, &take, 1) != 0;
	case 11: return msgrcv(queue, &message, 1, 0, 0) != 1;
	case 12: return write(full[1], "b", 1) != 1;
	case 13: return accept(listener, NULL, NULL) < 0;
	case 14: return fcntl(record, F_SETLKW, &whole) != 0;
	}
	return 9;
}

static void make_it_happen(int kind)
{
	struct sembuf give = {0, 1, 0};
	struct { long type; char text[1]; } message = {1, "m"};
	unsigned long long number = 1;
	static char page[65536];
	long done = 0;

	if (kind <= 5)
		done = write(fds[1], "x", 1);
	else if (kind == 6)
		done = write(event, &number, 8);
	else if (kind == 7)
		*word = 1, done = futex(FUTEX_WAKE, 1);
	else if (kind == 8)
		done = send(pair[1], "s", 1, 0);
	else if (kind == 9)
		done = flock(other_lock, LOCK_UN) + 1;
	else if (kind == 10)
		done = semop(sem, &give, 1) + 1;
	else if (kind == 11)
		done = msgsnd(queue, &message, 1, 0) + 1;
	else if (kind == 12)
		done = read(full[0], page, sizeof page);
	else if (kind == 13)
		done = connect(socket(AF_UNIX, SOCK_STREAM, 0), (struct sockaddr *)&name, 15) + 1;
	else if (kind == 14)
		whole.l_type = F_UNLCK, done = fcntl(record, F_SETLK, &whole) + 1, whole.l_type = F_WRLCK;
	if (done <= 0)
		_exit(8);
}

static int try(int kind)
{
	struct sigaction action = {.sa_handler = on};  /* no SA_RESTART */
	int ready[2], status;
	char byte;
	pid_t pid;

	if (pipe(ready))
		_exit(9);
	pid = fork();
	if (!pid) {
		sigaction(SIGUSR1, &action, NULL);
		if (kind == 9) {
			close(lock);
			lock = open("/tmp/nopage-lock", O_RDWR);
		}
		if (write(ready[1], "r", 1) != 1)
			_exit(7);
		status = sleep_in(kind);
		_exit(status ? 1 : handled == 1 ? 0 : 2);
	}
	if (read(ready[0], &byte, 1) != 1)
		_exit(9);
	usleep(50000);
	kill(pid, SIGUSR1);
	make_it_happen(kind);
	waitpid(pid, &status, 0);
	close(ready[0]);
	close(ready[1]);
	if (kind >= 1 && kind <= 5)
		(void)!read(fds[0], &byte, 1);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 100;
}

int main(void)
{
	static const char *const names[] = {
		"read of a pipe", "poll", "poll with a timeout", "ppoll", "select", "epoll_wait", "eventfd", "futex", "recv", "flock",
		"semop", "msgrcv", "write to a full pipe", "accept", "a record lock",
	};
	static char page[65536];
	struct epoll_event wanted = {.events = EPOLLIN};
	unsigned kind;

	if (pipe(fds) || pipe(full) || socketpair(AF_UNIX, SOCK_STREAM, 0, pair))
		return 9;
	event = eventfd(0, 0);
	epoll = epoll_create1(0);
	epoll_ctl(epoll, EPOLL_CTL_ADD, fds[0], &wanted);
	word = mmap(NULL, PAGE, RW, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	lock = open("/tmp/nopage-lock", O_RDWR | O_CREAT, 0600);
	other_lock = open("/tmp/nopage-lock", O_RDWR);
	record = open("/tmp/nopage-record", O_RDWR | O_CREAT, 0600);
	if (flock(other_lock, LOCK_EX) || fcntl(record, F_SETLK, &whole))
		return 9;
	sem = semget(IPC_PRIVATE, 1, 0600);
	queue = msgget(IPC_PRIVATE, 0600);
	listener = socket(AF_UNIX, SOCK_STREAM, 0);
	if (bind(listener, (struct sockaddr *)&name, 15) || listen(listener, 5))
		return 9;
	if (write(full[1], page, sizeof page) != sizeof page)
		return 9;
	for (kind = 0; kind < sizeof names / sizeof *names; kind++)
		EQUAL(names[kind], try(kind), 0);
	semctl(sem, 0, IPC_RMID);
	msgctl(queue, IPC_RMID, NULL);
	unlink("/tmp/nopage-lock");
	unlink("/tmp/nopage-record");
	return done();
}
