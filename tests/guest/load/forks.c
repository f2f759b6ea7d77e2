/* COUNT forks one after another, each child with a status of its own, and then COUNT at a time by tens. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	int count = argc > 1 ? atoi(argv[1]) : 1000, i, k, status, good = 0, sum = 0;
	static char page[4096 * 16];
	pid_t pid;

	for (i = 0; i < count; i++) {
		pid = fork();
		if (!pid) {
			page[i % 16 * 4096] = 1;
			_exit(i & 127);
		}
		if (pid < 0 || waitpid(pid, &status, 0) != pid)
			return 1;
		good += WIFEXITED(status) && WEXITSTATUS(status) == (i & 127);
	}
	for (i = 0; i < count / 10; i++) {
		for (k = 0; k < 10; k++)
			if (!fork())
				_exit(k);
		while (wait(&status) > 0)
			sum += WEXITSTATUS(status);
	}
	printf("%d forks, %d right, sum %d, page %d\n", count, good, sum, page[0]);
	return 0;
}
