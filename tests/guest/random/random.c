/*
 * random SEED STEPS: memory calls at random, and what they leave.
 *
 * Every step does one call on an arena of pages (anonymous, shared, a file private and shared) and prints its result
 * and the arena: for each page a letter that depends on all its bytes, `.` for nothing, `#` for no access, `!` for
 * SIGBUS; below it the rights from /proc/self/maps.  The same seed prints the same everywhere.  (MAP_NORESERVE, because
 * kernels differ in when they merge areas that are accounted for with areas that are not.)
 */
#include "check.h"

#include <fcntl.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define PAGES 32
#define FILE_PAGES 12

static char *arena;
static int file, other_file; /* what is mapped; what read and write copy from and to, so that no copy overlaps itself */
static uint64_t state;

static unsigned pick(unsigned limit)
{
	state = state * 6364136223846793005ULL + 1442695040888963407ULL;
	return (state >> 33) % limit;
}

static int result(long value)
{
	return value == -1 ? errno : 0;
}

static char letter(const char *page)
{
	const uint32_t *word = (const uint32_t *)page;
	uint32_t sum = 0;
	unsigned i;

	for (i = 0; i < PAGE / 4; i++)
		sum = sum * 33 + word[i];
	sum ^= sum >> 16;
	sum ^= sum >> 8;
	return sum ? 'a' + sum % 26 : '0';
}

static void contents(char *text)
{
	int i, signo;

	for (i = 0; i < PAGES; i++) {
		signo = touch(arena + i * PAGE, -1);
		if (signo)
			text[i] = signo == SIGBUS ? '!' : fault_code == SEGV_MAPERR ? '.' : '#';
		else
			text[i] = letter(arena + i * PAGE);
	}
	text[i] = 0;
}

static const char *read_maps(void)
{
	static char maps[1 << 16];
	int fd = open("/proc/self/maps", O_RDONLY);
	size_t length = 0;
	ssize_t got;

	while ((got = read(fd, maps + length, sizeof maps - 1 - length)) > 0)
		length += got;
	close(fd);
	maps[length] = 0;
	return maps;
}

/*
 * Make [first, first + count) one area, whatever it was: kernels differ in which neighbours they merge, and recent ones
 * move ranges of several areas.  A single page is one area anyhow, if any.
 */
static void make_area(unsigned first, unsigned count)
{
	char *p = arena + first * PAGE;

	if (count == 1)
		return;
	if (pick(2))
		mmap(p, count * PAGE, RW, ANON | MAP_NORESERVE | MAP_FIXED, -1, 0);
	else
		mmap(p, count * PAGE, RW, (pick(2) ? MAP_SHARED : MAP_PRIVATE | MAP_NORESERVE) | MAP_FIXED, file, 0);
	touch(p + pick(count) * PAGE + pick(PAGE), pick(256));
	touch(p + pick(count) * PAGE + pick(PAGE), pick(256));
}

/* Recent kernels look at the target before they look for the area. */
static int overlap(unsigned first, unsigned count, unsigned other, unsigned more)
{
	return first < other + more && other < first + count;
}

/* One letter a page: - r w x and capitals for shared areas; `.` where there is none. */
static void rights(char *text)
{
	unsigned long long from, to, at;
	const char *line;
	char bits[5];
	int i;

	memset(text, '.', PAGES);
	text[PAGES] = 0;
	for (line = read_maps(); *line; line = strchr(line, '\n') + 1) {
		if (sscanf(line, "%llx-%llx %4s", &from, &to, bits) != 3)
			continue;
		for (at = from; at < to; at += PAGE) {
			i = (int)(((long long)at - (long long)(uintptr_t)arena) / (long long)PAGE);
			if (at < (uintptr_t)arena || i >= PAGES)
				continue;
			text[i] = bits[2] == 'x' ? 'x' : bits[1] == 'w' ? 'w' : bits[0] == 'r' ? 'r' : '-';
			if (bits[3] == 's')
				text[i] = text[i] == '-' ? '=' : text[i] - 32;
		}
	}
}

static int random_rights(void)
{
	static const int all[] = {PROT_NONE, PROT_READ, RW, RW, RW, PROT_READ | PROT_EXEC};

	return all[pick(6)];
}

static void child(unsigned first, unsigned count)
{
	char text[PAGES + 1];
	unsigned i, sum = 0;

	for (i = first; i < first + count; i++)
		touch(arena + i * PAGE + 100, 'c');
	contents(text);
	for (i = 0; i < PAGES; i++)
		sum = sum * 31 + text[i];
	_exit(sum & 127);
}

static int step(unsigned number)
{
	unsigned first = pick(PAGES), count = 1 + pick(PAGES - first < 10 ? PAGES - first : 10), other = pick(PAGES);
	unsigned more = 1 + pick(PAGES - other < 10 ? PAGES - other : 10), i, kind = pick(20);
	char *p = arena + first * PAGE, *q = arena + other * PAGE, buffer[64];
	int status, value;
	long got;
	pid_t pid;

	printf("%u: ", number);
	switch (kind) {
	case 0: case 1:
		printf("anonymous %u+%u", first, count);
		return result((long)mmap(p, count * PAGE, random_rights(), ANON | MAP_NORESERVE | MAP_FIXED, -1, 0));
	case 2: case 3:
		printf("file, shared %u+%u", first, count);
		return result((long)mmap(p, count * PAGE, random_rights(), MAP_SHARED | MAP_FIXED, file, pick(FILE_PAGES) * PAGE));
	case 4: case 5:
		printf("file, private %u+%u", first, count);
		return result((long)mmap(p, count * PAGE, random_rights(), MAP_PRIVATE | MAP_NORESERVE | MAP_FIXED, file, pick(FILE_PAGES) * PAGE));
	case 6:
		printf("anonymous, shared %u+%u", first, count);
		return result((long)mmap(p, count * PAGE, random_rights(), MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
	case 7:
		printf("munmap %u+%u", first, count);
		return result(munmap(p, count * PAGE));
	case 8: case 9:
		printf("mprotect %u+%u", first, count);
		return result(mprotect(p, count * PAGE, random_rights()));
	case 10:
		printf("mremap %u+%u to %u+%u", first, count, other, more);
		if (overlap(first, count, other, more))
			return 0;
		make_area(first, count);
		return result((long)mremap(p, count * PAGE, more * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, q));
	case 11:
		if (first + more > PAGES)
			more = PAGES - first;
		printf("mremap in place %u+%u to %u", first, count, more);
		make_area(first, count);
		return result((long)mremap(p, count * PAGE, more * PAGE, 0));
	case 12:
		printf("keep and move %u+%u to %u", first, count, other);
		if (other + count > PAGES || overlap(first, count, other, count))
			return 0;
		make_area(first, count);
		return result((long)mremap(p, count * PAGE, count * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP, q));
	case 13:
		printf("forget %u+%u", first, count);
		return result(madvise(p, count * PAGE, MADV_DONTNEED));
	case 14:
		value = pick(FILE_PAGES + 1) * PAGE; /* file systems differ in what is behind the end of a page */
		printf("truncate to %d", value);
		return result(ftruncate(file, value));
	case 15:
		memset(buffer, 'A' + number % 26, sizeof buffer);
		value = pick(FILE_PAGES * PAGE);
		printf("pwrite at %d", value);
		if (value + (long)sizeof buffer > lseek(file, 0, SEEK_END))
			return 0;
		return result(pwrite(file, buffer, sizeof buffer, value));
	case 16:
		got = pread(other_file, p + 2000, count * PAGE, pick(FILE_PAGES) * PAGE);
		printf("pread %u+%u gives %ld", first, count, got);
		return result(got);
	case 17:
		got = pwrite(other_file, p + 1000, count * PAGE > 9000 ? 9000 : count * PAGE, pick(FILE_PAGES - 3) * PAGE);
		printf("pwrite from %u+%u gives %ld", first, count, got);
		return result(got);
	case 18:
		fflush(stdout);
		pid = fork();
		if (!pid)
			child(first, count);
		waitpid(pid, &status, 0);
		printf("fork gives %d", status);
		return 0;
	default:
		printf("store %u+%u:", first, count);
		for (i = first; i < first + count; i++)
			printf(" %d", touch(arena + i * PAGE + pick(PAGE), number));
		return 0;
	}
}

/* File systems on disks have differences of their own. */
static int memory_file(size_t length)
{
	static char page[PAGE];
	int fd = syscall(SYS_memfd_create, "random", 0);
	size_t at;

	for (at = 0; at < length; at += PAGE) {
		memset(page, 'a' + at / PAGE, PAGE);
		if (write(fd, page, length - at < PAGE ? length - at : PAGE) < 0)
			_exit(2);
	}
	return fd;
}

int main(int argc, char **argv)
{
	char text[PAGES + 1];
	int steps = argc > 2 ? atoi(argv[2]) : 100, i;

	catch_faults();
	setvbuf(stdout, NULL, _IOFBF, 1 << 15);
	state = argc > 1 ? atoi(argv[1]) : 1;
	arena = hole(PAGES + 64);
	file = memory_file(FILE_PAGES * PAGE);
	other_file = memory_file(FILE_PAGES * PAGE);
	/* No hole that an unrelated mapping could take: everything around stays mapped. */
	mmap(arena - PAGE, PAGE, PROT_NONE, ANON | MAP_FIXED, -1, 0);
	mmap(arena + PAGES * PAGE, 64 * PAGE, PROT_NONE, ANON | MAP_FIXED, -1, 0);
	for (i = 0; i < steps; i++) {
		int error = step(i);

		printf(" -> %d\n", error);
		contents(text);
		printf("   %s\n", text);
		rights(text);
		printf("   %s\n", text);
	}
	return fflush(stdout) ? 2 : done();
}
