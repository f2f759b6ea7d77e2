#include "common.h"
struct fw {
	uint64_t val, uaddr;
	uint32_t flags, res;
};

static uint32_t a[4];
static void*wk(void*x) {
	while (syscall(SYS_futex, &a[2], 1|128, 1, 0, 0, 0) == 0)
		usleep(1000);
	return 0;
}

int main() {
	struct fw v[4];
	for (int i=0;i<4;i++)v[i]=(struct fw) {
		0, (uintptr_t)&a[i], 2|128, 0
	};
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	E(syscall(449, v, 0, 0, &now, 1));
	E(syscall(449, v, 4, 1, &now, 1));
	E(syscall(449, v, 4, 0, &now, 1));
	E(syscall(449, v, 129, 0, &now, 1));
	E(syscall(449, v, 4, 0, &now, 7));
	v[1].val=5;
	E(syscall(449, v, 4, 0, 0, 1));
	v[1].val=0;
	v[3].flags=1;
	E(syscall(449, v, 4, 0, 0, 1));
	v[3].flags=2|128;
	v[3].res=1;
	E(syscall(449, v, 4, 0, 0, 1));
	v[3].res=0;
	pthread_t t;
	pthread_create(&t, 0, wk, 0);
	now.tv_sec+=50;
	E(syscall(449, v, 4, 0, &now, 1));
	pthread_join(t, 0);
	E(syscall(449, 0, 4, 0, 0, 1));
	return 0;
}
