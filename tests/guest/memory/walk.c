/* A random walk through memory management: what every call and every access did, and what memory holds then. */
#include "check.h"

#include <fcntl.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>

#define PAGES 48
#define STEPS 1500

static unsigned long long state;
static unsigned rnd(unsigned n)
{
	state = state * 6364136223846793005ULL + 1442695040888963407ULL;
	return (unsigned)(state >> 33) % n;
}

static char *base;
static int fd, fd2, zero, pipes[2];
static const int prots[] = {PROT_NONE, PROT_READ, RW, RW, RW, PROT_READ | PROT_EXEC, RW | PROT_EXEC, PROT_WRITE};

static void maps(void)
{
	static char text[200000];
	int in = open("/proc/self/maps", O_RDONLY);
	ssize_t n = 0, got;
	char *line, *next, last[8] = "";
	unsigned long start, end, previous = 0, first = 0;
	char perm[8];

	while ((got = read(in, text + n, sizeof text - 1 - n)) > 0)
		n += got;
	text[n] = 0;
	close(in);
	for (line = text; *line; line = next) {
		next = strchr(line, '\n') + 1;
		sscanf(line, "%lx-%lx %4s", &start, &end, perm);
		if (end <= (unsigned long)base || start >= (unsigned long)base + PAGES * PAGE)
			continue;
		if (start < (unsigned long)base) start = (unsigned long)base;
		if (end > (unsigned long)base + PAGES * PAGE) end = (unsigned long)base + PAGES * PAGE;
		if (start == previous && !strcmp(perm, last)) {
			previous = end;
			continue;
		}
		if (previous)
			printf(" %lu-%lu%s", (first - (unsigned long)base) / PAGE, (previous - (unsigned long)base) / PAGE, last);
		first = start;
		previous = end;
		strcpy(last, perm);
	}
	if (previous)
		printf(" %lu-%lu%s", (first - (unsigned long)base) / PAGE, (previous - (unsigned long)base) / PAGE, last);
	printf("\n");
}

static unsigned sum(char *p)
{
	unsigned h = 0, i;

	for (i = 0; i < PAGE; i += 4)
		h = h * 31 + *(volatile unsigned *)(p + i);
	return h;
}

static void dump(void)
{
	int i;

	for (i = 0; i < PAGES; i++) {
		volatile unsigned h = 0;

		if (!CATCH())
			h = sum(base + i * PAGE);
		else
			h = fault_signal * 100 + fault_code;
		fault_expected = 0;
		printf(" %x", h);
	}
	printf("\n");
}

static void step(int n)
{
	unsigned at = rnd(PAGES), len = 1 + rnd(6), op = rnd(26), prot = prots[rnd(8)], value = rnd(256), off = rnd(8);
	char *p = base + at * PAGE, text[64];
	long r = 0;
	int shared = rnd(2), status, i;

	if (at + len > PAGES)
		len = PAGES - at;
	errno = 0;
	memset(text, value, sizeof text);
	switch (op) {
	case 0: case 1:
		r = (long)mmap(p, len * PAGE, prot, ANON | MAP_FIXED | (rnd(4) ? 0 : MAP_POPULATE), -1, 0); break;
	case 2:
		r = (long)mmap(p, len * PAGE, prot, MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, -1, 0); break;
	case 3: case 4:
		r = (long)mmap(p, len * PAGE, prot, (shared ? MAP_SHARED : MAP_PRIVATE) | MAP_FIXED | (rnd(4) ? 0 : MAP_POPULATE), fd, off * PAGE); break;
	case 5:
		r = munmap(p, len * PAGE); break;
	case 6: case 7:
		r = mprotect(p, len * PAGE, prot); break;
	case 8: {
		unsigned to = rnd(PAGES - 4);
		r = (long)mremap(p, PAGE, (1 + rnd(4)) * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, base + to * PAGE);
		break; }
	case 9:
		r = (long)mremap(p, PAGE, rnd(2) ? PAGE : 2 * PAGE, 0); break;
	case 10:
		r = madvise(p, len * PAGE, MADV_DONTNEED); break;
	case 11:
		r = madvise(p, len * PAGE, rnd(2) ? MADV_WILLNEED : MADV_SEQUENTIAL); break;
	case 12: case 13: case 14:
		r = touch(p + value, value) * 1000 + fault_code; break;
	case 15:
		r = touch(p + value, -1) * 1000 + fault_code; break;
	case 16:
		lseek(zero, 0, SEEK_SET);
		r = pread(fd2, p + value * 16, 5000, off * PAGE + 77); break;
	case 17: /* sizes are whole pages: what mappings store behind the end stays there as long as the host likes */
		if (lseek(fd, 0, SEEK_END) < (off_t)(off + 1) * (off_t)PAGE)
			ftruncate(fd, (off + 1) * PAGE);
		r = pwrite(fd, text, 64, off * PAGE + value * 8); break;
	case 18:
		r = write(pipes[1], p + 4090, 20);
		if (r > 0) { char t[20]; printf(" (%d)", (int)read(pipes[0], t, r)); for (i = 0; i < r; i++) printf("%02x", t[i] & 255); }
		break;
	case 19:
		write(pipes[1], text, 30);
		r = read(pipes[0], p + 4080, 30);
		{ char t[64]; fcntl(pipes[0], F_SETFL, O_NONBLOCK); i = errno; while (read(pipes[0], t, 64) > 0); errno = i; fcntl(pipes[0], F_SETFL, 0); }
		break;
	case 20:
		r = ftruncate(fd, rnd(10) * PAGE); break;
	case 21:
		r = msync(p, len * PAGE, shared ? MS_SYNC : MS_ASYNC | MS_INVALIDATE); break;
	case 22:
		fflush(stdout);
		if (!fork()) {
			for (i = 0; i < 10; i++) {
				int a = rnd(PAGES);
				printf("%d ", touch(base + a * PAGE + 8, i));
			}
			dump();
			fflush(stdout);
			_exit(0);
		}
		wait(&status);
		r = status;
		break;
	case 23:
		r = rnd(2) ? mlock(p, len * PAGE) : munlock(p, len * PAGE); break;
	case 24:
		r = (long)mremap(p, 0, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, base + rnd(PAGES) * PAGE); break;
	case 25: {
		r = fallocate(fd, 3, off * PAGE, len * PAGE); break; }
	}
	i = errno;
	if (r > (long)base - 1 && r < (long)(base + PAGES * PAGE))
		r = (r - (long)base) / (long)PAGE;
	printf("%d: op %u at %u+%u prot %u off %u v %u s %d: %ld errno %d\n", n, op, at, len, prot, off, value, shared, r, r == -1 ? i : 0);
}

int main(int argc, char **argv)
{
	int i;

	state = argc > 1 ? atoi(argv[1]) : 1;
	catch_faults();
	fd = temporary_file(8 * PAGE);
	fd2 = temporary_file(12 * PAGE);
	zero = open("/dev/zero", O_RDONLY);
	pipe(pipes);
	base = hole(PAGES + 16) + 8 * PAGE;
	for (i = 0; i < STEPS; i++) {
		step(i);
		maps();
		if (argc > 2 || i % 10 == 9)
			dump();
	}
	return 0;
}
