/* brk(2), RLIMIT_AS, RLIMIT_DATA, RLIMIT_STACK, RLIMIT_MEMLOCK and overcommit. */
#include "check.h"

#include <stdint.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

static char *sys_brk(void *address)
{
	return (char *)syscall(SYS_brk, address);
}

static void brks(void)
{
	char *start = sys_brk(0), *p;

	CHECK("the break starts anywhere", start != NULL);
	start = (char *)(((uintptr_t)start + PAGE - 1) & ~(PAGE - 1));
	CHECK("grow", sys_brk(start + 4 * PAGE) == start + 4 * PAGE);
	CHECK("it is zero", all_are(start, 0, 4 * PAGE));
	memset(start, 'b', 4 * PAGE);
	CHECK("shrink", sys_brk(start + PAGE) == start + PAGE);
	NO_READ("the rest is gone", start + PAGE, SIGSEGV, SEGV_MAPERR);
	CHECK("grow again", sys_brk(start + 2 * PAGE) == start + 2 * PAGE);
	CHECK("fresh pages are zero", all_are(start + PAGE, 0, PAGE));
	EQUAL("old ones are kept", start[0], 'b');
	CHECK("an odd break", sys_brk(start + PAGE + 100) == start + PAGE + 100);
	READS("its page is whole", start + 2 * PAGE - 1);
	NO_READ("and no more", start + 2 * PAGE, SIGSEGV, SEGV_MAPERR);
	CHECK("below the start: unchanged", sys_brk((char *)PAGE) == start + PAGE + 100);
	p = mmap(start + 8 * PAGE, PAGE, RW, ANON | MAP_FIXED, -1, 0);
	CHECK("into a mapping: unchanged", p == start + 8 * PAGE && sys_brk(start + 16 * PAGE) == start + PAGE + 100);
	munmap(p, PAGE);
	CHECK("and then it grows", sys_brk(start + 16 * PAGE) == start + 16 * PAGE);
}

static void lower(int which, rlim_t value)
{
	struct rlimit limit = {value, value};

	if (setrlimit(which, &limit))
		_exit(2);
}

/* The result of `body` in a child that may change its limits. */
static int in_child(int (*body)(void))
{
	pid_t pid = fork();
	int status;

	if (!pid) {
		failures = 0;
		_exit(body());
	}
	waitpid(pid, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

static int address_space(void)
{
	char *p = anonymous(4);
	char *current = sys_brk(0);

	lower(RLIMIT_AS, 64 << 20);
	ERRNO("RLIMIT_AS: mmap", mmap(NULL, 64 << 20, PROT_NONE, ANON | MAP_NORESERVE, -1, 0), ENOMEM);
	ERRNO("RLIMIT_AS: a small mmap", mmap(NULL, PAGE, RW, ANON, -1, 0), 0);
	ERRNO("RLIMIT_AS: mremap", mremap(p, 4 * PAGE, 64 << 20, MREMAP_MAYMOVE), ENOMEM);
	CHECK("RLIMIT_AS: brk", sys_brk(current + (64 << 20)) == current);
	lower(RLIMIT_AS, PAGE);
	ERRNO("RLIMIT_AS: nothing more", mmap(NULL, PAGE, RW, ANON, -1, 0), ENOMEM);
	ERRNO("RLIMIT_AS: munmap works", munmap(p, PAGE), 0);
	ERRNO("RLIMIT_AS: MAP_FIXED over an area", mmap(p + PAGE, PAGE, RW, ANON | MAP_FIXED, -1, 0), ENOMEM);
	WRITES("RLIMIT_AS: touching works", p + 2 * PAGE);
	return done();
}

static int data(void)
{
	char *current = sys_brk(0), *p = mmap(NULL, PAGE, PROT_READ, ANON, -1, 0);

	lower(RLIMIT_DATA, 1 << 20);
	CHECK("RLIMIT_DATA: brk", sys_brk(current + (2 << 20)) == current);
	ERRNO("RLIMIT_DATA: private writable memory", mmap(NULL, 2 << 20, RW, ANON, -1, 0), ENOMEM);
	ERRNO("RLIMIT_DATA: shared memory", mmap(NULL, 2 << 20, RW, MAP_SHARED | MAP_ANONYMOUS, -1, 0), 0);
	ERRNO("RLIMIT_DATA: read-only memory", mmap(NULL, 2 << 20, PROT_READ, ANON, -1, 0), 0);
	lower(RLIMIT_DATA, 0);
	ERRNO("RLIMIT_DATA: mprotect to writable", mprotect(p, PAGE, RW), ENOMEM);
	return done();
}

static int locked(void)
{
	char *p = anonymous(20);

	lower(RLIMIT_MEMLOCK, 8 * PAGE);
	if (setuid(65534))
		return 2;
	ERRNO("RLIMIT_MEMLOCK: less", mlock(p, 8 * PAGE), 0);
	ERRNO("RLIMIT_MEMLOCK: more", mlock(p, 9 * PAGE), ENOMEM);
	ERRNO("RLIMIT_MEMLOCK: MAP_LOCKED", mmap(NULL, PAGE, RW, ANON | MAP_LOCKED, -1, 0), EAGAIN);
	ERRNO("RLIMIT_MEMLOCK: munlock", munlock(p, 20 * PAGE), 0);
	lower(RLIMIT_MEMLOCK, 0);
	ERRNO("RLIMIT_MEMLOCK 0: mlock", mlock(p, PAGE), EPERM);
	ERRNO("RLIMIT_MEMLOCK 0: MAP_LOCKED", mmap(hole(1), PAGE, RW, ANON | MAP_LOCKED, -1, 0), EPERM);
	return done();
}

static int deep(int depth);
static int (*volatile deeper)(int) = deep;

static int deep(int depth)
{
	volatile char frame[4096];

	frame[depth & 4095] = 1;
	return depth ? deeper(depth - 1) + frame[depth & 4095] : 0;
}

static int small_stack(void)
{
	signal(SIGSEGV, SIG_DFL);
	lower(RLIMIT_STACK, 256 << 10);
	return deep(40) == 40 ? deep(200) != 200 : 2;
}

static void limits(void)
{
	struct rlimit limit;

	ERRNO("getrlimit, unknown", getrlimit(100, &limit), EINVAL);
	limit.rlim_cur = 2;
	limit.rlim_max = 1;
	ERRNO("soft above hard", setrlimit(RLIMIT_DATA, &limit), EINVAL);
	ERRNO("getrlimit, bad pointer", syscall(SYS_prlimit64, 0, RLIMIT_AS, NULL, (void *)8), EFAULT);
	EQUAL("RLIMIT_AS", in_child(address_space), 0);
	EQUAL("RLIMIT_DATA", in_child(data), 0);
	EQUAL("RLIMIT_MEMLOCK", in_child(locked), 0);
	EQUAL("RLIMIT_STACK", in_child(small_stack), 1000 + SIGSEGV);
}

static void overcommit(void)
{
#ifdef __x86_64__
	ERRNO("more than there can be", mmap(NULL, 1UL << 46, RW, ANON, -1, 0), ENOMEM);
	ERRNO("...without a reserve", mmap(NULL, 1UL << 40, RW, ANON | MAP_NORESERVE, -1, 0), 0);
	ERRNO("...or not accessible", mmap(NULL, 1UL << 40, PROT_NONE, ANON, -1, 0), 0);
#else
	ERRNO("more than the address space", mmap(NULL, 0xf8000000, PROT_NONE, ANON | MAP_NORESERVE, -1, 0), ENOMEM);
#endif
}

int main(void)
{
	catch_faults();
	brks();
	limits();
	overcommit();
	return done();
}
