/* Rights that change while a thread waits for its page in a userfaultfd, and an mprotect that asks nobody. */
#include "check.h"

#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

static int uffd;
static volatile char *area;

static void begin(void *start, size_t length)
{
	struct uffdio_api api = {.api = UFFD_API};
	struct uffdio_register r = {.range = {(unsigned long)start, length}, .mode = UFFDIO_REGISTER_MODE_MISSING};

	uffd = syscall(SYS_userfaultfd, O_CLOEXEC);
	EQUAL("api", ioctl(uffd, UFFDIO_API, &api), 0);
	EQUAL("register", ioctl(uffd, UFFDIO_REGISTER, &r), 0);
}

static void *writer(void *unused)
{
	area[0] = 1;
	return NULL;
}

static void *reader(void *unused)
{
	return (void *)(long)area[0];
}

/* The status of a process in which a thread waits, and then finds the area with other rights. */
static int meanwhile(void *(*access)(void *), int prot)
{
	int status;

	if (!fork()) {
		struct uffdio_zeropage zero;
		struct uffd_msg message;
		pthread_t thread;

		signal(SIGSEGV, SIG_DFL);
		area = mmap(NULL, PAGE, RW, ANON, -1, 0);
		begin((void *)area, PAGE);
		pthread_create(&thread, NULL, access, NULL);
		if (read(uffd, &message, sizeof message) != sizeof message)
			_exit(2);
		mprotect((void *)area, PAGE, prot);
		zero = (struct uffdio_zeropage){.range = {(unsigned long)area, PAGE}};
		if (ioctl(uffd, UFFDIO_ZEROPAGE, &zero))
			_exit(3);
		pthread_join(thread, NULL);
		_exit(42);
	}
	wait(&status);
	return status;
}

/* Locked pages that may be written from now on are copied at once, but nobody is asked for one. */
static void locked(void)
{
	char *two = mmap(NULL, 4 * PAGE, PROT_NONE, ANON, -1, 0);
	struct pollfd p;

	mlock(two, PAGE);
	EQUAL("the first", mprotect(two, PAGE, PROT_READ), 0);
	EQUAL("the others", mprotect(two + PAGE, 3 * PAGE, PROT_READ), 0);
	begin(two, PAGE);
	fcntl(uffd, F_SETFL, O_NONBLOCK); /* else poll says POLLERR */
	EQUAL("two areas", mprotect(two, 3 * PAGE, RW), 0);
	p = (struct pollfd){.fd = uffd, .events = POLLIN};
	EQUAL("no message", poll(&p, 1, 0), 0);
	two[PAGE] = two[2 * PAGE] = 1;
	close(uffd);
	EQUAL("a zero page", two[0], 0);
}

int main(void)
{
	EQUAL("a store, where only loads are allowed", meanwhile(writer, PROT_READ), SIGSEGV);
	EQUAL("a store, where nothing is", meanwhile(writer, PROT_NONE), SIGSEGV);
	EQUAL("a load", meanwhile(reader, PROT_READ), 42 << 8);
	EQUAL("a load, where nothing is", meanwhile(reader, PROT_NONE), SIGSEGV);
	locked();
	return done();
}
