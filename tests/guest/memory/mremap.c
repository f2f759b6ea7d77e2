/* mremap(2): anonymous memory and files, shrinking, growing, moving; errno by errno (MECHANISMS B11). */
#include "check.h"

#include <stdint.h>

static void errors(void)
{
	char *p = anonymous(4), *q = hole(8);

	ERRNO("unaligned address", mremap(p + 1, PAGE, PAGE, 0), EINVAL);
	ERRNO("new length 0", mremap(p, PAGE, 0, 0), EINVAL);
	ERRNO("unknown flags", mremap(p, PAGE, 2 * PAGE, 0x100), EINVAL);
	ERRNO("MREMAP_FIXED alone", mremap(p, PAGE, PAGE, MREMAP_FIXED, q), EINVAL);
	ERRNO("unaligned target", mremap(p, PAGE, PAGE, MREMAP_FIXED | MREMAP_MAYMOVE, q + 1), EINVAL);
	ERRNO("overlapping target", mremap(p, 2 * PAGE, 2 * PAGE, MREMAP_FIXED | MREMAP_MAYMOVE, p + PAGE), EINVAL);
	ERRNO("nothing there", mremap(q, PAGE, 2 * PAGE, MREMAP_MAYMOVE), EFAULT);
	ERRNO("old length past the area", mremap(p, 8 * PAGE, 9 * PAGE, MREMAP_MAYMOVE), EFAULT);
	ERRNO("old length 0 of private memory", mremap(p, 0, PAGE, MREMAP_MAYMOVE), EINVAL);
	mprotect(p + PAGE, PAGE, PROT_READ);
	ERRNO("across two areas", mremap(p, 4 * PAGE, 8 * PAGE, MREMAP_MAYMOVE), EFAULT);
}

static void in_place(void)
{
	char *p = mmap(hole(20), 4 * PAGE, RW, ANON | MAP_FIXED, -1, 0), *wall;

	memset(p, 'x', 4 * PAGE);
	CHECK("shrink keeps the address", mremap(p, 4 * PAGE, 2 * PAGE, 0) == p);
	NO_READ("the tail is gone", p + 2 * PAGE, SIGSEGV, SEGV_MAPERR);
	CHECK("the head is kept", all_are(p, 'x', 2 * PAGE));
	CHECK("grow in place", mremap(p, 2 * PAGE, 6 * PAGE, 0) == p);
	CHECK("the new part is zero", all_are(p + 2 * PAGE, 0, 4 * PAGE));
	WRITES("and writable", p + 5 * PAGE);
	CHECK("same length", mremap(p, 6 * PAGE, 6 * PAGE, 0) == p);
	wall = mmap(p + 6 * PAGE, PAGE, PROT_READ, ANON | MAP_FIXED, -1, 0);
	ERRNO("grow into a wall", mremap(p, 6 * PAGE, 7 * PAGE, 0), ENOMEM);
	EQUAL("nothing changed", p[0], 'x');
	READS("the wall stands", wall);
	CHECK("an unaligned old length is rounded", mremap(p, 5 * PAGE + 1, 5 * PAGE + 2, 0) == p);
}

static void moving(void)
{
	char *p = anonymous(4), *target = hole(8), *q;

	memset(p, 'm', 4 * PAGE);
	mmap(p + 4 * PAGE, PAGE, PROT_NONE, ANON | MAP_FIXED, -1, 0);
	q = mremap(p, 4 * PAGE, 8 * PAGE, MREMAP_MAYMOVE);
	CHECK("grow by moving", q != MAP_FAILED && q != p);
	CHECK("contents moved", all_are(q, 'm', 4 * PAGE));
	CHECK("zero behind", all_are(q + 4 * PAGE, 0, 4 * PAGE));
	NO_READ("the old place is free", p, SIGSEGV, SEGV_MAPERR);
	target = hole(4);
	CHECK("to a fixed place", mremap(q, 2 * PAGE, 2 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, target) == target);
	CHECK("contents at the fixed place", all_are(target, 'm', 2 * PAGE));
	NO_READ("the part that moved is free", q + PAGE, SIGSEGV, SEGV_MAPERR);
	EQUAL("the part that stayed", q[2 * PAGE], 'm');
	p = anonymous(4);
	memset(p, 'o', 4 * PAGE);
	CHECK("over another area", mremap(target, 2 * PAGE, 2 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, p + PAGE) == p + PAGE);
	EQUAL("what was before it", p[0], 'o');
	EQUAL("what is there", p[PAGE], 'm');
	EQUAL("what is behind it", p[3 * PAGE], 'o');
	target = hole(4);
	CHECK("shrink and move", mremap(p, 4 * PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, target) == target);
	NO_READ("all of the old place is free", p + 3 * PAGE, SIGSEGV, SEGV_MAPERR);
	p = mmap(NULL, PAGE, RW, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	p[0] = 's';
	q = mremap(p, 0, PAGE, MREMAP_MAYMOVE);
	CHECK("old length 0 of shared memory maps it twice", q != MAP_FAILED && q != p && q[0] == 's');
	p[1] = 't';
	EQUAL("...which is shared", q[1], 't');
}

/* 1,200 pages from entry 500 of a leaf table to entry 100 of one: three tables there and here, every third page touched. */
static void across_tables(void)
{
	enum { PAGES = 1200 };
	char *place = (char *)(((uintptr_t)hole(8192) + (2 << 20)) & ~(uintptr_t)((2 << 20) - 1));
	char *p = mmap(place + 500 * PAGE, PAGES * PAGE, RW, ANON | MAP_FIXED, -1, 0), *q = place + (16 << 20) + 100 * PAGE;
	char *below = mmap(q - 50 * PAGE, PAGE, RW, ANON | MAP_FIXED, -1, 0);
	char *above = mmap(q + 1300 * PAGE, PAGE, RW, ANON | MAP_FIXED, -1, 0);
	unsigned char present[PAGES];
	int i, there = 1, right = 1;

	READS("the first table there", below);
	READS("the third, before the second", above);
	madvise(p, PAGES * PAGE, MADV_NOHUGEPAGE);
	for (i = 0; i < PAGES; i += 3)
		p[i * PAGE + i] = 1 + i % 250;
	CHECK("across leaf tables", mremap(p, PAGES * PAGE, PAGES * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, q) == q);
	mincore(q, PAGES * PAGE, present);
	for (i = 0; i < PAGES; i++)
		there &= (present[i] & 1) == (i % 3 == 0);
	for (i = 0; i < PAGES; i++)
		right &= (unsigned char)q[i * PAGE + i] == (i % 3 ? 0 : 1 + i % 250);
	CHECK("...every third page is there", there);
	CHECK("...with its contents", right);
	NO_READ("...and nothing at the old place", p + 600 * PAGE, SIGSEGV, SEGV_MAPERR);
	munmap(below, (50 + PAGES) * PAGE);
	EQUAL("what is above it stays", *above, 0);
}

static void keep_old(void)
{
#ifdef MREMAP_DONTUNMAP
	char *p = anonymous(2), *q;

	memset(p, 'd', 2 * PAGE);
	ERRNO("MREMAP_DONTUNMAP alone", mremap(p, PAGE, PAGE, MREMAP_DONTUNMAP), EINVAL);
	ERRNO("MREMAP_DONTUNMAP, other length", mremap(p, PAGE, 2 * PAGE, MREMAP_DONTUNMAP | MREMAP_MAYMOVE), EINVAL);
	q = mremap(p, 2 * PAGE, 2 * PAGE, MREMAP_DONTUNMAP | MREMAP_MAYMOVE);
	CHECK("MREMAP_DONTUNMAP moves the pages", q != MAP_FAILED && q != p && all_are(q, 'd', 2 * PAGE));
	CHECK("...and leaves zeros", all_are(p, 0, 2 * PAGE));
#endif
}

static void files(void)
{
	int fd = temporary_file(4 * PAGE);
	char *p = mmap(hole(8), PAGE, RW, MAP_SHARED | MAP_FIXED, fd, 0), *q;

	CHECK("file: grow in place", mremap(p, PAGE, 6 * PAGE, MREMAP_MAYMOVE) == p);
	EQUAL("file: page 1", p[PAGE], 'b');
	EQUAL("file: page 3", p[3 * PAGE], 'd');
	NO_READ("file: behind its end", p + 4 * PAGE, SIGBUS, BUS_ADRERR);
	q = mremap(p + PAGE, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, hole(2));
	EQUAL("file: the middle moved", q[0], 'b');
	q[0] = 'Q';
	CHECK("file: still shared", pread(fd, p, 1, PAGE) == 1 && p[0] == 'Q');
	EQUAL("file: the rest stayed", p[2 * PAGE], 'c');
	q = mmap(NULL, 2 * PAGE, RW, MAP_PRIVATE, fd, 0);
	q[0] = 'P';
	q = mremap(q, 2 * PAGE, 2 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, hole(2));
	EQUAL("file: a private copy moves along", q[0], 'P');
	EQUAL("file: an untouched page comes from the file", q[PAGE], 'Q');
}

int main(void)
{
	catch_faults();
	errors();
	in_place();
	moving();
	across_tables();
	keep_old();
	files();
	return done();
}
