#include "common.h"
#include <ucontext.h>
static volatile int n, seq[50], k;
static void h(int s) {
	seq[k++]=s;
}

static void hi(int s, siginfo_t*i, void*u) {
	seq[k++]=s*1000+i->si_value.sival_int;
}

static sigjmp_buf jb;
static void jmp(int s) {
	siglongjmp(jb, s);
}

static void pr(const char*w) {
	P("%s:", w);
	for (int i=0;i<k;i++)P(" %d", seq[i]);
	P("\n");
	k=0;
}

int main() {
	sigset_t s, o;
	struct sigaction a={.sa_handler=h}, b;
	struct timespec t={0, 1000000}, z={0, 0};
	siginfo_t si;
	E(sigaction(0, &a, 0));
	E(sigaction(65, &a, 0));
	E(sigaction(SIGKILL, &a, 0));
	E(sigaction(SIGSTOP, &a, 0));
	E(sigaction(SIGKILL, 0, &b));
	E(syscall(SYS_rt_sigaction, SIGUSR1, 0, 0, 4));
	E(syscall(SYS_rt_sigprocmask, 9, &s, 0, 8));
	E(syscall(SYS_rt_sigprocmask, 0, (void*)1, 0, 8));
	E(syscall(SYS_rt_sigpending, &s, 9));
	E(syscall(SYS_rt_sigsuspend, &s, 9));
	sigaction(SIGUSR1, &a, 0);
	sigaction(SIGUSR2, &a, 0);
	a.sa_flags=SA_SIGINFO;
	a.sa_sigaction=hi;
	for (int i=34;i<40;i++)sigaction(i, &a, 0);
	sigfillset(&s);
	sigprocmask(SIG_BLOCK, &s, 0);
	union sigval v;
	for (int i=0;i<3;i++) {
		v.sival_int=i;
		sigqueue(getpid(), 36, v);
		sigqueue(getpid(), 35, v);
	}
	raise(SIGUSR2);
	raise(SIGUSR1);
	raise(SIGUSR1);
	sigpending(&o);
	for (int i=1;i<65;i++)if(sigismember(&o, i)==1)P("%d ", i);
	P("\n");
	sigemptyset(&s);
	sigprocmask(SIG_SETMASK, &s, 0);
	pr("order");
	a.sa_flags=SA_RESETHAND;
	a.sa_handler=h;
	sigaction(SIGUSR1, &a, 0);
	raise(SIGUSR1);
	sigaction(SIGUSR1, 0, &b);
	P("reset %d\n", b.sa_handler==SIG_DFL);
	pr("once");
	a.sa_flags=SA_NODEFER;
	sigaction(SIGUSR1, &a, 0);
	a.sa_flags=0;
	sigemptyset(&a.sa_mask);
	sigaddset(&a.sa_mask, SIGUSR2);
	sigaddset(&s, SIGRTMIN);
	sigprocmask(SIG_BLOCK, &s, 0);
	E(sigtimedwait(&s, &si, &z));
	E(sigtimedwait(&s, &si, &t));
	t.tv_nsec=-1;
	E(sigtimedwait(&s, &si, &t));
	v.sival_int=9;
	sigqueue(getpid(), SIGRTMIN, v);
	E(sigwaitinfo(&s, &si));
	P("%d %d %d\n", si.si_code, si.si_value.sival_int, si.si_pid==getpid());
	E(alarm(0));
	E(alarm(5));
	E(alarm(0));
	struct itimerval it={{0, 0}, {0, 5000}}, ot;
	sigset_t al;
	signal(SIGALRM, h);
	sigemptyset(&al);
	sigaddset(&al, SIGALRM);
	sigprocmask(SIG_BLOCK, &al, &o);
	E(setitimer(ITIMER_REAL, &it, 0));
	sigsuspend(&o);
	sigprocmask(SIG_SETMASK, &o, 0);
	pr("alarm");
	it.it_value.tv_usec=1000000;
	E(setitimer(ITIMER_REAL, &it, 0));
	E(setitimer(5, &it, 0));
	E(getitimer(5, &it));
	t=(struct timespec){0, 5000000};
	struct timespec r;
	E(nanosleep(&t, &r));
	t.tv_nsec=1000000000;
	E(nanosleep(&t, 0));
	t=(struct timespec){-1, 0};
	E(nanosleep(&t, 0));
	E(clock_nanosleep(99, 0, &t, 0));
	it=(struct itimerval){{0, 3000}, {0, 3000}}; /* the first may come too early */
	setitimer(ITIMER_REAL, &it, 0);
	t=(struct timespec){50, 0};
	E(nanosleep(&t, &r));
	memset(&it, 0, sizeof it);
	setitimer(ITIMER_REAL, &it, 0);
	P("%d\n", r.tv_sec>=30&&r.tv_sec<50);
	k=k>0;
	pr("sleep");
	timer_t tm;
	struct sigevent ev={.sigev_notify=SIGEV_SIGNAL, .sigev_signo=SIGRTMIN, .sigev_value.sival_int=44};
	E(timer_create(CLOCK_MONOTONIC, &ev, &tm));
	struct itimerspec is={{0, 1000000}, {0, 1000000}}, os;
	E(timer_settime(tm, 0, &is, &os));
	usleep(20000);
	sigemptyset(&s);
	sigaddset(&s, SIGRTMIN);
	E(sigwaitinfo(&s, &si));
	P("%d %d %d\n", si.si_code, si.si_value.sival_int, si.si_overrun>3);
	E(timer_getoverrun(tm)>=0);
	is=(struct itimerspec){0};
	E(timer_settime(tm, 0, &is, &os));
	E(timer_gettime(tm, &os));
	P("%ld\n", os.it_value.tv_nsec);
	is.it_value.tv_nsec=-1;
	E(timer_settime(tm, 0, &is, 0));
	E(timer_delete(tm));
	E(timer_delete(tm));
	while (sigtimedwait(&s, &si, &z)>0); /* one more may have come before it was stopped */
	E(timer_create(99, &ev, &tm));
	ev.sigev_signo=99;
	E(timer_create(CLOCK_REALTIME, &ev, &tm));
	ev.sigev_notify=77;
	E(timer_create(CLOCK_REALTIME, &ev, &tm));
	E(timer_create(CLOCK_THREAD_CPUTIME_ID, 0, &tm));
	stack_t ss={.ss_sp=malloc(65536), .ss_size=65536}, os2;
	E(sigaltstack(&ss, &os2));
	P("%x\n", os2.ss_flags);
	ss.ss_size=100;
	E(sigaltstack(&ss, 0));
	ss.ss_flags=99;
	E(sigaltstack(&ss, 0));
	ss.ss_flags=SS_DISABLE;
	E(sigaltstack(&ss, &os2));
	signal(SIGSEGV, jmp);
	if (!sigsetjmp(jb, 1))*(volatile char*)8=1;
	else P("segv\n");
	signal(SIGFPE, jmp);
	if (!sigsetjmp(jb, 1)) {
		volatile int q=0;
		q=5/q;
} else P("fpe\n");
	signal(SIGILL, jmp);
	if (!sigsetjmp(jb, 1))__asm__("ud2");
	else P("ill\n");
	signal(SIGTRAP, h);
	__asm__("int3");
	pr("trap");
	signal(SIGBUS, jmp);
	int p[2];
	pipe(p);
	signal(SIGPIPE, h);
	close(p[0]);
	E(write(p[1],"x", 1));
	pr("pipe");
	signal(SIGPIPE, SIG_IGN);
	E(write(p[1],"x", 1));
	struct timespec ck;
	E(clock_gettime(99, &ck));
	E(clock_getres(CLOCK_MONOTONIC, &ck));
	P("%ld\n", ck.tv_nsec);
	E(clock_getres(CLOCK_REALTIME_COARSE, &ck));
	E(clock_gettime(CLOCK_TAI, &ck));
	E(clock_gettime(CLOCK_BOOTTIME, &ck));
	clockid_t ci;
	E(clock_getcpuclockid(0, &ci));
	E(clock_getcpuclockid(99999, &ci));
	E(clock_settime(CLOCK_MONOTONIC, &ck));
	int sf=signalfd(-1, &s, SFD_NONBLOCK);
	struct signalfd_siginfo f;
	E(read(sf, &f, sizeof f));
	E(read(sf, &f, 10));
	v.sival_int=5;
	sigqueue(getpid(), SIGRTMIN, v);
	E(read(sf, &f, sizeof f));
	P("%d %d %d\n", f.ssi_signo, f.ssi_code, f.ssi_int);
	E(signalfd(1, &s, 0));
	E(signalfd(-1, &s, 99));
	int tf=timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
	uint64_t x;
	E(read(tf, &x, 8));
	E(read(tf, &x, 4));
	is=(struct itimerspec){{0, 1000000}, {0, 1000000}};
	E(timerfd_settime(tf, 0, &is, 0));
	usleep(10000);
	E(read(tf, &x, 8));
	P("%d\n", x>3);
	E(timerfd_settime(tf, 99, &is, 0));
	E(timerfd_settime(1, 0, &is, 0));
	is.it_value.tv_nsec=2000000000;
	E(timerfd_settime(tf, 0, &is, 0));
	E(timerfd_create(99, 0));
	E(timerfd_create(0, 99));
	E(timerfd_gettime(tf, &is));
	E(write(tf, &x, 8));
	return 0;
}
