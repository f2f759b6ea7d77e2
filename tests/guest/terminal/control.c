/* Sessions: the controlling terminal, the foreground group, background readers, hanging up. */
#include "pair.h"

static volatile sig_atomic_t seen[65];

static void note(int signo)
{
	seen[signo]++;
}

static void catch(int signo)
{
	struct sigaction action;

	memset(&action, 0, sizeof action);
	action.sa_handler = note;
	sigaction(signo, &action, NULL);
}

static int wait_for(pid_t child)
{
	int status;

	waitpid(child, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

static void new_session(void)
{
	pid_t child = fork();

	if (child) {
		EQUAL("the session's programs", wait_for(child), 0);
		return;
	}
	failures = 0;
	EQUAL("a new session", setsid() == getpid(), 1);
	ERRNO("no /dev/tty", open("/dev/tty", O_RDWR), ENXIO);
	ERRNO("no group", tcgetpgrp(slave), ENOTTY);
	ERRNO("TIOCSCTTY", ioctl(slave, TIOCSCTTY, 0), 0);
	ERRNO("twice", ioctl(slave, TIOCSCTTY, 0), 0);
	EQUAL("its group", tcgetpgrp(slave), getpid());
	EQUAL("of the master", tcgetpgrp(master), getpid());
	EQUAL("its session", tcgetsid(slave), getpid());
	CHECK("/dev/tty", open("/dev/tty", O_RDWR) >= 0);
	ERRNO("a group that is not there", ioctl(slave, TIOCSPGRP, &(int){99999}), ESRCH);
	ERRNO("a group of another session", ioctl(slave, TIOCSPGRP, &(int){getpgid(getppid())}), EPERM);
	catch(SIGINT), catch(SIGQUIT), catch(SIGTSTP), catch(SIGWINCH);
	type("x\003y\034z\032");
	for (int i = 0; i < 5000 && !(seen[SIGINT] && seen[SIGQUIT] && seen[SIGTSTP]); i++)
		usleep(1000);
	EQUAL("Ctrl-C", seen[SIGINT], 1);
	EQUAL("Ctrl-\\", seen[SIGQUIT], 1);
	EQUAL("Ctrl-Z", seen[SIGTSTP], 1);
	drain("echo ", master);
	drain("what is left ", slave);
	ERRNO("a size", ioctl(master, TIOCSWINSZ, &(struct winsize){10, 20, 0, 0}), 0);
	ERRNO("the same size", ioctl(master, TIOCSWINSZ, &(struct winsize){10, 20, 0, 0}), 0);
	EQUAL("SIGWINCH", seen[SIGWINCH], 1);
	exit(failures != 0);
}

static void background(void)
{
	pid_t child = fork(), job;
	struct termios settings;
	char byte;
	int status;

	if (child) {
		EQUAL("background jobs", wait_for(child), 0);
		return;
	}
	failures = 0;
	setsid();
	ioctl(slave, TIOCSCTTY, 0);
	for (int what = 0; what < 4; what++) {
		job = fork();
		if (!job) {
			setpgid(0, 0);
			if (what == 1)
				tcgetattr(slave, &settings), tcsetattr(slave, TCSANOW, &settings);
			else if (what == 2)
				tcsetpgrp(slave, getpid());
			else if (what == 3)
				_exit(write(slave, "free\n", 5) != 5);
			else
				_exit(read(slave, &byte, 1) != 1);
			_exit(0);
		}
		EQUAL("stopped or ended", waitpid(job, &status, WUNTRACED), job);
		printf("job %d: %s %d\n", what, WIFSTOPPED(status) ? "stopped" : "ended", WIFSTOPPED(status) ? WSTOPSIG(status) : 0);
		if (WIFSTOPPED(status)) {
			tcsetpgrp(slave, job);
			kill(-job, SIGCONT);
			type("k\n");
			EQUAL("goes on", wait_for(job), 0);
			signal(SIGTTOU, SIG_IGN);
			ERRNO("the foreground again", tcsetpgrp(slave, getpid()), 0);
			signal(SIGTTOU, SIG_DFL);
		}
		tcflush(slave, TCIOFLUSH);
	}
	job = fork();
	if (!job) {
		setpgid(0, 0);
		signal(SIGTTIN, SIG_IGN);
		errno = 0;
		_exit(read(slave, &byte, 1) == -1 && errno == EIO ? 0 : 1);
	}
	EQUAL("SIGTTIN ignored: EIO", wait_for(job), 0);
	exit(failures != 0);
}

static void hangup(void)
{
	int ends[2];
	pid_t child;
	char byte;

	if (pipe(ends))
		exit(9);
	child = fork();
	if (!child) {
		failures = 0;
		close(master);
		setsid();
		ioctl(slave, TIOCSCTTY, 0);
		catch(SIGHUP), catch(SIGCONT);
		if (write(ends[1], "r", 1) != 1)
			exit(9);
		errno = 0;
		EQUAL("a read is interrupted or ends", read(slave, &byte, 1) <= 0, 1);
		EQUAL("SIGHUP", seen[SIGHUP], 1);
		EQUAL("SIGCONT", seen[SIGCONT], 1);
		EQUAL("the end", read(slave, &byte, 1), 0);
		ERRNO("write", write(slave, "x", 1), EIO);
		ERRNO("TCGETS", ioctl(slave, TCGETS, &(struct termios){0}), EIO);
		EQUAL("isatty", isatty(slave), 0);
		EQUAL("poll", ready(slave), POLLIN | POLLOUT | POLLHUP | POLLERR);
		ERRNO("/dev/tty", open("/dev/tty", O_RDWR), ENXIO);
		ERRNO("the name is gone", access(slave_name, F_OK), ENOENT);
		exit(failures != 0);
	}
	close(slave);
	if (read(ends[0], &byte, 1) != 1)
		exit(9);
	usleep(20000);
	close(master);
	EQUAL("hung up", wait_for(child), 0);
}

static void other_side(void)
{
	char data[10];

	open_pair();
	EQUAL("a fresh master", ready(master), POLLOUT);
	if (write(slave, "bye", 3) != 3)
		exit(9);
	close(slave);
	EQUAL("data and the end", ready(master) & (POLLIN | POLLHUP), POLLIN | POLLHUP);
	show("last words ", data, read(master, data, sizeof data));
	ERRNO("then", read(master, data, sizeof data), EIO);
	slave = open(slave_name, O_RDWR | O_NOCTTY);
	EQUAL("opened again", ready(master), POLLOUT);
	ERRNO("TIOCEXCL", ioctl(slave, TIOCEXCL), 0);
	close(slave);
	EQUAL("hung up", ready(master) & POLLHUP, POLLHUP);
	ERRNO("TIOCSPTLCK", ioctl(master, TIOCSPTLCK, &(int){1}), 0);
	ERRNO("locked", open(slave_name, O_RDWR), EIO);
	slave = ioctl(master, TIOCSPTLCK, &(int){0});
	slave = ioctl(master, 0x5441, O_RDWR | O_NOCTTY);
	CHECK("TIOCGPTPEER", slave >= 0 && isatty(slave));
	close(slave);
	close(master);
	ERRNO("nobody", open(slave_name, O_RDWR), ENOENT);
}

static void leader_ends(void)
{
	pid_t child, job;
	int status;

	open_pair();
	child = fork();
	if (!child) {
		setsid();
		ioctl(slave, TIOCSCTTY, 0);
		job = fork();
		if (!job) {
			setpgid(0, 0);
			signal(SIGTTOU, SIG_IGN);
			tcsetpgrp(slave, getpid());
			pause();
			_exit(0);
		}
		while (tcgetpgrp(slave) != job)
			usleep(1000);
		_exit(0);
	}
	close(slave);
	waitpid(child, &status, 0);
	EQUAL("the leader", status, 0);
	for (int i = 0; i < 10000 && !(ready(master) & POLLHUP); i++)
		usleep(2000);
	EQUAL("all closed", ready(master) & POLLHUP, POLLHUP);
	close(master);
}

int main(void)
{
	setvbuf(stdout, NULL, _IONBF, 0);
	open_pair();
	new_session();
	open_pair();
	background();
	open_pair();
	hangup();
	other_side();
	leader_ends();
	return done();
}
