/* A thread that is killed while the kernel waits for its page, in a call that needs another one, too. */
#include "check.h"

#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>

static char *area;

static void *reads(void *unused)
{
	static char one;
	struct iovec here = {area, PAGE + 1}, there[2] = {{&one, 1}, {area + PAGE, PAGE}};

	return (void *)syscall(SYS_process_vm_readv, getpid(), &here, 1L, there, 2L, 0L);
}

static int child(int by_exec)
{
	int status;

	if (!fork()) {
		struct uffdio_api api = {.api = UFFD_API};
		struct uffdio_register r = {.mode = UFFDIO_REGISTER_MODE_MISSING};
		int uffd = syscall(SYS_userfaultfd, O_NONBLOCK | O_CLOEXEC);
		struct pollfd asked = {.fd = uffd, .events = POLLIN};
		pthread_t thread;

		area = mmap(NULL, 2 * PAGE, RW, ANON, -1, 0);
		r.range = (struct uffdio_range){(unsigned long)area, 2 * PAGE};
		if (ioctl(uffd, UFFDIO_API, &api) || ioctl(uffd, UFFDIO_REGISTER, &r))
			_exit(2);
		pthread_create(&thread, NULL, reads, NULL);
		if (poll(&asked, 1, -1) != 1)
			_exit(3);
		if (by_exec)
			execl("/bin/true", "true", NULL);
		_exit(0);
	}
	wait(&status);
	return status;
}

int main(void)
{
	EQUAL("the process ends", child(0), 0);
	EQUAL("the process executes another program", child(1), 0);
	return done();
}
