/* inotify: every kind of event, in the order and form in which they are read. */
#include "check.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>

static int fd;
static const char *const names[] = { "ACCESS", "MODIFY", "ATTRIB", "CLOSE_WRITE", "CLOSE_NOWRITE", "OPEN", "MOVED_FROM",
	"MOVED_TO", "CREATE", "DELETE", "DELETE_SELF", "MOVE_SELF" };

static int watch(const char *path, unsigned mask)
{
	return inotify_add_watch(fd, path, mask);
}

/* All events that wait, as one text: "1 CREATE|ISDIR sub; ". */
static void expect(const char *name, const char *want)
{
	char buffer[4096] __attribute__((aligned(8))), got[2000] = "";
	unsigned cookie = 0;
	long n, at;
	size_t i;

	while ((n = read(fd, buffer, sizeof buffer)) > 0)
		for (at = 0; at < n;) {
			struct inotify_event *e = (void *)(buffer + at);

			sprintf(got + strlen(got), "%d", e->wd);
			for (i = 0; i < 12; i++)
				if (e->mask >> i & 1)
					sprintf(got + strlen(got), " %s", names[i]);
			if (e->mask & IN_ISDIR)
				strcat(got, " ISDIR");
			if (e->mask & IN_IGNORED)
				strcat(got, " IGNORED");
			if (e->mask & IN_Q_OVERFLOW)
				strcat(got, " Q_OVERFLOW");
			if (e->len)
				sprintf(got + strlen(got), " %s", e->name);
			if (e->mask & IN_MOVED_FROM)
				cookie = e->cookie;
			if (e->mask & IN_MOVED_TO && cookie && e->cookie == cookie)
				strcat(got, " SAME");
			if (e->len % 16 || (!(e->mask & (IN_MOVED_FROM | IN_MOVED_TO)) && e->cookie))
				strcat(got, " BAD");
			strcat(got, "; ");
			at += sizeof *e + e->len;
		}
	report(!strcmp(got, want), name, got);
}

static void put(const char *path, const char *text, int flags)
{
	int f = open(path, O_WRONLY | flags, 0644);

	if (write(f, text, strlen(text)) < 0)
		report(0, "write", path);
	close(f);
}

static void directories(void)
{
	char b[16];
	int f, wd;

	wd = watch("d", IN_ALL_EVENTS);
	EQUAL("the first is 1", wd, 1);
	put("d/f", "hello", O_CREAT);
	expect("a new file", "1 CREATE f; 1 OPEN f; 1 MODIFY f; 1 CLOSE_WRITE f; ");
	f = open("d/f", O_RDONLY);
	read(f, b, 3), read(f, b, 9), read(f, b, 9);
	close(f);
	expect("reading: two at the end are one", "1 OPEN f; 1 ACCESS f; 1 CLOSE_NOWRITE f; ");
	put("d/f", "x", O_TRUNC);
	expect("cut, written", "1 OPEN f; 1 MODIFY f; 1 CLOSE_WRITE f; ");
	chmod("d/f", 0600), chown("d/f", 1, 1), utimes("d/f", NULL);
	expect("attributes", "1 ATTRIB f; ");
	truncate("d/f", 100);
	expect("truncate", "1 MODIFY f; ");
	mkdir("d/sub", 0755), symlink("f", "d/l"), mkfifo("d/p", 0644), link("d/f", "d/g");
	expect("names", "1 CREATE ISDIR sub; 1 CREATE l; 1 CREATE p; 1 CREATE g; ");
	rename("d/f", "d/h"), rename("d/sub", "d/dir");
	expect("moved", "1 MOVED_FROM f; 1 MOVED_TO h SAME; 1 MOVED_FROM ISDIR sub; 1 MOVED_TO ISDIR dir SAME; ");
	rename("d/h", "h"), rename("h", "d/i");
	expect("out and in", "1 MOVED_FROM h; 1 MOVED_TO i; ");
	unlink("d/i"), unlink("d/l"), rmdir("d/dir"), unlink("d/p");
	expect("removed", "1 DELETE i; 1 DELETE l; 1 DELETE ISDIR dir; 1 DELETE p; ");
	chmod("d", 0711);
	expect("the directory itself", "1 ATTRIB ISDIR; ");
	close(open("d", O_RDONLY | O_DIRECTORY));
	expect("opened", "1 OPEN ISDIR; 1 CLOSE_NOWRITE ISDIR; ");
	ERRNO("remove the watch", inotify_rm_watch(fd, wd), 0);
	unlink("d/g");
	expect("no more", "1 IGNORED; ");
	ERRNO("again", inotify_rm_watch(fd, wd), EINVAL);
}

static void objects(void)
{
	int f, wd, d;

	put("f", "x", O_CREAT);
	wd = watch("f", IN_ALL_EVENTS);
	d = watch("d", IN_CREATE | IN_DELETE | IN_MOVED_TO | IN_DELETE_SELF | IN_MOVE_SELF);
	CHECK("new numbers", wd == 2 && d == 3);
	EQUAL("the same inode", watch("./f", IN_ALL_EVENTS), wd);
	rename("f", "d/g");
	expect("moved", "3 MOVED_TO g; 2 MOVE_SELF; ");
	link("d/g", "d/k");
	expect("a link", "2 ATTRIB; 3 CREATE k; ");
	unlink("d/k");
	expect("and its end", "2 ATTRIB; 3 DELETE k; ");
	f = open("d/g", O_RDWR);
	unlink("d/g");
	expect("unlinked", "2 OPEN; 2 ATTRIB; 3 DELETE g; ");
	write(f, "x", 1);
	close(f);
	expect("closed", "2 MODIFY; 2 CLOSE_WRITE; 2 DELETE_SELF; 2 IGNORED; ");
	put("a", "x", O_CREAT), put("b", "x", O_CREAT);
	wd = watch("b", IN_ALL_EVENTS);
	rename("a", "b");
	expect("replaced", "4 ATTRIB; 4 DELETE_SELF; 4 IGNORED; ");
	rename("d", "e");
	expect("the directory moves", "3 MOVE_SELF; ");
	rmdir("e");
	expect("the directory goes", "3 DELETE_SELF; 3 IGNORED; ");
	unlink("b");
}

static void masks(void)
{
	int n = -1;
	char small[16];

	mkdir("m", 0755);
	watch("m", IN_CREATE | IN_ONESHOT);
	put("m/1", "x", O_CREAT), put("m/2", "x", O_CREAT);
	expect("once", "5 CREATE 1; 5 IGNORED; ");
	watch("m", IN_DELETE);
	watch("m", IN_CREATE | IN_MASK_ADD);
	unlink("m/1"), put("m/1", "x", O_CREAT);
	expect("added", "6 DELETE 1; 6 CREATE 1; ");
	watch("m", IN_OPEN);
	put("m/1", "x", 0), unlink("m/2");
	expect("replaced", "6 OPEN 1; ");
	ERRNO("IN_MASK_CREATE", watch("m", IN_OPEN | IN_MASK_CREATE), EEXIST);
	ERRNO("no bits", watch("m", 0), EINVAL);
	ERRNO("IN_ONLYDIR", watch("m/1", IN_OPEN | IN_ONLYDIR), ENOTDIR);
	ERRNO("nothing there", watch("nothing", IN_OPEN), ENOENT);
	ERRNO("not inotify", inotify_add_watch(0, "m", IN_OPEN), EINVAL);
	ERRNO("not open", inotify_add_watch(99, "m", IN_OPEN), EBADF);
	ERRNO("flags", inotify_init1(1), EINVAL);
	close(open("m/1", O_RDONLY));
	ioctl(fd, FIONREAD, &n);
	EQUAL("FIONREAD", n, 32);
	ERRNO("too small", read(fd, small, sizeof small), EINVAL);
	expect("it is still there", "6 OPEN 1; ");
	ERRNO("none", read(fd, small, sizeof small), EAGAIN);
}

static void waiting(void)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	int status, i, n = 0, get;
	char buffer[4096];

	EQUAL("nothing", poll(&p, 1, 0), 0);
	if (!fork()) {
		usleep(10000);
		close(open("m/1", O_RDONLY));
		_exit(0);
	}
	EQUAL("woken", poll(&p, 1, -1), 1);
	wait(&status);
	expect("by another process", "6 OPEN 1; ");
	for (i = 0; i < 17000; i++)
		close(open(i % 2 ? "m/1" : "m", O_RDONLY));
	while ((get = read(fd, buffer, sizeof buffer)) > 0)
		for (i = 0; i < get; n++)
			i += 16 + ((struct inotify_event *)(buffer + i))->len;
	EQUAL("no more than so many, and the overflow", n, 16385);
	unlink("m/1");
	rmdir("m");
	expect("the end", "6 IGNORED; ");
}

int main(int argc, char **argv)
{
	char dir[100];

	sprintf(dir, "%s/nopage-inotify-XXXXXX", argc > 1 ? argv[1] : "/dev/shm");
	if (!mkdtemp(dir) || chdir(dir))
		return 2;
	umask(022);
	mkdir("d", 0755);
	fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	directories();
	objects();
	masks();
	waiting();
	close(fd);
	chdir("/");
	rmdir(dir);
	return done();
}
