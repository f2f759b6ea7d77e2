#include "common.h"
#ifndef SYS_pidfd_open
#define SYS_pidfd_send_signal 424
#define SYS_pidfd_open 434
#define SYS_pidfd_getfd 438
#define SYS_clone3 435
#endif
#ifndef P_PIDFD
#define P_PIDFD 3
#endif
struct ca {
	uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, set_tid, set_tid_size, cgroup;
};

static void *thr(void*a) {
	*(long*)a=syscall(SYS_gettid);
	pause();
	return 0;
}

int main() {
	int st;
	siginfo_t si;
	struct pollfd pf;
	E(syscall(SYS_pidfd_open, 0, 0));
	E(syscall(SYS_pidfd_open, -1, 0));
	E(syscall(SYS_pidfd_open, 999999, 0));
	E(syscall(SYS_pidfd_open, getpid(), 1));
	pid_t c=fork();
	if (!c) {
		for (;;)pause();
	}
	int fd=syscall(SYS_pidfd_open, c, 0);
	P("cloexec %d flags %x\n", fcntl(fd, F_GETFD), fcntl(fd, F_GETFL));
	char b[400], nm[60];
	sprintf(nm,"/proc/self/fdinfo/%d", fd);
	FILE*f=fopen(nm,"r");
	while (fgets(b, 400, f)) {
		int v;
		if (sscanf(b,"Pid: %d", &v)==1)P("Pid ok %d\n", v==c);
		if (sscanf(b,"NSpid: %d", &v)==1)P("NSpid ok %d\n", v==c);
	}
	fclose(f);
	E(read(fd, b, 10));
	E(write(fd, b, 10));
	pf=(struct pollfd){fd, POLLIN, 0};
	E(poll(&pf, 1, 0));
	E(waitid(P_PIDFD, fd, &si, WEXITED|WNOHANG));
	E(syscall(SYS_pidfd_send_signal, fd, 0, 0, 0));
	E(syscall(SYS_pidfd_send_signal, fd, 0, 0, 16));
	E(syscall(SYS_pidfd_send_signal, fd, 100, 0, 0));
	E(syscall(SYS_pidfd_send_signal, 0, 0, 0, 0));
	E(syscall(SYS_pidfd_send_signal, 99, 0, 0, 0));
	memset(&si, 0, sizeof si);
	si.si_signo=SIGUSR1;
	si.si_code=SI_USER;
	E(syscall(SYS_pidfd_send_signal, fd, SIGUSR1, &si, 0));
	E(syscall(SYS_pidfd_send_signal, fd, SIGUSR2, &si, 0));
	E(syscall(SYS_pidfd_getfd, fd, 1, 0)>2);
	E(syscall(SYS_pidfd_getfd, fd, 77, 0));
	E(syscall(SYS_pidfd_getfd, fd, 1, 5));
	E(syscall(SYS_pidfd_getfd, 1, 1, 0));
	int g=syscall(SYS_pidfd_getfd, fd, 1, 0);
	P("cloexec %d\n", fcntl(g, F_GETFD));
	write(g,"through\n", 8);
	kill(c, SIGTERM);
	E(poll(&pf, 1, 5000));
	P("%x\n", pf.revents);
	E(syscall(SYS_pidfd_send_signal, fd, 0, 0, 0));
	E(syscall(SYS_pidfd_getfd, fd, 1, 0));
	E(waitid(P_PIDFD, fd, &si, WEXITED|WNOWAIT));
	P("%d %d %d\n", si.si_pid==c, si.si_code, si.si_status);
	E(waitid(P_PIDFD, fd, &si, WEXITED));
	E(waitid(P_PIDFD, fd, &si, WEXITED));
	E(syscall(SYS_pidfd_send_signal, fd, 0, 0, 0));
	pf.revents=0;
	E(poll(&pf, 1, 0));
	P("%x\n", pf.revents&POLLIN);
	E(waitid(P_PIDFD, 1, &si, WEXITED));
	E(waitid(P_PIDFD, -1, &si, WEXITED));
	E(waitid(P_PIDFD, 88, &si, WEXITED));
	/* clone */  int pd=-1;
	c=syscall(SYS_clone, 0x1000|SIGCHLD, 0, &pd, 0, 0);
	if (!c)_exit(7);
	P("%d\n", pd>0);
	pf=(struct pollfd){pd, POLLIN, 0};
	E(poll(&pf, 1, 5000));
	E(waitid(P_PIDFD, pd, &si, WEXITED));
	P("%d\n", si.si_status);
	close(pd);
	E(syscall(SYS_clone, 0x1000|0x100000|SIGCHLD, 0, &pd, 0, 0));
	E(syscall(SYS_clone, 0x1000|SIGCHLD, 0, 1, 0, 0));
	struct ca a={.flags=0x1000, .pidfd=(uintptr_t)&pd, .exit_signal=SIGCHLD};
	c=syscall(SYS_clone3, &a, sizeof a);
	if (!c)_exit(9);
	E(waitid(P_PIDFD, pd, &si, WEXITED));
	P("%d\n", si.si_status);
	E(syscall(SYS_clone3, &a, 60));
	E(syscall(SYS_clone3, &a, 0));
	a.flags=1ull<<40;
	E(syscall(SYS_clone3, &a, sizeof a));
	a.flags=0;
	a.exit_signal=200;
	E(syscall(SYS_clone3, &a, sizeof a));
	a.exit_signal=SIGCHLD;
	a.stack=4096;
	E(syscall(SYS_clone3, &a, sizeof a));
	a.stack=0;
	a.set_tid_size=1;
	E(syscall(SYS_clone3, &a, sizeof a));
	/* nonblock */  int go[2];
	pipe(go);
	c=fork();
	if (!c) {
		read(go[0], b, 1);
		_exit(3);
	}
	fd=syscall(SYS_pidfd_open, c, O_NONBLOCK);
	E(waitid(P_PIDFD, fd, &si, WEXITED));
	E(waitid(P_PIDFD, fd, &si, WEXITED|WNOHANG));
	write(go[1],"x", 1);
	pf=(struct pollfd){fd, POLLIN, 0};
	E(poll(&pf, 1, 5000));
	E(waitid(P_PIDFD, fd, &si, WEXITED));
	P("%d\n", si.si_status);
	/* stopped child */  c=fork();
	if (!c) {
		raise(SIGSTOP);
		_exit(4);
	}
	fd=syscall(SYS_pidfd_open, c, 0);
	E(waitid(P_PIDFD, fd, &si, WSTOPPED|WEXITED));
	P("%d %d\n", si.si_code, si.si_status);
	E(syscall(SYS_pidfd_send_signal, fd, SIGCONT, 0, 0));
	E(waitid(P_PIDFD, fd, &si, WEXITED));
	/* /proc/PID as a pidfd */  c=fork();
	if (!c)for(;;)pause();
	sprintf(nm,"/proc/%d", c);
	fd=open(nm, O_RDONLY|O_DIRECTORY);
	E(syscall(SYS_pidfd_send_signal, fd, SIGKILL, 0, 0));
	E(waitpid(c, &st, 0)==c);
	status_of(st);
	E(syscall(SYS_pidfd_send_signal, fd, SIGKILL, 0, 0));
	/* epoll */  c=fork();
	if (!c) {
		usleep(30000);
		_exit(0);
	}
	fd=syscall(SYS_pidfd_open, c, 0);
	int ep=epoll_create1(0);
	struct epoll_event ev={.events=EPOLLIN, .data.fd=fd};
	E(epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev));
	E(epoll_wait(ep, &ev, 1, 5000));
	P("%x\n", ev.events&EPOLLIN);
	wait(0);
	/* madvise of another */  struct iovec io={mmap(0, 8192, 3, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0), 8192};
	c=fork();
	if (!c)for(;;)pause();
	fd=syscall(SYS_pidfd_open, c, 0);
	E(syscall(440, fd, &io, 1, MADV_COLD, 0));
	E(syscall(440, fd, &io, 1, MADV_PAGEOUT, 0));
	E(syscall(440, fd, &io, 1, 999, 0));
	E(syscall(440, fd, &io, 1, MADV_COLD, 1));
	io.iov_base=(void*)4096;
	E(syscall(440, fd, &io, 1, MADV_COLD, 0));
	E(syscall(440, 1, &io, 1, MADV_COLD, 0));
	kill(c, 9);
	wait(0);
	io.iov_base=0;
	E(syscall(440, fd, &io, 1, MADV_COLD, 0));
	return 0;
}
