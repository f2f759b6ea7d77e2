/* A process that another one traces; the tracer prints its number. */
#include <signal.h>
#include <stdio.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

int main(void)
{
	int status;
	pid_t child = fork();

	if (!child) {
		ptrace(PTRACE_TRACEME, 0, NULL, NULL);
		raise(SIGSTOP);
		for (;;)
			pause();
	}
	waitpid(child, &status, 0);
	printf("%d\n", child);
	fflush(stdout);
	for (;;)
		pause();
}
