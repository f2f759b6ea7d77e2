/* Changes its address space in every way that there is, and stops for SIGUSR1 after each. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PAGE = 4096 };

static void look(int number)
{
	(void)number;
}

static void stop(void)
{
	raise(SIGUSR1);
}

static char *map(size_t pages, int prot, int flags)
{
	char *at = mmap(NULL, pages * PAGE, prot, flags | MAP_ANONYMOUS, -1, 0);

	if (at == MAP_FAILED) {
		perror("mmap");
		exit(1);
	}
	return at;
}

int main(void)
{
	char *a, *b, *c, name[] = "/tmp/spaces.XXXXXX";
	int fd, status = 0;

	signal(SIGUSR1, look);
	a = map(700, PROT_READ | PROT_WRITE, MAP_PRIVATE);
	for (int i = 0; i < 700; i += 3)
		a[i * PAGE] = 1;
	for (int i = 1; i < 700; i += 9)
		(void)*(volatile char *)(a + i * PAGE);
	stop();
	mprotect(a + 10 * PAGE, 50 * PAGE, PROT_READ);
	stop();
	munmap(a + 20 * PAGE, 8 * PAGE);
	mprotect(a + 100 * PAGE, 5 * PAGE, PROT_NONE);
	stop();
	madvise(a + 200 * PAGE, 100 * PAGE, MADV_DONTNEED);
	a[210 * PAGE] = 2;
	stop();
	b = mremap(a + 400 * PAGE, 20 * PAGE, 60 * PAGE, MREMAP_MAYMOVE);
	if (b == MAP_FAILED)
		return perror("mremap"), 1;
	b[50 * PAGE] = 3;
	stop();
	c = map(16, PROT_READ | PROT_WRITE, MAP_SHARED);
	c[0] = c[5 * PAGE] = 4;
	fd = mkstemp(name);
	unlink(name);
	if (fd < 0 || ftruncate(fd, 8 * PAGE))
		return perror("ftruncate"), 1;
	b = mmap(NULL, 8 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	for (int i = 0; i < 8; i++)
		b[i * PAGE] = 5;
	stop();
	if (ftruncate(fd, 3 * PAGE))
		return perror("ftruncate"), 1;
	a[0] = 9;
	stop();
	if (!fork()) {
		a[3 * PAGE] = 6;
		c[PAGE] = 7;
		stop();
		munmap(a, 10 * PAGE);
		stop();
		_exit(c[0] == 4 ? 0 : 1);
	}
	wait(&status);
	a[6 * PAGE] = 8;
	stop();
	mprotect(a + 100 * PAGE, 5 * PAGE, PROT_READ | PROT_WRITE); /* the areas become one again */
	stop();
	printf("%d %d\n", WEXITSTATUS(status), c[PAGE]);
	return 0;
}
