/* Three threads in each of two processes add to one register while a timer's handler reads another. */
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>
static volatile uint32_t *timer;
static volatile int alarms;
static int rounds;

static void on_alarm(int signo)
{
	(void)signo;
	alarms++;
	(void)timer[1];
}

static void *work(void *arg)
{
	for (int i = 0; i < rounds; i++)
		__atomic_add_fetch((uint32_t *)&timer[(long)arg], 1, __ATOMIC_SEQ_CST);
	return 0;
}

int main(int argc, char **argv)
{
	pthread_t threads[3];
	struct itimerval tick = {{0, 2000}, {0, 2000}};
	int fd = open("/dev/mem", O_RDWR), child;

	(void)argc;
	rounds = atoi(argv[1]);
	timer = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0xfe000000);
	signal(SIGALRM, on_alarm);
	setitimer(ITIMER_REAL, &tick, 0);
	child = fork();
	for (long i = 0; i < 3; i++)
		pthread_create(&threads[i], 0, work, (void *)2);
	for (int i = 0; i < 3; i++)
		pthread_join(threads[i], 0);
	if (!child)
		_exit(0);
	waitpid(child, 0, 0);
	printf("%u %s\n", timer[2], alarms ? "alarms" : "no alarms");
	return 0;
}
