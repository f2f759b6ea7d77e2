/* Copies on write: three generations, the kernel's own copies, zero pages, and what a guest then sees. */
#include "check.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>

static int in_child(int (*body)(char *), char *p)
{
	int status;

	if (!fork())
		_exit(body(p));
	wait(&status);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

static int third(char *p)
{
	p[0]++;
	p[2 * PAGE] = 3;
	return p[0];
}

static int second(char *p)
{
	int status = in_child(third, p);

	p[0] += 10;
	p[PAGE] = 9;
	return status == 2 && p[0] == 11 && p[2 * PAGE] == 1 ? in_child(third, p) : 99;
}

static int stores(char *p)
{
	int i;

	for (i = 0; i < 64; i++)
		p[i * PAGE] = i;
	for (i = 0; i < 64; i++)
		if (p[i * PAGE] != i || p[i * PAGE + 1] != 'x')
			return 1;
	return 0;
}

static void generations(void)
{
	char *p = anonymous(64), *s;

	memset(p, 1, 3 * PAGE);
	EQUAL("three generations", in_child(second, p), 12);
	CHECK("the first one's pages", all_are(p, 1, 3 * PAGE));
	memset(p, 'x', 64 * PAGE);
	EQUAL("a child's stores", in_child(stores, p), 0);
	CHECK("are its own", all_are(p, 'x', 64 * PAGE));
	EQUAL("vfork", ({ int status; pid_t pid = vfork(); if (!pid) { p[0] = 'v'; _exit(7); } waitpid(pid, &status, 0); WEXITSTATUS(status); }), 7);
	EQUAL("...shares memory", p[0], 'v');
	s = mmap(NULL, 4 * PAGE, RW, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	memset(s, 'x', 4 * PAGE);
	if (!fork()) {
		s[0] = 'c';
		mprotect(s, 4 * PAGE, PROT_READ);
		munmap(s + PAGE, PAGE);
		_exit(0);
	}
	wait(NULL);
	EQUAL("shared memory", s[0], 'c');
	WRITES("...protection is each one's own", s + PAGE);
	madvise(p, PAGE, MADV_WIPEONFORK);
	madvise(p + PAGE, PAGE, MADV_DONTFORK);
	if (!fork())
		_exit(all_are(p, 0, PAGE) + 2 * (touch(p + PAGE, -1) == SIGSEGV) + 4 * (p[2 * PAGE] == 'x'));
	EQUAL("wipe and don't fork", ({ int status; wait(&status); WEXITSTATUS(status); }), 7);
}

static void kernel_writes(void)
{
	int fds[2], zero = open("/dev/zero", O_RDONLY), i, bad = 0;
	char *p = anonymous(8), text[PAGE];
	struct iovec pieces[3];
	struct stat *st;
	struct pollfd *poll_fd;

	pipe(fds);
	READS("a zero page", p);
	write(fds[1], "0123456789", 10);
	EQUAL("read over a zero page that was read", read(fds[0], p, 10), 10);
	CHECK("...is seen", !memcmp(p, "0123456789", 10));
	CHECK("the zero page is still zero", all_are(p + PAGE, 0, PAGE));
	for (i = 0; i < 50; i++) {
		mmap(p + PAGE, PAGE, RW, ANON | MAP_FIXED, -1, 0);
		bad += p[PAGE] != 0;
		write(fds[1], &i, 4);
		read(fds[0], p + PAGE, 4);
		bad += memcmp(p + PAGE, &i, 4) != 0;
	}
	EQUAL("again and again", bad, 0);
	memset(p, 'o', 4 * PAGE);
	if (!fork()) {
		bad = p[0] != 'o';
		write(fds[1], "child", 5);
		read(fds[0], p, 5);
		bad |= memcmp(p, "child", 5) != 0;
		_exit(bad);
	}
	EQUAL("read into a page shared by fork", ({ int status; wait(&status); status; }), 0);
	CHECK("...leaves the parent's", all_are(p, 'o', PAGE));
	write(fds[1], "parent", 6);
	read(fds[0], p, 6);
	CHECK("the parent's own read", !memcmp(p, "parent", 6));
	mprotect(p, PAGE, PROT_NONE);
	write(fds[1], "x", 1);
	EQUAL("read into PROT_NONE", (errno = 0, read(fds[0], p, 1)) * 1000 - errno, -1000 - EFAULT);
	EQUAL("write from PROT_NONE", (errno = 0, write(fds[1], p, 1)) * 1000 - errno, -1000 - EFAULT);
	mprotect(p, PAGE, PROT_READ);
	EQUAL("read into PROT_READ", (errno = 0, read(zero, p, 1)) * 1000 - errno, -1000 - EFAULT);
	EQUAL("write from PROT_READ", write(fds[1], p, 1), 1);
	mprotect(p, PAGE, RW);
	CHECK("and nothing changed", !memcmp(p, "parent", 6));
	read(fds[0], text, 10);
	munmap(p + PAGE, PAGE);
	EQUAL("read up to a hole", read(zero, p, 2 * PAGE), PAGE);
	write(fds[1], "abcdefgh", 8);
	pieces[0].iov_base = p;
	pieces[0].iov_len = 3;
	pieces[1].iov_base = p + PAGE;
	pieces[1].iov_len = 3;
	pieces[2].iov_base = p;
	pieces[2].iov_len = 2;
	ERRNO("readv with a bad second piece, from one buffer", readv(fds[0], pieces, 3), EFAULT);
	st = (void *)(p + 2 * PAGE - 8);
	ERRNO("fstat across a hole", syscall(sizeof(long) == 8 ? SYS_fstat : 197, 0, st), EFAULT);
	poll_fd = (void *)(p + PAGE);
	ERRNO("poll in a hole", poll(poll_fd, 1, 0), EFAULT);
	ERRNO("pipe into a hole", pipe((int *)(p + PAGE)), EFAULT);
	ERRNO("pipe across a hole", pipe((int *)(p + PAGE - 4)), EFAULT);
	mprotect(p + 2 * PAGE, PAGE, PROT_READ);
	ERRNO("getcwd into read-only memory", syscall(SYS_getcwd, p + 2 * PAGE, 100), EFAULT);
}

static void mixes(void)
{
	char *p = anonymous(16);
	int i, bad = 0, status;

	for (i = 0; i < 200; i++) {
		char *page = p + (i % 16) * PAGE;

		page[0] = i;
		if (i % 3 == 0 && !fork()) {
			page[0] = ~i;
			_exit(0);
		}
		if (i % 5 == 0)
			mprotect(page, PAGE, PROT_READ);
		bad += page[0] != (char)i;
		if (i % 5 == 0)
			mprotect(page, PAGE, RW);
		page[1] = i;
		bad += page[1] != (char)i;
		if (i % 7 == 0) {
			madvise(page, PAGE, MADV_DONTNEED);
			bad += page[0] != 0;
		}
		if (i % 3 == 0)
			wait(&status);
	}
	EQUAL("a mixture", bad, 0);
}

int main(void)
{
	catch_faults();
	generations();
	kernel_writes();
	mixes();
	return done();
}
