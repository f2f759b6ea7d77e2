/* Files that are waited for: FIFOs, eventfd, poll, select, epoll; sendfile and locks. */
#include "check.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/select.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

static char dir[] = "/tmp/nopage-wait-XXXXXX";

static long long milliseconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

static void fifos(void)
{
	int status, fd, other;
	char b[10] = "";

	ERRNO("mkfifo", mkfifo("fifo", 0600), 0);
	ERRNO("write, nobody reads", open("fifo", O_WRONLY | O_NONBLOCK), ENXIO);
	fd = open("fifo", O_RDONLY | O_NONBLOCK);
	CHECK("read, nobody writes", fd >= 0);
	EQUAL("end at once", read(fd, b, 1), 0);
	other = open("fifo", O_WRONLY | O_NONBLOCK);
	CHECK("now there is a reader", other >= 0);
	ERRNO("nothing there", read(fd, b, 1), EAGAIN);
	EQUAL("write", write(other, "ab", 2), 2);
	EQUAL("read", read(fd, b, 9), 2);
	close(other);
	EQUAL("the end again", read(fd, b, 9), 0);
	close(fd);
	if (!fork()) {
		fd = open("fifo", O_WRONLY);
		_exit(write(fd, "child", 5) != 5);
	}
	fd = open("fifo", O_RDONLY);
	EQUAL("from the child", read(fd, b, 9), 5);
	EQUAL("its end", read(fd, b, 9), 0);
	wait(&status);
	EQUAL("status", status, 0);
	close(fd);
	fd = open("fifo", O_RDWR);
	EQUAL("both ends at once", write(fd, "x", 1), 1);
	EQUAL("read", read(fd, b, 9), 1);
	close(fd);
}

/* What the reader's memory can't take stays in the pipe. */
static void faults(void)
{
	char *m = anonymous(2), b[10] = "";
	int p[2];

	if (pipe(p))
		_exit(2);
	munmap(m + PAGE, PAGE);
	EQUAL("write", write(p[1], "abcde", 5), 5);
	ERRNO("read into nothing", read(p[0], m + PAGE, 5), EFAULT);
	ERRNO("read into half", read(p[0], m + PAGE - 2, 5), EFAULT);
	EQUAL("nothing is lost", read(p[0], b, 10), 5);
	CHECK("the same", !strcmp(b, "abcde"));
	ERRNO("write from nothing", write(p[1], m + PAGE, 5), EFAULT);
	ERRNO("pipe, bad pointer", syscall(SYS_pipe2, m + PAGE - 4, 0), EFAULT);
	EQUAL("and no descriptor is left", dup(0), p[1] + 1);
	close(p[1] + 1);
}

static void events(void)
{
	int fd = eventfd(3, EFD_NONBLOCK), sem = eventfd(2, EFD_SEMAPHORE | EFD_NONBLOCK);
	unsigned long long value = 0;
	char b[4];

	EQUAL("eventfd", read(fd, &value, 8), 8);
	EQUAL("count", value, 3);
	ERRNO("empty", read(fd, &value, 8), EAGAIN);
	ERRNO("short", read(fd, b, 4), EINVAL);
	value = 5;
	EQUAL("add", write(fd, &value, 8), 8);
	EQUAL("add", write(fd, &value, 8), 8);
	EQUAL("read", read(fd, &value, 8), 8);
	EQUAL("sum", value, 10);
	value = ~0ULL;
	ERRNO("too much", write(fd, &value, 8), EINVAL);
	value = ~0ULL - 1;
	EQUAL("nearly", write(fd, &value, 8), 8);
	value = 1;
	ERRNO("full", write(fd, &value, 8), EAGAIN);
	EQUAL("semaphore", read(sem, &value, 8), 8);
	EQUAL("one", value, 1);
	EQUAL("again", read(sem, &value, 8), 8);
	ERRNO("empty", read(sem, &value, 8), EAGAIN);
	ERRNO("flags", eventfd(0, 0x100), EINVAL);
	ERRNO("lseek does nothing", lseek(fd, 0, SEEK_SET), 0);
}

static void polls(void)
{
	int p[2], status;
	struct pollfd f[3];
	struct timeval tv = { 0, 30000 };
	struct timespec ts = { 0, 30000000 };
	fd_set r, w;
	long long start;

	if (pipe(p))
		_exit(2);
	f[0] = (struct pollfd){ p[0], POLLIN, 0 };
	f[1] = (struct pollfd){ p[1], POLLOUT, 0 };
	f[2] = (struct pollfd){ -1, POLLIN, 99 };
	EQUAL("poll", poll(f, 3, -1), 1);
	EQUAL("reader", f[0].revents, 0);
	EQUAL("writer", f[1].revents, POLLOUT);
	EQUAL("negative", f[2].revents, 0);
	f[2].fd = 99;
	EQUAL("closed", poll(f, 3, 0), 2);
	EQUAL("POLLNVAL", f[2].revents, POLLNVAL);
	start = milliseconds();
	EQUAL("timeout", poll(f, 1, 30), 0);
	CHECK("30 ms", milliseconds() - start >= 29);
	start = milliseconds();
	EQUAL("ppoll", ppoll(f, 1, &ts, NULL), 0);
	CHECK("30 ms", milliseconds() - start >= 29);
	FD_ZERO(&r);
	FD_ZERO(&w);
	FD_SET(p[0], &r);
	FD_SET(p[1], &w);
	EQUAL("select", select(p[1] + 1, &r, &w, NULL, NULL), 1);
	CHECK("sets", !FD_ISSET(p[0], &r) && FD_ISSET(p[1], &w));
	FD_ZERO(&r);
	FD_SET(p[0], &r);
	EQUAL("select, timeout", select(p[0] + 1, &r, NULL, NULL, &tv), 0);
	CHECK("empty", !FD_ISSET(p[0], &r));
	FD_SET(40, &r);
	ERRNO("select, closed", select(41, &r, NULL, NULL, &tv), EBADF);
	ERRNO("select, negative", select(-1, &r, NULL, NULL, &tv), EINVAL);
	if (!fork()) {
		usleep(20000);
		_exit(write(p[1], "x", 1) != 1);
	}
	EQUAL("woken", poll(f, 1, -1), 1);
	EQUAL("POLLIN", f[0].revents, POLLIN);
	wait(&status);
	close(p[1]);
	EQUAL("hang-up", poll(f, 1, -1), 1);
	EQUAL("POLLIN and POLLHUP", f[0].revents, POLLIN | POLLHUP);
	f[0].fd = open("/dev/null", O_RDWR);
	f[0].events = POLLIN | POLLOUT;
	EQUAL("/dev/null", poll(f, 1, 0), 1);
	EQUAL("always", f[0].revents, POLLIN | POLLOUT);
}

/* Times at the ends of what a number holds. */
static void long_times(void)
{
	struct timeval tv = { (time_t)(sizeof(long) == 8 ? 0x7fffffffffffffffLL : 0x7fffffff), 0 };
	fd_set w;

	FD_ZERO(&w);
	FD_SET(1, &w);
	EQUAL("select, a very long time", select(2, NULL, &w, NULL, &tv), 1);
#ifdef __x86_64__
	tv.tv_sec = 0x7fffffffffffffffLL;
	tv.tv_usec = 5000000;
	ERRNO("select, too long a time", syscall(SYS_select, 2, NULL, &w, NULL, &tv), EINVAL);
#endif
}

static void epolls(void)
{
	int e = epoll_create1(EPOLL_CLOEXEC), p[2], e2;
	struct epoll_event ev = { EPOLLIN, { .u64 = 0x1234567890abcdefULL } }, out[4];
	char b[10];

	if (pipe(p))
		_exit(2);
	ERRNO("size", epoll_create(0), EINVAL);
	ERRNO("add", epoll_ctl(e, EPOLL_CTL_ADD, p[0], &ev), 0);
	ERRNO("twice", epoll_ctl(e, EPOLL_CTL_ADD, p[0], &ev), EEXIST);
	ERRNO("not there", epoll_ctl(e, EPOLL_CTL_MOD, p[1], &ev), ENOENT);
	ERRNO("itself", epoll_ctl(e, EPOLL_CTL_ADD, e, &ev), EINVAL);
	ERRNO("a regular file", epoll_ctl(e, EPOLL_CTL_ADD, temporary_file(1), &ev), EPERM);
	ERRNO("no epoll", epoll_ctl(p[0], EPOLL_CTL_ADD, p[1], &ev), EINVAL);
	ERRNO("operation", epoll_ctl(e, 9, p[1], &ev), EINVAL);
	EQUAL("nothing", epoll_wait(e, out, 4, 0), 0);
	ERRNO("no room", epoll_wait(e, out, 0, 0), EINVAL);
	EQUAL("timeout", epoll_wait(e, out, 4, 20), 0);
	write(p[1], "abc", 3);
	EQUAL("one", epoll_wait(e, out, 4, -1), 1);
	EQUAL("events", out[0].events, EPOLLIN);
	CHECK("data", out[0].data.u64 == 0x1234567890abcdefULL);
	EQUAL("level: again", epoll_wait(e, out, 4, 0), 1);
	ev.events = EPOLLIN | EPOLLET;
	ERRNO("edge", epoll_ctl(e, EPOLL_CTL_MOD, p[0], &ev), 0);
	EQUAL("first", epoll_wait(e, out, 4, 0), 1);
	EQUAL("not again", epoll_wait(e, out, 4, 0), 0);
	read(p[0], b, 1);
	EQUAL("not after a part is read", epoll_wait(e, out, 4, 0), 0);
	write(p[1], "d", 1);
	EQUAL("after a write", epoll_wait(e, out, 4, 0), 1);
	ev.events = EPOLLIN | EPOLLONESHOT;
	ERRNO("one shot", epoll_ctl(e, EPOLL_CTL_MOD, p[0], &ev), 0);
	EQUAL("first", epoll_wait(e, out, 4, 0), 1);
	EQUAL("disabled", epoll_wait(e, out, 4, 0), 0);
	ERRNO("armed", epoll_ctl(e, EPOLL_CTL_MOD, p[0], &ev), 0);
	EQUAL("again", epoll_wait(e, out, 4, 0), 1);
	e2 = epoll_create1(0);
	ev.events = EPOLLIN;
	ERRNO("a set in a set", epoll_ctl(e2, EPOLL_CTL_ADD, e, &ev), 0);
	ERRNO("a circle", epoll_ctl(e, EPOLL_CTL_ADD, e2, &ev), ELOOP);
	EQUAL("nothing", epoll_wait(e2, out, 4, 0), 0);
	ERRNO("armed", epoll_ctl(e, EPOLL_CTL_MOD, p[0], &ev), 0);
	EQUAL("through", epoll_wait(e2, out, 4, 0), 1);
	close(p[1]);
	EQUAL("hang-up", epoll_wait(e, out, 4, 0), 1);
	EQUAL("both", out[0].events, EPOLLIN | EPOLLHUP);
	close(p[0]);
	EQUAL("a closed file leaves", epoll_wait(e, out, 4, 0), 0);
	if (pipe(p))
		_exit(2);
	epoll_ctl(e, EPOLL_CTL_ADD, p[0], &ev);
	if (!fork()) {
		usleep(20000);
		_exit(write(p[1], "x", 1) != 1);
	}
	EQUAL("woken", epoll_wait(e, out, 4, -1), 1);
	wait(NULL);
}

static void interrupted(int signo)
{
	(void)signo;
}

static void signals(void)
{
	struct sigaction action = { .sa_handler = interrupted };
	struct pollfd f = { -1, 0, 0 };
	struct timespec ts = { 5, 0 };
	sigset_t all, none;

	sigaction(SIGALRM, &action, NULL);
	ualarm(20000, 20000); /* again and again: the first may come before the call */
	ERRNO("poll", poll(&f, 1, 5000), EINTR);
	ERRNO("select", select(0, NULL, NULL, NULL, NULL), EINTR);
	ualarm(0, 0);
	sigemptyset(&none);
	sigemptyset(&all);
	sigaddset(&all, SIGALRM);
	sigprocmask(SIG_BLOCK, &all, NULL);
	ualarm(20000, 0);
	ERRNO("ppoll lets it in", ppoll(&f, 1, &ts, &none), EINTR);
	sigprocmask(SIG_SETMASK, NULL, &none);
	CHECK("and the mask is back", sigismember(&none, SIGALRM));
}

static void copies(void)
{
	int in = temporary_file(3 * PAGE), out = temporary_file(0), p[2];
	char b[20];
	off_t at = PAGE - 2;

	EQUAL("sendfile", sendfile(out, in, &at, 5), 5);
	EQUAL("offset", at, PAGE + 3);
	EQUAL("position", lseek(in, 0, SEEK_CUR), 3 * PAGE);
	pread(out, b, 5, 0);
	CHECK("bytes", !memcmp(b, "aabbb", 5));
	lseek(in, 3 * PAGE - 3, SEEK_SET);
	EQUAL("to the end", sendfile(out, in, NULL, 100), 3);
	EQUAL("nothing more", sendfile(out, in, NULL, 100), 0);
	if (pipe(p))
		_exit(2);
	at = 0;
	EQUAL("into a pipe", sendfile(p[1], in, &at, 10), 10);
	EQUAL("read", read(p[0], b, 20), 10);
	ERRNO("bad fd", sendfile(99, in, NULL, 10), EBADF);
	ERRNO("from a pipe with offset", sendfile(out, p[0], &at, 10), ESPIPE);
	EQUAL("copy_file_range", syscall(SYS_copy_file_range, in, (long long[]){ 4096 }, out, (long long[]){ 0 }, 10L, 0), 10);
	pread(out, b, 10, 0);
	CHECK("copied", all_are(b, 'b', 10));
	ERRNO("from a pipe", syscall(SYS_copy_file_range, p[0], NULL, out, NULL, 10L, 0), EINVAL);
}

static void locks(void)
{
	struct flock l = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 10, .l_len = 10 };
	int fd = open("lock", O_RDWR | O_CREAT, 0600), status, other, ready[2];
	char b;

	if (pipe(ready))
		_exit(2);
	ERRNO("F_SETLK", fcntl(fd, F_SETLK, &l), 0);
	ERRNO("own lock again", fcntl(fd, F_SETLK, &l), 0);
	if (!fork()) {
		int mine = open("lock", O_RDWR);

		failures = 0;
		l.l_start = 0, l.l_len = 0;
		ERRNO("a conflict", fcntl(mine, F_SETLK, &l), EAGAIN);
		ERRNO("F_GETLK", fcntl(mine, F_GETLK, &l), 0);
		CHECK("who", l.l_type == F_WRLCK && l.l_pid == getppid() && l.l_start == 10 && l.l_len == 10);
		l = (struct flock){ .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 10 };
		ERRNO("beside it", fcntl(mine, F_SETLK, &l), 0);
		l.l_start = 15;
		write(ready[1], "", 1); /* from here on the parent prints */
		_exit(failures || fcntl(mine, F_SETLKW, &l));
	}
	EQUAL("the child waits", read(ready[0], &b, 1), 1);
	usleep(30000);
	l.l_type = F_UNLCK;
	ERRNO("unlock", fcntl(fd, F_SETLK, &l), 0);
	wait(&status);
	EQUAL("the child", status, 0);
	l.l_type = F_WRLCK;
	ERRNO("its locks went with it", fcntl(fd, F_SETLK, &l), 0);
	l.l_type = 7;
	ERRNO("type", fcntl(fd, F_SETLK, &l), EINVAL);
	l.l_type = F_RDLCK, l.l_start = -5;
	ERRNO("before the start", fcntl(fd, F_SETLK, &l), EINVAL);
	other = open("lock", O_RDONLY);
	ERRNO("flock", flock(fd, LOCK_EX), 0);
	ERRNO("held", flock(other, LOCK_SH | LOCK_NB), EAGAIN);
	ERRNO("down", flock(fd, LOCK_SH), 0);
	ERRNO("shared", flock(other, LOCK_SH | LOCK_NB), 0);
	ERRNO("up", flock(fd, LOCK_EX | LOCK_NB), EAGAIN);
	close(other);
	ERRNO("close unlocks", flock(fd, LOCK_EX | LOCK_NB), 0);
	ERRNO("flock, operation", flock(fd, 3), EINVAL);
}

int main(void)
{
	if (!mkdtemp(dir) || chdir(dir))
		return 2;
	fifos();
	faults();
	events();
	polls();
	long_times();
	epolls();
	signals();
	copies();
	locks();
	return done();
}
