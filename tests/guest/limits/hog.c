/*
 * Memory without end, MEGABYTE for MEGABYTE.  ARGUMENTS: `touch` writes to it, `malloc` stops at NULL, `read` has the
 * kernel write to it; `fork` does it in a child, and says how that ended.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define MEGABYTE (1 << 20)

static void eat(const char *how)
{
	int zero = open("/dev/zero", O_RDONLY), i;
	char *p;

	for (i = 0; i < 100000; i++) {
		p = mmap(NULL, MEGABYTE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (p == MAP_FAILED) {
			printf("%s after %s\n", strerror(errno), i > 10 ? "many" : "few");
			exit(3);
		}
		if (!strcmp(how, "touch"))
			memset(p, 1, MEGABYTE);
		else if (!strcmp(how, "read") && read(zero, p, MEGABYTE) != MEGABYTE)
			exit(5);
	}
	exit(6);
}

int main(int argc, char **argv)
{
	int status;
	pid_t pid;

	if (argc > 2 && !strcmp(argv[2], "fork")) {
		pid = fork();
		if (!pid)
			eat(argv[1]);
		waitpid(pid, &status, 0);
		printf("the child: signal %d status %d\n", WTERMSIG(status), WEXITSTATUS(status));
		return 0;
	}
	eat(argv[1]);
}
