/* mmap(2), munmap(2) and mprotect(2), errno by errno. */
#include "check.h"

#include <fcntl.h>
#include <stdint.h>
#include <sys/syscall.h>

#ifdef __x86_64__
#define TOP ((char *)0x7ffffffff000)
#else
#define TOP ((char *)0xffffe000)
#endif

static void mmap_errors(void)
{
	int readonly = open("/proc/self/exe", O_RDONLY), dir = open("/", O_RDONLY | O_DIRECTORY), pipes[2];
	int file = temporary_file(2 * PAGE), writeonly, fd, plain;
	char name[] = "/tmp/nopage-XXXXXX", *p, *q;

	ERRNO("length 0", mmap(NULL, 0, RW, ANON, -1, 0), EINVAL);
	ERRNO("length that overflows", mmap(NULL, SIZE_MAX, RW, ANON, -1, 0), ENOMEM);
	ERRNO("length above the address space", mmap(NULL, SIZE_MAX - 16 * PAGE, RW, ANON, -1, 0), ENOMEM);
	ERRNO("no type", mmap(NULL, PAGE, RW, MAP_ANONYMOUS, -1, 0), EINVAL);
	ERRNO("unaligned MAP_FIXED", mmap(hole(2) + 1, PAGE, RW, ANON | MAP_FIXED, -1, 0), EINVAL);
	ERRNO("MAP_FIXED past the top", mmap(TOP, 2 * PAGE, RW, ANON | MAP_FIXED, -1, 0), ENOMEM);
	ERRNO("closed descriptor", mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, 999, 0), EBADF);
	ERRNO("descriptor -1", mmap(NULL, PAGE, PROT_READ, MAP_SHARED, -1, 0), EBADF);
	ERRNO("descriptor ignored when anonymous", mmap(NULL, PAGE, PROT_READ, ANON, 999, 0), 0);
	ERRNO("unaligned offset", mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, file, 100), EINVAL);
	ERRNO("offset past the end of the file", mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, file, 100 * PAGE), 0);
	ERRNO("directory", mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, dir, 0), ENODEV);
	ERRNO("shared writable of a read-only descriptor", mmap(NULL, PAGE, RW, MAP_SHARED, readonly, 0), EACCES);
	ERRNO("shared readable of a read-only descriptor", mmap(NULL, PAGE, PROT_READ, MAP_SHARED, readonly, 0), 0);
	ERRNO("private writable of a read-only descriptor", mmap(NULL, PAGE, RW, MAP_PRIVATE, readonly, 0), 0);
	plain = mkstemp(name);
	writeonly = open(name, O_WRONLY);
	unlink(name);
	ERRNO("write-only descriptor", mmap(NULL, PAGE, PROT_WRITE, MAP_SHARED, writeonly, 0), EACCES);
	ERRNO("write-only descriptor, private", mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, writeonly, 0), EACCES);
	close(plain);
	if (pipe(pipes) == 0)
		ERRNO("pipe", mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, pipes[0], 0), ENODEV);
	fd = open("/dev/null", O_RDWR);
	ERRNO("/dev/null", mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, fd, 0), ENODEV);
	ERRNO("shared that grows down", mmap(NULL, PAGE, RW, MAP_SHARED | MAP_ANONYMOUS | MAP_GROWSDOWN, -1, 0), EINVAL);
	ERRNO("file that grows down, shared", mmap(NULL, PAGE, RW, MAP_SHARED | MAP_GROWSDOWN, file, 0), EINVAL);
	ERRNO("MAP_SHARED_VALIDATE", mmap(NULL, PAGE, PROT_READ, MAP_SHARED_VALIDATE, file, 0), 0);
	ERRNO("MAP_SHARED_VALIDATE, unknown flag", mmap(NULL, PAGE, PROT_READ, MAP_SHARED_VALIDATE | 0x200000, file, 0),
	      EOPNOTSUPP);
	ERRNO("MAP_SHARED, unknown flag", mmap(NULL, PAGE, PROT_READ, MAP_SHARED | 0x200000, file, 0), 0);

	p = anonymous(3);
	ERRNO("MAP_FIXED_NOREPLACE over an area", mmap(p + PAGE, PAGE, RW, ANON | MAP_FIXED_NOREPLACE, -1, 0), EEXIST);
	ERRNO("MAP_FIXED_NOREPLACE over an end", mmap(p + 2 * PAGE, 2 * PAGE, RW, ANON | MAP_FIXED_NOREPLACE, -1, 0),
	      EEXIST);
	q = hole(2);
	CHECK("MAP_FIXED_NOREPLACE in a hole", mmap(q, PAGE, RW, ANON | MAP_FIXED_NOREPLACE, -1, 0) == q);
	CHECK("MAP_FIXED replaces", mmap(p + PAGE, PAGE, RW, ANON | MAP_FIXED, -1, 0) == p + PAGE);
	q = hole(2);
	CHECK("a free hint is honoured", mmap(q, PAGE, RW, ANON, -1, 0) == q);
	CHECK("a hint that is taken is not", mmap(p, PAGE, RW, ANON, -1, 0) != p);
	CHECK("an unaligned hint goes to a page", ((uintptr_t)mmap(hole(2) + 123, 1, RW, ANON, -1, 0) & 4095) == 0);
	q = mmap(NULL, 1, RW, ANON, -1, 0);
	WRITES("a length of 1 is a whole page", q + PAGE - 1);
}

static void munmap_errors(void)
{
	char *p = anonymous(4);

	ERRNO("munmap unaligned", munmap(p + 1, PAGE), EINVAL);
	ERRNO("munmap length 0", munmap(p, 0), EINVAL);
	ERRNO("munmap of length 1", munmap(p, 1), 0);
	NO_READ("...takes a page", p, SIGSEGV, SEGV_MAPERR);
	READS("...and no more", p + PAGE);
	ERRNO("munmap of nothing", munmap(hole(1), PAGE), 0);
	ERRNO("munmap past the top", munmap(TOP, 16 * PAGE), EINVAL);
	ERRNO("munmap that overflows", munmap(p, SIZE_MAX - PAGE), EINVAL);
	ERRNO("munmap over areas and holes", munmap(p - PAGE, 6 * PAGE), 0);
}

static void mprotect_errors(void)
{
	int readonly = open("/proc/self/exe", O_RDONLY);
	char *p = anonymous(4), *q;

	ERRNO("mprotect unaligned", syscall(SYS_mprotect, p + 1, PAGE, PROT_READ), EINVAL); /* musl would round */
	ERRNO("mprotect length 0", mprotect(p, 0, PROT_READ), 0);
	ERRNO("mprotect length 0 of nothing", mprotect(hole(1), 0, PROT_READ), 0);
	ERRNO("mprotect that overflows", mprotect(p, SIZE_MAX & ~(PAGE - 1), RW), ENOMEM);
	ERRNO("mprotect of nothing", mprotect(hole(1), PAGE, PROT_READ), ENOMEM);
	ERRNO("mprotect with unknown bits", mprotect(p, PAGE, PROT_READ | 0x100), EINVAL);
	ERRNO("mprotect that grows both ways", mprotect(p, PAGE, PROT_READ | PROT_GROWSDOWN | PROT_GROWSUP), EINVAL);
	ERRNO("mprotect that grows down, elsewhere", mprotect(p, PAGE, PROT_READ | PROT_GROWSDOWN), EINVAL);
	munmap(p + 2 * PAGE, PAGE);
	ERRNO("mprotect over a hole", mprotect(p, 4 * PAGE, PROT_READ), ENOMEM);
	NO_WRITE("...changes what is before it", p, SIGSEGV, SEGV_ACCERR);
	WRITES("...and nothing behind it", p + 3 * PAGE);
	q = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, readonly, 0);
	ERRNO("mprotect to writable of a read-only file", mprotect(q, PAGE, RW), EACCES);
	q = mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, readonly, 0);
	ERRNO("mprotect to writable of a private mapping", mprotect(q, PAGE, RW), 0);
	WRITES("...which then takes a write", q);
}

static void protections(void)
{
	char *p = anonymous(3);

	mprotect(p + PAGE, PAGE, PROT_READ);
	WRITES("left of a read-only page", p);
	NO_WRITE("a read-only page", p + PAGE, SIGSEGV, SEGV_ACCERR);
	READS("a read-only page, reading", p + PAGE);
	WRITES("right of a read-only page", p + 2 * PAGE);
	mprotect(p + PAGE, PAGE, PROT_NONE);
	NO_READ("PROT_NONE", p + PAGE, SIGSEGV, SEGV_ACCERR);
	p[0] = 'x';
	mprotect(p, PAGE, PROT_NONE);
	NO_READ("PROT_NONE of a touched page", p, SIGSEGV, SEGV_ACCERR);
	mprotect(p, PAGE, PROT_READ);
	EQUAL("...keeps its contents", p[0], 'x');
	NO_WRITE("...and is not writable", p, SIGSEGV, SEGV_ACCERR);
	mprotect(p, PAGE, RW);
	WRITES("...until it is", p);
	mprotect(p, PAGE, PROT_WRITE);
	READS("PROT_WRITE alone reads on x86", p);
	munmap(p + PAGE, PAGE);
	NO_READ("an unmapped page", p + PAGE, SIGSEGV, SEGV_MAPERR);
	NO_READ("the null pointer", (char *)8, SIGSEGV, SEGV_MAPERR);
}

int main(void)
{
	catch_faults();
	mmap_errors();
	munmap_errors();
	mprotect_errors();
	protections();
	return done();
}
