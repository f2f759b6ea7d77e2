/* AF_UNIX streams: pairs, connections by path and abstract name, ends, shutdown, SIGPIPE, buffers. */
#include "check.h"
#include "../alone.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

static volatile int pipes;

static void count_pipe(int signo)
{
	(void)signo;
	pipes++;
}

static socklen_t named(struct sockaddr_un *sun, const char *path, int abstract)
{
	memset(sun, 0, sizeof *sun);
	sun->sun_family = AF_UNIX;
	strcpy(sun->sun_path + abstract, path);
	return 2 + strlen(path) + 1;
}

static void pair(void)
{
	char b[64] = "";
	struct stat st;
	int s[2], waiting = -1;

	ERRNO("socketpair", socketpair(AF_UNIX, SOCK_STREAM, 0, s), 0);
	EQUAL("write", write(s[0], "hello", 5), 5);
	EQUAL("write more", send(s[0], " world", 6, 0), 6);
	ioctl(s[1], FIONREAD, &waiting);
	EQUAL("FIONREAD", waiting, 11);
	EQUAL("peek goes over both", recv(s[1], b, sizeof b, MSG_PEEK), 11);
	EQUAL("peek a part", recv(s[1], b, 3, MSG_PEEK), 3);
	EQUAL("read a part", read(s[1], b, 3), 3);
	EQUAL("read the rest", read(s[1], b, sizeof b), 8);
	CHECK("bytes", !memcmp(b, "lo world", 8));
	ERRNO("empty", recv(s[1], b, 1, MSG_DONTWAIT), EAGAIN);
	ERRNO("empty, peek", recv(s[1], b, 1, MSG_DONTWAIT | MSG_PEEK), EAGAIN);
	EQUAL("read of nothing", read(s[1], b, 0), 0);
	EQUAL("write of nothing", write(s[1], b, 0), 0);
	ERRNO("read EFAULT when there is nothing", recv(s[1], (void *)8, 1, MSG_DONTWAIT), EAGAIN);
	write(s[0], "ab", 2);
	ERRNO("read EFAULT", read(s[1], (void *)8, 2), EFAULT);
	EQUAL("nothing is lost", read(s[1], b, 9), 2);
	ERRNO("write EFAULT", write(s[1], (void *)8, 2), EFAULT);
	ERRNO("lseek", lseek(s[0], 0, SEEK_SET), ESPIPE);
	ERRNO("pread", pread(s[0], b, 1, 0), ESPIPE);
	ERRNO("sendto an address", sendto(s[0], b, 1, 0, (void *)&st, 4), EISCONN);
	fstat(s[0], &st);
	CHECK("is a socket", S_ISSOCK(st.st_mode) && (st.st_mode & 0777) == 0777);
	sprintf(b, "/proc/self/fd/%d", s[0]);
	ERRNO("a second open", open(b, O_RDWR), ENXIO);
	ERRNO("isatty", isatty(s[0]) ? 0 : -1, ENOTTY);
	close(s[0]);
	EQUAL("end", read(s[1], b, 1), 0);
	ERRNO("write to nobody", write(s[1], b, 1), EPIPE);
	EQUAL("SIGPIPE", pipes, 1);
	ERRNO("MSG_NOSIGNAL", send(s[1], b, 1, MSG_NOSIGNAL), EPIPE);
	EQUAL("no SIGPIPE", pipes, 1);
	close(s[1]);
	socketpair(AF_UNIX, SOCK_STREAM, 0, s);
	write(s[0], "unread", 6);
	write(s[1], "sent", 4);
	close(s[1]);
	EQUAL("what had been sent", read(s[0], b, 9), 4);
	ERRNO("then the reset", read(s[0], b, 9), ECONNRESET);
	EQUAL("then the end", read(s[0], b, 9), 0);
	close(s[0]);
}

static void shut(void)
{
	struct pollfd p = { .events = POLLIN | POLLOUT | POLLRDHUP };
	char b[8];
	int s[2];

	socketpair(AF_UNIX, SOCK_STREAM, 0, s);
	ERRNO("shutdown", shutdown(s[0], 3), EINVAL);
	p.fd = s[1];
	EQUAL("poll", poll(&p, 1, 0), 1);
	EQUAL("writable", p.revents, POLLOUT);
	ERRNO("SHUT_WR", shutdown(s[0], SHUT_WR), 0);
	poll(&p, 1, 0);
	EQUAL("poll", p.revents, POLLIN | POLLOUT | POLLRDHUP);
	EQUAL("end", read(s[1], b, 8), 0);
	ERRNO("can't write", write(s[0], b, 1), EPIPE);
	EQUAL("the other direction", write(s[1], b, 1), 1);
	EQUAL("read", read(s[0], b, 8), 1);
	ERRNO("SHUT_RD", shutdown(s[0], SHUT_RD), 0);
	ERRNO("can't write there", write(s[1], b, 1), EPIPE);
	poll(&p, 1, 0);
	EQUAL("poll", p.revents, POLLIN | POLLOUT | POLLRDHUP | POLLHUP);
	close(s[0]), close(s[1]);
}

static void full(void)
{
	static char block[4096];
	struct pollfd p = { .events = POLLOUT };
	int s[2], n, outq = 0;
	long total = 0, got = 0;

	socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, s);
	while ((n = write(s[0], block, sizeof block)) > 0)
		total += n;
	CHECK("EAGAIN when it is full", n == -1 && errno == EAGAIN);
	CHECK("tens of kilobytes fit", total > 60000 && total < 300000);
	p.fd = s[0];
	EQUAL("not writable", poll(&p, 1, 0), 0);
	ioctl(s[0], TIOCOUTQ, &outq);
	CHECK("SIOCOUTQ", outq >= total);
	while ((n = read(s[1], block, sizeof block)) > 0)
		got += n;
	CHECK("all of it arrives", got == total);
	EQUAL("writable again", poll(&p, 1, 0), 1);
	ioctl(s[0], TIOCOUTQ, &outq);
	EQUAL("SIOCOUTQ", outq, 0);
	close(s[0]), close(s[1]);
}

static void blocking(void)
{
	static char block[300000];
	int s[2], status;
	long got = 0, n;

	socketpair(AF_UNIX, SOCK_STREAM, 0, s);
	if (!fork()) {
		close(s[0]);
		memset(block, 'x', sizeof block);
		_exit(write(s[1], block, sizeof block) == sizeof block ? 7 : 8);
	}
	close(s[1]);
	usleep(20000);
	while ((n = read(s[0], block, 10000)) > 0)
		got += n;
	EQUAL("a big write", got, sizeof block);
	wait(&status);
	EQUAL("in one call", status >> 8, 7);
	close(s[0]);
	socketpair(AF_UNIX, SOCK_STREAM, 0, s);
	if (!fork()) {
		int i;

		for (i = 0; i < 4; i++)
			usleep(5000), write(s[1], "abc", 3);
		_exit(0);
	}
	EQUAL("MSG_WAITALL", recv(s[0], block, 12, MSG_WAITALL), 12);
	wait(&status);
	close(s[0]), close(s[1]);
}

static void connections(int abstract)
{
	struct sockaddr_un sun, got;
	socklen_t length = named(&sun, "nopage-stream", abstract), size;
	int l = socket(AF_UNIX, SOCK_STREAM, 0), c, a, status;
	struct pollfd p = { .fd = l, .events = POLLIN };
	struct stat st;
	char b[8];

	ERRNO("listen without a name", listen(l, 1), EINVAL);
	ERRNO("accept", accept(l, NULL, NULL), EINVAL);
	ERRNO("read", read(l, b, 1), EINVAL);
	ERRNO("write", write(l, b, 1), ENOTCONN);
	ERRNO("bind", bind(l, (void *)&sun, length), 0);
	ERRNO("bind again", bind(l, (void *)&sun, length), abstract ? EINVAL : EADDRINUSE);
	c = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
	ERRNO("bind to the same name", bind(c, (void *)&sun, length), EADDRINUSE);
	ERRNO("nobody listens", connect(c, (void *)&sun, length), ECONNREFUSED);
	ERRNO("listen", listen(l, 1), 0);
	if (!abstract) {
		CHECK("a node", !stat("nopage-stream", &st) && S_ISSOCK(st.st_mode) && (st.st_mode & 0777) == 0755);
		ERRNO("open of it", open("nopage-stream", O_RDWR), ENXIO);
	}
	EQUAL("nobody there", poll(&p, 1, 0), 0);
	ERRNO("connect", connect(c, (void *)&sun, length), 0);
	ERRNO("connect again", connect(c, (void *)&sun, length), EISCONN);
	EQUAL("somebody there", poll(&p, 1, 0), 1);
	EQUAL("write before accept", write(c, "early", 5), 5);
	size = sizeof got;
	a = accept4(l, (void *)&got, &size, SOCK_CLOEXEC);
	CHECK("accept", a >= 0 && fcntl(a, F_GETFD) == FD_CLOEXEC);
	EQUAL("the caller has no name", size, 2);
	EQUAL("read", read(a, b, 8), 5);
	size = sizeof got;
	ERRNO("getsockname", getsockname(a, (void *)&got, &size), 0);
	CHECK("the listener's", size == length && !memcmp(&got, &sun, length));
	memset(&got, 0, sizeof got);
	size = 5;
	ERRNO("getpeername", getpeername(c, (void *)&got, &size), 0);
	CHECK("cut", size == length && !memcmp(&got, &sun, 5) && !got.sun_path[3]);
	ERRNO("peer of a listener", getpeername(l, (void *)&got, &size), ENOTCONN);
	close(a);
	EQUAL("end", read(c, b, 8), 0);
	close(c);
	c = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
	a = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
	ERRNO("one waits", connect(c, (void *)&sun, length), 0);
	ERRNO("two wait", connect(a, (void *)&sun, length), 0);
	close(a);
	a = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
	ERRNO("three are too many", connect(a, (void *)&sun, length), EAGAIN);
	if (!fork()) {
		int d = socket(AF_UNIX, SOCK_STREAM, 0);

		close(l);
		_exit(connect(d, (void *)&sun, length) ? errno : write(d, "!", 1) == 1 ? 9 : 8);
	}
	usleep(10000);
	close(accept(l, NULL, NULL));
	close(accept(l, NULL, NULL));
	close(a);
	a = accept(l, NULL, NULL);
	EQUAL("one that had to wait", read(a, b, 8), 1);
	wait(&status);
	EQUAL("its end", status >> 8, 9);
	close(a), close(c);
	c = socket(AF_UNIX, SOCK_STREAM, 0);
	connect(c, (void *)&sun, length);
	close(l);
	ERRNO("the listener is gone", read(c, b, 1), ECONNRESET);
	close(c);
	c = socket(AF_UNIX, SOCK_STREAM, 0);
	ERRNO("nobody is left", connect(c, (void *)&sun, length), ECONNREFUSED);
	if (!abstract) {
		unlink("nopage-stream");
		ERRNO("no node is left", connect(c, (void *)&sun, length), ENOENT);
		close(open("nopage-stream", O_CREAT | O_RDWR, 0600));
		ERRNO("not a socket", connect(c, (void *)&sun, length), ECONNREFUSED);
		unlink("nopage-stream");
	}
	close(c);
}

int main(void)
{
	alone("/tmp/nopage-stream-alone");
	signal(SIGPIPE, count_pipe);
	umask(022);
	if (chdir("/tmp"))
		return 2;
	pair();
	shut();
	full();
	blocking();
	connections(0);
	connections(1);
	return done();
}
