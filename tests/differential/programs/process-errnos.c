#include "common.h"
#include <sys/ptrace.h>
static volatile int hits;
static void on(int s) {
	hits++;
}

static void info(siginfo_t*i) {
	P("  signo %d code %d status %d\n", i->si_signo, i->si_code, i->si_status);
}

int main() {
	siginfo_t si;
	int st;
	pid_t c, d;
	/* setpgid, setsid corner cases */  E(setpgid(-1, 0));
	E(setpgid(0, -1));
	E(setpgid(99999, 0));
	E(getpgid(99999));
	E(getsid(99999));
	E(getpgid(-1));
	c=fork();
	if (!c) {
		E(setsid()==getpid());
		E(setsid());
		E(setpgid(0, 0));
		d=fork();
		if (!d) {
			E(setpgid(0, 1));
			E(setpgid(0, 0));
			E(setpgid(0, getppid()));
			E(setsid()==getpid());
			_exit(0);
		}
		wait(0);
		_exit(0);
	}
	wait(0);
	c=fork();
	if (!c) {
		pause();
		_exit(0);
	}
	E(setpgid(c, c));
	E(getpgid(c)==c||1);
	kill(-getpgid(c), 0);
	kill(c, 9);
	wait(0);
	E(setpgid(c, c));
	c=fork();
	if (!c) {
		execl("/bin/sleep","sleep","5", 0);
	}
	while (!setpgid(c, c))usleep(1000); /* until it is another program */
	E(setpgid(c, c));
	kill(c, 9);
	wait(0);
	/* kill */  E(kill(99999, 0));
	E(kill(-99999, 0));
	E(kill(getpid(), 65));
	E(kill(getpid(), -1));
	E(kill(INT_MIN, 0));
	E(syscall(SYS_tgkill, -1, 1, 0));
	E(syscall(SYS_tkill, 0, 0));
	E(syscall(SYS_tgkill, getpid(), 99999, 0));
	/* waits */  E(waitpid(-1, &st, 0));
	E(waitpid(99999, &st, 0));
	E(waitpid(-1, &st, 0x55550000));
	E(waitid(P_ALL, 0, &si, 0));
	E(waitid(9, 0, &si, WEXITED));
	E(waitid(P_PID, -1, &si, WEXITED));
	E(waitid(P_ALL, 0, &si, WEXITED|0x100000));
	E(waitid(P_PGID, 0, &si, WEXITED));
	c=fork();
	if (!c)_exit(300);
	E(waitid(P_PID, c, &si, WEXITED|WNOWAIT));
	info(&si);
	E(waitpid(c, &st, WNOHANG)==c);
	status_of(st);
	int go[2];
	pipe(go);
	c=fork();
	if (!c) {
		raise(SIGSTOP);
		read(go[0], &st, 1);
		raise(SIGSTOP);
		_exit(1);
	}
	E(waitid(P_PID, c, &si, WSTOPPED));
	info(&si);
	E(waitid(P_PID, c, &si, WSTOPPED|WNOHANG));
	P("%d\n", si.si_pid);
	kill(c, SIGCONT);
	E(waitid(P_PID, c, &si, WCONTINUED|WNOWAIT));
	info(&si);
	E(waitid(P_PID, c, &si, WCONTINUED));
	E(waitid(P_PID, c, &si, WCONTINUED|WNOHANG));
	write(go[1],"x", 1);
	E(waitpid(c, &st, WUNTRACED)==c);
	status_of(st);
	kill(c, 9);
	E(waitid(P_PID, c, &si, WEXITED));
	info(&si);
	c=fork();
	if (!c) {
		abort();
	}
	E(waitid(P_PID, c, &si, WEXITED));
	P("%d %d\n", si.si_code==CLD_DUMPED||si.si_code==CLD_KILLED, si.si_status);
	c=syscall(SYS_clone, 0, 0, 0, 0, 0);
	if (!c)_exit(3);
	E(waitpid(c, &st, 0));
	E(waitpid(c, &st, __WCLONE)==c);
	status_of(st);
	signal(SIGUSR1, on);
	c=syscall(SYS_clone, SIGUSR1, 0, 0, 0, 0);
	if (!c)_exit(4);
	E(waitpid(c, &st, __WALL)==c);
	P("hits %d\n", hits);
	/* SIGCHLD ignored */  signal(SIGCHLD, SIG_IGN);
	c=fork();
	if (!c)_exit(0);
	E(waitpid(c, &st, 0));
	signal(SIGCHLD, SIG_DFL);
	struct sigaction sa={.sa_handler=on, .sa_flags=SA_NOCLDWAIT};
	sigaction(SIGCHLD, &sa, 0);
	hits=0;
	c=fork();
	if (!c)_exit(0);
	E(waitpid(c, &st, 0));
	P("hits %d\n", hits);
	sa.sa_flags=SA_NOCLDSTOP;
	sigaction(SIGCHLD, &sa, 0);
	hits=0;
	c=fork();
	if (!c) {
		raise(SIGSTOP);
		_exit(0);
	}
	waitid(P_PID, c, &si, WSTOPPED);
	usleep(50000);
	P("stop told %d\n", hits);
	kill(c, SIGCONT);
	while (waitpid(c, &st, 0)<0);
	P("hits %d\n", hits);
	signal(SIGCHLD, SIG_DFL);
	/* orphans */  prctl(PR_SET_CHILD_SUBREAPER, 1);
	int pp[2];
	pipe(pp);
	c=fork();
	if (!c) {
		int mine=getpid();
		d=fork();
		if (!d) {
			while (getppid()==mine)usleep(1000);
			int p=getppid();
			write(pp[1], &p, 4);
			_exit(5);
		}
		_exit(0);
	}
	waitpid(c, &st, 0);
	int who;
	read(pp[0], &who, 4);
	P("adopted %d\n", who==getpid());
	E(wait(&st)>0);
	status_of(st);
	c=fork();
	if (!c) {
		prctl(PR_SET_PDEATHSIG, SIGTERM);
		d=fork();
		if (!d) {
			prctl(PR_SET_PDEATHSIG, SIGUSR2);
			sigset_t s;
			sigemptyset(&s);
			sigaddset(&s, SIGUSR2);
			sigprocmask(SIG_BLOCK, &s, 0);
			write(pp[1],"rdy", 4);
			struct timespec t={30, 0};
			int r=sigtimedwait(&s, 0, &t);
			_exit(r);
		}
		int b;
		read(pp[0], &b, 4);
		_exit(0);
	}
	waitpid(c, &st, 0);
	wait(&st);
	status_of(st);
	/* times */  struct tms t;
	E(times(&t)!=-1);
	struct rusage ru;
	E(getrusage(RUSAGE_CHILDREN, &ru));
	P("%d\n", ru.ru_minflt>0);
	E(getrusage(2, &ru));
	/* exec */  char*av[]={0};
	c=fork();
	if (!c) {
		E(execve("/nonexistent", av, av));
		E(execve("/etc", av, av));
		E(execve("/etc/passwd", av, av));
		E(execve("", av, av));
		E(execve(0, av, av));
		E(execve("/bin/true", (char**)1, av));
		E(execve("/bin/true/x", av, av));
		symlink("loop","loop");
		E(execve("loop", av, av));
		put("noexec","x");
		E(execve("noexec", av, av));
		chmod("noexec", 0755);
		E(execve("noexec", av, av));
		put("bad","#!/nonexistent\n");
		chmod("bad", 0755);
		E(execve("bad", av, av));
		_exit(9);
	}
	wait(&st);
	status_of(st);
	c=fork();
	if (!c) {
		execve("/bin/true", 0, 0);
		_exit(7);
	}
	wait(&st);
	status_of(st);
	/* vfork, prctl names */  char n[20];
	E(prctl(PR_SET_NAME,"averyveryverylongname"));
	prctl(PR_GET_NAME, n);
	P("%s\n", n);
	E(prctl(PR_GET_DUMPABLE));
	E(prctl(PR_SET_DUMPABLE, 2));
	E(prctl(PR_SET_DUMPABLE, 0));
	E(prctl(PR_GET_DUMPABLE));
	E(prctl(PR_SET_DUMPABLE, 1));
	E(prctl(PR_GET_KEEPCAPS));
	E(prctl(PR_SET_KEEPCAPS, 2));
	E(prctl(PR_GET_SECCOMP));
	E(prctl(PR_GET_TIMERSLACK));
	E(prctl(PR_SET_TIMERSLACK, 99));
	E(prctl(PR_GET_TIMERSLACK));
	E(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0));
	E(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 1));
	E(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
	E(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0));
	E(prctl(9999));
	E(prctl(PR_SET_PDEATHSIG, 99));
	E(prctl(PR_GET_PDEATHSIG, &st));
	P("%d\n", st);
	E(prctl(PR_CAPBSET_READ, 0));
	E(prctl(PR_CAPBSET_READ, 99));
	E(prctl(PR_GET_TSC, &st));
	P("%d\n", st);
	E(prctl(PR_GET_THP_DISABLE, 0, 0, 0, 0));
	E(prctl(PR_GET_CHILD_SUBREAPER, &st));
	P("%d\n", st);
	E(prctl(PR_GET_TID_ADDRESS, &av));
	E(prctl(PR_MCE_KILL_GET, 0, 0, 0, 0));
	E(prctl(PR_GET_UNALIGN, &st));
	E(prctl(PR_GET_FPEMU, &st));
	E(prctl(PR_GET_ENDIAN, &st));
	E(prctl(PR_GET_TIMING));
	E(prctl(PR_SET_TIMING, 1));
	E(prctl(PR_GET_SECUREBITS));
	E(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, 0, 0, 0));
	E(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0));
	return 0;
}
