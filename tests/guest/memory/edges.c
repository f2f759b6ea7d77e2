/* Lengths and addresses at the ends of what a number can hold; past the C library, which has its own opinion. */
#include "check.h"

#include <fcntl.h>
#include <stdint.h>
#include <sys/syscall.h>

#define ALL ((size_t)-1)
#define TOP ((char *)(-PAGE))
#define WORD(in64, in32) (sizeof(long) == 8 ? (in64) : (in32))

static char *k_mmap(void *address, size_t length, int prot, int flags, int fd, unsigned long offset)
{
#ifdef __x86_64__
	return (char *)syscall(SYS_mmap, address, length, prot, flags, fd, offset);
#else
	return (char *)syscall(SYS_mmap2, address, length, prot, flags, fd, offset / PAGE);
#endif
}

static int k_mprotect(void *address, size_t length, int prot)
{
	return syscall(SYS_mprotect, address, length, prot);
}

static char *k_mremap(void *address, size_t old, size_t new, int flags, void *target)
{
	return (char *)syscall(SYS_mremap, address, old, new, flags, target);
}

static void lengths(char *p)
{
	ERRNO("mmap: length -1", k_mmap(NULL, ALL, RW, ANON, -1, 0), ENOMEM);
	ERRNO("mmap: length -4096", k_mmap(NULL, -PAGE, RW, ANON, -1, 0), ENOMEM);
	ERRNO("mmap: half of everything", k_mmap(NULL, ALL / 2 + 1, PROT_NONE, ANON | MAP_NORESERVE, -1, 0), WORD(ENOMEM, 0));
	ERRNO("munmap: length -1", munmap(p, ALL), EINVAL);
	ERRNO("munmap: length -4096", munmap(p, -PAGE), EINVAL);
	ERRNO("munmap: nothing", munmap(p, 0), EINVAL);
	ERRNO("munmap: the last page", munmap(TOP, PAGE), EINVAL);
	ERRNO("munmap: odd address", munmap(p + 1, PAGE), EINVAL);
	ERRNO("mprotect: length -1", k_mprotect(p, ALL, PROT_READ), ENOMEM);
	ERRNO("mprotect: length -4096", k_mprotect(p, -PAGE, PROT_READ), ENOMEM);
	ERRNO("mprotect: length 0", k_mprotect(p, 0, PROT_READ), 0);
	ERRNO("mprotect: length 0, odd protection", k_mprotect(p, 0, 0x40), 0);
	ERRNO("mprotect: odd protection", k_mprotect(p, PAGE, 0x40), EINVAL);
	ERRNO("mprotect: the last page", k_mprotect(TOP, PAGE, PROT_READ), ENOMEM);
	ERRNO("madvise: length -1", madvise(p, ALL, MADV_NORMAL), WORD(EINVAL, ENOMEM));
	ERRNO("madvise: length -4096", madvise(p, -PAGE, MADV_NORMAL), WORD(EINVAL, ENOMEM));
	ERRNO("madvise: from 0, length -1", madvise(NULL, ALL, MADV_NORMAL), WORD(EINVAL, ENOMEM));
	ERRNO("madvise: nothing", madvise(p, 0, MADV_NORMAL), 0);
	ERRNO("madvise: nothing, unknown advice", madvise(p, 0, 1234), EINVAL);
	ERRNO("madvise: the last page", madvise(TOP, PAGE, MADV_NORMAL), WORD(EINVAL, ENOMEM));
	ERRNO("msync: length -1", msync(p, ALL, MS_ASYNC), WORD(0, ENOMEM));
	ERRNO("msync: length -4096", msync(p, -PAGE, MS_ASYNC), ENOMEM);
	ERRNO("msync: nothing", msync(p, 0, MS_ASYNC), 0);
	ERRNO("msync: nothing at the end", msync(TOP, 0, MS_SYNC), 0);
	ERRNO("msync: both", msync(p, PAGE, MS_SYNC | MS_ASYNC), EINVAL);
	ERRNO("msync: neither", msync(p, PAGE, 0), 0);
	ERRNO("msync: the last page", msync(TOP, PAGE, MS_SYNC), ENOMEM);
	ERRNO("mlock: length -1", mlock(p, ALL), WORD(0, ENOMEM));
	ERRNO("mlock: length -4096", mlock(p, -PAGE), WORD(EINVAL, ENOMEM));
	ERRNO("mlock: the last page", mlock(TOP, PAGE), WORD(EINVAL, ENOMEM));
	ERRNO("mlock: nothing", mlock(p, 0), 0);
	ERRNO("mlock: nothing, nowhere", mlock((void *)(16 * PAGE), 0), 0);
	ERRNO("munlock: length -1", munlock(p, ALL), WORD(0, ENOMEM));
	ERRNO("munlock: the last page", munlock(TOP, PAGE), WORD(EINVAL, ENOMEM));
	ERRNO("mincore: length -1", mincore(p, ALL, (void *)p), WORD(ENOMEM, EFAULT));
	ERRNO("mincore: bad vector", mincore(p, PAGE, (void *)TOP), EFAULT);
	ERRNO("mincore: vector at the end of user space", mincore(p, PAGE, (void *)(TOP + PAGE - 1)), EFAULT);
	ERRNO("mincore: odd address", mincore(p + 1, PAGE, (void *)p), EINVAL);
	ERRNO("mincore: nothing", mincore(p, 0, (void *)p), 0);
	ERRNO("mincore: nothing into nowhere", mincore(p, 0, NULL), 0);
}

static void remaps(char *p)
{
#ifdef __x86_64__
	ERRNO("mremap: to length -1", k_mremap(p, PAGE, ALL, MREMAP_MAYMOVE, NULL), EINVAL);
#endif
	ERRNO("mremap: to length 0", k_mremap(p, PAGE, 0, MREMAP_MAYMOVE, NULL), EINVAL);
	ERRNO("mremap: from length -4096", k_mremap(p, -PAGE, PAGE, MREMAP_MAYMOVE, NULL), EINVAL);
	ERRNO("mremap: fixed at the end", k_mremap(p, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, TOP), EINVAL);
	ERRNO("mremap: fixed, odd", k_mremap(p, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, p + 8 * PAGE + 1), EINVAL);
	ERRNO("mremap: fixed, over itself", k_mremap(p, 2 * PAGE, 2 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, p + PAGE), EINVAL);
	ERRNO("mremap: unknown flag", k_mremap(p, PAGE, PAGE, 8, NULL), EINVAL);
	ERRNO("mremap: odd address", k_mremap(p + 1, PAGE, PAGE, 0, NULL), EINVAL);
	ERRNO("mremap: not mapped", k_mremap((void *)(16 * PAGE), PAGE, 2 * PAGE, MREMAP_MAYMOVE, NULL), EFAULT);
	ERRNO("mremap: private, from nothing", k_mremap(p, 0, PAGE, MREMAP_MAYMOVE, NULL), EINVAL);
	ERRNO("mremap: old longer than the area", k_mremap(p, 64 * PAGE, 65 * PAGE, MREMAP_MAYMOVE, NULL), EFAULT);
	ERRNO("mremap: DONTUNMAP and growth", k_mremap(p, PAGE, 2 * PAGE, MREMAP_MAYMOVE | MREMAP_DONTUNMAP, NULL), EINVAL);
	ERRNO("mremap: DONTUNMAP alone", k_mremap(p, PAGE, PAGE, MREMAP_DONTUNMAP, NULL), EINVAL);
}

static void fixed(char *p)
{
	char *q;

	ERRNO("fixed: odd", k_mmap(p + 1, PAGE, RW, ANON | MAP_FIXED, -1, 0), EINVAL);
	ERRNO("fixed: the last page", k_mmap(TOP, PAGE, RW, ANON | MAP_FIXED, -1, 0), ENOMEM);
	ERRNO("fixed: the last page, twice as long", k_mmap(TOP, 2 * PAGE, RW, ANON | MAP_FIXED, -1, 0), ENOMEM);
	ERRNO("no replace: over something", k_mmap(p, PAGE, RW, ANON | MAP_FIXED_NOREPLACE, -1, 0), EEXIST);
	ERRNO("no replace: odd", k_mmap(p + 1, PAGE, RW, ANON | MAP_FIXED_NOREPLACE, -1, 0), EINVAL);
	ERRNO("no replace: the last page", k_mmap(TOP, PAGE, RW, ANON | MAP_FIXED_NOREPLACE, -1, 0), ENOMEM);
	ERRNO("a hint at the end is a hint", k_mmap(TOP, PAGE, RW, ANON, -1, 0), 0);
	ERRNO("an odd hint is a hint", k_mmap(p + 1, PAGE, RW, ANON, -1, 0), 0);
	q = hole(4);
	CHECK("an odd hint is rounded down", k_mmap(q + PAGE + 1, PAGE, RW, ANON, -1, 0) == q + PAGE);
	munmap(q + PAGE, PAGE);
	ERRNO("neither shared nor private", k_mmap(NULL, PAGE, RW, MAP_ANONYMOUS, -1, 0), EINVAL);
	ERRNO("shared and private, anonymous", k_mmap(NULL, PAGE, RW, MAP_SHARED_VALIDATE | MAP_ANONYMOUS, -1, 0), EINVAL);
	ERRNO("anonymous with an offset", k_mmap(NULL, PAGE, RW, ANON, -1, PAGE), 0);
	ERRNO("anonymous with a descriptor", k_mmap(NULL, PAGE, RW, ANON, 0, 0), 0);
	ERRNO("anonymous with a bad descriptor", k_mmap(NULL, PAGE, RW, ANON, 777, 0), 0);
	ERRNO("odd protection bits", k_mmap(NULL, PAGE, 0x80 | PROT_READ, ANON, -1, 0), 0);
#ifdef __x86_64__
	{
		char *low = k_mmap((void *)0x50000000, PAGE, RW, ANON | MAP_32BIT, -1, 0);

		CHECK("MAP_32BIT takes a hint", low == (void *)0x50000000);
		CHECK("MAP_32BIT: not above 2 GiB", k_mmap(p + 50 * PAGE, PAGE, RW, ANON | MAP_32BIT, -1, 0) < (char *)0x80000000);
		munmap(low, PAGE);
	}
	ERRNO("shared: more than there can be", k_mmap(NULL, 1UL << 44, RW, MAP_SHARED | MAP_ANONYMOUS, -1, 0), ENOMEM);
	ERRNO("shared: without a reserve", k_mmap(NULL, 1UL << 40, RW, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0), 0);
#endif
}

static void offsets(void)
{
	int fd = temporary_file(2 * PAGE);
	char *p;

#ifdef __x86_64__
	ERRNO("offset: odd", k_mmap(NULL, PAGE, RW, MAP_SHARED, fd, 1), EINVAL);
	ERRNO("offset: negative and odd", k_mmap(NULL, PAGE, RW, MAP_SHARED, fd, -1), EINVAL);
	ERRNO("offset: negative", k_mmap(NULL, PAGE, RW, MAP_SHARED, fd, -PAGE), EOVERFLOW);
	ERRNO("offset: the last", k_mmap(NULL, PAGE, RW, MAP_PRIVATE, fd, 0x7ffffffffffff000), EOVERFLOW);
	ERRNO("offset: reaching beyond the last", k_mmap(NULL, 4 * PAGE, RW, MAP_PRIVATE, fd, 0x7fffffffffffe000), EOVERFLOW);
#else
	ERRNO("offset: the last page of 44 bits", syscall(SYS_mmap2, NULL, PAGE, PROT_READ, MAP_SHARED, fd, 0x1000000), 0);
#endif
	p = k_mmap(NULL, 3 * PAGE, RW, MAP_SHARED, fd, 1024 * PAGE);
	CHECK("offset: far beyond the end", p != MAP_FAILED);
	NO_READ("...is SIGBUS", p, SIGBUS, BUS_ADRERR);
	munmap(p, 3 * PAGE);
	ERRNO("mmap of a closed descriptor", (close(fd), k_mmap(NULL, PAGE, RW, MAP_SHARED, fd, 0)), EBADF);
	ERRNO("...of nothing", k_mmap(NULL, 0, RW, MAP_SHARED, fd, 0), EBADF);
	ERRNO("...of length -1", k_mmap(NULL, ALL, RW, MAP_SHARED, fd, 0), EBADF);
}

int main(void)
{
	char *p;

	catch_faults();
	p = anonymous(64);
	munmap(p + 32 * PAGE, 32 * PAGE);
	lengths(p);
	k_mprotect(p, 32 * PAGE, RW);
	remaps(p);
	fixed(p);
	offsets();
	return done();
}
