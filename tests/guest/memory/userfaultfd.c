/* userfaultfd: missing pages of anonymous memory, provided by another thread of control. */
#include "check.h"

#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

static int uffd;
static char *area;
static volatile int served, writes;
static char page[PAGE] __attribute__((aligned(4096)));

static int do_register(void *start, size_t length, int mode)
{
	struct uffdio_register r = { .range = { (unsigned long)start, length }, .mode = mode };
	int result = ioctl(uffd, UFFDIO_REGISTER, &r);

	if (!result)
		CHECK("what can be done", (r.ioctls & 0x1c) == 0x1c);
	return result;
}

static long copied;

static int copy(void *to, const void *from, size_t length, int mode)
{
	struct uffdio_copy c = { .dst = (unsigned long)to, .src = (unsigned long)from, .len = length, .mode = mode };
	int result = ioctl(uffd, UFFDIO_COPY, &c);

	copied = c.copy;
	return result;
}

static int zero(void *start, size_t length)
{
	struct uffdio_zeropage z = { .range = { (unsigned long)start, length } };

	return ioctl(uffd, UFFDIO_ZEROPAGE, &z);
}

/* Page n is full of 'a' + n; page 3 is a zero page; page 5 comes in two steps. */
static void *serve(void *unused)
{
	struct pollfd p = { .fd = uffd, .events = POLLIN };
	struct uffd_msg m;

	(void)unused;
	for (;;) {
		poll(&p, 1, -1);
		if (read(uffd, &m, sizeof m) != sizeof m)
			continue;
		if (m.event != UFFD_EVENT_PAGEFAULT || m.arg.pagefault.address % PAGE)
			_exit(9);
		int n = (char *)(unsigned long)m.arg.pagefault.address - area >> 12;
		void *at = area + n * PAGE;
		struct uffdio_range range = { (unsigned long)at, PAGE };

		served++;
		writes += m.arg.pagefault.flags & UFFD_PAGEFAULT_FLAG_WRITE;
		memset(page, 'a' + n, PAGE);
		if (n == 3) {
			zero(at, PAGE);
		} else if (n == 5) {
			copy(at, page, PAGE, UFFDIO_COPY_MODE_DONTWAKE);
			ioctl(uffd, UFFDIO_WAKE, &range);
		} else if (n == 7) {
			struct uffdio_range all = { (unsigned long)at, PAGE };

			ioctl(uffd, UFFDIO_UNREGISTER, &all);
		} else {
			copy(at, page, PAGE, 0);
		}
	}
	return NULL;
}

static void begin(void)
{
	struct uffdio_api api = { .api = 0x12 };
	char b[8];

	ERRNO("flags", syscall(SYS_userfaultfd, 8), EINVAL);
	uffd = syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	CHECK("userfaultfd", uffd >= 0);
	ERRNO("before the handshake", read(uffd, b, 8), EINVAL);
	ERRNO("before the handshake", do_register(area, PAGE, 1), EINVAL);
	ERRNO("version", ioctl(uffd, UFFDIO_API, &api), EINVAL);
	CHECK("zeros come back", !api.api && !api.ioctls);
	api.api = UFFD_API;
	ERRNO("the handshake", ioctl(uffd, UFFDIO_API, &api), 0);
	CHECK("what there is", api.api == UFFD_API && (api.ioctls & 3) == 3 && api.features & UFFD_FEATURE_THREAD_ID);
	ERRNO("nothing to read", read(uffd, page, PAGE), EAGAIN);
}

static void ranges(void)
{
	char *p = anonymous(4), *far = hole(2);
	int fd = open("/proc/self/exe", O_RDONLY);
	char *mapped = mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, fd, 0);

	ERRNO("no mode", do_register(p, PAGE, 0), EINVAL);
	ERRNO("not aligned", do_register(p + 1, PAGE, 1), EINVAL);
	ERRNO("no length", do_register(p, 0, 1), EINVAL);
	ERRNO("a hole", do_register(far, PAGE, 1), EINVAL);
	ERRNO("a file", do_register(mapped, PAGE, 1), EINVAL);
	ERRNO("copy to what is not registered", copy(p, page, PAGE, 0), ENOENT);
	EQUAL("said so", copied, -ENOENT);
	ERRNO("one page", do_register(p + PAGE, PAGE, 1), 0);
	ERRNO("copy over the end", copy(p, page, 2 * PAGE, 0), ENOENT);
	memset(page, 'q', PAGE);
	ERRNO("copy ahead", copy(p + PAGE, page, PAGE, 0), 0);
	EQUAL("all of it", copied, PAGE);
	CHECK("there without a fault", all_are(p + PAGE, 'q', PAGE) && !served);
	ERRNO("a page is there", copy(p + PAGE, page, PAGE, 0), EEXIST);
	ERRNO("a page is there", zero(p + PAGE, PAGE), EEXIST);
	p[0] = p[2 * PAGE] = 1;
	EQUAL("its neighbours are as ever", served, 0);
	ERRNO("copy from nowhere, a page is there", copy(p + PAGE, (void *)PAGE, PAGE, 0), EFAULT);
	madvise(p + PAGE, PAGE, MADV_DONTNEED);
	ERRNO("copy from nowhere", copy(p + PAGE, (void *)PAGE, PAGE, 0), EFAULT);
	munmap(p, 4 * PAGE), munmap(mapped, PAGE), close(fd);
}

static void faults(void)
{
	pthread_t thread;
	int p[2], status;

	area = anonymous(10);
	ERRNO("register", do_register(area, 10 * PAGE, 1), 0);
	pthread_create(&thread, NULL, serve, NULL);
	EQUAL("a load", area[2 * PAGE + 7], 'c');
	EQUAL("one message", served, 1);
	EQUAL("no write", writes, 0);
	area[4 * PAGE] = 'Z';
	CHECK("a store", area[4 * PAGE] == 'Z' && area[4 * PAGE + 1] == 'e');
	EQUAL("a write", writes, 1);
	EQUAL("a zero page", area[3 * PAGE], 0);
	area[3 * PAGE] = 1;
	EQUAL("written to without a message", served, 3);
	EQUAL("woken later", area[5 * PAGE], 'f');
	pipe(p);
	EQUAL("the kernel reads it", write(p[1], area, PAGE), PAGE);
	EQUAL("the kernel writes it", read(p[0], area + PAGE, PAGE), PAGE);
	CHECK("bytes", all_are(area + PAGE, 'a', PAGE));
	EQUAL("messages", served, 6);
	EQUAL("given up", area[7 * PAGE], 0);
	EQUAL("messages", served, 7);
	if (!fork()) {
		alarm(5);
		_exit(area[8 * PAGE] == 0 && area[2 * PAGE] == 'c' ? 4 : 5);
	}
	wait(&status);
	EQUAL("a child's memory is its own", status, 4 << 8);
	EQUAL("messages", served, 7);
	EQUAL("the rest", area[9 * PAGE], 'j');
	close(p[0]), close(p[1]);
}

int main(void)
{
	begin();
	ranges();
	faults();
	return done();
}
