/* Two threads that never stop writing to the page of a variable that is watched. */
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

static struct {
	volatile int watched, beside;
} shared;

static void *busy(void *argument)
{
	(void)argument;
	for (int i = 0; i < 30000; i++)
		__sync_fetch_and_add(&shared.beside, 1);
	return NULL;
}

int main(void)
{
	pthread_t first, second;

	pthread_create(&first, NULL, busy, NULL);
	pthread_create(&second, NULL, busy, NULL);
	for (int i = 0; i < 30; i++) {
		usleep(2000);
		shared.watched++;
	}
	pthread_join(first, NULL);
	pthread_join(second, NULL);
	printf("%d %d\n", shared.watched, shared.beside);
	return 0;
}
