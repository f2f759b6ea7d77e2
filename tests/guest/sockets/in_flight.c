/* Descriptors in messages that nobody has received yet: a user who is not root has one more than RLIMIT_NOFILE of them. */
#include "check.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>

#define LIMIT 24

/* `count` times a descriptor of /dev/null in one message, and `text`. */
static int pass(int s, int count, char *text)
{
	static union {
		char bytes[1024];
		struct cmsghdr align;
	} control;
	struct iovec iov = { text, text ? 1 : 4096 };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = CMSG_SPACE(count * 4) };
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);

	c->cmsg_level = SOL_SOCKET, c->cmsg_type = SCM_RIGHTS, c->cmsg_len = CMSG_LEN(count * 4);
	for (int i = 0; i < count; i++)
		memcpy(CMSG_DATA(c) + 4 * i, &(int){ 0 }, 4);
	return sendmsg(s, &m, MSG_DONTWAIT) < 0 ? -errno : 0;
}

/* Messages with `count` descriptors until one is refused; why is in *error. */
static int fill(int s, int count, int most, int *error)
{
	int n = 0;

	for (*error = 0; n < most && !*error; n += !*error)
		*error = -pass(s, count, "x");
	return n;
}

static void become(unsigned user)
{
	setgroups(0, NULL);
	if (setresuid(user, user, user))
		_exit(77);
}

static int in_child(unsigned user, int s, int most, int *ends)
{
	int status, error, n;
	pid_t pid = fork();

	if (!pid) {
		if (user)
			become(user);
		n = fill(s, 1, most, &error);
		_exit(write(ends[1], &error, sizeof error) < 0 ? 99 : n);
	}
	waitpid(pid, &status, 0);
	if (read(ends[0], &error, sizeof error) != sizeof error)
		error = -1;
	return error ? -error : WEXITSTATUS(status);
}

static void kind(int type, unsigned user)
{
	int a[2], b[2], ends[2], error;
	char c;

	socketpair(AF_UNIX, type, 0, a);
	socketpair(AF_UNIX, type, 0, b);
	pipe(ends);
	EQUAL("root has no such limit", in_child(0, a[0], 60, ends), 60);
	EQUAL("and its files don't count for another user", in_child(user, a[0], LIMIT, ends), LIMIT);
	EQUAL("his own do, those of a process that ended, too", in_child(user, b[0], 1, ends), 1);
	EQUAL("he has one more than the limit now", in_child(user, b[0], 1, ends), -ETOOMANYREFS);
	EQUAL("another user has his own", in_child(user + 1, b[0], 1, ends), 1);
	close(a[0]), close(a[1]), close(b[0]), close(b[1]);

	socketpair(AF_UNIX, type, 0, a);
	if (!fork()) {
		become(user);
		EQUAL("a closed socket has given his back", fill(a[0], 10, 100, &error), 3);
		EQUAL("a message goes as a whole or not at all", error, ETOOMANYREFS);
		EQUAL("without files it goes", send(a[0], "y", 1, 0), 1);
		EQUAL("the files are looked at before the bytes", pass(a[0], 1, NULL), -ETOOMANYREFS);
		EQUAL("one is received, without its files", recv(a[1], &c, 1, 0), 1);
		EQUAL("which makes room", fill(a[0], 5, 100, &error), 1);
		EQUAL("for so many", error, ETOOMANYREFS);
		close(a[1]);
		EQUAL("the parent has closed its own, too", read(ends[0], &c, 1), 1);
		EQUAL("a closed end comes first", pass(a[0], 1, "x") == -ETOOMANYREFS, 0);
		exit(failures != 0);
	}
	close(a[0]), close(a[1]);
	write(ends[1], "x", 1);
	wait(&error);
	EQUAL("all of that", error, 0);
}

int main(void)
{
	struct rlimit limit = { LIMIT, LIMIT };

	signal(SIGPIPE, SIG_IGN);
	close(0);
	open("/dev/null", O_RDONLY);
	if (getuid()) {
		puts("not root");
		return 0;
	}
	setrlimit(RLIMIT_NOFILE, &limit);
	kind(SOCK_STREAM, 200000 + 2 * getpid());
	kind(SOCK_SEQPACKET, 200000 + 2 * getpid());
	return done();
}
