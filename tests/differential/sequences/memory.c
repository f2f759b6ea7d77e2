/*
 * memory [-v] < SEQUENCES: runs sequences of memory calls, and says for each what the calls gave and what they left.
 *
 * A sequence is a byte with the number of its steps, then four bytes a step: what, and three numbers.  Steps work on an
 * arena of pages, the heap's end and a file; everything is put back before the next sequence.  A line a sequence: the
 * hash of all results, of the contents and rights of all pages, of offsets, and of the sizes in /proc/self/status.  With
 * -v all of that is printed instead.  MAP_NORESERVE, because kernels differ in when they merge what is accounted for with
 * what is not; mremap works on a fresh area, because recent kernels move ranges of several.
 */
#include "check.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define PAGES 20
#define FILE_PAGES 8
#define FLAGS MAP_NORESERVE

static char *arena, *heap;
static int file, verbose;
static uint64_t hash;
static char maps[1 << 16];

static void say(const char *format, ...)
{
	char text[400];
	va_list arguments;
	int length, i;

	va_start(arguments, format);
	length = vsnprintf(text, sizeof text, format, arguments);
	va_end(arguments);
	for (i = 0; i < length; i++)
		hash = (hash ^ (unsigned char)text[i]) * 0x100000001b3ULL;
	if (verbose)
		fputs(text, stdout);
}

static int result(long value)
{
	return value == -1 ? errno : 0;
}

static const char *read_text(const char *name)
{
	int fd = open(name, O_RDONLY);
	size_t length = 0;
	ssize_t got;

	while ((got = read(fd, maps + length, sizeof maps - 1 - length)) > 0)
		length += got;
	close(fd);
	maps[length] = 0;
	return maps;
}

static long status_of(const char *field)
{
	const char *line = strstr(read_text("/proc/self/status"), field);

	return line ? atol(line + strlen(field)) : -1;
}

static void show_contents(void)
{
	char text[PAGES + 1];
	const uint32_t *word;
	uint32_t sum;
	int i, signo;
	unsigned k;

	for (i = 0; i < PAGES; i++) {
		signo = touch(arena + i * PAGE, -1);
		if (signo) {
			text[i] = signo == SIGBUS ? '!' : fault_code == SEGV_MAPERR ? '.' : '#';
			continue;
		}
		word = (const uint32_t *)(arena + i * PAGE);
		for (sum = 0, k = 0; k < PAGE / 4; k++)
			sum = sum * 33 + word[k];
		sum ^= sum >> 16;
		sum ^= sum >> 8;
		text[i] = sum ? 'a' + sum % 26 : '0';
	}
	text[i] = 0;
	say("   %s\n", text);
}

/* Rights, sharing and offset of each page. */
static void show_areas(void)
{
	unsigned long long from, to, at, offset;
	const char *line, *next;
	char bits[5];
	long long i;

	for (line = read_text("/proc/self/maps"); *line; line = next) {
		next = strchr(line, '\n') + 1;
		if (sscanf(line, "%llx-%llx %4s %llx", &from, &to, bits, &offset) != 4)
			continue;
		for (at = from; at < to; at += PAGE) {
			i = ((long long)at - (long long)(uintptr_t)arena) / (long long)PAGE;
			if (at >= (uintptr_t)arena && at < (uintptr_t)arena + PAGES * PAGE)
				say("   %lld %s %llx\n", i, bits, memchr(line, '(', next - line) ? offset + (at - from) : 0);
		}
	}
}

static int rights(unsigned n)
{
	static const int all[] = {PROT_NONE, PROT_READ, RW, RW, RW, PROT_READ | PROT_EXEC, PROT_WRITE, RW | PROT_EXEC};

	return all[n % 8];
}

static void fresh_area(char *p, unsigned count, unsigned kind)
{
	if (kind & 1)
		mmap(p, count * PAGE, RW, ANON | FLAGS | MAP_FIXED, -1, 0);
	else
		mmap(p, count * PAGE, RW, (kind & 2 ? MAP_SHARED : MAP_PRIVATE | FLAGS) | MAP_FIXED, file, 0);
	touch(p + 9, kind);
}

static void in_child(char *p, unsigned count, unsigned n)
{
	unsigned i, sum = 0;

	for (i = 0; i < count; i++)
		sum = sum * 3 + touch(p + i * PAGE + 50, n) + touch(arena + (i * 7 + n) % PAGES * PAGE, -1);
	if (n & 1)
		sum += munmap(p, count * PAGE) + (madvise(arena, PAGES * PAGE, MADV_DONTNEED) ? errno : 0);
	_exit(sum & 127);
}

static void step(const unsigned char *code)
{
	static const int advice[] = {MADV_DONTNEED, MADV_NORMAL, MADV_WILLNEED, MADV_DONTFORK, MADV_DOFORK, MADV_DONTNEED,
		MADV_REMOVE, MADV_SEQUENTIAL, 1234, MADV_DONTDUMP, MADV_WIPEONFORK, MADV_KEEPONFORK};
	static const int syncs[] = {MS_SYNC, MS_ASYNC, MS_SYNC | MS_INVALIDATE, MS_SYNC | MS_ASYNC, 0, 8};
	unsigned first = code[1] % PAGES, count = 1 + code[2] % 9, n = code[3], other = (n >> 3) % PAGES, i;
	char *p = arena + first * PAGE, *q = arena + other * PAGE;
	long got = 0;
	int status;
	pid_t pid;

	if (first + count > PAGES)
		count = PAGES - first;
	say("%u %u+%u %u:", code[0] % 24, first, count, n);
	switch (code[0] % 24) {
	case 0: case 1:
		got = (long)mmap(p, count * PAGE, rights(n), ANON | FLAGS | MAP_FIXED, -1, 0);
		break;
	case 2:
		got = (long)mmap(p, count * PAGE, rights(n), MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
		break;
	case 3:
		got = (long)mmap(p, count * PAGE, rights(n), MAP_SHARED | MAP_FIXED, file, (n >> 3) % FILE_PAGES * PAGE);
		break;
	case 4:
		got = (long)mmap(p, count * PAGE, rights(n), MAP_PRIVATE | FLAGS | MAP_FIXED, file, (n >> 3) % FILE_PAGES * PAGE);
		break;
	case 5:
		got = (long)mmap(p + (n & 64 ? 1 : 0), count * PAGE, rights(n), ANON | FLAGS | 0x100000 /* NOREPLACE */, -1, 0);
		break;
	case 6: case 7:
		got = munmap(p, count * PAGE - n % 3);
		break;
	case 8: case 9:
		got = mprotect(p, count * PAGE, rights(n));
		break;
	case 10:
		if (other + 3 <= PAGES && (other + 3 <= first || first + count <= other)) {
			fresh_area(p, count, n);
			got = (long)mremap(p, count * PAGE, 3 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, q);
		}
		break;
	case 11:
		i = 1 + n % 9;
		fresh_area(p, count, n >> 2);
		got = (long)mremap(p, count * PAGE, (first + i > PAGES ? PAGES - first : i) * PAGE, 0);
		break;
	case 12: case 13:
		got = madvise(p, count * PAGE, advice[n % 12]);
		break;
	case 14:
		fflush(stdout);
		pid = fork();
		if (!pid)
			in_child(p, count, n);
		waitpid(pid, &status, 0);
		say(" child %d", status);
		break;
	case 15: case 16: case 17:
		for (i = 0; i < count; i++)
			say(" %d", touch(p + i * PAGE + n, n & 1 ? (int)n : -1));
		break;
	case 18:
		got = (long)sbrk(0) == (long)heap ? 0 : 1;
		status = brk(heap + n % 8 * PAGE + (n & 32 ? 100 : 0));
		say(" brk %ld %d %d", got, status, n % 8 ? touch(heap + (n % 8 - 1) * PAGE + 5, n) : 0);
		got = 0;
		break;
	case 19:
		got = n & 1 ? mlock(p, count * PAGE) : n & 2 ? munlock(p, count * PAGE) : syscall(SYS_mlock2, p, count * PAGE, (n >> 2) & 3);
		break;
	case 20:
		got = msync(p + (n & 128 ? 1 : 0), count * PAGE, syncs[n % 6]);
		break;
	case 21:
		got = ftruncate(file, n % (FILE_PAGES + 1) * PAGE);
		break;
	case 22:
		if (lseek(file, 0, SEEK_END) >= (long)((n % FILE_PAGES + 1) * PAGE))
			got = pwrite(file, code, 4, n % FILE_PAGES * PAGE + 100) < 0 ? -1 : 0;
		break;
	default:
		got = syscall(SYS_process_madvise, -1, 0, 0, 0, 0) == 0 ? 0 : mincore(p, count * PAGE, (unsigned char *)maps);
		break;
	}
	say(" -> %d\n", result(got));
}

static void reset(void)
{
	static char page[PAGE];
	int i;

	munmap(arena, PAGES * PAGE);
	brk(heap);
	ftruncate(file, 0);
	for (i = 0; i < FILE_PAGES; i++) {
		memset(page, 'a' + i, PAGE);
		if (pwrite(file, page, PAGE, i * PAGE) != PAGE)
			_exit(2);
	}
}

int main(int argc, char **argv)
{
	static unsigned char program[256][4];
	long size, number = 0;
	int steps, i;

	verbose = argc > 1 && !strcmp(argv[1], "-v");
	catch_faults();
	setvbuf(stdout, NULL, _IOFBF, 1 << 15);
	arena = hole(PAGES + 64);
	heap = sbrk(0);
	heap += -(uintptr_t)heap & (PAGE - 1);
	brk(heap);
	file = syscall(SYS_memfd_create, "sequence", 0);
	/* No hole that an unrelated mapping could take: everything around stays mapped. */
	mmap(arena - PAGE, PAGE, PROT_NONE, ANON | MAP_FIXED, -1, 0);
	mmap(arena + PAGES * PAGE, 64 * PAGE, PROT_NONE, ANON | MAP_FIXED, -1, 0);
	while ((steps = getchar()) != EOF) {
		if (fread(program, 4, steps, stdin) != (size_t)steps)
			return 3;
		reset();
		size = status_of("VmSize:");
		hash = 0xcbf29ce484222325ULL;
		for (i = 0; i < steps; i++)
			step(program[i]);
		show_areas();
		say("   size %ld locked %ld\n", status_of("VmSize:") - size, status_of("VmLck:"));
		show_contents();
		printf("%ld %016llx\n", number++, (unsigned long long)hash);
	}
	return fflush(stdout) ? 2 : 0;
}
