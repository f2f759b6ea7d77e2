/* Mappings of files while the file changes under them. */
#include "check.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#ifndef FALLOC_FL_PUNCH_HOLE
#define FALLOC_FL_KEEP_SIZE 1
#define FALLOC_FL_PUNCH_HOLE 2
#endif

static char page[PAGE];

static char *map(int fd, int pages, int prot, int flags)
{
	char *p = mmap(NULL, pages * PAGE, prot, flags, fd, 0);

	if (p == MAP_FAILED)
		_exit(2);
	return p;
}

static void sizes(void)
{
	int fd = temporary_file(2 * PAGE + 100);
	char *s = map(fd, 5, RW, MAP_SHARED), *p = map(fd, 5, RW, MAP_PRIVATE);

	CHECK("the rest of the last page is zero", all_are(s + 2 * PAGE + 100, 0, PAGE - 100));
	s[2 * PAGE + 200] = 'r';
	EQUAL("a store into the rest is seen by the other mapping", p[2 * PAGE + 200], 'r');
	EQUAL("...and not by read", pread(fd, page, PAGE, 2 * PAGE), 100);
	NO_READ("behind the end", s + 3 * PAGE, SIGBUS, BUS_ADRERR);
	NO_WRITE("behind the end, private", p + 3 * PAGE, SIGBUS, BUS_ADRERR);
	EQUAL("read into a page behind the end", (errno = 0, pread(fd, s + 3 * PAGE, 10, 0)) * 1000 - errno, -1000 - EFAULT);
	EQUAL("write from a page behind the end", (errno = 0, pwrite(fd, s + 3 * PAGE, 10, 0)) * 1000 - errno, -1000 - EFAULT);
	EQUAL("read across the end of the mapping's file", pread(fd, s + 3 * PAGE - 10, 20, 0), 10);
	ftruncate(fd, 4 * PAGE);
	CHECK("a longer file: the rest was zeroed", s[2 * PAGE + 200] == 0);
	READS("a longer file: the new page is there", s + 3 * PAGE);
	WRITES("...private too", p + 3 * PAGE);
	NO_READ("...and the next is not", s + 4 * PAGE, SIGBUS, BUS_ADRERR);
	pwrite(fd, "x", 1, 5 * PAGE - 1);
	EQUAL("extended by write", s[5 * PAGE - 1], 'x');
	p[PAGE] = 'P';
	p[4 * PAGE] = 'P';
	ftruncate(fd, PAGE + 50);
	EQUAL("truncated: a private copy on the last page stays", p[PAGE], 'P');
	NO_READ("truncated: a private copy behind it goes", p + 4 * PAGE, SIGBUS, BUS_ADRERR);
	NO_WRITE("truncated: shared", s + 2 * PAGE, SIGBUS, BUS_ADRERR);
	CHECK("truncated: the rest of the last page", all_are(s + PAGE + 50, 0, PAGE - 50));
	ftruncate(fd, 5 * PAGE);
	CHECK("extended again: zeros", all_are(s + 2 * PAGE, 0, 3 * PAGE));
	EQUAL("extended again: the private copy does not come back", p[4 * PAGE], 0);
	ftruncate(fd, 0);
	NO_READ("truncated to nothing", s, SIGBUS, BUS_ADRERR);
	ERRNO("madvise DONTNEED behind the end", madvise(s, 5 * PAGE, MADV_DONTNEED), 0);
	ERRNO("POPULATE behind the end works", mmap(NULL, PAGE, RW, MAP_SHARED | MAP_POPULATE, fd, 0), 0);
	ERRNO("MAP_LOCKED behind the end works", mmap(NULL, PAGE, RW, MAP_SHARED | MAP_LOCKED, fd, 0), 0);
	ERRNO("mlock behind the end", mlock(s, PAGE), ENOMEM);
	ERRNO("madvise POPULATE_READ behind the end", madvise(s + PAGE, PAGE, 22), EFAULT);
	munmap(s, 5 * PAGE);
	munmap(p, 5 * PAGE);
	close(fd);
}

static void sharing(void)
{
	int fd = temporary_file(4 * PAGE), other;
	char *s = map(fd, 4, RW, MAP_SHARED), *p = map(fd, 4, RW, MAP_PRIVATE), *t, c, path[64];

	EQUAL("private, untouched", p[0], 'a');
	pwrite(fd, "W", 1, 0);
	EQUAL("write shows in a private page that is only read", p[0], 'W');
	s[1] = 'S';
	EQUAL("a shared store does too", p[1], 'S');
	p[2] = 'P';
	pwrite(fd, "XYZ", 3, 0);
	CHECK("a private copy does not follow", p[0] == 'W' && p[1] == 'S' && p[2] == 'P');
	CHECK("read sees the shared store", pread(fd, &c, 1, 1) == 1 && c == 'Y');
	s[PAGE] = 'T';
	CHECK("read sees a store at once", pread(fd, &c, 1, PAGE) == 1 && c == 'T');
	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	other = open(path, O_RDWR | O_APPEND);
	if (other >= 0) {
		t = map(other, 4, RW, MAP_SHARED);
		t[2 * PAGE] = 'U';
		EQUAL("O_APPEND maps like any other", s[2 * PAGE], 'U');
		munmap(t, 4 * PAGE);
	}
	close(other);
	if (!fork()) {
		s[3 * PAGE] = 'C';
		p[3 * PAGE] = 'C';
		_exit(0);
	}
	wait(NULL);
	CHECK("a child's stores: shared yes, private no", s[3 * PAGE] == 'C' && p[3 * PAGE] == 'C');
	p[3 * PAGE + 1] = 'D';
	if (!fork()) {
		p[3 * PAGE + 1] = 'E';
		_exit(p[3 * PAGE + 1] != 'E');
	}
	wait(NULL);
	EQUAL("a child's private store stays its own", p[3 * PAGE + 1], 'D');
	ERRNO("write from its own mapping", pwrite(fd, s, PAGE, PAGE) - PAGE, 0);
	EQUAL("...copies", s[PAGE + 2], 'Z');
	ERRNO("read into its own mapping", pread(fd, s + 2 * PAGE, PAGE, 0) - PAGE, 0);
	EQUAL("...copies as well", s[2 * PAGE + 2], 'Z');
	ERRNO("msync", msync(s, 4 * PAGE, MS_SYNC | MS_INVALIDATE), 0);
	close(fd);
	s[10] = 'k';
	EQUAL("the mapping outlives the descriptor", s[10], 'k');
	t = mremap(s, 0, 2 * PAGE, MREMAP_MAYMOVE);
	EQUAL("...and can be doubled", t == MAP_FAILED ? -1 : t[10], 'k');
	munmap(s, PAGE);
	EQUAL("one half gone, the other one is there", t[10], 'k');
	NO_READ("...", s, SIGSEGV, SEGV_MAPERR);
	munmap(p, 4 * PAGE);
	munmap(s, 4 * PAGE);
	munmap(t, 2 * PAGE);
}

static void holes(void)
{
	int fd = memfd_create("holes", 0);
	char *s, *p;
	unsigned char vec[4];

	ftruncate(fd, 4 * PAGE);
	s = map(fd, 4, RW, MAP_SHARED);
	p = map(fd, 4, RW, MAP_PRIVATE);
	memset(s, 's', 4 * PAGE);
	p[PAGE] = 'P';
	EQUAL("before the hole", p[2 * PAGE], 's');
	ERRNO("punch", fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, PAGE, 2 * PAGE), 0);
	EQUAL("a hole in shared memory", s[PAGE], 0);
	EQUAL("a private copy survives a hole", p[PAGE], 'P');
	EQUAL("what was only read does not", p[2 * PAGE], 0);
	memset(s, 't', 4 * PAGE);
	ERRNO("MADV_REMOVE", madvise(s, PAGE, MADV_REMOVE), 0);
	EQUAL("...is zero", s[0], 0);
	EQUAL("...for the other mapping too", p[0], 0);
	ERRNO("MADV_REMOVE of a private mapping", madvise(p, PAGE, MADV_REMOVE), EACCES);
	EQUAL("the private copy survives still", p[PAGE], 'P');
	EQUAL("...and the rest of it", p[PAGE + 1], 's');
	ERRNO("DONTNEED drops the private copy", madvise(p + PAGE, PAGE, MADV_DONTNEED), 0);
	EQUAL("...and the file shows", p[PAGE], 't');
	memset(s, 'v', PAGE);
	ERRNO("DONTNEED of shared memory", madvise(s, 4 * PAGE, MADV_DONTNEED), 0);
	EQUAL("...loses nothing", s[0], 'v');
	ERRNO("mincore", mincore(s, 4 * PAGE, vec), 0);
	CHECK("...all there", vec[0] & 1 && vec[1] & 1);
	ERRNO("seal against shrinking", fcntl(fd, 1033, 2), EPERM);
	close(fd);
}

static void readonly(void)
{
	int fd, rd;
	char *p, name[] = "/tmp/nopage-XXXXXX";

	fd = mkstemp(name);
	write(fd, "hello", 5);
	rd = open(name, O_RDONLY);
	p = map(rd, 1, PROT_READ, MAP_SHARED);
	ERRNO("read-only shared: no writing", mprotect(p, PAGE, RW), EACCES);
	NO_WRITE("...", p, SIGSEGV, SEGV_ACCERR);
	pwrite(fd, "H", 1, 0);
	EQUAL("read-only shared sees writes", p[0], 'H');
	EQUAL("read into it", (errno = 0, read(fd, p, 1)) * 1000 - errno, 0);
	lseek(fd, 0, SEEK_SET);
	EQUAL("read into it, with data", (errno = 0, read(fd, p, 1)) * 1000 - errno, -1000 - EFAULT);
	p = map(rd, 1, PROT_READ, MAP_PRIVATE);
	ERRNO("read-only private: writing allowed", mprotect(p, PAGE, RW), 0);
	p[1] = 'E';
	pread(fd, name + 1, 1, 1);
	EQUAL("...in private", name[1], 'e');
	EQUAL("...", p[1], 'E');
	close(rd);
	name[1] = 't';
	p = map(fd, 1, PROT_WRITE, MAP_SHARED);
	WRITES("write-only pages can be written", p);
	READS("...and read, on x86", p);
	close(fd);
	unlink(name);
}

int main(void)
{
	catch_faults();
	sizes();
	sharing();
	holes();
	readonly();
	return done();
}
