/* Who adopts an orphan, what its new parent can learn, and what becomes of stopped groups that nobody can continue. */
#include "check.h"
#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>

static volatile sig_atomic_t hups, conts;
static void on_hup(int signo) { (void)signo; hups++; }
static void on_cont(int signo) { (void)signo; conts++; }

static char state_of(pid_t pid)
{
	char path[64], text[512], *p;
	int fd, length;

	snprintf(path, sizeof path, "/proc/%d/stat", pid);
	fd = open(path, O_RDONLY);
	if (fd < 0)
		return '-';
	length = read(fd, text, sizeof text - 1);
	close(fd);
	if (length <= 0)
		return '-';
	text[length] = 0;
	p = strrchr(text, ')');
	return p ? p[2] : '?';
}

static void until(pid_t pid, char state)
{
	int i;

	for (i = 0; i < 5000 && state_of(pid) != state; i++)
		usleep(1000);
}

/* A subreaper adopts its grandchildren, running and dead, and can wait for them. */
static void subreaper(void)
{
	int fds[2], status, statuses = 0, count = 0;
	pid_t pid, got, zombie, running;
	char byte;

	if (pipe(fds) || prctl(PR_SET_CHILD_SUBREAPER, 1))
		_exit(9);
	pid = fork();
	if (!pid) {
		zombie = fork();
		if (!zombie)
			_exit(11);
		until(zombie, 'Z');
		running = fork();
		if (!running) {
			close(fds[1]);
			byte = read(fds[0], &byte, 1);
			_exit(22);
		}
		_exit(33);
	}
	EQUAL("the child", waitpid(pid, &status, 0), pid);
	EQUAL("its status", WEXITSTATUS(status), 33);
	got = wait(&status);
	CHECK("the zombie grandchild was handed on", got > 0 && WEXITSTATUS(status) == 11);
	EQUAL("the other one runs", waitpid(-1, &status, WNOHANG), 0);
	close(fds[1]);
	while ((got = wait(&status)) > 0) {
		count++;
		statuses += WEXITSTATUS(status);
	}
	EQUAL("and is waited for", count * 100 + statuses, 122);
	CHECK("no more children", got == -1 && errno == ECHILD);
	close(fds[0]);
	prctl(PR_SET_CHILD_SUBREAPER, 0);
}

/* The nearest living ancestor that asked for it; getppid follows. */
static void nested(void)
{
	int fds[2];
	pid_t middle, got = 0, answer[2];

	if (pipe(fds))
		_exit(9);
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	middle = fork();
	if (!middle) {
		prctl(PR_SET_CHILD_SUBREAPER, 1);
		if (!fork()) {
			pid_t before = getpid(), me;

			if (!fork()) {

				while (getppid() == before)
					usleep(1000);
				me = getppid();
				_exit(write(fds[1], &me, sizeof me) != sizeof me);
			}
			_exit(0);
		}
		while (wait(NULL) > 0)
			;
		got = getpid();
		_exit(write(fds[1], &got, sizeof got) != sizeof got);
	}
	waitpid(middle, NULL, 0);
	CHECK("two answers", read(fds[0], answer, sizeof answer) == sizeof answer);
	EQUAL("adopted by the nearest subreaper", answer[0], middle);
	EQUAL("which is", answer[1], middle);
	EQUAL("nobody is left", wait(NULL), -1);
	prctl(PR_SET_CHILD_SUBREAPER, 0);
	close(fds[0]);
	close(fds[1]);
}

/* A stopped process whose group becomes orphaned by its parent's end gets SIGHUP, then SIGCONT. */
static void orphaned_group(void)
{
	int fds[2];
	char answer[2] = {0, 0};
	pid_t middle;

	if (pipe(fds))
		_exit(9);
	middle = fork();
	if (!middle) {
		pid_t pid = fork();

		if (!pid) {
			setpgid(0, 0);
			signal(SIGHUP, on_hup);
			signal(SIGCONT, on_cont);
			raise(SIGSTOP);
			while (!hups || !conts)
				usleep(1000);
			answer[0] = '0' + hups;
			answer[1] = '0' + conts;
			_exit(write(fds[1], answer, 2) != 2);
		}
		setpgid(pid, pid);
		until(pid, 'T');
		_exit(0);
	}
	waitpid(middle, NULL, 0);
	CHECK("SIGHUP and SIGCONT came", read(fds[0], answer, 2) == 2 && answer[0] == '1' && answer[1] == '1');
	close(fds[0]);
	close(fds[1]);
}

/* In an orphaned group the stop signals of the keyboard do nothing; SIGSTOP still stops. */
static void keys_ignored(void)
{
	int status;
	pid_t pid = fork(), got;

	if (!pid) {
		setsid();  /* the leader's parent is in another session: the group is orphaned */
		raise(SIGTSTP);
		raise(SIGTTIN);
		raise(SIGTTOU);
		raise(SIGSTOP);
		_exit(7);
	}
	got = waitpid(pid, &status, WUNTRACED);
	CHECK("only SIGSTOP stopped it", got == pid && WIFSTOPPED(status) && WSTOPSIG(status) == SIGSTOP);
	kill(pid, SIGCONT);
	waitpid(pid, &status, 0);
	EQUAL("and it went on", WEXITSTATUS(status), 7);
}

int main(void)
{
	subreaper();
	nested();
	orphaned_group();
	keys_ignored();
	return done();
}
