/* madvise(2), mincore(2), mlock(2) and friends, errno by errno. */
#include "check.h"

#include <stdint.h>
#include <sys/resource.h>
#include <sys/syscall.h>

static void madvises(void)
{
	char *p = anonymous(4), *q;
	int fd = temporary_file(2 * PAGE);

	memset(p, 'm', 4 * PAGE);
	ERRNO("madvise unaligned", madvise(p + 1, PAGE, MADV_NORMAL), EINVAL);
	ERRNO("madvise unknown", madvise(p, PAGE, 12345), EINVAL);
	ERRNO("madvise length 0", madvise(p, 0, MADV_DONTNEED), 0);
	ERRNO("madvise of nothing", madvise(hole(1), PAGE, MADV_NORMAL), ENOMEM);
	ERRNO("madvise that overflows", madvise(p, SIZE_MAX - PAGE, MADV_NORMAL), sizeof(long) == 8 ? EINVAL : ENOMEM);
	ERRNO("MADV_NORMAL", madvise(p, PAGE, MADV_NORMAL), 0);
	ERRNO("MADV_RANDOM", madvise(p, PAGE, MADV_RANDOM), 0);
	ERRNO("MADV_SEQUENTIAL", madvise(p, 4 * PAGE, MADV_SEQUENTIAL), 0);
	ERRNO("MADV_DONTNEED", madvise(p + PAGE, 2 * PAGE, MADV_DONTNEED), 0);
	CHECK("...gives zeros", all_are(p + PAGE, 0, 2 * PAGE));
	CHECK("...and leaves the rest", all_are(p, 'm', PAGE) && all_are(p + 3 * PAGE, 'm', PAGE));
	ERRNO("MADV_DONTNEED, length rounded up", madvise(p, 1, MADV_DONTNEED), 0);
	CHECK("...takes the page", all_are(p, 0, PAGE));
	ERRNO("MADV_WILLNEED", madvise(mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, fd, 0), PAGE, MADV_WILLNEED), 0);
	q = mmap(NULL, 2 * PAGE, RW, MAP_SHARED, fd, 0);
	q[0] = 'S';
	ERRNO("MADV_DONTNEED of a shared file", madvise(q, PAGE, MADV_DONTNEED), 0);
	EQUAL("...loses nothing", q[0], 'S');
	ERRNO("MADV_REMOVE of private memory", madvise(p, PAGE, MADV_REMOVE), EINVAL);
	ERRNO("MADV_DONTDUMP", madvise(p, PAGE, MADV_DONTDUMP), 0);
	ERRNO("MADV_DODUMP", madvise(p, PAGE, MADV_DODUMP), 0);
	ERRNO("MADV_DOFORK", madvise(p, PAGE, MADV_DOFORK), 0);
	ERRNO("MADV_WIPEONFORK of a file", madvise(q, PAGE, 18), EINVAL);
	p = anonymous(3);
	memset(p, 'x', 3 * PAGE);
	munmap(p + PAGE, PAGE);
	ERRNO("MADV_DONTNEED over a hole", madvise(p, 3 * PAGE, MADV_DONTNEED), ENOMEM);
	CHECK("...is done all the same", p[0] == 0 && p[2 * PAGE] == 0);
	p = mmap(NULL, PAGE, PROT_READ, ANON, -1, 0);
	ERRNO("MADV_POPULATE_READ", madvise(p, PAGE, 22), 0);
	ERRNO("MADV_POPULATE_WRITE of read-only memory", madvise(p, PAGE, 23), EINVAL);
	q = anonymous(2);
	ERRNO("MADV_POPULATE_WRITE", madvise(q, 2 * PAGE, 23), 0);
	CHECK("...zeros", all_are(q, 0, 2 * PAGE));
}

static void mincores(void)
{
	unsigned char present[8];
	char *p = anonymous(4);

	memset(present, 0xff, sizeof present);
	p[PAGE] = 1;
	ERRNO("mincore", mincore(p, 4 * PAGE, present), 0);
	EQUAL("a page not touched", present[0] & 1, 0);
	EQUAL("a page touched", present[1] & 1, 1);
	EQUAL("no more bytes than pages", present[4], 0xff);
	ERRNO("mincore unaligned", mincore(p + 1, PAGE, present), EINVAL);
	ERRNO("mincore length 0", mincore(p, 0, present), 0);
	ERRNO("mincore length 1", mincore(p, 1, present), 0);
	ERRNO("mincore of nothing", mincore(hole(1), PAGE, present), ENOMEM);
	ERRNO("mincore, bad vector", syscall(SYS_mincore, p, PAGE, (void *)8), EFAULT);
	munmap(p + 2 * PAGE, PAGE);
	ERRNO("mincore over a hole", mincore(p, 4 * PAGE, present), ENOMEM);
}

static void mlocks(void)
{
	unsigned char present[4];
	char *p = anonymous(4);

	ERRNO("mlock", mlock(p, 2 * PAGE), 0);
	mincore(p, 4 * PAGE, present);
	EQUAL("locked pages are present", present[0] & present[1] & 1, 1);
	EQUAL("others are not", (present[2] | present[3]) & 1, 0);
	CHECK("...and zero", all_are(p, 0, 2 * PAGE));
	ERRNO("mlock of an unaligned byte", mlock(p + 2 * PAGE + 5, 1), 0);
	ERRNO("mlock of nothing", mlock(hole(1), PAGE), ENOMEM);
	ERRNO("mlock length 0", mlock(p, 0), 0);
	ERRNO("mlock that overflows", mlock(p, SIZE_MAX - 2 * PAGE), sizeof(long) == 8 ? EINVAL : ENOMEM);
	ERRNO("munlock", munlock(p, 3 * PAGE), 0);
	ERRNO("munlock of nothing", munlock(hole(1), PAGE), ENOMEM);
	ERRNO("mlockall without flags", mlockall(0), EINVAL);
	ERRNO("mlockall with unknown flags", mlockall(64), EINVAL);
	ERRNO("munlockall", munlockall(), 0);
	p = mmap(NULL, 2 * PAGE, RW, ANON | MAP_LOCKED, -1, 0);
	mincore(p, 2 * PAGE, present);
	EQUAL("MAP_LOCKED", present[0] & present[1] & 1, 1);
	mmap(p, PAGE, PROT_NONE, ANON | MAP_FIXED, -1, 0);
	ERRNO("mlock of PROT_NONE", mlock(p, PAGE), ENOMEM);
	ERRNO("mlock2 with unknown flags", syscall(SYS_mlock2, p, PAGE, 8), EINVAL);
}

int main(void)
{
	catch_faults();
	madvises();
	mincores();
	mlocks();
	return done();
}
