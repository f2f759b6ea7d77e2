/*
 * Areas as /proc/self/maps shows them: the form of its lines, splitting and merging.  Shapes are printed relative to
 * the place under test: `[0-2 rw-p][2-3 r--p]` are pages.
 */
#include "check.h"

#include <fcntl.h>
#include <stdint.h>
#include <sys/syscall.h>

static char text[1 << 16];

static const char *maps(void)
{
	int fd = open("/proc/self/maps", O_RDONLY);
	size_t length = 0;
	ssize_t got;

	while ((got = read(fd, text + length, sizeof text - 1 - length)) > 0)
		length += got;
	text[length] = 0;
	close(fd);
	return text;
}

/* The areas inside [start, start + pages), with the offset in pages where there is a file. */
static const char *shape(char *start, unsigned pages)
{
	static char result[2000];
	const char *line = maps();
	unsigned long long from, to, offset;
	unsigned long inode;
	char rights[5];
	int at = 0;

	result[0] = 0;
	for (; line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL) {
		if (sscanf(line, "%llx-%llx %4s %llx %*x:%*x %lu", &from, &to, rights, &offset, &inode) != 5)
			continue;
		if (to <= (uintptr_t)start || from >= (uintptr_t)start + pages * PAGE)
			continue;
		at += sprintf(result + at, "[%lld-%lld %s", ((long long)from - (long long)(uintptr_t)start) / 4096,
			      ((long long)to - (long long)(uintptr_t)start) / 4096, rights);
		at += inode ? sprintf(result + at, " @%llu]", offset / 4096) : sprintf(result + at, "]");
	}
	return result;
}

static void check_shape(const char *name, char *start, unsigned pages, const char *want)
{
	const char *got = shape(start, pages);

	report(!strcmp(got, want), name, got);
}

static void form(void)
{
	int fd = temporary_file(PAGE), good = 1, columns = 1, blanks = 1, heap = 0, stack = 0, vdso = 0, sorted = 1, end;
	unsigned long long from, to, offset, last = 0;
	unsigned major, minor;
	unsigned long inode;
	char rights[5], again[200], *line;

	if (!malloc(100) || mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, 0) == MAP_FAILED)
		_exit(2);
	maps();
	for (line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
		if (sscanf(line, "%llx-%llx %4s %llx %x:%x %lu%n", &from, &to, rights, &offset, &major, &minor, &inode, &end) != 7)
			good = 0;
		snprintf(again, sizeof again, "%08llx-%08llx %s %08llx %02x:%02x %lu", from, to, rights, offset, major, minor,
			 inode);
		good &= !strncmp(line, again, strlen(again));
		columns &= line[end] == ' ' || !line[end]; /* an area without a name ends in a blank */
		if (line[end] && line[end + 1])
			blanks &= strspn(line + end, " ") == (end < 72 ? 73U - end : 1U);
		sorted &= from >= last && from < to;
		last = to;
		heap |= !!strstr(line, " [heap]");
		stack |= !!strstr(line, " [stack]");
		vdso |= !!strstr(line, " [vdso]");
	}
	CHECK("every line has the kernel's form", good);
	CHECK("a blank behind the inode", columns);
	CHECK("names stand in one column", blanks);
	CHECK("areas are sorted and apart", sorted);
	CHECK("there is a stack", stack);
	CHECK("there is a vdso", vdso);
	syscall(SYS_brk, syscall(SYS_brk, 0) + PAGE); /* musl's sbrk refuses */
	CHECK("there is a heap", strstr(maps(), "[heap]"));
	mmap(NULL, PAGE, PROT_READ, MAP_SHARED, open("/proc/self/exe", O_RDONLY), 0);
	CHECK("a shared mapping says s", strstr(maps(), " r--s 00000000 "));
}

static void splitting(void)
{
	char *p = anonymous(6);

	check_shape("one area", p, 6, "[0-6 rw-p]");
	munmap(p + 2 * PAGE, PAGE);
	check_shape("a hole splits", p, 6, "[0-2 rw-p][3-6 rw-p]");
	mmap(p + 2 * PAGE, PAGE, RW, ANON | MAP_FIXED, -1, 0);
	check_shape("filling it merges", p, 6, "[0-6 rw-p]");
	mprotect(p + PAGE, PAGE, PROT_READ);
	check_shape("mprotect splits in three", p, 6, "[0-1 rw-p][1-2 r--p][2-6 rw-p]");
	mprotect(p + 2 * PAGE, PAGE, PROT_READ);
	check_shape("equal neighbours merge", p, 6, "[0-1 rw-p][1-3 r--p][3-6 rw-p]");
	mprotect(p + PAGE, 2 * PAGE, RW);
	check_shape("and back to one", p, 6, "[0-6 rw-p]");
	mprotect(p, 6 * PAGE, PROT_READ | PROT_EXEC);
	check_shape("as a whole", p, 6, "[0-6 r-xp]");
	mprotect(p, 6 * PAGE, PROT_NONE);
	check_shape("no rights", p, 6, "[0-6 ---p]");
	munmap(p, PAGE);
	munmap(p + 5 * PAGE, PAGE);
	check_shape("cut at both ends", p, 6, "[1-5 ---p]");
	mmap(p, 6 * PAGE, RW, ANON | MAP_FIXED, -1, 0);
	check_shape("MAP_FIXED over it", p, 6, "[0-6 rw-p]");
	munmap(p - PAGE, 8 * PAGE);
	check_shape("nothing", p, 6, "");
}

static void mixed(void)
{
	int fd = temporary_file(8 * PAGE);
	char *p = hole(12);

	mmap(p, 4 * PAGE, PROT_READ, MAP_PRIVATE | MAP_FIXED, fd, 0);
	mmap(p + 4 * PAGE, 2 * PAGE, PROT_READ, MAP_PRIVATE | MAP_FIXED, fd, 4 * PAGE);
	check_shape("a file goes on", p, 12, "[0-6 r--p @0]");
	mmap(p + 6 * PAGE, PAGE, PROT_READ, MAP_PRIVATE | MAP_FIXED, fd, PAGE);
	check_shape("another offset does not", p, 12, "[0-6 r--p @0][6-7 r--p @1]");
	mmap(p + 7 * PAGE, PAGE, PROT_READ, MAP_SHARED | MAP_FIXED, fd, 2 * PAGE);
	check_shape("nor does sharing", p, 12, "[0-6 r--p @0][6-7 r--p @1][7-8 r--s @2]");
	munmap(p + PAGE, PAGE);
	check_shape("the tail has its offset", p, 12, "[0-1 r--p @0][2-6 r--p @2][6-7 r--p @1][7-8 r--s @2]");
	mprotect(p + 3 * PAGE, PAGE, RW);
	check_shape("mprotect in the middle of a file", p, 6, "[0-1 r--p @0][2-3 r--p @2][3-4 rw-p @3][4-6 r--p @4]");
	mmap(p + 8 * PAGE, PAGE, PROT_READ, ANON | MAP_FIXED, -1, 0);
	check_shape("anonymous memory beside it", p + 7 * PAGE, 3, "[0-1 r--s @2][1-2 r--p]");
	p = anonymous(4);
	mremap(p + 2 * PAGE, 2 * PAGE, PAGE, 0);
	check_shape("mremap shrinks", p, 4, "[0-3 rw-p]");
	mremap(p, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, hole(1));
	check_shape("mremap takes the head", p, 4, "[1-3 rw-p]");
	p = anonymous(4);
	madvise(p + PAGE, PAGE, MADV_DONTFORK);
	check_shape("madvise splits", p, 4, "[0-1 rw-p][1-2 rw-p][2-4 rw-p]");
	madvise(p + PAGE, PAGE, MADV_DOFORK);
	check_shape("and merges", p, 4, "[0-4 rw-p]");
	mlock(p, 2 * PAGE);
	check_shape("mlock splits", p, 4, "[0-2 rw-p][2-4 rw-p]");
	munlock(p, PAGE);
	check_shape("munlock too", p, 4, "[0-1 rw-p][1-2 rw-p][2-4 rw-p]");
	munlock(p, 4 * PAGE);
	check_shape("and merges again", p, 4, "[0-4 rw-p]");
}

int main(void)
{
	form();
	splitting();
	mixed();
	return done();
}
