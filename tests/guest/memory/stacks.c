/* Stacks: areas that grow down, their guard gap, signals on another stack. */
#include "check.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/wait.h>

#define GAP (256 * PAGE)

static char *down(char *at)
{
	return mmap(at, 2 * PAGE, RW, ANON | MAP_GROWSDOWN | MAP_FIXED, -1, 0);
}

static int mapped(char *p)
{
	unsigned char c;

	return !mincore(p, PAGE, &c);
}

static void growing(void)
{
	char *base = hole(1200), *p = down(base + 1000 * PAGE), *q;

	WRITES("grows by a page", p - 1);
	CHECK("...one page", mapped(p - PAGE) && !mapped(p - 2 * PAGE));
	WRITES("grows by many", p - 100 * PAGE);
	CHECK("...all mapped", mapped(p - 50 * PAGE));
	CHECK("...as zeros", all_are(p - 50 * PAGE, 0, PAGE));
	q = mmap(p - 500 * PAGE, PAGE, RW, ANON | MAP_FIXED, -1, 0);
	WRITES("up to the gap", p - 499 * PAGE + GAP);
	NO_WRITE("the gap", p - 499 * PAGE + GAP - 1, SIGSEGV, SEGV_MAPERR);
	NO_READ("in the gap", p - 499 * PAGE + GAP / 2, SIGSEGV, SEGV_MAPERR);
	READS("below the gap", q);
	mprotect(q, PAGE, PROT_NONE);
	WRITES("a PROT_NONE page needs no gap", p - 499 * PAGE + GAP - 1);
	WRITES("...down to it", p - 499 * PAGE);
	NO_WRITE("...and not into it", p - 499 * PAGE - 1, SIGSEGV, SEGV_ACCERR);
	munmap(base, 1200 * PAGE);
}

/* /proc/PID/mem reaches below a stack as the program itself does. */
static void from_outside(void)
{
	char *base = hole(1200), *p = down(base + 1000 * PAGE), buffer[4] = "abc";
	int fd = open("/proc/self/mem", O_RDWR);

	EQUAL("mem: read below the stack", pread(fd, buffer, 4, (off_t)(uintptr_t)(p - 5 * PAGE)), 4);
	CHECK("...which has grown", mapped(p - 5 * PAGE) && !mapped(p - 6 * PAGE) && !buffer[0]);
	EQUAL("mem: write below it", pwrite(fd, "xyz", 3, (off_t)(uintptr_t)(p - 9 * PAGE)), 3);
	CHECK("...arrives", mapped(p - 9 * PAGE) && !memcmp(p - 9 * PAGE, "xyz", 3));
	mmap(p - 400 * PAGE, PAGE, RW, ANON | MAP_FIXED, -1, 0);
	ERRNO("mem: not in the gap", pread(fd, buffer, 4, (off_t)(uintptr_t)(p - 300 * PAGE)), EIO);
	close(fd);
	munmap(base, 1200 * PAGE);
}

static void placing(void)
{
	char *base = hole(2000), *p = down(base + 1500 * PAGE), *q;

	q = mmap(p - 2 * PAGE, PAGE, RW, ANON, -1, 0);
	CHECK("a hint inside the gap is not taken", q != p - 2 * PAGE);
	munmap(q, PAGE);
	q = mmap(p - GAP - PAGE, PAGE, RW, ANON, -1, 0);
	CHECK("a hint below the gap is", q == p - GAP - PAGE);
	munmap(q, PAGE);
	q = mmap(p - 2 * PAGE, PAGE, RW, ANON | MAP_FIXED, -1, 0);
	CHECK("MAP_FIXED does not ask", q == p - 2 * PAGE);
	NO_WRITE("...and then there is no growth", p - 1, SIGSEGV, SEGV_MAPERR);
	munmap(q, PAGE);
	WRITES("until it is gone", p - 1);
	munmap(base, 2000 * PAGE);
	p = mmap(NULL, 4 * PAGE, RW, ANON | MAP_GROWSDOWN, -1, 0);
	q = mmap(NULL, 4 * PAGE, RW, ANON, -1, 0);
	CHECK("the next mapping leaves the gap free", q >= p + 4 * PAGE || q + 4 * PAGE + GAP <= p);
	munmap(q, 4 * PAGE);
	q = mmap(NULL, 4 * PAGE, RW, ANON | MAP_STACK, -1, 0);
	CHECK("and so does a stack that does not grow", q >= p + 4 * PAGE || q + 4 * PAGE + GAP <= p);
	munmap(q, 4 * PAGE);
	munmap(p, 4 * PAGE);
}

static void parts(void)
{
	char *base = hole(1200), *p = down(base + 1000 * PAGE);
	int fds[2];

	p[-20 * (int)PAGE] = 1;
	munmap(p - 10 * PAGE, 5 * PAGE);
	NO_READ("a hole in a stack close above its lower part", p - 5 * PAGE - 1 - PAGE, 0, 0);
	munmap(base, 1200 * PAGE);
	p = down(base + 1000 * PAGE);
	p[-20 * (int)PAGE] = 1;
	munmap(p - 20 * PAGE, 10 * PAGE);
	WRITES("the lower part gone, it grows again", p - 15 * PAGE);
	EQUAL("zeros there", p[-20 * (int)PAGE], 0);
	mprotect(p - 30 * PAGE + 15 * PAGE, PAGE, PROT_READ);
	ERRNO("mprotect PROT_GROWSDOWN", mprotect(p, PAGE, PROT_READ | PROT_GROWSDOWN), 0);
	NO_WRITE("...reaches down", p - 10 * PAGE, SIGSEGV, SEGV_ACCERR);
	mprotect(p - 20 * PAGE, 22 * PAGE, RW);
	pipe(fds);
	write(fds[1], "kernel", 6);
	EQUAL("the kernel grows it too", read(fds[0], p - 40 * PAGE, 6), 6);
	CHECK("...", !memcmp(p - 40 * PAGE, "kernel", 6));
	munmap(base, 1200 * PAGE);
}

static char alternate[1 << 16];
static volatile int on_alternate, depth;
static sigjmp_buf out;

static void overflow(int signo, siginfo_t *info, void *context)
{
	char here;
	(void)signo;
	(void)context;
	on_alternate = &here >= alternate && &here < alternate + sizeof alternate && info->si_code == SEGV_MAPERR;
	siglongjmp(out, 1);
}

static int recurse(volatile char *previous)
{
	volatile char frame[8000];

	frame[0] = previous ? previous[0] : 1;
	depth++;
	return depth < 1 << 20 ? recurse(frame) + frame[0] : 0;
}

static void overflows(void)
{
	stack_t stack = {.ss_sp = alternate, .ss_size = sizeof alternate}, old;
	struct sigaction action = {.sa_sigaction = overflow, .sa_flags = SA_SIGINFO | SA_ONSTACK};
	volatile int i, good = 0;

	sigaltstack(&stack, NULL);
	sigaction(SIGSEGV, &action, NULL);
	for (i = 0; i < 3; i++) {
		depth = on_alternate = 0;
		if (!sigsetjmp(out, 1))
			recurse(NULL);
		good += on_alternate && depth > 900 && depth < 1100;
	}
	EQUAL("overflows are caught on the other stack", good, 3);
	sigaltstack(NULL, &old);
	CHECK("and it is not in use any more", old.ss_flags == 0);
	catch_faults();
}

static void die_by(void)
{
	int status;

	if (!fork()) {
		signal(SIGSEGV, SIG_DFL);
		recurse(NULL);
	}
	wait(&status);
	CHECK("no other stack: the signal kills", WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
	if (!fork()) {
		recurse(NULL);
	}
	wait(&status);
	CHECK("a handler without a stack to run on: killed", WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
}

static volatile int hit;
static char *volatile thread_stack;
static void on_guard(int signo, siginfo_t *info, void *context)
{
	(void)signo;
	(void)context;
	hit = info->si_code == SEGV_ACCERR && (char *)info->si_addr < thread_stack + 4 * PAGE && (char *)info->si_addr >= thread_stack;
	siglongjmp(out, 1);
}

static void *deep_thread(void *p)
{
	static char stack_of_signal[1 << 15];
	stack_t stack = {.ss_sp = stack_of_signal, .ss_size = sizeof stack_of_signal};

	(void)p;
	sigaltstack(&stack, NULL);
	if (!sigsetjmp(out, 1)) {
		volatile char small[100];
		int (*volatile again)(volatile char *) = recurse;

		small[0] = 0;
		again(small);
	}
	return NULL;
}

static void threads(void)
{
	pthread_t t;
	pthread_attr_t attr;
	struct sigaction action = {.sa_sigaction = on_guard, .sa_flags = SA_SIGINFO | SA_ONSTACK};

	thread_stack = mmap(NULL, 65 * PAGE, RW, ANON, -1, 0);
	mprotect(thread_stack, 4 * PAGE, PROT_NONE);
	sigaction(SIGSEGV, &action, NULL);
	pthread_attr_init(&attr);
	pthread_attr_setstack(&attr, thread_stack, 65 * PAGE);
	pthread_create(&t, &attr, deep_thread, NULL);
	pthread_join(t, NULL);
	CHECK("a thread's guard page", hit);
	catch_faults();
}

int main(void)
{
	catch_faults();
	growing();
	from_outside();
	placing();
	parts();
	overflows();
	die_by();
	threads();
	return done();
}
