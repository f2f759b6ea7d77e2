/* Random system calls: every batch is a child that makes calls with wild arguments until it dies or has done its number.
 *
 * The table `calls` is put in front of this file by calls.py, from the kernel's own.  Arguments: seed, batches, calls a
 * batch, name of one call (or none).  It prints nothing that is checked: what counts is that the kernel survives.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define COUNT (sizeof calls / sizeof calls[0])
#define PAGE 4096
#define BATCH_NS 1000000
#define BATCH_WAITS 40

static uint64_t state;
static int null; /* opened before a batch can remove the node */
static unsigned char *area; /* two pages to write, one to read only, one without rights, a hole */

static uint64_t rnd(void)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state * 0x2545F4914F6CDD1DULL >> 11;
}

static long wild_number(void)
{
	static const uint64_t odd[] = {
		0, 1, 2, 3, 4, 7, 8, 16, 24, 63, 64, 65, 127, 128, 255, 256, 1000, 4095, 4096, 4097, 8192, 65536, 1 << 20,
		0x7ffff000, 0x7fffffff, 0x80000000, 0xffffffff, 0x100000000, 1ULL << 40, (1ULL << 47) - 4096, 1ULL << 47, 1ULL << 62,
		(1ULL << 63) - 1, 1ULL << 63, (1ULL << 63) + 1, -1ULL, -2ULL, -100ULL, -4096ULL, -4095ULL, 0xffffffff7fffffffULL,
	};
	uint64_t kind = rnd() % 8;
	if (kind < 4)
		return odd[rnd() % (sizeof odd / sizeof odd[0])];
	if (kind < 6)
		return rnd() % 64;
	if (kind < 7)
		return 1ULL << rnd() % 64 | 1ULL << rnd() % 64;
	return rnd() << 32 ^ rnd();
}

static long wild_pointer(void)
{
	switch (rnd() % 16) {
	case 0: return 0;
	case 1: return 1;
	case 2: return (long)(area + 2 * PAGE);          /* read only */
	case 3: return (long)(area + 3 * PAGE);          /* no rights */
	case 4: return (long)(area + 4 * PAGE);          /* a hole */
	case 5: return (long)(area + 2 * PAGE - rnd() % 64); /* across the end of what can be written */
	case 6: return (long)(area + 3 * PAGE - rnd() % 64);
	case 7: return (long)0xffff800000000000ULL;
	case 8: return (long)0x7ffffffff000ULL - rnd() % 16;
	case 9: return wild_number();
	case 10: return (long)&wild_pointer;
	default: return (long)(area + rnd() % (2 * PAGE) / 8 * 8);
	}
}

static const char *const names[] = {
	"/tmp/fuzz/file", "/tmp/fuzz/dir", "/tmp/fuzz/new", "file", "dir", "new", "..", ".", "", "/", "/proc/self/maps", "/dev/null",
	"/dev/zero", "/dev/mem", "/dev/scullp0", "/proc/self/fd/3", "/proc/self/mem", "dir/../dir/x", "/tmp/fuzz/loop", "/proc/self/exe",
	"/tmp/fuzz/fifo", "/sys", "/proc/self/task", "link", "/usr/bin/env", "/proc/self/root", "/proc/self/cwd/file", "\xff\xfe",
};

static long wild_string(void)
{
	if (rnd() % 4 == 0)
		return wild_pointer();
	return (long)names[rnd() % (sizeof names / sizeof names[0])];
}

static long wild_fd(void)
{
	switch (rnd() % 8) {
	case 0: return -1;
	case 1: return AT_FDCWD;
	case 2: return wild_number();
	default: return rnd() % 24;
	}
}

static long wild_pid(int signals)
{
	if (signals)
		return rnd() % 4 ? getpid() : 999999;
	switch (rnd() % 4) {
	case 0: return getpid();
	case 1: return 999999;
	default: return 0;
	}
}

static long argument(char kind, int signals)
{
	switch (kind) {
	case 'f': return wild_fd();
	case 'p': return wild_pointer();
	case 's': return wild_string();
	case 'P': return wild_pid(signals);
	default: return wild_number();
	}
}

/* Words that structures may be made of: small numbers, addresses, anything. */
static void scribble(void)
{
	for (int i = 0; i < 48; i++) {
		long word = rnd() % 3 ? wild_number() : rnd() % 2 ? wild_pointer() : (long)(rnd() % 16);
		memcpy(area + rnd() % (2 * PAGE / sizeof word) * sizeof word, &word, sizeof word);
	}
}

static void prepare(void)
{
	area = mmap(0, 5 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	memset(area, 0, 3 * PAGE);
	mprotect(area + 2 * PAGE, PAGE, PROT_READ);
	mprotect(area + 3 * PAGE, PAGE, PROT_NONE);
	munmap(area + 4 * PAGE, PAGE);
	int ends[2];
	for (int fd = 0; fd < 3; fd++)
		dup2(null, fd);
	static const char *const opened[] = {"file", "dir", "/dev/zero", "/dev/mem", "/dev/scullp0", "/proc/self/maps", "/proc/self/mem", "/dev/tty", "/dev/null", "/proc", "/sys/devices"};
	for (unsigned i = 0; i < sizeof opened / sizeof opened[0]; i++)
		if (open(opened[i], O_RDWR | O_NONBLOCK) < 0)
			open(opened[i], O_RDONLY | O_NONBLOCK);
	if (pipe(ends) == 0)
		fcntl(ends[0], F_SETFL, O_NONBLOCK), fcntl(ends[1], F_SETFL, O_NONBLOCK);
	for (unsigned i = 0; i < sizeof makers / sizeof makers[0]; i++)
		syscall(makers[i][0], makers[i][1], makers[i][2], makers[i][3], 0L);
}

static void make_calls(long count, const char *only)
{
	prepare();
	for (long i = 0; i < count; i++) {
		const struct call *call = &calls[rnd() % COUNT];
		long a[6];
		if (only)
			for (call = calls; strcmp(call->name, only) != 0; call++)
				if (call == calls + COUNT - 1)
					exit(2);
		if (rnd() % 4 == 0)
			scribble();
		for (int n = 0; n < 6; n++)
			a[n] = argument(n < (int)strlen(call->kinds) ? call->kinds[n] : 'n', call->signals);
		syscall(call->number, a[0], a[1], a[2], a[3], a[4], a[5]);
	}
	_exit(0);
}

/* A batch that sleeps is killed after a while, and with it what it has forked. */
static void wait_for(pid_t child)
{
	struct timespec pause = {0, BATCH_NS};
	for (int i = 0; i < BATCH_WAITS && waitpid(child, 0, WNOHANG) != child; i++)
		nanosleep(&pause, 0);
	kill(-1, SIGKILL);
	while (waitpid(-1, 0, 0) > 0)
		;
}

static void make_files(void)
{
	mkdir("/tmp/fuzz", 0777);
	if (chdir("/tmp/fuzz") != 0)
		exit(1);
	mkdir("dir", 0777);
	null = open("/dev/null", O_RDWR);
	int fd = open("file", O_RDWR | O_CREAT, 0666);
	if (write(fd, names, sizeof names) < 0)
		exit(1);
	close(fd);
	symlink("loop", "loop");
	symlink("file", "link");
}

int main(int argc, char **argv)
{
	state = strtoull(argv[1], 0, 0) * 0x9E3779B97F4A7C15ULL | 1;
	long batches = atol(argv[2]), count = atol(argv[3]);
	make_files();
	for (long i = 0; i < batches; i++) {
		pid_t child = fork();
		if (child < 0)
			return 3;
		if (child == 0) {
			setsid();
			for (int n = 0; n < i + 3; n++)
				rnd();
			state += i * 7919;
			make_calls(count, argc > 4 ? argv[4] : 0);
		}
		wait_for(child);
	}
	puts("end");
	return 0;
}
