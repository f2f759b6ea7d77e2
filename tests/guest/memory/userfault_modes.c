/* userfaultfd beyond missing anonymous pages: write protection, files in memory, minor faults, events, fdinfo. */
#include "check.h"

#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

static char page[PAGE] __attribute__((aligned(4096)));
static int uffd;
static volatile int served, last_event;
static volatile unsigned long long last_flags, first, second, third;
static int child_uffd;
static char *protected_at_first;

static int context(unsigned long long features)
{
	struct uffdio_api api = { .api = UFFD_API, .features = features };
	int fd = syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);

	return fd < 0 || ioctl(fd, UFFDIO_API, &api) ? -1 : fd;
}

static int do_register(int fd, void *start, size_t length, int mode, unsigned long long *can)
{
	struct uffdio_register r = { .range = { (unsigned long)start, length }, .mode = mode };
	int result = ioctl(fd, UFFDIO_REGISTER, &r);

	if (can)
		*can = r.ioctls & (1 << 2 | 1 << 3 | 1 << 4 | 1 << 6 | 1 << 7);
	return result;
}

static int copy(int fd, void *to, const void *from, size_t length, int mode)
{
	struct uffdio_copy c = { .dst = (unsigned long)to, .src = (unsigned long)from, .len = length, .mode = mode };

	return ioctl(fd, UFFDIO_COPY, &c);
}

static int protect(int fd, void *start, size_t length, int mode)
{
	struct uffdio_writeprotect w = { .range = { (unsigned long)start, length }, .mode = mode };

	return ioctl(fd, UFFDIO_WRITEPROTECT, &w);
}

static int go_on(int fd, void *start, size_t length)
{
	struct uffdio_continue c = { .range = { (unsigned long)start, length } };

	return ioctl(fd, UFFDIO_CONTINUE, &c);
}

/* Answers each message as its flags ask for, until the descriptor is closed for reading by the other end's 'q'. */
static void *serve(void *stop)
{
	struct pollfd p[2] = { { .fd = uffd, .events = POLLIN }, { .fd = *(int *)stop, .events = POLLIN } };
	struct uffd_msg m;

	for (;;) {
		poll(p, 2, -1);
		if (p[1].revents)
			return NULL;
		if (read(uffd, &m, sizeof m) != sizeof m)
			continue;
		if (m.event == UFFD_EVENT_FORK) {
			child_uffd = m.arg.fork.ufd;
		} else if (m.event == UFFD_EVENT_REMAP) {
			first = m.arg.remap.from, second = m.arg.remap.to, third = m.arg.remap.len;
		} else if (m.event == UFFD_EVENT_REMOVE || m.event == UFFD_EVENT_UNMAP) {
			first = m.arg.remove.start, second = m.arg.remove.end;
		} else {
			char *at = (char *)(unsigned long)(m.arg.pagefault.address & -PAGE);

			last_flags = m.arg.pagefault.flags;
			first = m.arg.pagefault.address;
			served++;
			if (last_flags & UFFD_PAGEFAULT_FLAG_WP) {
				protected_at_first = at;
				protect(uffd, at, PAGE, 0);
			} else if (last_flags & UFFD_PAGEFAULT_FLAG_MINOR) {
				go_on(uffd, at, PAGE);
			} else {
				memset(page, 'm', PAGE);
				copy(uffd, at, page, PAGE, 0);
			}
		}
		last_event = m.event;
	}
}

/* Whoever caused an event goes on when it was read: its reader may still be at it. */
static int came(int event)
{
	int i;

	for (i = 0; i < 5000 && last_event != event; i++)
		usleep(1000);
	return last_event == event;
}

static pthread_t thread;
static int stop[2];

static void start_serving(unsigned long long features)
{
	uffd = context(features);
	if (uffd < 0 || pipe(stop))
		_exit(8);
	served = last_event = 0;
	pthread_create(&thread, NULL, serve, &stop[0]);
}

static void stop_serving(void)
{
	write(stop[1], "q", 1);
	pthread_join(thread, NULL);
	close(uffd), close(stop[0]), close(stop[1]);
}

static void writes(void)
{
	char *p = anonymous(8);
	unsigned long long can;
	int pipes[2];

	madvise(p, 8 * PAGE, MADV_NOHUGEPAGE);
	memset(p, 'a', 6 * PAGE);
	start_serving(UFFD_FEATURE_PAGEFAULT_FLAG_WP);
	ERRNO("protect what is not registered", protect(uffd, p, PAGE, 1), ENOENT);
	ERRNO("register", do_register(uffd, p, 8 * PAGE, UFFDIO_REGISTER_MODE_WP, &can), 0);
	EQUAL("it can be protected", can & (1 << 6), 1 << 6);
	ERRNO("no such mode", protect(uffd, p, PAGE, 4), EINVAL);
	ERRNO("protect without a wake", protect(uffd, p, PAGE, 3), EINVAL);
	ERRNO("not aligned", protect(uffd, p + 1, PAGE, 1), EINVAL);
	p[PAGE] = 'b';
	EQUAL("not protected yet", served, 0);
	ERRNO("protect", protect(uffd, p, 6 * PAGE, 1), 0);
	CHECK("reads are as ever", p[0] == 'a' && p[PAGE] == 'b' && served == 0);
	p[2 * PAGE + 9] = 'w';
	CHECK("a message", served == 1 && last_flags == (UFFD_PAGEFAULT_FLAG_WP | UFFD_PAGEFAULT_FLAG_WRITE));
	CHECK("the store went on", p[2 * PAGE + 9] == 'w' && p[2 * PAGE] == 'a' && protected_at_first == p + 2 * PAGE);
	p[2 * PAGE] = 'x';
	EQUAL("once", served, 1);
	pipe(pipes);
	write(pipes[1], "kernel", 6);
	EQUAL("the kernel's store", read(pipes[0], p + 3 * PAGE, 6), 6);
	CHECK("was a message too", served == 2 && !memcmp(p + 3 * PAGE, "kernel", 6));
	mprotect(p, 8 * PAGE, PROT_READ);
	mprotect(p, 8 * PAGE, RW);
	p[4 * PAGE] = 'y';
	EQUAL("mprotect keeps it", served, 3);
	p[7 * PAGE] = 'z';
	EQUAL("what is not there can't be protected", served, 3);
	ERRNO("end it", protect(uffd, p, 8 * PAGE, 0), 0);
	p[0] = 'q';
	EQUAL("no more", served, 3);
	protect(uffd, p, PAGE, 1);
	if (!fork()) {
		p[0] = 'c';
		_exit(0);
	}
	wait(NULL);
	CHECK("a child's store is none", served == 3 && p[0] == 'q');
	p[0] = 'r';
	EQUAL("the parent's is", served, 4);
	protect(uffd, p, PAGE, 1);
	stop_serving();
	p[0] = 's';
	EQUAL("closed: an ordinary area", p[0], 's');
	munmap(p, 8 * PAGE), close(pipes[0]), close(pipes[1]);
}

static void copies_protected(void)
{
	char *p = anonymous(4);

	start_serving(0);
	do_register(uffd, p, 4 * PAGE, UFFDIO_REGISTER_MODE_MISSING, NULL);
	ERRNO("not registered for it", copy(uffd, p, page, PAGE, UFFDIO_COPY_MODE_WP), EINVAL);
	do_register(uffd, p, 4 * PAGE, UFFDIO_REGISTER_MODE_MISSING | UFFDIO_REGISTER_MODE_WP, NULL);
	memset(page, 'p', PAGE);
	ERRNO("copy and protect", copy(uffd, p, page, PAGE, UFFDIO_COPY_MODE_WP), 0);
	CHECK("readable", p[0] == 'p' && served == 0);
	p[0] = 'P';
	CHECK("a write is a message", served == 1 && last_flags & UFFD_PAGEFAULT_FLAG_WP);
	p[PAGE] = 'Q';
	CHECK("a first touch too", served == 2 && !(last_flags & UFFD_PAGEFAULT_FLAG_WP) && p[PAGE + 1] == 'm');
	stop_serving();
	munmap(p, 4 * PAGE);
}

static void in_memory(void)
{
	int fd = syscall(SYS_memfd_create, "shared", 0), other;
	unsigned long long can;
	char *p, *q;

	ftruncate(fd, 8 * PAGE);
	p = mmap(NULL, 8 * PAGE, RW, MAP_SHARED, fd, 0);
	q = mmap(NULL, 8 * PAGE, RW, MAP_SHARED, fd, 0);
	q[0] = 'q';
	start_serving(0);
	ERRNO("register", do_register(uffd, p, 8 * PAGE, UFFDIO_REGISTER_MODE_MISSING, &can), 0);
	EQUAL("what can be done", can, 1 << 2 | 1 << 3 | 1 << 4);
	CHECK("what the file has is no message", p[0] == 'q' && served == 0);
	EQUAL("what it has not is one", p[PAGE], 'm');
	CHECK("and is in the file then", served == 1 && q[PAGE] == 'm');
	p[2 * PAGE] = 'n';
	CHECK("a store", served == 2 && q[2 * PAGE] == 'n' && q[2 * PAGE + 1] == 'm');
	ERRNO("it is there", copy(uffd, p + PAGE, page, PAGE, 0), EEXIST);
	q[3 * PAGE] = 1;
	ERRNO("in the file", copy(uffd, p + 3 * PAGE, page, PAGE, 0), EEXIST);
	ftruncate(fd, 7 * PAGE);
	ERRNO("behind the end", copy(uffd, p + 7 * PAGE, page, PAGE, 0), EFAULT);
	EQUAL("zeros", (p[4 * PAGE] = 0, p[4 * PAGE + 1]), 'm');
	stop_serving();
	EQUAL("closed: zeros of the file", p[5 * PAGE], 0);
	/* minor faults */
	start_serving(UFFD_FEATURE_MINOR_SHMEM);
	munmap(p, 8 * PAGE);
	p = mmap(NULL, 8 * PAGE, RW, MAP_SHARED, fd, 0);
	ERRNO("minor", do_register(uffd, p, 8 * PAGE, UFFDIO_REGISTER_MODE_MINOR, &can), 0);
	EQUAL("it can go on", can & (1 << 7), 1 << 7);
	EQUAL("the file's own page", p[PAGE], 'm');
	CHECK("a minor fault", served == 1 && last_flags == UFFD_PAGEFAULT_FLAG_MINOR);
	p[2 * PAGE] = 'M';
	CHECK("a minor write", served == 2 && last_flags == (UFFD_PAGEFAULT_FLAG_MINOR | UFFD_PAGEFAULT_FLAG_WRITE));
	EQUAL("one that is nowhere is the file's business", p[6 * PAGE], 0);
	EQUAL("no message", served, 2);
	ERRNO("mapped already", go_on(uffd, p + PAGE, PAGE), EEXIST);
	ftruncate(fd, 8 * PAGE);
	ERRNO("nothing there", go_on(uffd, p + 7 * PAGE, PAGE), EFAULT);
	stop_serving();
	other = context(0);
	q = anonymous(1);
	ERRNO("no minor faults of anonymous memory", do_register(other, q, PAGE, UFFDIO_REGISTER_MODE_MINOR, NULL), EINVAL);
	munmap(p, 8 * PAGE), munmap(q, PAGE), close(fd), close(other);
}

static void events(void)
{
	char *p = anonymous(8), *q, *moved;
	struct uffd_msg m;
	int status;

	start_serving(UFFD_FEATURE_EVENT_REMOVE | UFFD_FEATURE_EVENT_REMAP | UFFD_FEATURE_EVENT_UNMAP | UFFD_FEATURE_EVENT_FORK);
	do_register(uffd, p, 8 * PAGE, UFFDIO_REGISTER_MODE_MISSING, NULL);
	EQUAL("a page", p[PAGE], 'm');
	madvise(p + PAGE, 2 * PAGE, MADV_DONTNEED);
	CHECK("remove", came(UFFD_EVENT_REMOVE) && first == (unsigned long)p + PAGE && second == first + 2 * PAGE);
	EQUAL("missing again", (p[PAGE] = 1, served), 2);
	q = hole(4);
	moved = mremap(p + 4 * PAGE, 4 * PAGE, 4 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, q);
	CHECK("moved", moved == q);
	CHECK("the old place", came(UFFD_EVENT_UNMAP));
	EQUAL("still registered", (q[0] = 1, served), 3);
	EQUAL("there", first, (unsigned long)q);
	last_event = 0;
	munmap(q + PAGE, 2 * PAGE);
	CHECK("unmap", came(UFFD_EVENT_UNMAP) && first == (unsigned long)q + PAGE && second == first + 2 * PAGE);
	status = fork();
	if (!status) {
		alarm(10);
		_exit(p[2 * PAGE] == 'f' ? 3 : 4);
	}
	CHECK("fork", came(UFFD_EVENT_FORK) && child_uffd > 0);
	struct pollfd one = { .fd = child_uffd, .events = POLLIN };
	EQUAL("the child's fault", poll(&one, 1, 5000), 1);
	EQUAL("read", read(child_uffd, &m, sizeof m), sizeof m);
	CHECK("its page", m.event == UFFD_EVENT_PAGEFAULT && m.arg.pagefault.address == (unsigned long)p + 2 * PAGE);
	memset(page, 'f', PAGE);
	ERRNO("into the child", copy(child_uffd, p + 2 * PAGE, page, PAGE, 0), 0);
	wait(&status);
	EQUAL("the child has it", status, 3 << 8);
	ERRNO("it is gone", copy(child_uffd, p + 3 * PAGE, page, PAGE, 0), ESRCH);
	EQUAL("the parent's is its own", p[2 * PAGE], 'm');
	close(child_uffd);
	stop_serving();
	munmap(p, 4 * PAGE);
}

static void others(void)
{
	char *p = anonymous(2), text[200] = "";
	char name[60];
	int fd = context(UFFD_FEATURE_SIGBUS), b = context(UFFD_FEATURE_EXACT_ADDRESS | UFFD_FEATURE_THREAD_ID), info;

	do_register(fd, p, PAGE, 1, NULL);
	NO_READ("UFFD_FEATURE_SIGBUS", p, SIGBUS, BUS_ADRERR);
	ERRNO("another's", do_register(b, p, PAGE, 1, NULL), EBUSY);
	close(fd);
	READS("closed", p);
	uffd = b;
	do_register(b, p + PAGE, PAGE, 1, NULL);
	if (pipe(stop))
		_exit(8);
	pthread_create(&thread, NULL, serve, &stop[0]);
	EQUAL("served", p[PAGE + 17], 'm');
	EQUAL("the exact address", first - (unsigned long)p, PAGE + 17);
	snprintf(name, sizeof name, "/proc/self/fdinfo/%d", b);
	info = open(name, O_RDONLY);
	read(info, text, sizeof text - 1);
	CHECK("fdinfo", strstr(text, "pending:\t0\ntotal:\t0\nAPI:\taa:") != NULL);
	close(info);
	stop_serving();
}

int main(void)
{
	catch_faults();
	writes();
	copies_protected();
	in_memory();
	events();
	others();
	return done();
}
