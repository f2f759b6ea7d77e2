/* An instruction that waits for its operand in a userfaultfd becomes a system call meanwhile, at the end of the code. */
#include "check.h"

#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define ROOM 16

static char *code, *operand;
static int uffd;

static void *changes(void *ends)
{
	static char path[PAGE] __attribute__((aligned(4096))) = "/bin/sh";
	struct uffdio_copy copy = {.dst = (unsigned long)operand, .src = (unsigned long)path, .len = PAGE};
	struct pollfd asked = {.fd = uffd, .events = POLLIN};

	if (poll(&asked, 1, -1) != 1)
		_exit(3);
#ifdef __x86_64__
	memcpy(code + PAGE - ROOM, "\x0f\x05", 2);
#else
	memcpy(code + PAGE - ROOM, "\xcd\x80", 2);
#endif
	if (ioctl(uffd, UFFDIO_COPY, &copy))
		_exit(4);
	if (ends) {
		usleep(200000);
		_exit(42); /* the thread that made exit(2) has gone, and the process has not */
	}
	return NULL;
}

/* The status of a process whose first thread makes a call so. */
static int call(long number)
{
	int status;
	pid_t pid = fork();

	if (!pid) {
		struct uffdio_api api = {.api = UFFD_API};
		struct uffdio_register r = {.mode = UFFDIO_REGISTER_MODE_MISSING};
		char *arguments[] = {"sh", "-c", "while :; do :; done", NULL};
		pthread_t thread;

		signal(SIGSEGV, SIG_DFL);
		code = mmap(NULL, 2 * PAGE, RW | PROT_EXEC, ANON, -1, 0);
		operand = mmap(NULL, PAGE, RW, ANON, -1, 0);
		memset(code + PAGE - ROOM, 0x90, ROOM);
		memcpy(code + PAGE - ROOM, "\x8a\x0f", 2); /* mov (%rdi), %cl */
		munmap(code + PAGE, PAGE);
		uffd = syscall(SYS_userfaultfd, O_NONBLOCK | O_CLOEXEC);
		r.range = (struct uffdio_range){(unsigned long)operand, PAGE};
		if (ioctl(uffd, UFFDIO_API, &api) || ioctl(uffd, UFFDIO_REGISTER, &r))
			_exit(2);
		pthread_create(&thread, NULL, changes, number == SYS_exit ? "" : NULL);
		__asm__ volatile("call *%1" : "+a"(number) : "b"(code + PAGE - ROOM), "D"(operand), "S"(arguments), "d"(NULL) : "memory");
		_exit(5);
	}
	if (number == SYS_execve) {
		usleep(500000);
		kill(pid, SIGKILL);
	}
	wait(&status);
	return status;
}

int main(void)
{
	EQUAL("a call, and then no more code", call(SYS_sched_yield), SIGSEGV);
	EQUAL("another one", call(SYS_getpid), SIGSEGV);
#ifdef __x86_64__
	EQUAL("another program, which can be killed", call(SYS_execve), SIGKILL);
#endif
	EQUAL("the end of a thread", call(SYS_exit), 42 << 8);
	return done();
}
