/* A child's end wakes wait(2) and sends SIGCHLD at once: the wait tells of the child, with a handler and without SA_RESTART. */
#include "common.h"

static volatile int caught;
static void on(int s)
{
	caught += s == SIGCHLD;
}

int main(void)
{
	struct sigaction a = {.sa_handler = on};
	int good = 0, s;
	sigaction(SIGCHLD, &a, 0);
	for (int i = 0; i < 50; i++) {
		pid_t p = fork();
		if (!p) {
			usleep(500);
			_exit(i);
		}
		good += waitpid(p, &s, 0) == p && WEXITSTATUS(s) == i;
	}
	P("%d %d\n", good, caught);
	return 0;
}
