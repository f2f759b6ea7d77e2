#include "common.h"
#include <sys/timex.h>
static int kcmp(int a, int b, int t, long x, long y) {
	return syscall(SYS_kcmp, a, b, t, x, y);
}

static void *thr(void*a) {
	E(unshare(CLONE_FS));
	E(unshare(CLONE_FILES));
	E(unshare(CLONE_THREAD));
	E(unshare(CLONE_VM));
	E(unshare(CLONE_SIGHAND));
	close(0);
	chdir("/");
	umask(077);
	return 0;
}

int main() {
	E(unshare(0));
	E(unshare(CLONE_FILES));
	E(unshare(CLONE_FS));
	E(unshare(CLONE_FS|CLONE_FILES|CLONE_SYSVSEM));
	E(unshare(CLONE_THREAD));
	E(unshare(CLONE_SIGHAND));
	E(unshare(CLONE_VM));
	E(unshare(CLONE_PARENT));
	E(unshare(CLONE_VFORK));
	E(unshare(SIGCHLD));
	char c[300];
	chdir("/tmp");
	umask(022);
	pthread_t t;
	pthread_create(&t, 0, thr, 0);
	pthread_join(t, 0);
	P("%s %o %d\n", getcwd(c, 300), umask(0), fcntl(0, F_GETFD));
	int p=getpid();
	E(kcmp(p, p, 0, 1, 1));
	int d=dup(1);
	E(kcmp(p, p, 0, 1, d));
	E(kcmp(p, p, 1, 0, 0));
	E(kcmp(p, p, 2, 0, 0));
	E(kcmp(p, p, 8, 0, 0));
	E(kcmp(p, p, 0, 1, 77));
	E(kcmp(p, 999999, 0, 1, 1));
	int z=open("/dev/null", 0);
	E(kcmp(p, p, 0, 1, z)!=0);
	if (!fork()) {
		E(kcmp(p, getpid(), 0, 1, 1));
		E(kcmp(p, getpid(), 1, 0, 0)!=0);
		E(kcmp(p, getpid(), 2, 0, 0)!=0);
		E(kcmp(p, getpid(), 4, 0, 0)!=0);
		E(kcmp(p, getpid(), 3, 0, 0)!=0);
		_exit(0);
	}
	wait(0);
	E(syscall(SYS_ioprio_get, 1, 0));
	E(syscall(SYS_ioprio_set, 1, 0, (2<<13)|5));
	E(syscall(SYS_ioprio_get, 1, 0));
	E(syscall(SYS_ioprio_set, 1, 0, (2<<13)|9));
	E(syscall(SYS_ioprio_set, 1, 0, (5<<13)|0));
	E(syscall(SYS_ioprio_set, 9, 0, 0));
	E(syscall(SYS_ioprio_set, 1, 0, 3<<13));
	E(syscall(SYS_ioprio_get, 1, 0));
	E(syscall(SYS_ioprio_set, 1, 0, 0));
	E(syscall(SYS_ioprio_set, 1, 0, 4));
	E(syscall(SYS_ioprio_set, 1, 999999, 4));
	E(syscall(SYS_ioprio_get, 1, 999999));
	struct timex tx={0};
	long r=adjtimex(&tx);
	P("%d %ld\n", r>=0, tx.tick);
	E(syscall(SYS_adjtimex, (void*)1));
	E(syscall(SYS_clock_adjtime, 1, &tx));
	E(syscall(SYS_clock_adjtime, 99, &tx));
	return 0;
}
