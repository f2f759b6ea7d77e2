#include "common.h"
#include <sys/msg.h>
static volatile int hits, last;
static void on(int s) {
	hits++;
	last=s;
}

static void*nop(void*a) {
	pause();
	return 0;
}

static void lim(int r, long s, long h) {
	struct rlimit l={s, h};
	if (setrlimit(r, &l))P("setrlimit %d %s\n", r, strerror(errno));
}

#define CHILD(...) do{pid_t c_=fork();if(!c_){__VA_ARGS__;_exit(0);}int s_;waitpid(c_, &s_, 0);status_of(s_);}while(0)
static void deep(int n) {
	volatile char b[4096];
	b[0]=n;
	if (n)deep(n-1);
	b[1]=b[0];
}

int main() {
	for (int i=0;i<17;i++) {
		struct rlimit l;
		errno=0;
		int r=getrlimit(i, &l);
		P("%d: %d %s\n", i, r, strerror(errno));
	}
	struct rlimit l={5, 4};
	E(setrlimit(RLIMIT_NOFILE, &l));
	E(setrlimit(99, &l));
	E(getrlimit(0, (void*)1));
	E(prlimit(99999, RLIMIT_NOFILE, 0, &l));
	E(prlimit(0, RLIMIT_NOFILE, 0, &l));
	l.rlim_cur=l.rlim_max=1L<<40;
	E(setrlimit(RLIMIT_NOFILE, &l));
	CHILD(lim(RLIMIT_NOFILE, 5, 5);E(open("/dev/null", 0));E(open("/dev/null", 0));E(open("/dev/null", 0));E(dup(0));E(fcntl(0, F_DUPFD, 10));E(dup2(0, 9));int p[2];E(pipe(p));E(socket(AF_UNIX, SOCK_STREAM, 0));E(eventfd(0, 0)););
	CHILD(signal(SIGXFSZ, on);lim(RLIMIT_FSIZE, 100, 200);int f=open("x", O_RDWR|O_CREAT|O_TRUNC, 0600);char b[300];E(write(f, b, 90));E(write(f, b, 90));E(write(f, b, 90));P("%d %d\n", hits, last);E(ftruncate(f, 150));E(pwrite(f, b, 10, 95));E(pwrite(f, b, 10, 500));E(lseek(f, 5000, 0));E(posix_fallocate(f, 0, 500));P("%d\n", hits););
	CHILD(lim(RLIMIT_FSIZE, 10, 10);int f=open("x", O_RDWR|O_CREAT|O_TRUNC, 0600);char b[300];write(f, b, 10);write(f, b, 1););
	CHILD(lim(RLIMIT_STACK, 256<<10, 256<<10);deep(20);P("ok\n");deep(100););
	CHILD(lim(RLIMIT_AS, 64<<20, 64<<20);E(mmap(0, 100<<20, 3, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0)==MAP_FAILED);E(malloc(100<<20)==0);E(sbrk(100<<20)==(void*)-1););
	CHILD(lim(RLIMIT_DATA, 1<<20, 1<<20);E(mmap(0, 10<<20, 3, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0)==MAP_FAILED);E(mmap(0, 10<<20, 1, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0)==MAP_FAILED);E(mmap(0, 10<<20, 3, MAP_SHARED|MAP_ANONYMOUS, -1, 0)==MAP_FAILED);E(sbrk(10<<20)==(void*)-1););
	CHILD(setgid(1234);setuid(1234);lim(RLIMIT_MEMLOCK, 8192, 8192);char*p=mmap(0, 1<<20, 3, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0);E(mlock(p, 8192));E(mlock(p, 12288));E(mmap(0, 12288, 3, MAP_PRIVATE|MAP_ANONYMOUS|MAP_LOCKED, -1, 0)==MAP_FAILED);E(mlockall(MCL_CURRENT));E(mlockall(MCL_FUTURE));E(munlockall());lim(RLIMIT_MEMLOCK, 0, 0);E(mlock(p, 1)););
	/* an id for each target: the other one may run just now */
	CHILD(setgid(1240);setuid(1240+(int)sizeof(long));lim(RLIMIT_NPROC, 2, 2);pid_t a=fork();if(!a){pause();_exit(0);}E(a>0);E(fork()<0);pthread_t t;E(pthread_create(&t, 0, nop, 0));kill(a, SIGKILL);waitpid(a, 0, 0););
	CHILD(setuid(1236);lim(RLIMIT_NICE, 20, 20);E(nice(-1));E(setpriority(PRIO_PROCESS, 0, 0));E(setpriority(PRIO_PROCESS, 0, -5));lim(RLIMIT_RTPRIO, 0, 0);struct sched_param p={5};E(sched_setscheduler(0, SCHED_FIFO, &p)););
	CHILD(lim(RLIMIT_CORE, 0, 0);abort(););
	CHILD(setuid(1237);lim(RLIMIT_NOFILE, 50, 50);struct rlimit q={10, 100};E(setrlimit(RLIMIT_NOFILE, &q));q.rlim_max=50;E(setrlimit(RLIMIT_NOFILE, &q));E(prlimit(1, RLIMIT_NOFILE, 0, &q)););
	CHILD(lim(RLIMIT_LOCKS, 0, 0);int f=open("x", O_RDWR|O_CREAT, 0600);E(flock(f, LOCK_EX)););
	return 0;
}
