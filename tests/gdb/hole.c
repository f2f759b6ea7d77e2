/* Faults in the hole of a scullp device, with a second thread asleep and the x87 and SSE registers in use. */
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static volatile double halves = 0.5;
static volatile long double tenths = 0.25L;
static char private_data[8192] = "written before the fault";
static volatile int ready;

static void *sleeper(void *arg)
{
	ready = 1;
	for (;;)
		pause();
	return arg;
}

static int touch(const char *device)
{
	char *anonymous = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	strcpy(anonymous + (1 << 19), "in the middle");
	return device[4096]; /* the hole */
}

int main(int argc, char **argv)
{
	pthread_t thread;
	int fd = open(argc > 1 ? argv[1] : "/dev/scullp0", O_RDWR);
	char *device;

	private_data[5000] = '!';
	pthread_create(&thread, NULL, sleeper, NULL);
	while (!ready)
		usleep(1000);
	usleep(20000);
	device = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (device == MAP_FAILED)
		return perror("mmap"), 1;
	__asm__ volatile("fldt %0" : : "m"(tenths));
	__asm__ volatile("movsd %0, %%xmm7" : : "m"(halves) : "xmm7");
	return touch(device);
}
