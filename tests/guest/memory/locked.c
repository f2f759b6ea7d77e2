/* Memory that is locked as its pages come (MLOCK_ONFAULT), what the flag is worth afterwards, and flags that mmap refuses. */
#include "check.h"
#include <sys/wait.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#ifndef MLOCK_ONFAULT
#define MLOCK_ONFAULT 1
#endif
#ifndef MCL_ONFAULT
#define MCL_ONFAULT 4
#endif
#ifndef MAP_SHARED_VALIDATE
#define MAP_SHARED_VALIDATE 3
#endif

/* The pages of [p, p + 4) that are there, the first one as the highest bit. */
static int present(char *p)
{
	unsigned char vec[4] = "";

	mincore(p, 4 * PAGE, vec);
	return (vec[0] & 1) << 3 | (vec[1] & 1) << 2 | (vec[2] & 1) << 1 | (vec[3] & 1);
}

/* Whether the area that begins at p has both of two flags in its VmFlags. */
static int flagged(char *p, const char *one, const char *other)
{
	char line[400], start[30];
	int here = 0, found = 0;
	FILE *file = fopen("/proc/self/smaps", "r");

	snprintf(start, sizeof start, "%08lx-", (unsigned long)p);
	while (file && fgets(line, sizeof line, file)) {
		if (!strncmp(line, start, strlen(start)))
			here = 1;
		if (here && !strncmp(line, "VmFlags:", 8)) {
			found = strstr(line, one) && strstr(line, other);
			break;
		}
	}
	if (file)
		fclose(file);
	return found;
}

static void one_area(void)
{
	char *p = anonymous(4);

	ERRNO("mlock2 ONFAULT", syscall(SYS_mlock2, p, 4 * PAGE, MLOCK_ONFAULT), 0);
	EQUAL("it fetches nothing", present(p), 0);
	CHECK("it is lo and lf", flagged(p, " lo", " lf"));
	p[PAGE] = 1;
	EQUAL("a touch fetches one", present(p), 4);
	ERRNO("DONTNEED of it", madvise(p, 4 * PAGE, MADV_DONTNEED), EINVAL);
	ERRNO("mlock2 with another flag", syscall(SYS_mlock2, p, 4 * PAGE, 2), EINVAL);
	ERRNO("mlock", mlock(p, 4 * PAGE), 0);
	EQUAL("mlock fetches all", present(p), 15);
	CHECK("it is no lf any more", !flagged(p, " lo", " lf") && flagged(p, " lo", " wr"));
	munmap(p, 4 * PAGE);
}

static void moved(void)
{
	char *p = anonymous(2), *to = hole(4);

	syscall(SYS_mlock2, p, 2 * PAGE, MLOCK_ONFAULT);
	p[0] = 7;
	p = mremap(p, 2 * PAGE, 4 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, to);
	CHECK("moved and grown", p == to && p[0] == 7);
	EQUAL("growing fetches nothing", present(p), 8);
	munmap(p, 4 * PAGE);
	p = mmap(NULL, 4 * PAGE, PROT_READ, ANON, -1, 0);
	syscall(SYS_mlock2, p, 4 * PAGE, MLOCK_ONFAULT);
	mprotect(p, 4 * PAGE, RW);
	EQUAL("nor does mprotect", present(p), 0);
	munlock(p, 4 * PAGE);
	CHECK("munlock takes both", !flagged(p, " lo", "") && !flagged(p, " lf", ""));
	munmap(p, 4 * PAGE);
}

static int all_to_come(void)
{
	char *p;
	long heap;

	if (mlockall(MCL_FUTURE | MCL_ONFAULT))
		return 1;
	p = anonymous(4);
	p[2 * PAGE] = 1;
	if (present(p) != 2)
		return 2;
	heap = syscall(SYS_brk, 0);
	if (syscall(SYS_brk, heap + 8 * PAGE) < heap || present((char *)((heap + PAGE - 1) & -PAGE)))
		return 3;
	if (mlockall(MCL_FUTURE))
		return 4;
	return present(anonymous(4)) == 15 ? 0 : 5;
}

static void validated(void)
{
	int fd = temporary_file(PAGE);
	unsigned long bit = 1;

	ERRNO("SHARED_VALIDATE", mmap(NULL, PAGE, PROT_READ, MAP_SHARED_VALIDATE, fd, 0), 0);
	ERRNO("with bit 31", mmap(NULL, PAGE, PROT_READ, MAP_SHARED_VALIDATE | (int)(bit << 31), fd, 0), EOPNOTSUPP);
	ERRNO("with bit 9", mmap(NULL, PAGE, PROT_READ, MAP_SHARED_VALIDATE | bit << 9, fd, 0), EOPNOTSUPP);
	ERRNO("SHARED does not look", mmap(NULL, PAGE, PROT_READ, MAP_SHARED | (int)(bit << 31), fd, 0), 0);
	close(fd);
}

int main(void)
{
	int status;
	pid_t pid;

	one_area();
	moved();
	pid = fork();
	if (!pid)
		_exit(all_to_come());
	waitpid(pid, &status, 0);
	EQUAL("mlockall of what comes, ONFAULT", status, 0);
	validated();
	return done();
}
