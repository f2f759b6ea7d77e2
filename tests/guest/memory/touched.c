/* What is resident, and how many faults it took: exactly the pages that were touched. */
#include "check.h"

#include <fcntl.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>

#define PAGE 4096
#define PAGES 300

static long faults(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return usage.ru_minflt;
}

static char *fresh(void)
{
	char *p = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	madvise(p, PAGES * PAGE, MADV_NOHUGEPAGE);
	return p;
}

static int resident(char *p)
{
	static unsigned char vec[PAGES];
	int n = 0, i;

	mincore(p, PAGES * PAGE, vec);
	for (i = 0; i < PAGES; i++)
		n += vec[i] & 1;
	return n;
}

static int in_pagemap(char *p)
{
	static uint64_t entry[PAGES];
	int fd = open("/proc/self/pagemap", O_RDONLY), n = 0, i;

	pread(fd, entry, sizeof entry, (uintptr_t)p / PAGE * 8);
	for (i = 0; i < PAGES; i++)
		n += entry[i] >> 63;
	close(fd);
	return n;
}

static long kilobytes(const char *name)
{
	char line[200];
	long value = -1;
	FILE *f = fopen("/proc/self/status", "r");

	while (fgets(line, sizeof line, f))
		if (!strncmp(line, name, strlen(name)))
			sscanf(line + strlen(name), ": %ld", &value);
	fclose(f);
	return value;
}

/* Where the pages go that nobody has touched: a call that moves, copies, cuts or shows entries. */
static void after(const char *what, char *p, int touched)
{
	printf("%s: %d resident, %d in pagemap\n", what, resident(p), in_pagemap(p));
	EQUAL("as many", resident(p), touched);
}

int main(void)
{
	char *p, *q;
	long before, rss;
	int i, status, sum = 0;

	in_pagemap(fresh()), resident(fresh()), kilobytes("RssAnon"); /* libc's own pages */
	printf("warm\n");

	p = fresh();
	before = faults();
	for (i = 0; i < 100; i++)
		p[i * PAGE] = 1;
	EQUAL("one after the other", faults() - before, 100);
	after("sequential", p, 100);
	before = faults();
	for (i = 100; i < PAGES; i += 7)
		p[i * PAGE] = 1, sum++;
	EQUAL("here and there", faults() - before, sum);
	after("scattered", p, 100 + sum);

	p = fresh();
	rss = kilobytes("RssAnon");
	p[50 * PAGE] = 1;
	CHECK("RssAnon", kilobytes("RssAnon") - rss == 4);
	after("one", p, 1);
	p[51 * PAGE] = 2;
	mprotect(p + 40 * PAGE, 20 * PAGE, PROT_READ);
	after("mprotect", p, 2);
	EQUAL("kept", p[51 * PAGE], 2);
	mprotect(p + 40 * PAGE, 20 * PAGE, PROT_READ | PROT_WRITE);
	p[52 * PAGE] = 3;
	q = mremap(p, PAGES * PAGE, PAGES * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, fresh());
	after("mremap", q, 3);
	EQUAL("moved", q[52 * PAGE], 3);
	q[53 * PAGE] = 4;
	munmap(q + 53 * PAGE, PAGE);
	mmap(q + 53 * PAGE, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	after("munmap", q, 3);
	q[53 * PAGE] = 5;
	madvise(q + 50 * PAGE, 2 * PAGE, MADV_DONTNEED);
	after("MADV_DONTNEED", q, 2);

	p = fresh();
	p[8 * PAGE] = 1;
	if (!fork()) {
		faults(); /* the stack, shared by fork, is copied at the first store: not what is counted */
		before = faults();
		p[9 * PAGE] = 2;
		p[8 * PAGE] = 3;
		EQUAL("the child's faults", faults() - before, 2);
		after("child", p, 2);
		for (i = 0; i < PAGES; i++)
			sum += p[i * PAGE];
		return done();
	}
	wait(&status);
	after("parent", p, 1);
	EQUAL("its own", p[8 * PAGE], 1);
	EQUAL("zeros", p[9 * PAGE], 0);

	p = fresh();
	i = open("/dev/zero", O_RDONLY);
	p[16 * PAGE] = 1;
	EQUAL("the kernel touches", read(i, p + 18 * PAGE, 2 * PAGE), 2 * PAGE);
	after("read", p, 3);
	mlock(p, 32 * PAGE);
	after("mlock", p, 32);
	close(i);

	p = fresh();
	for (i = 0; i < PAGES; i++)
		p[i * PAGE] = i;
	for (sum = i = 0; i < PAGES; i++)
		sum += p[i * PAGE] != (char)i || p[i * PAGE + 1];
	EQUAL("contents", sum, 0);
	return done();
}
