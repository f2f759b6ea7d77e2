#include "common.h"
#include <linux/futex.h>
static uint32_t w, w2, pi, other;
static volatile int tids[3], begun;
/* three threads sleep, each in the call that it makes after `here` */
static void here(void) {
	tids[__sync_fetch_and_add(&begun, 1)]=syscall(SYS_gettid);
}

static void three_asleep(void) {
	for (int i=0;i<3;i++) {
		while (!tids[i])usleep(1000);
		until_state(getpid(), tids[i], "S");
		tids[i]=0;
	}
	begun=0;
}

static int fx(uint32_t*a, int op, uint32_t v, void*t, uint32_t*b, uint32_t v3) {
	return syscall(SYS_futex, a, op, v, t, b, v3);
}

static void*waiter(void*a) {
	int op=(long)a;
	struct timespec ts={5, 0};
	here();
	long r=fx(&w, op, w, 0, 0, -1);
	return (void*)(r<0?-errno:r);
}

static void*locker(void*a) {
	fx(&pi, FUTEX_LOCK_PI, 0, 0, 0, 0);
	long mine=(pi&FUTEX_TID_MASK)==syscall(SYS_gettid);
	usleep(20000);
	fx(&pi, FUTEX_UNLOCK_PI, 0, 0, 0, 0);
	return (void*)mine;
}

static void*dier(void*a) {
	fx(&pi, FUTEX_LOCK_PI, 0, 0, 0, 0);
	return 0;
}

static pthread_mutex_t m;
static void*m_thr(void*a) {
	return (void*)(long)(pthread_mutex_lock(&m)||pthread_mutex_unlock(&m));
}

static void*m_die(void*a) {
	pthread_mutex_lock(&m);
	return 0;
}

static pthread_cond_t c=PTHREAD_COND_INITIALIZER;
static int ready;
static void*c_thr(void*a) {
	pthread_mutex_lock(&m);
	while (!ready)pthread_cond_wait(&c, &m);
	pthread_mutex_unlock(&m);
	return 0;
}

static void*rq(void*a) {
	uint32_t v=w;
	here();
	int r=fx(&w, FUTEX_WAIT_REQUEUE_PI, v, 0, &pi, 0);
	int mine=(pi&FUTEX_TID_MASK)==syscall(SYS_gettid);
	if (!r)fx(&pi, FUTEX_UNLOCK_PI, 0, 0, 0, 0);
	return (void*)(long)(r?-errno:mine);
}

int main() {
	struct timespec z={0, 1000000}, bad={0, 2000000000}, neg={-1, 0};
	pthread_t t[4];
	E(fx(&w, FUTEX_WAIT, 1, 0, 0, 0));
	E(fx(&w, FUTEX_WAIT, 0, &z, 0, 0));
	E(fx(&w, FUTEX_WAIT, 0, &bad, 0, 0));
	E(fx(&w, FUTEX_WAIT, 0, &neg, 0, 0));
	E(fx((void*)1, FUTEX_WAIT, 0, &z, 0, 0));
	E(fx((void*)4096, FUTEX_WAIT, 0, &z, 0, 0));
	E(fx(0, FUTEX_WAKE, 1, 0, 0, 0));
	E(fx((void*)4096, FUTEX_WAKE, 1, 0, 0, 0));
	E(fx(&w, FUTEX_WAIT_BITSET, 0, &z, 0, 0));
	E(fx(&w, FUTEX_WAKE_BITSET, 1, 0, 0, 0));
	E(fx(&w, FUTEX_WAIT_BITSET, 0, &z, 0, -1));
	E(fx(&w, 99, 0, 0, 0, 0));
	E(fx(&w, FUTEX_FD, 0, 0, 0, 0));
	E(fx(&w, FUTEX_REQUEUE, -1, 0, &w2, 0));
	E(fx(&w, FUTEX_CMP_REQUEUE, 1, (void*)1, &w2, 5));
	E(fx(&w, FUTEX_WAIT|FUTEX_CLOCK_REALTIME, 0, &z, 0, 0));
	E(fx(&w, FUTEX_WAKE_OP, 1, (void*)1, &w2, FUTEX_OP(FUTEX_OP_ADD, 5, FUTEX_OP_CMP_EQ, 0)));
	P("%u\n", w2);
	E(fx(&w, FUTEX_WAKE_OP, 1, (void*)1, &w2, FUTEX_OP(FUTEX_OP_XOR|8, 3, FUTEX_OP_CMP_GT, 0)));
	P("%u\n", w2);
	E(fx(&w, FUTEX_WAKE_OP, 1, (void*)1, &w2, FUTEX_OP(7, 5, 0, 0)));
	E(fx(&w, FUTEX_WAKE_OP, 1, (void*)1, &w2, FUTEX_OP(0, 5, 9, 0)));
	for (int i=0;i<3;i++)pthread_create(&t[i], 0, waiter, (void*)FUTEX_WAIT);
	three_asleep();
	E(fx(&w, FUTEX_WAKE, 2, 0, 0, 0));
	E(fx(&w, FUTEX_CMP_REQUEUE, 0, (void*)9, &w2, 0));
	E(fx(&w, FUTEX_WAKE, 9, 0, 0, 0));
	E(fx(&w2, FUTEX_WAKE, 9, 0, 0, 0));
	for (int i=0;i<3;i++) {
		void*r;
		pthread_join(t[i], &r);
		P("%ld\n", (long)r);
	}
	/* PI */  E(fx(&pi, FUTEX_LOCK_PI, 0, 0, 0, 0));
	P("%d\n", pi==syscall(SYS_gettid));
	E(fx(&pi, FUTEX_LOCK_PI, 0, 0, 0, 0));
	E(fx(&pi, FUTEX_TRYLOCK_PI, 0, 0, 0, 0));
	E(fx(&other, FUTEX_UNLOCK_PI, 0, 0, 0, 0));
	pthread_create(t, 0, locker, 0);
	while (!(*(volatile uint32_t*)&pi&FUTEX_WAITERS))usleep(1000);
	usleep(10000);
	P("waiters %x\n", pi&FUTEX_WAITERS);
	E(fx(&pi, FUTEX_UNLOCK_PI, 0, 0, 0, 0));
	usleep(5000);
	struct timespec now;
	clock_gettime(CLOCK_REALTIME, &now);
	now.tv_sec+=50;
	E(fx(&pi, FUTEX_LOCK_PI, 0, &now, 0, 0));
	void*theirs;
	pthread_join(*t, &theirs);
	P("owned by other %ld\n", (long)theirs);
	E(fx(&pi, FUTEX_UNLOCK_PI, 0, 0, 0, 0));
	P("%x\n", pi);
	pi=999999;
	E(fx(&pi, FUTEX_LOCK_PI, 0, 0, 0, 0));
	E(fx(&pi, FUTEX_TRYLOCK_PI, 0, 0, 0, 0));
	pi=0;
	pi=1;
	E(fx(&pi, FUTEX_UNLOCK_PI, 0, 0, 0, 0));
	pi=0;
	E(fx(&pi, FUTEX_TRYLOCK_PI, 0, 0, 0, 0));
	{
		clock_gettime(CLOCK_REALTIME, &now);
		pid_t c=fork();
		if (!c) {
			E(fx(&pi, FUTEX_TRYLOCK_PI, 0, 0, 0, 0));
			now.tv_nsec+=20000000;
			if (now.tv_nsec>999999999)now.tv_sec++, now.tv_nsec-=1000000000;
			E(fx(&pi, FUTEX_LOCK_PI, 0, &now, 0, 0));
			_exit(0);
		}
		wait(0);
	}
	E(fx(&pi, FUTEX_UNLOCK_PI, 0, 0, 0, 0));
	pthread_create(t, 0, dier, 0);
	pthread_join(*t, 0);
	E(fx(&pi, FUTEX_LOCK_PI, 0, 0, 0, 0));
	P("%x\n", pi&~FUTEX_TID_MASK);
	pi=0;
	/* requeue */  for(int i=0;i<3;i++)pthread_create(&t[i], 0, rq, 0);
	three_asleep();
	E(fx(&w, FUTEX_CMP_REQUEUE_PI, 2, (void*)9, &pi, w));
	E(fx(&w, FUTEX_CMP_REQUEUE_PI, 1, (void*)9, &pi, w+1));
	E(fx(&w, FUTEX_CMP_REQUEUE_PI, 1, (void*)9, &other, w));
	E(fx(&w, FUTEX_CMP_REQUEUE_PI, 1, (void*)1, &pi, w));
	E(fx(&w, FUTEX_CMP_REQUEUE_PI, 1, (void*)9, &pi, w));
	E(fx(&w, FUTEX_CMP_REQUEUE_PI, 1, (void*)9, &pi, w));
	for (int i=0;i<3;i++) {
		void*r;
		pthread_join(t[i], &r);
		P("%ld\n", (long)r);
	}
	P("%x\n", pi);
	E(fx(&w, FUTEX_WAIT_REQUEUE_PI, w+1, 0, &pi, 0));
	E(fx(&w, FUTEX_WAIT_REQUEUE_PI, w, 0, &w, 0));
	/* pthread */  pthread_mutexattr_t a;
	pthread_mutexattr_init(&a);
	E(pthread_mutexattr_setprotocol(&a, PTHREAD_PRIO_INHERIT));
	E(pthread_mutex_init(&m, &a));
	E(pthread_mutex_lock(&m));
	pthread_create(t, 0, m_thr, 0);
	usleep(20000);
	E(pthread_mutex_trylock(&m));
	E(pthread_mutex_unlock(&m));
	pthread_join(*t, 0);
	E(pthread_mutex_lock(&m));
	E(pthread_mutex_unlock(&m));
	clock_gettime(CLOCK_REALTIME, &now);
	E(pthread_mutex_timedlock(&m, &now));
	E(pthread_mutex_unlock(&m));
	pthread_create(t, 0, c_thr, 0);
	pthread_create(t+1, 0, c_thr, 0);
	usleep(20000);
	pthread_mutex_lock(&m);
	ready=1;
	pthread_cond_broadcast(&c);
	pthread_mutex_unlock(&m);
	pthread_join(t[0], 0);
	pthread_join(t[1], 0);
	P("cond\n");
	pthread_mutexattr_setrobust(&a, PTHREAD_MUTEX_ROBUST);
	E(pthread_mutex_init(&m, &a));
	pthread_create(t, 0, m_die, 0);
	pthread_join(*t, 0);
	E(pthread_mutex_lock(&m));
	E(pthread_mutex_consistent(&m));
	E(pthread_mutex_unlock(&m));
	E(pthread_mutex_lock(&m));
	E(pthread_mutex_unlock(&m));
	return 0;
}
