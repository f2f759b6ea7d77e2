/* Files and their mappings are one: reads, writes, truncation, seals. */
#include "check.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#ifndef F_ADD_SEALS
#define F_ADD_SEALS 1033
#define F_GET_SEALS 1034
#endif

static void coherent(void)
{
	int fd = temporary_file(3 * PAGE), status;
	char *shared = mmap(NULL, 3 * PAGE, RW, MAP_SHARED, fd, 0), buffer[PAGE];
	char *private = mmap(NULL, 3 * PAGE, RW, MAP_PRIVATE, fd, 0);
	char *second = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, PAGE);

	EQUAL("as written", shared[PAGE], 'b');
	pwrite(fd, "XYZ", 3, PAGE + 10);
	CHECK("write shows", !memcmp(shared + PAGE + 10, "XYZ", 3) && !memcmp(private + PAGE + 10, "XYZ", 3));
	shared[PAGE + 10] = '!';
	EQUAL("pread", pread(fd, buffer, 3, PAGE + 10), 3);
	CHECK("store shows in read", !memcmp(buffer, "!YZ", 3));
	EQUAL("and in the other mapping", second[10], '!');
	EQUAL("and in the private one", private[PAGE + 10], '!');
	private[PAGE + 11] = '?';
	EQUAL("not the other way", shared[PAGE + 11], 'Y');
	shared[PAGE + 11] = '#';
	EQUAL("a copied page is its own", private[PAGE + 11], '?');
	pwrite(fd, "new", 3, 2 * PAGE);
	CHECK("an untouched private page", !memcmp(private + 2 * PAGE, "new", 3));
	if (!fork()) {
		shared[5] = 'c';
		_exit(0);
	}
	wait(&status);
	EQUAL("a child's store", shared[5], 'c');
	EQUAL("read", pread(fd, buffer, 1, 5), 1);
	EQUAL("sees it", buffer[0], 'c');
	close(fd);
	EQUAL("after close", shared[2 * PAGE], 'n');
	munmap(shared, 3 * PAGE);
	EQUAL("after munmap of one", second[10], '!');
}

static void truncation(void)
{
	int fd = temporary_file(4 * PAGE);
	char *p = mmap(NULL, 4 * PAGE, RW, MAP_SHARED, fd, 0), buffer[100];
	char *q = mmap(NULL, 4 * PAGE, RW, MAP_PRIVATE, fd, 0);

	READS("the last page", p + 3 * PAGE);
	WRITES("private copy", q + 3 * PAGE);
	ERRNO("truncate", ftruncate(fd, PAGE + 100), 0);
	NO_READ("gone", p + 2 * PAGE, SIGBUS, BUS_ADRERR);
	NO_READ("gone for private too", q + 3 * PAGE, SIGBUS, BUS_ADRERR);
	NO_WRITE("write", p + 3 * PAGE, SIGBUS, BUS_ADRERR);
	READS("the cut page is there", p + PAGE + 4000);
	EQUAL("its rest is zero", p[PAGE + 100], 0);
	EQUAL("its start is not", p[PAGE + 99], 'b');
	p[PAGE + 200] = 'z';
	ERRNO("grow", ftruncate(fd, 3 * PAGE), 0);
	EQUAL("what was written behind the end is not there", p[PAGE + 200], 0);
	READS("a new page", p + 2 * PAGE);
	EQUAL("of zeros", p[2 * PAGE], 0);
	NO_READ("beyond", p + 3 * PAGE, SIGBUS, BUS_ADRERR);
	EQUAL("pread", pread(fd, buffer, 100, 2 * PAGE), 100);
	CHECK("zeros", all_are(buffer, 0, 100));
	EQUAL("fill by write", pwrite(fd, "end", 3, 4 * PAGE - 3), 3);
	CHECK("seen", !memcmp(p + 4 * PAGE - 3, "end", 3));
	close(fd);
}

static void files(void)
{
	int fd = temporary_file(PAGE), ro, wo;
	char name[40];
	void *p;

	snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
	ro = open(name, O_RDONLY), wo = open(name, O_WRONLY);
	CHECK("opened again", ro >= 0 && wo >= 0);
	ERRNO("shared writable of read-only", mmap(NULL, PAGE, RW, MAP_SHARED, ro, 0) == MAP_FAILED ? -1 : 0, EACCES);
	ERRNO("write-only", mmap(NULL, PAGE, PROT_READ, MAP_SHARED, wo, 0) == MAP_FAILED ? -1 : 0, EACCES);
	p = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, ro, 0);
	CHECK("shared read-only", p != MAP_FAILED);
	ERRNO("mprotect", mprotect(p, PAGE, RW), EACCES);
	p = mmap(NULL, PAGE, RW, MAP_PRIVATE, ro, 0);
	WRITES("private writable of read-only", p);
	ERRNO("a directory", mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, open("/tmp", O_RDONLY), 0) == MAP_FAILED ? -1 : 0, ENODEV);
	p = mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, temporary_file(0), 0);
	NO_READ("an empty file", p, SIGBUS, BUS_ADRERR);
	fd = temporary_file(3 * PAGE);
	ERRNO("fallocate", fallocate(fd, 0, 0, 5 * PAGE), 0);
	EQUAL("size", lseek(fd, 0, SEEK_END), 5 * PAGE);
	ERRNO("KEEP_SIZE", fallocate(fd, 1, 0, 9 * PAGE), 0);
	EQUAL("size", lseek(fd, 0, SEEK_END), 5 * PAGE);
	p = mmap(NULL, PAGE, RW, MAP_SHARED, fd, PAGE);
	READS("page 1", p);
	ERRNO("PUNCH_HOLE", fallocate(fd, 3, PAGE - 10, PAGE + 20), 0);
	EQUAL("zero", *(char *)p, 0);
	EQUAL("pread", pread(fd, name, 30, PAGE - 20), 30);
	CHECK("punched", all_are(name, 'a', 10) && all_are(name + 10, 0, 20));
	EQUAL("after it", pread(fd, name, 1, 2 * PAGE + 10), 1);
	EQUAL("the old", name[0], 'c');
	ERRNO("PUNCH_HOLE beyond the end", fallocate(fd, 3, 100 * PAGE + 5, 10), 0);
	ERRNO("PUNCH_HOLE, huge", fallocate(fd, 3, 100 * PAGE, 1LL << 40), 0);
	EQUAL("the size stays", lseek(fd, 0, SEEK_END), 5 * PAGE);
	ERRNO("fallocate, mode", fallocate(fd, 2, 0, PAGE), EOPNOTSUPP);
	ERRNO("fallocate, empty", fallocate(fd, 0, 0, 0), EINVAL);
}

static void memfd(void)
{
	int fd = syscall(SYS_memfd_create, "test", 2 | 1);
	char text[100] = "", name[40];
	char *p;

	CHECK("memfd_create", fd >= 0);
	ERRNO("unknown flags", syscall(SYS_memfd_create, "test", 0x8000), EINVAL);
	EQUAL("FD_CLOEXEC", fcntl(fd, F_GETFD), FD_CLOEXEC);
	snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
	readlink(name, text, 99);
	CHECK("its name", !strcmp(text, "/memfd:test (deleted)"));
	ERRNO("size", ftruncate(fd, 2 * PAGE), 0);
	p = mmap(NULL, PAGE, RW, MAP_SHARED, fd, 0);
	strcpy(p, "mapped");
	EQUAL("read", read(fd, text, 6), 6);
	CHECK("the same", !memcmp(text, "mapped", 6));
	EQUAL("no seals", fcntl(fd, F_GET_SEALS), 0);
	ERRNO("F_SEAL_WRITE while mapped", fcntl(fd, F_ADD_SEALS, 8), EBUSY);
	munmap(p, PAGE);
	ERRNO("F_SEAL_SHRINK and GROW", fcntl(fd, F_ADD_SEALS, 2 | 4), 0);
	ERRNO("shrink", ftruncate(fd, PAGE), EPERM);
	ERRNO("grow", ftruncate(fd, 3 * PAGE), EPERM);
	ERRNO("grow by write", pwrite(fd, "x", 1, 2 * PAGE), EPERM);
	EQUAL("write inside", pwrite(fd, "x", 1, 0), 1);
	ERRNO("F_SEAL_WRITE", fcntl(fd, F_ADD_SEALS, 8), 0);
	ERRNO("write", pwrite(fd, "x", 1, 0), EPERM);
	ERRNO("map writable", mmap(NULL, PAGE, RW, MAP_SHARED, fd, 0) == MAP_FAILED ? -1 : 0, EPERM);
	CHECK("map private", mmap(NULL, PAGE, RW, MAP_PRIVATE, fd, 0) != MAP_FAILED);
	p = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, 0);
	CHECK("map read-only", p != MAP_FAILED);
	ERRNO("mprotect", mprotect(p, PAGE, RW), EACCES);
	ERRNO("F_SEAL_SEAL", fcntl(fd, F_ADD_SEALS, 1), 0);
	ERRNO("no more seals", fcntl(fd, F_ADD_SEALS, 1), EPERM);
	fd = syscall(SYS_memfd_create, "plain", 0);
	EQUAL("without ALLOW_SEALING", fcntl(fd, F_GET_SEALS), 1);
	ERRNO("add", fcntl(fd, F_ADD_SEALS, 2), EPERM);
	ERRNO("no memfd", fcntl(open("/etc/passwd", O_RDONLY), F_GET_SEALS), EINVAL);
}

int main(void)
{
	catch_faults();
	coherent();
	truncation();
	files();
	memfd();
	return done();
}
