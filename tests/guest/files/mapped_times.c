/* What a shared mapping does to a file's time stamps: mmap reads it, the first store to a page changes it. */
#define _GNU_SOURCE
#include "check.h"
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SIZE (3 * 4096)

static struct stat before, after;

static int same(struct timespec a, struct timespec b)
{
	return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

static int later(struct timespec a, struct timespec b)
{
	return a.tv_sec > b.tv_sec || (a.tv_sec == b.tv_sec && a.tv_nsec > b.tv_nsec);
}

/* Longer than the host's clock of time stamps needs for its next step. */
static void wait_a_bit(void)
{
	struct timespec time = { 0, 30000000 };

	nanosleep(&time, NULL);
}

int main(void)
{
	char name[] = "/tmp/mapped-times-XXXXXX", *memory;
	struct timespec old[2] = { { 1000000000, 5 }, { 1000000000, 5 } };
	int fd = mkstemp(name), status;

	CHECK("file", fd >= 0 && ftruncate(fd, SIZE) == 0);
	CHECK("old times", futimens(fd, old) == 0 && fstat(fd, &before) == 0);
	wait_a_bit();

	memory = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	CHECK("mapped", memory != MAP_FAILED && fstat(fd, &after) == 0);
	CHECK("mmap: atime", later(after.st_atim, before.st_atim));
	CHECK("mmap: not mtime", same(after.st_mtim, before.st_mtim));
	CHECK("mmap: not ctime", same(after.st_ctim, before.st_ctim));

	wait_a_bit();
	memory[4096] = 1;
	msync(memory, SIZE, MS_SYNC);
	fstat(fd, &after);
	CHECK("store: mtime", later(after.st_mtim, before.st_mtim));
	CHECK("store: ctime", later(after.st_ctim, before.st_ctim));

	/* The kernel's own store through the mapping counts as the program's. */
	CHECK("old times", futimens(fd, old) == 0 && fstat(fd, &before) == 0);
	wait_a_bit();
	{
		int ends[2];

		CHECK("pipe", pipe(ends) == 0 && write(ends[1], "x", 1) == 1);
		EQUAL("read into it", read(ends[0], memory + 8192, 1), 1);
	}
	msync(memory, SIZE, MS_SYNC);
	fstat(fd, &after);
	CHECK("read: mtime", later(after.st_mtim, before.st_mtim));

	/* A private mapping changes nothing but its own copy. */
	CHECK("old times", futimens(fd, old) == 0 && fstat(fd, &before) == 0);
	wait_a_bit();
	munmap(memory, SIZE);
	memory = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	memory[0] = 1;
	fstat(fd, &after);
	CHECK("private: not mtime", same(after.st_mtim, before.st_mtim));
	munmap(memory, SIZE);
	close(fd);

	/* O_NOATIME: the mapping leaves no trace; and a child's store is seen through another descriptor. */
	fd = open(name, O_RDWR | O_NOATIME);
	CHECK("old times", fd >= 0 && futimens(fd, old) == 0 && fstat(fd, &before) == 0);
	wait_a_bit();
	memory = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	stat(name, &after);
	CHECK("O_NOATIME", memory != MAP_FAILED && same(after.st_atim, before.st_atim));
	if (fork() == 0) {
		memory[1] = 1;
		_exit(msync(memory, SIZE, MS_SYNC));
	}
	wait(&status);
	stat(name, &after);
	CHECK("child", status == 0 && later(after.st_mtim, before.st_mtim));
	unlink(name);
	return done();
}
