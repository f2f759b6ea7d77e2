/* What a debugger has to follow: a function, a variable, threads, children, signals, exec, a loop; by its first word. */
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static volatile int counter, other, array[4];
static volatile int stop_now;
static char buffer[64];

__attribute__((noinline)) static int twice(int x)
{
	__sync_fetch_and_add(&counter, x); /* counts */
	return x * 2;
}

static void calls(void)
{
	int sum = 0;

	for (int i = 1; i <= 3; i++)
		sum += twice(i);
	printf("%d %d\n", sum, counter);
}

static void variables(void)
{
	int pipes[2];

	other = 5; /* the same page, not watched */
	array[1] = 7;
	array[2] = 8; /* watched */
	other = array[2] + 1; /* read */
	if (pipe(pipes) || write(pipes[1], "from a call", 12) != 12)
		exit(3);
	memset(buffer, 0, sizeof buffer); /* clears */
	if (read(pipes[0], buffer, 12) != 12) /* stores */
		exit(3);
	printf("%d %s\n", other, buffer);
}

static void *worker(void *arg)
{
	for (int i = 0; i < 3; i++) {
		usleep(1000);
		twice((int)(long)arg); /* works */
	}
	return arg;
}

static void threads(void)
{
	pthread_t first, second;

	pthread_create(&first, NULL, worker, (void *)10L);
	pthread_create(&second, NULL, worker, (void *)20L);
	pthread_join(first, NULL);
	pthread_join(second, NULL);
	printf("%d\n", counter);
}

static void children(void)
{
	int status = 0;
	pid_t pid = fork();

	if (!pid) {
		twice(100); /* in the child */
		_exit(5);
	}
	waitpid(pid, &status, 0);
	twice(1); /* in the parent */
	printf("%d %d\n", WEXITSTATUS(status), counter);
}

static void vforks(void)
{
	int status = 0;
	pid_t pid = vfork();

	if (!pid)
		_exit(6);
	waitpid(pid, &status, 0);
	twice(2);
	printf("%d %d\n", WEXITSTATUS(status), counter);
}

static void handler(int signo)
{
	counter += signo; /* handles */
}

static void signals(void)
{
	signal(SIGUSR1, handler);
	raise(SIGUSR1);
	printf("%d\n", counter);
	fflush(stdout);
	raise(SIGTERM);
}

static void spin(void)
{
	puts("spinning");
	fflush(stdout);
	while (!stop_now)
		counter++;
	printf("stopped\n");
}

static void sleepy(void)
{
	signal(SIGUSR1, handler);
	puts("sleeping");
	fflush(stdout);
	while (!stop_now)
		pause();
	printf("awake\n");
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "calls";

	if (!strcmp(what, "calls"))
		calls();
	else if (!strcmp(what, "variables"))
		variables();
	else if (!strcmp(what, "threads"))
		threads();
	else if (!strcmp(what, "children"))
		children();
	else if (!strcmp(what, "vfork"))
		vforks();
	else if (!strcmp(what, "signals"))
		signals();
	else if (!strcmp(what, "exec"))
		execl(argv[0], argv[0], "calls", NULL);
	else if (!strcmp(what, "spin"))
		spin();
	else if (!strcmp(what, "sleep"))
		sleepy();
	return 7;
}
