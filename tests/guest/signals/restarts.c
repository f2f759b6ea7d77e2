/*
 * Each sleeping call: interrupted by a handler without SA_RESTART, with SA_RESTART, by a stop and SIGCONT, and by a
 * signal that is ignored (signal(7)).
 */
#include "check.h"
#include "../asleep.h"
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
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <time.h>

enum { READ, WRITE, OPEN_FIFO, RECV, SEND, ACCEPT, WAIT4, WAITID, FLOCK, SETLKW, FUTEX, EVENTFD, SIGNALFD, TIMERFD, NANOSLEEP,
	CLOCK_ABS, POLL, PPOLL, SELECT, PSELECT, EPOLL, PAUSE, SUSPEND, TIMEDWAIT, SEMOP, SEMTIMED, MSGRCV, FUTEX_TIMED,
	RECV_TIMEO, KINDS };
static const char *const names[] = {"read", "write", "open", "recv", "send", "accept", "wait4", "waitid", "flock", "F_SETLKW",
	"futex", "eventfd", "signalfd", "timerfd", "nanosleep", "clock_nanosleep absolute", "poll", "ppoll", "select",
	"pselect", "epoll_wait", "pause", "sigsuspend", "sigtimedwait", "semop", "semtimedop", "msgrcv", "futex with a time",
	"recv with SO_RCVTIMEO"};

static volatile sig_atomic_t handled;
static void on(int signo)
{
	(void)signo;
	handled++;
}

static int word, lock, other;
static struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};

static int ready[2];
static void go(void)
{
	if (write(ready[1], "r", 1) != 1)
		_exit(99);
}

static void own_files(void)
{
	char path[40];

	lock = temporary_file(0);
	snprintf(path, sizeof path, "/proc/self/fd/%d", lock);
	other = open(path, O_RDWR);
}

static char fifo[40];
static void fifo_writer(void)
{
	int i;

	for (i = 0; i < 100 && open(fifo, O_WRONLY | O_NONBLOCK) < 0; i++)
		usleep(10000);
	usleep(1500000);
	_exit(0);
}

/* After how many microseconds what a call waits for comes: long after the signal. */
static long late;
static pid_t helper;

/* A child that makes it come. */
static int helped(void)
{
	return (helper = fork()) == 0;
}

/* Begin the call and say with what it ends: 0, or its errno.  What it waits for comes late, or never. */
static int call(int kind)
{
	static char big[300000];
	int fds[2], fd, result = -1;
	struct timespec some = {late / 1000000, late % 1000000 * 1000}, then;
	struct timeval tv = {late / 1000000, late % 1000000};
	struct itimerspec timer = {{0, 0}, some};
	struct sembuf take = {0, -1, 0};
	struct { long type; char text[8]; } message;
	struct epoll_event event = {.events = EPOLLIN};
	struct pollfd one;
	unsigned long long number;
	siginfo_t info;
	sigset_t set;
	fd_set fdset;
	char byte;
	pid_t pid;

	sigemptyset(&set);
	if (pipe(fds))
		_exit(9);
	one = (struct pollfd){fds[0], POLLIN, 0};
	switch (kind) {
	case READ:
		if (helped()) { usleep(late); _exit(write(fds[1], "x", 1) != 1); }
		go(), result = read(fds[0], &byte, 1); break;
	case WRITE:
		if (write(fds[1], big, 65536) != 65536) _exit(9);
		if (helped()) { usleep(late); _exit(read(fds[0], big, 65536) < 0); }
		go(), result = write(fds[1], "x", 1); break;
	case OPEN_FIFO:
		snprintf(fifo, sizeof fifo, "/tmp/nopage-fifo-%d", getpid());
		mkfifo(fifo, 0600);
		if (helped()) { usleep(late); fifo_writer(); }
		go(), result = open(fifo, O_RDONLY);
		{ int e = errno; unlink(fifo); errno = e; } break;
	case RECV: case RECV_TIMEO:
		socketpair(AF_UNIX, SOCK_STREAM, 0, fds);
		tv.tv_sec = 10;
		if (kind == RECV_TIMEO) setsockopt(fds[0], SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv);
		if (helped()) { usleep(late); _exit(send(fds[1], "x", 1, 0) != 1); }
		go(), result = recv(fds[0], &byte, 1, 0); break;
	case SEND:
		socketpair(AF_UNIX, SOCK_DGRAM, 0, fds);
		fcntl(fds[1], F_SETFL, O_NONBLOCK);
		while (send(fds[1], big, 100, 0) > 0) ;
		fcntl(fds[1], F_SETFL, 0);
		if (helped()) { usleep(late); while (recv(fds[0], big, 100, MSG_DONTWAIT) > 0) ; _exit(0); }
		go(), result = send(fds[1], "x", 1, 0); break;
	case ACCEPT: {
		struct { unsigned short family; char path[30]; } name = {AF_UNIX, ""};
		memcpy(name.path + 1, &(pid_t){getpid()}, sizeof pid);
		fd = socket(AF_UNIX, SOCK_STREAM, 0);
		if (bind(fd, (void *)&name, 8) || listen(fd, 1)) _exit(9);
		if (helped()) { usleep(late); fds[0] = socket(AF_UNIX, SOCK_STREAM, 0); _exit(connect(fds[0], (void *)&name, 8)); }
		go(), result = accept(fd, NULL, NULL);
		close(fd); break;
	}
	case WAIT4:
		if (!(pid = helper = fork())) { usleep(late); _exit(0); }
		go(), result = waitpid(pid, NULL, 0); break;
	case WAITID:
		if (!(pid = helper = fork())) { usleep(late); _exit(0); }
		go(), result = waitid(P_PID, pid, &info, WEXITED); break;
	case FLOCK:
		own_files();
		flock(other, LOCK_EX);
		if (helped()) { usleep(late); flock(other, LOCK_UN); _exit(0); }
		go(), result = flock(lock, LOCK_EX);
		flock(other, LOCK_UN); flock(lock, LOCK_UN); break;
	case SETLKW:
		own_files();
		if (helped()) { fcntl(lock, F_SETLK, &whole); (void)!write(fds[1], "r", 1); usleep(late); _exit(0); }
		(void)!read(fds[0], &byte, 1);
		whole.l_type = F_WRLCK;
		go(), result = fcntl(lock, F_SETLKW, &whole);
		whole.l_type = F_UNLCK; fcntl(lock, F_SETLK, &whole); whole.l_type = F_WRLCK; break;
	case FUTEX:
		go(), result = syscall(SYS_futex, &word, FUTEX_WAIT, 0, NULL, NULL, 0); break;
	case FUTEX_TIMED:
		go(), result = syscall(SYS_futex, &word, FUTEX_WAIT, 0, (long[]){some.tv_sec, some.tv_nsec}, NULL, 0); break;
	case EVENTFD:
		fd = eventfd(0, 0);
		if (helped()) { usleep(late); number = 1; _exit(write(fd, &number, 8) != 8); }
		go(), result = read(fd, &number, 8); break;
	case SIGNALFD: {
		char record[128];
		sigaddset(&set, SIGUSR2); sigprocmask(SIG_BLOCK, &set, NULL);
		fd = signalfd(-1, &set, 0);
		pid = getpid();
		if (helped()) { usleep(late); kill(pid, SIGUSR2); _exit(0); }
		go(), result = read(fd, record, 128); break;
	}
	case TIMERFD:
		fd = timerfd_create(CLOCK_MONOTONIC, 0);
		timerfd_settime(fd, 0, &timer, NULL);
		go(), result = read(fd, &number, 8); break;
	case NANOSLEEP: go(), result = nanosleep(&some, NULL); break;
	case CLOCK_ABS:
		clock_gettime(CLOCK_MONOTONIC, &then);
		then.tv_sec += some.tv_sec;
		then.tv_nsec += some.tv_nsec;
		if (then.tv_nsec >= 1000000000) { then.tv_nsec -= 1000000000; then.tv_sec++; }
		go();
		errno = clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &then, NULL);
		result = errno ? -1 : 0; break;
	case POLL: go(), result = poll(&one, 1, late / 1000); break;
	case PPOLL: go(), result = ppoll(&one, 1, &some, NULL); break;
	case SELECT: FD_ZERO(&fdset); FD_SET(fds[0], &fdset); go(), result = select(fds[0] + 1, &fdset, NULL, NULL, &tv); break;
	case PSELECT: FD_ZERO(&fdset); FD_SET(fds[0], &fdset); go(), result = pselect(fds[0] + 1, &fdset, NULL, NULL, &some, NULL); break;
	case EPOLL:
		fd = epoll_create1(0);
		epoll_ctl(fd, EPOLL_CTL_ADD, fds[0], &event);
		go(), result = epoll_wait(fd, &event, 1, late / 1000); break;
	case PAUSE: go(), result = pause(); break;
	case SUSPEND: go(), result = sigsuspend(&set); break;
	case TIMEDWAIT: sigaddset(&set, SIGUSR2); sigprocmask(SIG_BLOCK, &set, NULL); go(), result = sigtimedwait(&set, NULL, &some); break;
	case SEMOP: case SEMTIMED:
		fd = semget(IPC_PRIVATE, 1, 0600);
		if (kind == SEMOP && helped()) { usleep(late); take.sem_op = 1; semop(fd, &take, 1); _exit(0); }
		go(), result = kind == SEMOP ? semop(fd, &take, 1) : (int)syscall(
#ifdef SYS_semtimedop_time64
			SYS_semtimedop_time64, fd, &take, 1, (long long[]){some.tv_sec, some.tv_nsec}
#else
			SYS_semtimedop, fd, &take, 1, &some
#endif
			);
		{ int e = errno; semctl(fd, 0, IPC_RMID); errno = e; } break;
	case MSGRCV:
		fd = msgget(IPC_PRIVATE, 0600);
		if (helped()) { usleep(late); message.type = 1; _exit(msgsnd(fd, &message, 1, 0)); }
		go(), result = msgrcv(fd, &message, 8, 0, 0);
		{ int e = errno; msgctl(fd, IPC_RMID, NULL); errno = e; } break;
	}
	result = result < 0 ? errno : 0;
	if (helper > 0)
		kill(helper, SIGKILL);
	return result;
}

/* The calls that a handler ends with SA_RESTART too. */
static int never_restarted(int kind)
{
	return kind == NANOSLEEP || kind == CLOCK_ABS || (kind >= POLL && kind <= SUSPEND) || kind >= SEMOP;
}

/* `how`: 0 a handler, 1 with SA_RESTART, 2 stop and continue, 3 an ignored signal.  The call's errno, 999 still asleep. */
static int outcome(int kind, int how)
{
	struct sigaction action = {0};
	int status, i;
	char byte;
	pid_t pid;

	if (pipe(ready))
		_exit(9);
	pid = fork();
	if (!pid) {
		action.sa_handler = how == 3 ? SIG_IGN : on;
		action.sa_flags = how == 1 ? SA_RESTART : 0;
		sigaction(SIGUSR1, &action, NULL);
		/* What ends at once, by the handler, may be late as it likes; libc's sigtimedwait goes on after one. */
		late = (how == 0 && kind != TIMEDWAIT) || (how == 1 && never_restarted(kind)) ? 10000000 :
		       how == 2 && kind != TIMEDWAIT ? 1800000 : 700000;
		_exit(call(kind));
	}
	(void)!read(ready[0], &byte, 1);
	close(ready[0]);
	close(ready[1]);
	until_asleep(pid);
	if (how == 2) {
		kill(pid, SIGSTOP);
		waitpid(pid, &status, WUNTRACED);
		kill(pid, SIGCONT);
	} else
		kill(pid, SIGUSR1);
	for (i = 0; i < ((kind == FUTEX && how) || ((kind == PAUSE || kind == SUSPEND) && how > 1) ? 75 : 1000); i++) {
		if (waitpid(pid, &status, WNOHANG) == pid)
			return WIFEXITED(status) ? WEXITSTATUS(status) : 500 + WTERMSIG(status);
		usleep(20000);
	}
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	return 999;
}

/* All kinds at the same time, since each takes seconds; the lines come in their order. */
int main(void)
{
	char line[120];
	int fds[KINDS][2], kind, how, got[4], length;

	for (kind = 0; kind < KINDS; kind++) {
		if (pipe(fds[kind]))
			return 2;
		if (fork())
			continue;
		for (how = 0; how < 4; how++)
			got[how] = outcome(kind, how);
		length = snprintf(line, sizeof line, "%s: handler %d, SA_RESTART %d, stopped %d, ignored %d\n", names[kind], got[0],
				  got[1], got[2], got[3]);
		_exit(write(fds[kind][1], line, length) != length);
	}
	for (kind = 0; kind < KINDS; kind++) {
		length = read(fds[kind][0], line, sizeof line);
		if (length <= 0 || write(1, line, length) != length)
			return 3;
	}
	while (wait(NULL) > 0)
		;
	return 0;
}
