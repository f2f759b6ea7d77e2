/*
 * long_calls KIND: one call that is to take long, or memory, out of nothing of the program's own.
 * Prints what came of it; the test knows which of them end by themselves.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/userfaultfd.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define FRESH (MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE)
#define GiB (1UL << 30)

static char *room(unsigned long size, int prot)
{
	char *p = mmap(0, size, prot, FRESH, -1, 0);

	if (p == MAP_FAILED) {
		perror("mmap");
		exit(1);
	}
	return p;
}

/* `bytes` of address space that show the same 2 MiB over and over, which can be filled as one. */
static char *mirror(unsigned long bytes, char **shown)
{
	int fd = memfd_create("page", 0);
	char *whole = room(bytes, PROT_NONE);

	ftruncate(fd, 2 << 20);
	*shown = mmap(0, 2 << 20, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	for (unsigned long at = 0; at < bytes; at += 2 << 20)
		mmap(whole + at, 2 << 20, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0);
	return whole;
}

static long do_mincore(void)
{
	char *all = room(1UL << 38, PROT_READ), *vec = room(1UL << 26, PROT_READ | PROT_WRITE);
	long result = mincore(all, 1UL << 38, (void *)vec), resident = 0;

	for (long i = 0; i < 1L << 26; i += 4096)
		resident += vec[i];
	return result + resident;
}

static long do_populate(void)
{
	return mmap(0, 1UL << 46, PROT_READ, FRESH | MAP_POPULATE, -1, 0) == MAP_FAILED;
}

static long do_madvise(void)
{
	return madvise(room(1UL << 46, PROT_READ), 1UL << 46, 22 /* MADV_POPULATE_READ */);
}

static long do_mlock(void)
{
	struct rlimit all = {RLIM_INFINITY, RLIM_INFINITY};

	setrlimit(RLIMIT_MEMLOCK, &all);
	return mlock(room(1UL << 46, PROT_READ), 1UL << 46);
}

static long do_comm(void)
{
	char *name = room(2 * GiB, PROT_READ | PROT_WRITE), now[16] = "";

	strcpy(name, "renamed by it");
	long n = write(open("/proc/self/comm", O_RDWR), name, 2 * GiB - 1);

	read(open("/proc/self/comm", O_RDONLY), now, 15);
	return n == 0x7ffff000 && !strcmp(now, "renamed by it\n") ? 0 : n;
}

static long do_sysctl(void)
{
	return write(open("/proc/sys/kernel/hostname", O_RDWR), room(GiB, PROT_READ), GiB);
}

static long do_exec(void)
{
	char *shown, *whole = mirror(1UL << 31, &shown);
	struct rlimit all = {RLIM_INFINITY, RLIM_INFINITY};

	for (int i = 0; i < (2 << 20) / 8; i++)
		((char **)shown)[i] = "";
	*(char **)(mmap(whole + (1UL << 31) - (2 << 20), 2 << 20, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0)) = 0;
	setrlimit(RLIMIT_STACK, &all);
	return execve("/proc/self/exe", (char **)whole, 0);
}

static long send_to(int kind)
{
	int fd[2], force = 0x3fffffff;

	socketpair(AF_UNIX, kind, 0, fd);
	setsockopt(fd[0], SOL_SOCKET, 32 /* SO_SNDBUFFORCE */, &force, sizeof(force));
	return send(fd[0], room(GiB, PROT_READ), GiB, 0);
}

static long do_stream(void)
{
	return send_to(SOCK_STREAM);
}

static long do_datagram(void)
{
	return send_to(SOCK_DGRAM);
}

static long do_poll(void)
{
	static struct pollfd set[1 << 20];
	struct rlimit all = {1 << 20, 1 << 20};

	setrlimit(RLIMIT_NOFILE, &all);
	for (int i = 0; i < 1 << 20; i++)
		set[i] = (struct pollfd){1, POLLOUT, 0};
	for (;;)
		poll(set, 1 << 20, 0);
}

static long do_select(void)
{
	static char set[3][(1 << 20) / 8];
	struct rlimit all;
	struct timeval now = {0, 0};

	getrlimit(RLIMIT_NOFILE, &all);
	all.rlim_cur = all.rlim_max;
	setrlimit(RLIMIT_NOFILE, &all);
	int last = all.rlim_max - 1;
	dup2(1, last);
	memset(set[1], 0xff, sizeof(set[1]));
	memset(set[0], 0, last / 8), set[1][0] = 2, memset(set[1] + 1, 0, last / 8 - 1);
	set[1][last / 8] = 1 << last % 8;
	return select(last + 1, (void *)set[0], (void *)set[1], (void *)set[2], &now) - 2;
}

static long do_read_vm(void)
{
	static struct iovec io[1024];
	char *memory = room(2 << 20, PROT_READ | PROT_WRITE);

	for (int i = 0; i < 1024; i++)
		io[i] = (struct iovec){memory, 2 << 20};
	for (;;)
		syscall(SYS_process_vm_readv, getpid(), io, 1024, io, 1024, 0);
}

static long do_random(void)
{
	char *memory = room(2 * GiB, PROT_READ | PROT_WRITE);

	for (;;)
		getrandom(memory, 2 * GiB - 1, 0);
}

static long do_files(void)
{
	int from = memfd_create("a", 0), to = memfd_create("b", 0);
	off_t start, begin;

	ftruncate(from, 1L << 40);
	for (;;)
		start = begin = 0, copy_file_range(from, &start, to, &begin, 16 << 20, 0);
}

static long do_write(void)
{
	char *shown, *memory = mirror(GiB, &shown);
	int fd = memfd_create("a", 0);

	shown[0] = 1;
	for (;;)
		pwrite(fd, memory, 16 << 20, 0), pwrite(open("/dev/full", O_WRONLY), memory, GiB, 0);
}

static long do_zeropage(void)
{
	unsigned long space = 1UL << 44;
	int fd = syscall(SYS_userfaultfd, 0);
	struct uffdio_api api = {.api = UFFD_API};
	struct uffdio_register all = {{(unsigned long)room(space, PROT_READ), space}, UFFDIO_REGISTER_MODE_MISSING, 0};
	struct uffdio_zeropage zeros = {all.range, 0, 0};

	if (ioctl(fd, UFFDIO_API, &api) || ioctl(fd, UFFDIO_REGISTER, &all))
		return -1;
	return ioctl(fd, UFFDIO_ZEROPAGE, &zeros);
}

static const struct {
	const char *name;
	long (*call)(void);
} kinds[] = {
	{"mincore", do_mincore}, {"populate", do_populate}, {"madvise", do_madvise}, {"mlock", do_mlock},
	{"comm", do_comm}, {"sysctl", do_sysctl}, {"exec", do_exec}, {"stream", do_stream}, {"datagram", do_datagram},
	{"poll", do_poll}, {"select", do_select}, {"read_vm", do_read_vm}, {"random", do_random}, {"files", do_files},
	{"write", do_write}, {"zeropage", do_zeropage},
};

int main(int argc, char **argv)
{
	for (unsigned i = 0; argc > 1 && i < sizeof(kinds) / sizeof(*kinds); i++)
		if (!strcmp(argv[1], kinds[i].name)) {
			long result;

			if (argc > 2)
				fprintf(stderr, "begins\n");
			result = kinds[i].call();
			printf("%s: %ld, errno %d\n", argv[1], result, result < 0 ? errno : 0);
			return 0;
		}
	return 2;
}
