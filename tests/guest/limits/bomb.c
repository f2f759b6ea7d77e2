/* Processes (or with an argument "threads" threads) without end: how many there could be, and with which errno it ended. */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static int hold[2];

static void *sleeper(void *unused)
{
	char byte;

	(void)!read(hold[0], &byte, 1);
	return unused;
}

int main(int argc, char **argv)
{
	static pthread_t threads[40000];
	int count = 0, error = 0, waited = 0;
	pid_t pid;

	if (pipe(hold))
		return 9;
	if (argc > 2 && setuid(atoi(argv[2])))
		return 8;
	if (argc > 1 && !strcmp(argv[1], "threads")) {
		while (!(error = pthread_create(&threads[count], NULL, sleeper, NULL)))
			count++;
		close(hold[1]);
		while (waited < count)
			pthread_join(threads[waited++], NULL);
	} else {
		while ((pid = fork()) > 0)
			count++;
		if (!pid) {
			close(hold[1]);
			sleeper(NULL);
			_exit(0);
		}
		error = errno;
		close(hold[1]);
		while (wait(NULL) > 0)
			waited++;
	}
	printf("%d made, %d waited for, %s\n", count, waited, strerror(error));
	return error == EAGAIN ? 3 : 4;
}
