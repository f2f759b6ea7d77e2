/* What each resource limit does to a program, and the errnos of setrlimit and prlimit (kernel/sys.c). */
#include "check.h"
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <sched.h>

static volatile sig_atomic_t caught, count;

static void on(int signo)
{
	caught = signo;
	count++;
}

/* A user that nobody else is: RLIMIT_NPROC counts all processes, also those of this test for the other target. */
static uid_t own_user(void)
{
	return 20000 + getpid() % 40000;
}

static int set(int what, rlim_t soft, rlim_t hard)
{
	struct rlimit limit = {soft, hard};

	return setrlimit(what, &limit);
}

static int in_child(int (*body)(void))
{
	int status;
	pid_t pid = fork();

	if (!pid)
		_exit(body());
	waitpid(pid, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

static int fsize(void)
{
	int fd = temporary_file(0);
	char buffer[300];

	memset(buffer, 'x', sizeof buffer);
	set(RLIMIT_FSIZE, 1000, 1000);
	signal(SIGXFSZ, on);
	EQUAL("FSIZE: below", write(fd, buffer, 300) == 300 && write(fd, buffer, 300) == 300, 1);
	EQUAL("FSIZE: up to it", write(fd, buffer, 300) == 300 && write(fd, buffer, 300) == 100, 1);
	EQUAL("FSIZE: no signal yet", caught, 0);
	ERRNO("FSIZE: beyond", write(fd, buffer, 1), EFBIG);
	EQUAL("FSIZE: SIGXFSZ", caught, SIGXFSZ);
	ERRNO("FSIZE: pwrite", pwrite(fd, buffer, 10, 2000), EFBIG);
	ERRNO("FSIZE: ftruncate", ftruncate(fd, 1001), EFBIG);
	ERRNO("FSIZE: ftruncate to it", ftruncate(fd, 1000), 0);
	EQUAL("FSIZE: each time", count, 3);
	return failures;
}

/* Between files: what has nothing to write meets no limit, what is cut short has its signal. */
static int fsize_moved(void)
{
	int from = temporary_file(5000), to = temporary_file(0), p[2];
	char buffer[300] = "";
	loff_t at;

	set(RLIMIT_FSIZE, 1000, 1000);
	signal(SIGXFSZ, on);
	lseek(from, 0, SEEK_END);
	lseek(to, 1000, SEEK_SET);
	EQUAL("FSIZE: sendfile of nothing", sendfile(to, from, NULL, 100), 0);
	EQUAL("FSIZE: without a signal", count, 0);
	lseek(from, 0, SEEK_SET);
	ERRNO("FSIZE: sendfile", sendfile(to, from, NULL, 100), EFBIG);
	EQUAL("FSIZE: one", count, 1);
	EQUAL("FSIZE: where it was", lseek(from, 0, SEEK_CUR), 0);
	lseek(to, 600, SEEK_SET);
	EQUAL("FSIZE: sendfile cut short", sendfile(to, from, NULL, 3000), 400);
	EQUAL("FSIZE: a signal, too", count, 2);
	EQUAL("FSIZE: the source is behind what was written", lseek(from, 0, SEEK_CUR), 400);
	lseek(to, 600, SEEK_SET);
	EQUAL("FSIZE: sendfile that fits", sendfile(to, from, NULL, 400), 400);
	EQUAL("FSIZE: none", count, 2);
	pipe2(p, O_NONBLOCK);
	at = 1000;
	ERRNO("FSIZE: splice of nothing", splice(p[0], NULL, to, &at, 100, SPLICE_F_NONBLOCK), EAGAIN);
	write(p[1], buffer, 300);
	at = 995;
	EQUAL("FSIZE: splice cut short", splice(p[0], NULL, to, &at, 100, 0), 5);
	EQUAL("FSIZE: and one more", count, 3);
	at = 995;
	EQUAL("FSIZE: splice that fits", splice(p[0], NULL, to, &at, 5, 0), 5);
	EQUAL("FSIZE: no other", count, 3);
	ERRNO("FSIZE: splice", splice(p[0], NULL, to, &at, 5, 0), EFBIG);
	EQUAL("FSIZE: the last", count, 4);
	EQUAL("FSIZE: nothing is lost", read(p[0], buffer, 300), 290);
	return failures;
}

static int fsize_default(void)
{
	int fd = temporary_file(0);

	set(RLIMIT_FSIZE, 10, 10);
	set(RLIMIT_CORE, 0, 0);
	return write(fd, "12345678901234567890", 20) == 10 && write(fd, "x", 1);
}

static int nofile(void)
{
	int fd, other = -1;

	set(RLIMIT_NOFILE, 10, 20);
	while ((fd = dup(0)) >= 0)
		other = fd;
	EQUAL("NOFILE: EMFILE", errno, EMFILE);
	EQUAL("NOFILE: the last", other, 9);
	ERRNO("NOFILE: dup2 to it", dup2(0, 10), EBADF);
	ERRNO("NOFILE: F_DUPFD", fcntl(0, F_DUPFD, 10), EINVAL);
	ERRNO("NOFILE: open", open("/dev/null", O_RDONLY), EMFILE);
	ERRNO("NOFILE: raised to the hard one", set(RLIMIT_NOFILE, 20, 20), 0);
	CHECK("NOFILE: another", dup(0) >= 10);
	return failures;
}

static int cpu(void)
{
	struct timeval start, now;

	signal(SIGXCPU, on);
	gettimeofday(&start, NULL);
	set(RLIMIT_CPU, 1, 3);
	while (!count)
		;
	gettimeofday(&now, NULL);
	return count == 1 && now.tv_sec - start.tv_sec >= 0 ? 0 : 1;
}

static __attribute__((noreturn)) int cpu_killed(void)
{
	signal(SIGXCPU, SIG_IGN);
	set(RLIMIT_CPU, 1, 1);
	for (;;)
		;
}

static int (*volatile deeper)(int, volatile char *);
static int deep(int n, volatile char *above)
{
	volatile char page[4096];

	page[n % 4096] = *above;
	return n ? deeper(n - 1, page) + page[n % 4096] : 0;
}

static int dive(int n)
{
	volatile char zero = 0;

	deeper = deep;
	return deep(n, &zero);
}

static int stack_over(void)
{
	set(RLIMIT_CORE, 0, 0);
	set(RLIMIT_STACK, 1 << 20, 1 << 20);
	return dive(1000), 0;
}

static int stack_under(void)
{
	set(RLIMIT_STACK, 16 << 20, RLIM_INFINITY);
	return dive(3000), 0;
}

static int as(void)
{
	char *p;

	set(RLIMIT_AS, 64 << 20, 64 << 20);
	p = mmap(NULL, 128 << 20, RW, ANON, -1, 0);
	EQUAL("AS: too much", p == MAP_FAILED && errno == ENOMEM, 1);
	p = mmap(NULL, 8 << 20, RW, ANON, -1, 0);
	CHECK("AS: some", p != MAP_FAILED);
	ERRNO("AS: mremap", (long)mremap(p, 8 << 20, 128 << 20, MREMAP_MAYMOVE), ENOMEM);
	CHECK("AS: brk", sbrk(128 << 20) == (void *)-1 && errno == ENOMEM);
	return failures;
}

static int data(void)
{
	set(RLIMIT_DATA, 8 << 20, 8 << 20);
	CHECK("DATA: private writable", mmap(NULL, 16 << 20, RW, ANON, -1, 0) == MAP_FAILED);
	CHECK("DATA: read-only does not count", mmap(NULL, 16 << 20, PROT_READ, ANON, -1, 0) != MAP_FAILED);
	CHECK("DATA: shared does not count", mmap(NULL, 16 << 20, RW, MAP_SHARED | MAP_ANONYMOUS, -1, 0) != MAP_FAILED);
	return failures;
}

static int nproc(void)
{
	int n = 0, i;
	pid_t pids[16];

	if (setgid(23456) || setuid(own_user()))
		return 90;
	set(RLIMIT_NPROC, 4, 4);
	while (n < 16 && (pids[n] = fork()) >= 0) {
		if (!pids[n])
			for (;;)
				pause();
		n++;
	}
	EQUAL("NPROC: EAGAIN", errno, EAGAIN);
	EQUAL("NPROC: three more", n, 3);
	for (i = 0; i < n; i++)
		kill(pids[i], SIGKILL);
	while (wait(NULL) > 0)
		;
	CHECK("NPROC: again", (pids[0] = fork()) >= 0);
	if (!pids[0])
		_exit(0);
	wait(NULL);
	ERRNO("hard limits go down", set(RLIMIT_NPROC, 3, 3), 0);
	ERRNO("and not up", set(RLIMIT_NPROC, 3, 4), EPERM);
	return failures;
}

static int sigpending_limit(void)
{
	union sigval value = {0};
	sigset_t all;
	int n = 0;

	set(RLIMIT_SIGPENDING, 5, 5);
	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, NULL);
	while (n < 50 && !sigqueue(getpid(), SIGRTMIN, value))
		n++;
	EQUAL("SIGPENDING: EAGAIN", errno, EAGAIN);
	CHECK("SIGPENDING: at most five", n <= 5);
	EQUAL("SIGPENDING: kill works still", kill(getpid(), SIGRTMIN + 1), 0);
	EQUAL("SIGPENDING: and a standard one", kill(getpid(), SIGUSR1), 0);
	return failures;
}

static int memlock(void)
{
	char *p = anonymous(8);

	if (setgid(23456) || setuid(own_user()))
		return 90;
	set(RLIMIT_MEMLOCK, 4 * PAGE, 4 * PAGE);
	ERRNO("MEMLOCK: within", mlock(p, 4 * PAGE), 0);
	ERRNO("MEMLOCK: beyond", mlock(p + 4 * PAGE, PAGE), ENOMEM);
	ERRNO("MEMLOCK: the same again", mlock(p, PAGE), 0);
	set(RLIMIT_MEMLOCK, 0, 0);
	munlock(p, 4 * PAGE);
	ERRNO("MEMLOCK: none", mlock(p, PAGE), EPERM);
	return failures;
}

static int nice_limit(void)
{
	if (setgid(23456) || setuid(own_user()))
		return 90;
	set(RLIMIT_NICE, 0, 0);
	ERRNO("NICE: down", setpriority(PRIO_PROCESS, 0, 5), 0);
	ERRNO("NICE: up", setpriority(PRIO_PROCESS, 0, 4), EACCES);
	struct sched_param one = {1};
	set(RLIMIT_RTPRIO, 0, 0);
	ERRNO("RTPRIO", syscall(SYS_sched_setscheduler, 0, SCHED_FIFO, &one), EPERM);
	return failures;
}

int main(void)
{
	struct rlimit limit = {5, 4};
	struct { unsigned long long soft, hard; } wide;

	ERRNO("soft above hard", setrlimit(RLIMIT_NOFILE, &limit), EINVAL);
	ERRNO("no such limit", setrlimit(77, &limit), EINVAL);
	ERRNO("get no such limit", getrlimit(77, &limit), EINVAL);
	ERRNO("bad address", syscall(SYS_prlimit64, 0, RLIMIT_NOFILE, 8, 0), EFAULT);
	ERRNO("nobody", syscall(SYS_prlimit64, 0x3ffffff, RLIMIT_NOFILE, NULL, &wide), ESRCH);
	ERRNO("oneself by number", syscall(SYS_prlimit64, getpid(), RLIMIT_STACK, NULL, &wide), 0);
	EQUAL("FSIZE", in_child(fsize), 0);
	EQUAL("FSIZE of what is moved", in_child(fsize_moved), 0);
	EQUAL("FSIZE by default", in_child(fsize_default), 1000 + SIGXFSZ);
	EQUAL("NOFILE", in_child(nofile), 0);
	EQUAL("CPU", in_child(cpu), 0);
	EQUAL("CPU, hard", in_child(cpu_killed), 1000 + SIGKILL);
	EQUAL("STACK, too deep", in_child(stack_over), 1000 + SIGSEGV);
	EQUAL("STACK, raised", in_child(stack_under), 0);
	EQUAL("AS", in_child(as), 0);
	EQUAL("DATA", in_child(data), 0);
	EQUAL("NPROC", in_child(nproc), 0);
	EQUAL("SIGPENDING", in_child(sigpending_limit), 0);
	EQUAL("MEMLOCK", in_child(memlock), 0);
	EQUAL("NICE", in_child(nice_limit), 0);
	return done();
}
