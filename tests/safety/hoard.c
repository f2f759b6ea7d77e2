/*
 * hoard KIND: take as much as there is of one kind of thing, then say how much that was and what ended it.
 * The host's memory must not grow without bound meanwhile: Linux has a limit for each of them.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/resource.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

static char big[1 << 16];
static int scratch = -1;

static long vmas(long n)
{
	return (long)mmap(0, 4096, n & 1 ? PROT_READ : PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == -1;
}

static long processes(long n)
{
	pid_t pid = fork();

	(void)n;
	if (!pid) {
		pause();
		_exit(0);
	}
	return pid < 0;
}

static long vma_processes(long n)
{
	for (long i = 0; !n && i < 60000; i++)
		if (vmas(i))
			return 1;
	return processes(n);
}

static long pipes(long n)
{
	int ends[2];

	(void)n;
	if (pipe2(ends, O_NONBLOCK))
		return 1;
	while (write(ends[1], big, sizeof big) > 0)
		;
	return 0;
}

static long fat_pipes(long n)
{
	int ends[2];

	(void)n;
	if (pipe2(ends, O_NONBLOCK))
		return 1;
	fcntl(ends[0], F_SETPIPE_SZ, 1 << 20);
	while (write(ends[1], big, sizeof big) > 0)
		;
	return 0;
}

static long sockets(long n)
{
	int ends[2];

	(void)n;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends))
		return 1;
	while (write(ends[1], big, sizeof big) > 0)
		;
	return 0;
}

static long datagrams(long n)
{
	int ends[2];

	(void)n;
	if (socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0, ends))
		return 1;
	while (send(ends[1], big, 4096, 0) > 0)
		;
	return 0;
}

static long in_flight(long n)
{
	static int ends[2] = {-1, -1};
	char space[CMSG_SPACE(sizeof(int))] = {0};
	struct iovec io = {"x", 1};
	struct msghdr message = {.msg_iov = &io, .msg_iovlen = 1, .msg_control = space, .msg_controllen = sizeof space};
	struct cmsghdr *header = CMSG_FIRSTHDR(&message);
	int fd = open("/dev/null", O_RDONLY);

	if (fd < 0)
		return 1;
	if (n % 100 == 0 && socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends))
		return 1;
	header->cmsg_level = SOL_SOCKET;
	header->cmsg_type = SCM_RIGHTS;
	header->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(header), &fd, sizeof fd);
	n = sendmsg(ends[0], &message, 0) < 0;
	close(fd);
	return n;
}

static long users_in_flight(long n)
{
	struct rlimit few = {1024, 1024};

	if (!n && (setrlimit(RLIMIT_NOFILE, &few) || setresuid(1000, 1000, 1000)))
		return 1;
	return in_flight(n);
}

static long files(long n)
{
	char name[200];
	int fd;

	snprintf(name, sizeof name, "/tmp/%0150ld", n);
	fd = open(name, O_CREAT | O_WRONLY, 0600);
	return fd < 0 || close(fd);
}

static long root_files(long n)
{
	char name[200];
	int fd;

	snprintf(name, sizeof name, "/var/%0150ld", n);
	fd = open(name, O_CREAT | O_WRONLY, 0600);
	return fd < 0 || close(fd);
}

static long links(long n)
{
	char name[300];

	if (!n)
		close(open("/tmp/0", O_CREAT | O_WRONLY, 0600));
	if (n % 60000 == 59999) {
		snprintf(name, sizeof name, "/tmp/0");
		unlink(name);
		close(open(name, O_CREAT | O_WRONLY, 0600));
	}
	snprintf(name, sizeof name, "/tmp/l%0200ld", n);
	return link("/tmp/0", name);
}

static long symlinks(long n)
{
	char name[100];

	memset(big, 'x', 4000);
	big[4000] = 0;
	snprintf(name, sizeof name, "/tmp/%ld", n);
	return symlink(big, name);
}

static long directories(long n)
{
	char name[100];

	snprintf(name, sizeof name, "/tmp/%ld", n);
	return mkdir(name, 0700);
}

static long xattrs(long n)
{
	char name[100];

	close(open("/tmp/x", O_CREAT | O_WRONLY, 0600));
	snprintf(name, sizeof name, "user.%ld", n);
	return setxattr("/tmp/x", name, big, sizeof big, 0);
}

static long xattr_files(long n)
{
	char name[100];

	snprintf(name, sizeof name, "/tmp/%ld", n);
	close(open(name, O_CREAT | O_WRONLY, 0600));
	return setxattr(name, "user.x", big, sizeof big, 0);
}

static long data(long n)
{
	if (!n)
		scratch = open("/tmp/data", O_CREAT | O_RDWR | O_TRUNC, 0600);
	return write(scratch, big, sizeof big) <= 0;
}

static long epoll_items(long n)
{
	static int set = -1;
	struct epoll_event event = {.events = EPOLLIN};
	int fd;

	if (n % 1000 == 0)
		set = epoll_create1(0);
	if (scratch < 0)
		scratch = eventfd(0, 0);
	fd = dup(scratch);
	if (fd < 0 || set < 0)
		return 1;
	return epoll_ctl(set, EPOLL_CTL_ADD, fd, &event);
}

static long watches(long n)
{
	char name[100];

	if (!n)
		scratch = inotify_init();
	snprintf(name, sizeof name, "/tmp/%ld", n);
	mkdir(name, 0700);
	return inotify_add_watch(scratch, name, IN_ALL_EVENTS) < 0;
}

static long notices(long n)
{
	char name[240];

	if (!n) {
		scratch = inotify_init();
		inotify_add_watch(scratch, "/tmp", IN_ALL_EVENTS);
	}
	snprintf(name, sizeof name, "/tmp/%0200ld", n);
	close(open(name, O_CREAT | O_WRONLY, 0600));
	return unlink(name) || n > 100000;
}

static long timers(long n)
{
	timer_t id;
	struct sigevent event = {.sigev_notify = SIGEV_NONE};

	(void)n;
	return syscall(SYS_timer_create, CLOCK_MONOTONIC, &event, &id);
}

static long signals(long n)
{
	union sigval value = {.sival_int = n};
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGRTMIN);
	sigprocmask(SIG_BLOCK, &set, 0);
	return sigqueue(getpid(), SIGRTMIN, value);
}

static long messages(long n)
{
	static int queue = -1;
	struct {
		long type;
		char text[8000];
	} message = {.type = 1};

	if (queue < 0 || n % 2 == 0)
		queue = msgget(IPC_PRIVATE, 0600);
	return queue < 0 || msgsnd(queue, &message, sizeof message.text, IPC_NOWAIT);
}

static long semaphores(long n)
{
	(void)n;
	return semget(IPC_PRIVATE, 32000, 0600) < 0;
}

static long segments(long n)
{
	(void)n;
	return shmget(IPC_PRIVATE, 4096, 0600) < 0;
}

static long queues(long n)
{
	char name[100];

	snprintf(name, sizeof name, "q%ld", n);
	return syscall(SYS_mq_open, name, O_CREAT | O_RDWR, 0600, NULL) < 0;
}

static long memfds(long n)
{
	(void)n;
	return memfd_create("x", 0) < 0;
}

static long descriptors(long n)
{
	if (!n) {
		struct rlimit all = {1 << 20, 1 << 20};

		setrlimit(RLIMIT_NOFILE, &all);
	}
	return open("/dev/null", O_RDONLY) < 0;
}

static long locks(long n)
{
	struct flock lock = {.l_type = F_WRLCK, .l_start = 2 * n, .l_len = 1};

	if (!n)
		scratch = open("/tmp/locked", O_CREAT | O_RDWR, 0600);
	return fcntl(scratch, F_SETLK, &lock) || n > 200000;
}

static long log_lines(long n)
{
	if (!n)
		scratch = open("/dev/kmsg", O_WRONLY);
	memset(big, 'k', 900);
	return write(scratch, big, 900) < 0 || n > 100000;
}

static long sparse_tables(long n)
{
	static char *area;

	if (!n)
		area = mmap(0, 1UL << 44, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (area == MAP_FAILED)
		return 1;
	return *(volatile char *)(area + (n << 21)) != 0;
}

static long pseudo_terminals(long n)
{
	int fd = open("/dev/ptmx", O_RDWR | O_NONBLOCK);

	(void)n;
	if (fd < 0)
		return 1;
	for (int i = 0; i < 2 && write(fd, big, 512) > 0; i++)
		; /* as on the host, what is too long for a line is dropped */
	return 0;
}

static long names(long n)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	snprintf(address.sun_path + 1, 100, "%090ld", n);
	return fd < 0 || bind(fd, (void *)&address, sizeof address) || listen(fd, 4096);
}

static long large_read(long n)
{
	int fd = open("/tmp/sparse", O_CREAT | O_RDWR, 0600);
	size_t size = 0x7ffff000;
	char *area = mmap(0, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	(void)n;
	ftruncate(fd, 1L << 40);
	read(fd, area, size);
	return 1;
}

static long large_write(long n)
{
	int fd = open("/dev/null", O_RDWR), file = open("/tmp/sparse", O_CREAT | O_RDWR, 0600);
	size_t size = 0x7ffff000;
	char *area = mmap(0, size, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	struct iovec io[4] = {{area, size}, {area, size}, {area, size}, {area, size}};

	(void)n;
	printf("write %zd\n", write(fd, area, size));
	printf("writev %zd\n", (ssize_t)syscall(SYS_writev, fd, io, 4));
	printf("file %d\n", write(file, area, size) > 0);
	return 1;
}

static long large_calls(long n)
{
	size_t size = 0x7ffff000;
	char *area = mmap(0, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	int file = open("/tmp/sparse", O_CREAT | O_RDWR, 0600), null = open("/dev/null", O_RDWR), zero = open("/dev/zero", O_RDONLY);
	int ends[2], out = open("/tmp/other", O_CREAT | O_RDWR, 0600);
	struct iovec io = {area, size};

	(void)n;
	ftruncate(file, 1L << 40);
	socketpair(AF_UNIX, SOCK_DGRAM, 0, ends);
	printf("send %zd\n", send(ends[0], area, size, MSG_DONTWAIT));
	printf("sendfile %d\n", syscall(SYS_sendfile, null, file, 0, size) > 0);
	printf("copy_file_range %d\n", syscall(SYS_copy_file_range, file, 0, out, 0, size, 0) > 0);
	printf("zero %d\n", read(zero, area, 1 << 30) != 0);
	printf("random %d\n", syscall(SYS_getrandom, area, size, 0) != 0);
	printf("poll %d\n", syscall(SYS_poll, area, 1L << 30, 0) < 0);
	printf("process_vm %d\n", syscall(SYS_process_vm_readv, getpid(), &io, 1, &io, 1, 0) != 0);
	printf("getdents %d\n", syscall(SYS_getdents64, open("/", O_RDONLY), area, size) > 0);
	printf("msgsnd %d\n", syscall(SYS_msgsnd, 0, area, size, 0) < 0);
	printf("setgroups %d\n", syscall(SYS_setgroups, 1 << 30, area) < 0);
	printf("affinity %d\n", syscall(SYS_sched_setaffinity, 0, size, area) < 0);
	printf("mincore %d\n", syscall(SYS_mincore, area, size, area) < 0);
	printf("vmsplice %d\n", pipe(ends) || syscall(SYS_vmsplice, ends[1], &io, 1, 1) > 0);
	printf("fallocate %d\n", fallocate(file, 0, 0, 1L << 50) < 0);
	printf("populate %d\n", mmap(0, 1L << 45, PROT_READ, MAP_SHARED | MAP_POPULATE, file, 0) == MAP_FAILED);
	return 1;
}

static const struct {
	const char *name;
	long (*one)(long);
} kinds[] = {
	{"vmas", vmas}, {"vma_processes", vma_processes}, {"pipes", pipes}, {"fat_pipes", fat_pipes}, {"sockets", sockets},
	{"datagrams", datagrams}, {"in_flight", in_flight}, {"files", files}, {"root_files", root_files}, {"links", links},
	{"symlinks", symlinks}, {"directories", directories}, {"xattrs", xattrs}, {"xattr_files", xattr_files},
	{"data", data}, {"epoll_items", epoll_items}, {"watches", watches}, {"notices", notices}, {"timers", timers},
	{"signals", signals}, {"messages", messages}, {"semaphores", semaphores}, {"segments", segments}, {"queues", queues},
	{"memfds", memfds}, {"users_in_flight", users_in_flight}, {"descriptors", descriptors}, {"locks", locks},
	{"log_lines", log_lines},
	{"sparse_tables", sparse_tables}, {"pseudo_terminals", pseudo_terminals}, {"processes", processes},
	{"names", names}, {"large_read", large_read}, {"large_write", large_write}, {"large_calls", large_calls},
};

int main(int argc, char **argv)
{
	struct rlimit all = {1 << 20, 1 << 20};
	long n = 0, most = argc > 2 ? atol(argv[2]) : 1L << 40;

	setrlimit(RLIMIT_NOFILE, &all);
	setvbuf(stdout, 0, _IOLBF, 0);
	for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
		if (argc > 1 && !strcmp(argv[1], kinds[i].name)) {
			while (n < most && !kinds[i].one(n))
				n++;
			printf("%s: %ld, errno %d\n", argv[1], n, n < most ? errno : 0);
			kill(0, SIGTERM);
			return 0;
		}
	}
	return 1;
}
