/*
 * holes FILE: a file of many GiB with little in it gets holes, by fallocate and madvise; what was cached and mapped of
 * it has them too, and no zero is written.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define SIZE (1L << 34)
#define PAGE 4096L

static int fd;

/* The bytes around `at`, of the file. */
static void look(const char *what, long at)
{
	char b[9] = "";

	printf("%s %ld:", what, (long)pread(fd, b, 8, at - 4));
	for (int i = 0; i < 8; i++)
		printf(" %x", b[i]);
	printf("\n");
}

int main(int argc, char **argv)
{
	char block[8 * PAGE];

	fd = open(argv[1], O_RDWR | O_CREAT | O_TRUNC, 0600);
	ftruncate(fd, SIZE);
	memset(block, 'x', sizeof(block));
	pwrite(fd, block, sizeof(block), 0);
	pwrite(fd, block, sizeof(block), SIZE - sizeof(block));
	char *shared = mmap(0, 8 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	char *private = mmap(0, 8 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	shared[2 * PAGE] = 's', shared[5 * PAGE + 9] = 's', shared[PAGE + 10] = 's';
	private[3 * PAGE] = 'p';
	printf("%d\n", fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, PAGE + 100, SIZE - 2 * PAGE));
	look("begin", PAGE + 100), look("end", SIZE - PAGE + 100), look("stays", PAGE + 10);
	printf("%x %x %x %x %x\n", shared[PAGE + 99], shared[PAGE + 100], shared[2 * PAGE], private[3 * PAGE], shared[7 * PAGE]);
	shared[6 * PAGE] = 'n';
	look("after", 6 * PAGE);
	printf("%d\n", fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 10, 20));
	look("small", 10), look("small", 30);
	printf("%d\n", madvise(shared + 6 * PAGE, PAGE, MADV_REMOVE));
	look("removed", 6 * PAGE);
	printf("%d %d\n", fallocate(fd, FALLOC_FL_PUNCH_HOLE, 0, 20), errno);
	printf("%d\n", fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, SIZE - 5, 1L << 50));
	printf("%ld\n", (long)lseek(fd, 0, SEEK_END));
	look("last", SIZE - 4);
	return msync(shared, 8 * PAGE, MS_SYNC) || close(fd);
}
