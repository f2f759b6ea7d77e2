/* Very many areas: vm.max_map_count, and fork with thousands of them. */
#include "check.h"

#include <sys/wait.h>

#define MANY 70000

int main(void)
{
	char *p = mmap(NULL, MANY * PAGE, PROT_NONE, ANON | MAP_NORESERVE, -1, 0);
	long i, made = 0;
	int status;

	catch_faults();
	for (i = 1; i < MANY; i += 2) {
		if (mprotect(p + i * PAGE, PAGE, PROT_READ))
			break;
		made++;
	}
	CHECK("the count of areas is limited", errno == ENOMEM && made > 32000 && made < 32767);
	ERRNO("no more splits", munmap(p + PAGE * (made * 2 + 3), PAGE), ENOMEM);
	ERRNO("whole areas can go", munmap(p + PAGE, PAGE), 0);
	ERRNO("and at an edge", munmap(p + PAGE * (MANY - 1), PAGE), 0);
	ERRNO("mapping where nothing splits", mmap(p + PAGE, PAGE, PROT_READ, ANON | MAP_FIXED, -1, 0), 0);
	munmap(p + PAGE, 2 * PAGE);
	if (!fork()) {
		EQUAL("in the child", touch(p + 5 * PAGE, -1), 0);
		NO_READ("a hole in the child", p + 4 * PAGE, SIGSEGV, SEGV_ACCERR);
		_exit(done());
	}
	wait(&status);
	EQUAL("fork", status, 0);
	ERRNO("protect all", mprotect(p + 4 * PAGE, 4000 * PAGE, RW), 0);
	WRITES("...", p + 2000 * PAGE);
	ERRNO("unmap all", munmap(p, MANY * PAGE), 0);
	NO_READ("...gone", p + 5 * PAGE, SIGSEGV, SEGV_MAPERR);
	return done();
}
