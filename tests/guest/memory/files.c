/* Mappings of files: private and shared, the tail of the last page, SIGBUS, truncation, msync. */
#include "check.h"

#include <fcntl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

static int byte_at(int fd, off_t offset)
{
	char byte;

	return pread(fd, &byte, 1, offset) == 1 ? byte : -1;
}

static void shared(void)
{
	int fd = temporary_file(3 * PAGE + 100);
	char *p = mmap(hole(8), 6 * PAGE, RW, MAP_SHARED | MAP_FIXED, fd, 0), *q;

	EQUAL("page 0", p[0], 'a');
	EQUAL("page 2", p[2 * PAGE], 'c');
	EQUAL("the last byte", p[3 * PAGE + 99], 'd');
	CHECK("behind it zeros", all_are(p + 3 * PAGE + 100, 0, PAGE - 100));
	NO_READ("the page behind the end", p + 4 * PAGE, SIGBUS, BUS_ADRERR);
	NO_WRITE("...and a write", p + 5 * PAGE, SIGBUS, BUS_ADRERR);
	EQUAL("EFAULT inside a call", write(fd, p + 4 * PAGE, 1) == -1 ? errno : 0, EFAULT);
	p[5] = 'X';
	EQUAL("a store shows in read", byte_at(fd, 5), 'X');
	CHECK("a write shows in the mapping", pwrite(fd, "Y", 1, PAGE + 1) == 1 && p[PAGE + 1] == 'Y');
	q = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, PAGE);
	EQUAL("two mappings agree", q[1], 'Y');
	p[PAGE + 2] = 'Z';
	EQUAL("...at once", q[2], 'Z');
	CHECK("a byte behind the end", (p[3 * PAGE + 200] = 'T') == 'T' && lseek(fd, 0, SEEK_END) == (off_t)(3 * PAGE + 100));
	ERRNO("extend the file", ftruncate(fd, 5 * PAGE), 0);
	READS("a page that is there now", p + 4 * PAGE);
	EQUAL("...is zero", p[4 * PAGE], 0);
	NO_READ("the page behind", p + 5 * PAGE, SIGBUS, BUS_ADRERR);
	p[4 * PAGE] = 'E';
	EQUAL("...and goes to the file", byte_at(fd, 4 * PAGE), 'E');
	close(fd);
	EQUAL("the mapping outlives the descriptor", p[5], 'X');
}

static void private(void)
{
	int fd = temporary_file(3 * PAGE);
	char *p = mmap(NULL, 3 * PAGE, RW, MAP_PRIVATE, fd, 0), *q = mmap(NULL, PAGE, RW, MAP_PRIVATE, fd, 0);

	p[0] = 'P';
	EQUAL("a private store stays private", byte_at(fd, 0), 'a');
	EQUAL("...from another mapping too", q[0], 'a');
	CHECK("a page not yet written follows the file", pwrite(fd, "F", 1, PAGE) == 1 && p[PAGE] == 'F');
	CHECK("a page already written does not", pwrite(fd, "G", 1, 1) == 1 && p[1] == 'a');
	ERRNO("MADV_DONTNEED", madvise(p, PAGE, MADV_DONTNEED), 0);
	EQUAL("...goes back to the file", p[0], 'a');
	EQUAL("...as it is now", p[1], 'G');
	p = mmap(NULL, PAGE, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, 2 * PAGE);
	EQUAL("an offset", p[0], 'c');
	NO_WRITE("a read-only page", p, SIGSEGV, SEGV_ACCERR);
}

static void truncation(void)
{
	int fd = temporary_file(4 * PAGE);
	char *p = mmap(NULL, 4 * PAGE, RW, MAP_SHARED, fd, 0), *q = mmap(NULL, 4 * PAGE, RW, MAP_PRIVATE, fd, 0);

	READS("before", p + 3 * PAGE);
	q[3 * PAGE] = 'C';
	EQUAL("before, private", q[2 * PAGE], 'c');
	ERRNO("ftruncate", ftruncate(fd, PAGE + 10), 0);
	NO_READ("a page that was cut off", p + 3 * PAGE, SIGBUS, BUS_ADRERR);
	NO_READ("a private page that was cut off", q + 2 * PAGE, SIGBUS, BUS_ADRERR);
	NO_READ("a private copy that was cut off", q + 3 * PAGE, SIGBUS, BUS_ADRERR);
	READS("the page of the new end", p + PAGE);
	EQUAL("its head", p[PAGE + 9], 'b');
	CHECK("its tail is zero", all_are(p + PAGE + 10, 0, PAGE - 10));
	ERRNO("back again", ftruncate(fd, 4 * PAGE), 0);
	CHECK("the tail stays zero", all_are(p + PAGE + 10, 0, 3 * PAGE - 10));
	EQUAL("read agrees", byte_at(fd, 2 * PAGE), 0);
	ERRNO("to nothing", ftruncate(fd, 0), 0);
	NO_READ("nothing left", p, SIGBUS, BUS_ADRERR);
}

static void forked(void)
{
	int fd = temporary_file(2 * PAGE), status;
	char *p = mmap(NULL, 2 * PAGE, RW, MAP_SHARED, fd, 0), *q = mmap(NULL, 2 * PAGE, RW, MAP_PRIVATE, fd, 0);
	pid_t pid;

	q[0] = 'Q';
	pid = fork();
	if (!pid) {
		p[0] = 'C';
		q[1] = 'C';
		_exit(q[0] == 'Q' && q[PAGE] == 'b' ? 7 : 1);
	}
	waitpid(pid, &status, 0);
	EQUAL("the child", WEXITSTATUS(status), 7);
	EQUAL("a shared page of the child", p[0], 'C');
	EQUAL("a private page of the child", q[1], 'a');
}

static void msyncs(void)
{
	int fd = temporary_file(2 * PAGE);
	char *p = mmap(hole(3), 2 * PAGE, RW, MAP_SHARED | MAP_FIXED, fd, 0);

	p[0] = 'M';
	ERRNO("msync MS_SYNC", msync(p, PAGE, MS_SYNC), 0);
	ERRNO("msync MS_ASYNC", msync(p, 2 * PAGE, MS_ASYNC), 0);
	ERRNO("msync MS_INVALIDATE", msync(p, PAGE, MS_SYNC | MS_INVALIDATE), 0);
	ERRNO("msync both ways", msync(p, PAGE, MS_SYNC | MS_ASYNC), EINVAL);
	ERRNO("msync unknown flags", msync(p, PAGE, 0x100), EINVAL);
	ERRNO("msync unaligned", msync(p + 1, PAGE, MS_SYNC), EINVAL);
	ERRNO("msync length 0", msync(p, 0, MS_SYNC), 0);
	ERRNO("msync past the area", msync(p, 4 * PAGE, MS_SYNC), ENOMEM);
	ERRNO("msync of nothing", msync(hole(1), PAGE, MS_SYNC), ENOMEM);
	ERRNO("msync of anonymous memory", msync(anonymous(1), PAGE, MS_SYNC), 0);
	EQUAL("what was stored", byte_at(fd, 0), 'M');
}

/* read(2) into a mapping of the same file, and write(2) from it. */
static void through_itself(void)
{
	int fd = temporary_file(2 * PAGE);
	char *p = mmap(NULL, 2 * PAGE, RW, MAP_SHARED, fd, 0);

	EQUAL("read into itself", pread(fd, p + PAGE, PAGE, 0), PAGE);
	CHECK("...copies", all_are(p, 'a', 2 * PAGE));
	p[0] = 'W';
	EQUAL("write from itself", pwrite(fd, p, PAGE, PAGE), PAGE);
	EQUAL("...copies too", p[PAGE], 'W');
	EQUAL("writev of untouched memory", pwrite(fd, anonymous(1), PAGE, 0), PAGE);
	CHECK("...writes zeros", all_are(p, 0, PAGE));
}

int main(void)
{
	catch_faults();
	shared();
	private();
	truncation();
	forked();
	msyncs();
	through_itself();
	return done();
}
