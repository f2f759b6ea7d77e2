/* A large process that must not end (its oom_score_adj says so) beside a hog; a small one works on meanwhile. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

static void adjust(const char *value)
{
	int fd = open("/proc/self/oom_score_adj", O_WRONLY);

	if (write(fd, value, strlen(value)) < 0)
		_exit(9);
	close(fd);
}

static char *fill(size_t megabytes)
{
	char *p = mmap(NULL, megabytes << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	memset(p, 1, megabytes << 20);
	return p;
}

int main(void)
{
	int hold[2], ready[2], status;
	pid_t large, hog, small;
	char byte;

	if (pipe(hold) || pipe(ready))
		return 9;
	large = fork();
	if (!large) {  /* 24 MiB, but -1000 */
		adjust("-1000");
		fill(24);
		(void)!write(ready[1], "r", 1);
		(void)!read(hold[0], &byte, 1);
		_exit(11);
	}
	(void)!read(ready[0], &byte, 1);
	small = fork();
	if (!small) {  /* little memory, but it asks for it: +1000 makes it the first */
		adjust("1000");
		fill(1);
		(void)!write(ready[1], "r", 1);
		for (;;)
			pause();
	}
	(void)!read(ready[0], &byte, 1);
	hog = fork();
	if (!hog)
		for (;;)
			fill(1);
	waitpid(small, &status, 0);
	printf("who asked for it: signal %d\n", WTERMSIG(status));
	waitpid(hog, &status, 0);
	printf("the hog: signal %d\n", WTERMSIG(status));
	(void)!write(hold[1], "x", 1);
	waitpid(large, &status, 0);
	printf("who must not: signal %d status %d\n", WTERMSIG(status), WEXITSTATUS(status));
	return 0;
}
