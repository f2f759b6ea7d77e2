/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ids SEED COUNT [DIRECTORY]: as root, processes that change who they are and then do random things to files of all owners
   and modes: what they may, what they may not, what becomes of modes and owners. */
#define _GNU_SOURCE
#include "random.h"

#include <fcntl.h>
#include <ftw.h>
#include <grp.h>
#include <limits.h>
#include <signal.h>
#include <sys/fsuid.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

static const int ids[] = { 0, 0, 1000, 1000, 1001, 2000, 65534, -1 };
static const char *const names[] = { "a", "b", "c", "s/x", "s/y", "o/x", "o/y", "o", "s", "p/z", "p" };
static const int modes[] = { 0, 0400, 0600, 0640, 0644, 0666, 0700, 0755, 0770, 0777, 04755, 02755, 06777, 02644, 01777, 02770 };

static int id(void)
{
	return ONE_OF(ids);
}

static long changed(int call)
{
	gid_t groups[3] = { id(), id(), 50 };
	int a = id(), b = id(), c = id();

	switch (call) {
	case 0:
		return setuid(a);
	case 1:
		return setgid(a);
	case 2:
		return setresuid(a, b, c);
	case 3:
		return setresgid(a, b, c);
	case 4:
		return setreuid(a, b);
	case 5:
		return setregid(a, b);
	case 6:
		return setgroups(below(4), groups);
	case 7:
		return setfsuid(a);
	case 8:
		return setfsgid(a);
	case 9:
		return seteuid(a);
	default:
		return setegid(a);
	}
}

static long opened(const char *name)
{
	static const int ways[] = { O_RDONLY, O_WRONLY, O_RDWR, O_WRONLY | O_TRUNC, O_RDWR | O_CREAT, O_WRONLY | O_CREAT | O_EXCL,
				    O_RDONLY | O_NOATIME, O_RDONLY | O_DIRECTORY, O_WRONLY | O_APPEND };
	int fd = open(name, ONE_OF(ways) | O_NONBLOCK, ONE_OF(modes)), done;

	if (fd < 0)
		return -1;
	done = write(fd, "abc", below(4)); /* takes set-user-ID bits away */
	if (done < 0 && !below(2))
		done = fchmod(fd, ONE_OF(modes));
	close(fd);
	return done < 0 ? 100 : done;
}

static long times(const char *name)
{
	struct timespec both[2] = { { 5, below(2) ? UTIME_NOW : 7 }, { 9, below(3) ? UTIME_NOW : UTIME_OMIT } };

	return utimensat(AT_FDCWD, name, below(3) ? both : NULL, below(4) ? 0 : AT_SYMLINK_NOFOLLOW);
}

static int mine(const char *name)
{
	struct stat st;

	return lstat(name, &st) == 0 && (int)st.st_uid == setfsuid(-1);
}

static long one(int call, const char *name, const char *second)
{
	switch (call) {
	case 0: case 1: case 2:
		return opened(name);
	case 3:
		return access(name, below(8));
	case 4:
		return faccessat(AT_FDCWD, name, below(8), AT_EACCESS);
	case 5: case 6:
		return chmod(name, ONE_OF(modes));
	case 7: case 8:
		return chown(name, id(), id());
	case 9:
		return below(2) ? unlink(name) : rmdir(name);
	case 10: case 11:
		return rename(name, second);
	case 12:
		return mine(name) ? link(name, second) : 0; /* of others' files as /proc/sys/fs/protected_hardlinks says */
	case 13:
		return mkdir(name, ONE_OF(modes));
	case 14:
		return times(name);
	case 15:
		return truncate(name, below(10));
	case 16:
		return symlink(second, name);
	case 17:
		return mknod(name, (below(2) ? S_IFIFO : S_IFREG) | ONE_OF(modes), 0);
	case 18:
		return umask(ONE_OF(modes) & 077), 0;
	case 19:
		return lchown(name, id(), id());
	case 20:
		return chdir(name) ? -1 : chdir("..");
	default:
		return prctl(PR_GET_DUMPABLE);
	}
}

static void who(void)
{
	uid_t u[3];
	gid_t g[3], groups[8];
	int count;

	getresuid(u, u + 1, u + 2), getresgid(g, g + 1, g + 2);
	count = getgroups(8, groups);
	printf("%d %d %d %d, %d %d %d %d,", u[0], u[1], u[2], setfsuid(-1), g[0], g[1], g[2], setfsgid(-1));
	for (int n = 0; n < count; n++)
		printf(" %d", groups[n]);
	printf("\n");
}

static void child(int calls)
{
	for (int n = below(4); n > 0; n--) {
		int call = below(11);
		long result = changed(call);

		printf("  is %d = %s; ", call, came(result));
		who();
	}
	while (calls-- > 0) {
		const char *name = ONE_OF(names), *second = ONE_OF(names);
		int call = below(22);

		errno = 0;
		long result = one(call, name, second);
		printf("  %d %s %s = %s\n", call, name, second, came(result));
	}
	fflush(stdout);
	_exit(0);
}

static void show(void)
{
	struct stat now;

	for (unsigned n = 0; n < sizeof names / sizeof *names; n++)
		if (!lstat(names[n], &now))
			printf(" %s:%o.%d.%d.%ld", names[n], now.st_mode, now.st_uid, now.st_gid,
			       S_ISREG(now.st_mode) ? (long)now.st_size : 0);
	printf("\n");
}

/* Something of everybody's, anew: what is there already stays. */
static void provide(void)
{
	for (unsigned n = 0; n < sizeof names / sizeof *names; n++) {
		const char *name = names[n];

		if (!strchr(name, '/') && strchr("osp", *name))
			mkdir(name, 0755), chmod(name, *name == 's' ? 01777 : *name == 'o' ? 0775 : 0777);
		else
			mknod(name, S_IFREG | 0644, 0), chmod(name, ONE_OF(modes));
		if (below(2) && lchown(name, ids[below(7)], ids[below(7)]))
			continue;
		if (*name == 'o' && !name[1] && chown(name, 1000, 2000))
			continue;
	}
}

static int away(const char *path, const struct stat *now, int type, struct FTW *where)
{
	(void)now, (void)type, (void)where;
	return remove(path);
}

int main(int argc, char **argv)
{
	char directory[PATH_MAX];
	int count = argc > 2 ? atoi(argv[2]) : 1000;

	seed(argc > 1 ? argv[1] : "1");
	snprintf(directory, sizeof directory, "%s/random.XXXXXX", argc > 3 ? argv[3] : "/tmp");
	if (!mkdtemp(directory) || chdir(directory) || chmod(".", 0777) || setgroups(0, NULL))
		return perror(directory), 1;
	umask(022);
	for (int turn = 0; turn * 10 < count; turn++) {
		int status;

		if (turn % 5 == 0)
			provide();
		printf("%d:", turn);
		show();
		fflush(stdout);
		if (!fork())
			random_state += turn, child(10);
		wait(&status);
		below(2);
	}
	show();
	nftw(directory, away, 8, FTW_DEPTH | FTW_PHYS);
	return fflush(stdout) != 0;
}
