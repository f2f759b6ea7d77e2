/* Anonymous memory: the zero page, copy-on-write over fork, sharing, MAP_GROWSDOWN, the stack. */
#include "check.h"

#include <fcntl.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

static void zeros(void)
{
	char *p = anonymous(8), *q;

	CHECK("fresh memory is zero", all_are(p, 0, 8 * PAGE));
	p[PAGE] = 'x';
	CHECK("a write to one page leaves the others", all_are(p, 0, PAGE) && all_are(p + 2 * PAGE, 0, 6 * PAGE));
	EQUAL("it is kept", p[PAGE], 'x');
	q = mmap(NULL, 8 * PAGE, PROT_READ, ANON, -1, 0);
	CHECK("read-only memory is zero", all_are(q, 0, 8 * PAGE));
	NO_WRITE("and refuses a write", q, SIGSEGV, SEGV_ACCERR);
	mprotect(q, PAGE, RW);
	WRITES("until it is made writable", q);
	EQUAL("its neighbour is still zero", q[PAGE], 0);
	q = mmap(NULL, 64 << 20, RW, ANON | MAP_NORESERVE, -1, 0);
	q[32 << 20] = 1;
	EQUAL("a sparse mapping", q[(32 << 20) - 1] + q[32 << 20] + q[(64 << 20) - 1], 1);
	ERRNO("unmap it", munmap(q, 64 << 20), 0);
	q = mmap(NULL, 8 * PAGE, RW, ANON | MAP_POPULATE, -1, 0);
	CHECK("MAP_POPULATE gives zeros", q != MAP_FAILED && all_are(q, 0, 8 * PAGE));
}

static long page_tables(void)
{
	char text[4096], *found;
	int fd = open("/proc/self/status", O_RDONLY);
	ssize_t got = read(fd, text, sizeof text - 1);

	close(fd);
	text[got < 0 ? 0 : got] = 0;
	found = strstr(text, "VmPTE:");
	return found ? atol(found + 6) : -1;
}

/* Two areas that meet in the middle of a leaf table's 2 MiB: the table goes with the second of them, whichever it is. */
static void tables(void)
{
	enum { HALF = 256, MEET = 1024 + HALF };
	char *place = (char *)(((uintptr_t)hole(4096) + (2 << 20)) & ~(uintptr_t)((2 << 20) - 1)), *low, *high;
	long before = 0;
	int upper_first, i;

	for (upper_first = -1; upper_first < 2; upper_first++) { /* -1: what stays for good is made */
		low = mmap(place + (MEET - 600) * PAGE, 600 * PAGE, RW, ANON | MAP_FIXED, -1, 0);
		high = mmap(place + MEET * PAGE, 600 * PAGE, RW, ANON | MAP_FIXED, -1, 0);
		madvise(low, 1200 * PAGE, MADV_NOHUGEPAGE);
		for (i = 0; i < 1200; i += 50)
			low[i * PAGE] = 1;
		if (upper_first >= 0)
			CHECK("touched memory has page tables", page_tables() > before);
		ERRNO("unmap one half", upper_first ? munmap(high, 600 * PAGE) : munmap(low, 600 * PAGE), 0);
		EQUAL("the other is whole", (upper_first ? low : high)[0], 1);
		ERRNO("unmap the other", upper_first ? munmap(low, 600 * PAGE) : munmap(high, 600 * PAGE), 0);
		if (upper_first >= 0)
			EQUAL("its page tables are gone", page_tables(), before);
		before = page_tables();
	}
}

static int child_exit(pid_t pid)
{
	int status;

	if (waitpid(pid, &status, 0) != pid)
		return -1;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

static void forks(void)
{
	char *private = anonymous(4), *shared = mmap(NULL, 4 * PAGE, RW, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	static char data[2 * PAGE] = "data";
	char local = 'l';
	pid_t pid;

	memset(private, 'p', 2 * PAGE);
	shared[0] = 's';
	pid = fork();
	if (!pid) {
		int good = private[0] == 'p' && shared[0] == 's' && private[3 * PAGE] == 0 && !strcmp(data, "data");

		private[0] = 'c';
		private[2 * PAGE] = 'c';
		shared[1] = 'c';
		shared[2 * PAGE] = 'c';
		data[0] = 'D';
		local = 'L';
		_exit(good && private[0] == 'c' && private[1] == 'p' && local == 'L' ? 7 : 1);
	}
	EQUAL("the child saw its own", child_exit(pid), 7);
	CHECK("private memory of the parent is its own", private[0] == 'p' && private[2 * PAGE] == 0 && data[0] == 'd');
	EQUAL("and its stack", local, 'l');
	CHECK("shared memory is shared", shared[1] == 'c' && shared[2 * PAGE] == 'c');
	private[1] = 'x';
	EQUAL("the parent writes after the child is gone", private[1], 'x');

	pid = fork();
	if (!pid) {
		char *late = mmap(NULL, PAGE, RW, ANON, -1, 0);

		late[0] = 1;
		mprotect(private, PAGE, PROT_READ);
		signal(SIGSEGV, SIG_DFL);
		private[0] = 'x';
		_exit(0);
	}
	EQUAL("a child that dies of a fault", child_exit(pid), 1000 + SIGSEGV);
	WRITES("its mprotect was its own", private);

	private = anonymous(2);
	private[0] = 'w';
	ERRNO("MADV_WIPEONFORK", madvise(private, PAGE, 18), 0);
	private[PAGE] = 'k';
	pid = fork();
	if (!pid)
		_exit(private[0] == 0 && private[PAGE] == 'k' ? 7 : 1);
	EQUAL("wiped in the child", child_exit(pid), 7);
	EQUAL("kept in the parent", private[0], 'w');
	ERRNO("MADV_DONTFORK", madvise(private, PAGE, MADV_DONTFORK), 0);
	pid = fork();
	if (!pid)
		_exit(touch(private, -1) == SIGSEGV && fault_code == SEGV_MAPERR && !touch(private + PAGE, -1) ? 7 : 1);
	EQUAL("not there in the child", child_exit(pid), 7);
	EQUAL("kept in the parent, again", private[0], 'w');
}

/* Grandchildren: three owners of one page. */
static void generations(void)
{
	char *p = anonymous(1);
	pid_t pid;

	p[0] = 1;
	pid = fork();
	if (!pid) {
		pid = fork();
		if (!pid) {
			p[0] += 10;
			_exit(p[0]);
		}
		p[0] += 100;
		_exit(child_exit(pid) == 11 && p[0] == 101 ? 7 : 1);
	}
	EQUAL("three generations", child_exit(pid), 7);
	EQUAL("the first is untouched", p[0], 1);
}

static void grows_down(void)
{
	char *p = hole(400) + 399 * PAGE, *q;

	p = mmap(p, PAGE, RW, ANON | MAP_FIXED | MAP_GROWSDOWN, -1, 0);
	WRITES("MAP_GROWSDOWN: the page itself", p);
	WRITES("MAP_GROWSDOWN: the page below", p - 1);
	WRITES("MAP_GROWSDOWN: 20 pages below", p - 20 * PAGE);
	READS("MAP_GROWSDOWN: between them", p - 10 * PAGE);
	q = hole(400) + 399 * PAGE;
	q = mmap(q, PAGE, RW, ANON | MAP_FIXED | MAP_GROWSDOWN, -1, 0);
	mmap(q - 2 * PAGE, PAGE, RW, ANON | MAP_FIXED, -1, 0);
	NO_WRITE("it keeps a guard gap", q - 1, SIGSEGV, SEGV_MAPERR);
}

static int deep(int depth);
static int (*volatile deeper)(int) = deep; /* a compiler cannot make a loop of this */

static int deep(int depth)
{
	volatile char frame[32768];

	frame[depth & 32767] = 1;
	return depth ? deeper(depth - 1) + frame[depth & 32767] : 0;
}

static void stack(void)
{
	struct rlimit limit;
	pid_t pid;

	EQUAL("four megabytes of stack", deep(125), 125);
	getrlimit(RLIMIT_STACK, &limit);
	EQUAL("the usual limit", limit.rlim_cur, 8 << 20);
	pid = fork();
	if (!pid) {
		signal(SIGSEGV, SIG_DFL);
		_exit(deep(1000) & 1);
	}
	EQUAL("a stack past its limit", child_exit(pid), 1000 + SIGSEGV);
	pid = fork();
	if (!pid) {
		signal(SIGSEGV, SIG_DFL);
		limit.rlim_cur = 1 << 20;
		setrlimit(RLIMIT_STACK, &limit);
		_exit(deep(10) == 10 ? 7 : 1);
	}
	EQUAL("a lower limit, kept", child_exit(pid), 7);
}

int main(void)
{
	catch_faults();
	zeros();
	tables();
	forks();
	generations();
	grows_down();
	stack();
	return done();
}
