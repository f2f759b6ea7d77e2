/* Code that appears, changes and moves: whoever stores it, the next call runs what is there. */
#include "check.h"

#include <fcntl.h>
#include <stdint.h>
#include <sys/uio.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define RWX (RW | PROT_EXEC)
#define RX (PROT_READ | PROT_EXEC)

/* mov eax, n; ret */
static unsigned char *code(int n)
{
	static unsigned char text[6];

	text[0] = 0xb8;
	memcpy(text + 1, &n, 4);
	text[5] = 0xc3;
	return text;
}

static int run(void *p)
{
	return ((int (*)(void))(uintptr_t)p)();
}

static void jit(void)
{
	unsigned char *p = (void *)anonymous(2);
	int i, good = 0;

	for (i = 1; i <= 20; i++) {
		mprotect(p, PAGE, RW);
		memcpy(p, code(i), 6);
		mprotect(p, PAGE, RX);
		good += run(p) == i;
	}
	EQUAL("write, protect, run", good, 20);
	mprotect(p, 2 * PAGE, RWX);
	for (good = 0, i = 1; i <= 20; i++) {
		memcpy(p, code(i), 6);
		good += run(p) == i;
	}
	EQUAL("write and run", good, 20);
	memcpy(p + PAGE - 3, code(7), 6);
	EQUAL("across two pages", run(p + PAGE - 3), 7);
	p[PAGE - 2] = 8;
	EQUAL("...changed", run(p + PAGE - 3), 8);
	p[PAGE + 1] = 1;
	EQUAL("...changed in the second page", run(p + PAGE - 3), 8 | 1 << 24);
	mprotect(p, PAGE, RW);
	if (!CATCH())
		run(p);
	fault_expected = 0;
	CHECK("no execution without PROT_EXEC", fault_signal == SIGSEGV && fault_code == SEGV_ACCERR && fault_address == p);
	munmap(p, PAGE);
	fault_signal = 0;
	if (!CATCH())
		run(p);
	fault_expected = 0;
	CHECK("no execution without a page", fault_signal == SIGSEGV && fault_code == SEGV_MAPERR && fault_address == p);
	mmap(p, PAGE, RWX, ANON | MAP_FIXED, -1, 0);
	memcpy(p, code(99), 6);
	EQUAL("other code at the same place", run(p), 99);
}

static void by_kernel(void)
{
	char *p = anonymous(2);
	int fds[2], good = 0, i;
	struct iovec local, remote;

	mprotect(p, 2 * PAGE, RWX);
	pipe(fds);
	for (i = 1; i <= 10; i++) {
		write(fds[1], code(i), 6);
		read(fds[0], p, 6);
		good += run(p) == i;
	}
	EQUAL("read into an executable page, run", good, 10);
	for (good = 0, i = 1; i <= 10; i++) {
		mprotect(p, PAGE, RW);
		write(fds[1], code(100 + i), 6);
		read(fds[0], p, 6);
		mprotect(p, PAGE, RX);
		good += run(p) == 100 + i;
	}
	EQUAL("read while not executable, protect, run", good, 10);
	mprotect(p, PAGE, RWX);
	memcpy(p + PAGE, code(55), 6);
	local.iov_base = p + PAGE;
	remote.iov_base = p;
	local.iov_len = remote.iov_len = 6;
	EQUAL("process_vm_writev to itself", process_vm_writev(getpid(), &local, 1, &remote, 1, 0), 6);
	EQUAL("...runs", run(p), 55);
	madvise(p, PAGE, MADV_DONTNEED);
	CHECK("DONTNEED: zeros, not code", all_are(p, 0, 6));
	memcpy(p, code(56), 6);
	EQUAL("new code after DONTNEED", run(p), 56);
}

static void forks(void)
{
	char *p = anonymous(1), *s = mmap(NULL, PAGE, RWX, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int status;

	mprotect(p, PAGE, RWX);
	memcpy(p, code(1), 6);
	memcpy(s, code(1), 6);
	EQUAL("before fork", run(p) + run(s), 2);
	if (!fork()) {
		if (run(p) != 1 || run(s) != 1)
			_exit(10);
		memcpy(p, code(2), 6);
		memcpy(s, code(3), 6);
		_exit(run(p) * 10 + run(s));
	}
	wait(&status);
	EQUAL("a child's own code, and shared code", WEXITSTATUS(status), 23);
	EQUAL("the parent's code is its own", run(p), 1);
	EQUAL("shared code is the child's", run(s), 3);
	memcpy(p, code(4), 6);
	EQUAL("and can change", run(p), 4);
	if (!fork()) {
		int grand;

		memcpy(p, code(5), 6);
		if (!fork()) {
			memcpy(p, code(6), 6);
			_exit(run(p));
		}
		wait(&grand);
		_exit(run(p) * 10 + WEXITSTATUS(grand));
	}
	memcpy(p, code(7), 6);
	wait(&status);
	EQUAL("three generations", WEXITSTATUS(status) * 10 + run(p), 567);
}

static void files(void)
{
	int fd = temporary_file(2 * PAGE), i, good = 0;
	char *x = mmap(NULL, 2 * PAGE, RX, MAP_SHARED, fd, 0), *p = mmap(NULL, 2 * PAGE, RX, MAP_PRIVATE, fd, 0);
	char *w = mmap(NULL, 2 * PAGE, RW, MAP_SHARED, fd, 0), *q;

	for (i = 1; i <= 10; i++) {
		pwrite(fd, code(i), 6, 0);
		good += run(x) == i && run(p) == i;
	}
	EQUAL("written by write, run from mappings", good, 10);
	for (good = 0, i = 1; i <= 10; i++) {
		memcpy(w, code(i), 6);
		good += run(x) == i && run(p) == i;
	}
	EQUAL("written through an alias", good, 10);
	mprotect(p, PAGE, RW);
	memcpy(p, code(77), 6);
	mprotect(p, PAGE, RX);
	EQUAL("a private copy", run(p), 77);
	EQUAL("...is private", run(x), 10);
	pwrite(fd, code(78), 6, 0);
	EQUAL("...and stays", run(p), 77);
	EQUAL("the shared one moves on", run(x), 78);
	q = mremap(p, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, hole(1));
	EQUAL("moved code runs", run(q), 77);
	memcpy(w, code(79), 6);
	mmap(q, PAGE, RX, MAP_PRIVATE | MAP_FIXED, fd, 0);
	EQUAL("mapped over", run(q), 79);
	ftruncate(fd, 0);
	fault_signal = 0;
	if (!CATCH())
		run(x);
	fault_expected = 0;
	CHECK("code behind the end of the file is SIGBUS", fault_signal == SIGBUS && fault_code == BUS_ADRERR);
	ftruncate(fd, PAGE);
	pwrite(fd, code(80), 6, 0);
	EQUAL("the file is longer again: new code", run(x), 80);
	pwrite(fd, code(81), 6, PAGE - 6);
	EQUAL("at the end of the page", run(x + PAGE - 6), 81);
}

int main(void)
{
	catch_faults();
	jit();
	by_kernel();
	forks();
	files();
	return done();
}
