/* What the debuggers look at: a call chain with threads, a child, and a bad pointer at the end. */
#include <pthread.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

int total;

static void *work(void *amount)
{
	total += (int)(long)amount;
	return NULL;
}

int deeper(int *p)
{
	return *p + 1;
}

int middle(int *p)
{
	return deeper(p) * 2;
}

int main(int argc, char **argv)
{
	pthread_t thread;
	int status;

	(void)argv;
	if (!fork())
		_exit(7);
	wait(&status);
	pthread_create(&thread, NULL, work, (void *)35L);
	pthread_join(thread, NULL);
	printf("total %d, child %d\n", total, WEXITSTATUS(status));
	fflush(stdout);
	return middle(argc > 1 ? &total : (int *)16L);
}
