/* SPDX-License-Identifier: GPL-2.0-or-later */
/* names SEED COUNT [DIRECTORY]: random calls on names: files, directories, links made, moved, removed, walked, watched by
   inotify; extended attributes, working directories that are gone. */
#define _GNU_SOURCE
#include "random.h"

#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

enum { FILES = 4 };
static const char *const words[] = { "a", "b", "c", "d", "a", "b", "l", "l", ".", "..", "..", "a", "b" };
static const int modes[] = { 0, 0600, 0644, 0755, 0777, 01777, 02755 };
static char base[PATH_MAX], start[PATH_MAX];
static int fds[FILES] = { -1, -1, -1, -1 }, watching, tmpfiles, attributes;

/* Nothing of set-group-ID in a directory that the host shares with the guest. */
static int mode(void)
{
	return ONE_OF(modes) & (tmpfiles ? 07777 : 05777);
}

/* At most three components: nothing above `base` is reached from `start`. */
static const char *path(int up)
{
	static char texts[4][600];
	static int turn;
	char *text = texts[turn++ & 3];

	*text = 0;
	for (int n = 1 + below(3); n > 0; n--) {
		const char *word = ONE_OF(words);

		if (!up && !strcmp(word, ".."))
			word = "a";
		strcat(text, word);
		if (n > 1 || !below(15))
			strcat(text, below(20) ? "/" : "//");
	}
	if (!below(60))
		*text = 0;
	if (!below(80))
		memset(text, 'x', 300), text[below(2) ? 255 : 256] = 0;
	return text;
}

static int place(void)
{
	return below(4) ? AT_FDCWD : below(10) ? fds[below(FILES)] : 99;
}

static void show_place(const char *text)
{
	printf("%s ", strncmp(text, base, strlen(base)) ? text : text + strlen(base));
}

/* The working directory must not be so high that `..` leads out. */
static long entered(long result)
{
	char now[PATH_MAX];

	if (!result && getcwd(now, sizeof now) && strncmp(now, start, strlen(start)) && chdir(start))
		return -2;
	return result;
}

static long opened(int at, const char *name)
{
	static const int ways[] = { O_RDONLY, O_RDWR, O_WRONLY, O_RDWR | O_CREAT, O_RDWR | O_CREAT, O_RDWR | O_CREAT | O_EXCL,
				    O_RDONLY | O_DIRECTORY, O_RDONLY | O_DIRECTORY, O_PATH, O_PATH | O_NOFOLLOW, O_RDONLY | O_NOFOLLOW,
				    O_RDWR | O_TRUNC, O_CREAT | O_DIRECTORY, O_RDONLY | O_CREAT | O_NOFOLLOW };
	int n = below(FILES), way = ONE_OF(ways), fd;
	static const int resolves[] = { 0, 1, 2, 4, 8, 16, 0x40, 8 | 4, 16 | 2 };

	if (below(5))
		fd = openat(at, name, way | O_NONBLOCK, mode());
	else {
		unsigned long long how[3] = { (way | O_NONBLOCK) & ~(below(8) ? 0 : O_CREAT), way & O_CREAT ? mode() : 0,
					      ONE_OF(resolves) };

		fd = syscall(SYS_openat2, at, name, how, sizeof how);
	}
	if (fd < 0)
		return -1;
	if (fds[n] >= 0)
		close(fds[n]);
	fds[n] = fd;
	return n;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static long listed(const char *name)
{
	char *names[100];
	struct dirent *each;
	DIR *directory = opendir(name);
	int count = 0;

	if (!directory)
		return -1;
	while (count < 100 && (each = readdir(directory))) {
		char text[300];

		snprintf(text, sizeof text, "%s:%d", each->d_name, each->d_type);
		names[count++] = strdup(text);
	}
	closedir(directory);
	qsort(names, count, sizeof *names, by_name);
	for (int n = 0; n < count; n++)
		printf("%s ", names[n]), free(names[n]);
	return count;
}

static long looked(const char *name)
{
	struct stat st;
	long result = fstatat(place(), name, &st, (below(2) ? AT_SYMLINK_NOFOLLOW : 0) | (below(4) ? 0 : AT_EMPTY_PATH));

	if (!result) {
		printf("%o ", st.st_mode);
		if (!S_ISDIR(st.st_mode))
			printf("%d %ld ", (int)st.st_nlink, (long)st.st_size);
	}
	return result;
}

static long attribute(const char *name)
{
	static const char *const keys[] = { "user.a", "user.b", "user.", "user.long", "other.a", "trusted", "" };
	static const int kinds[] = { 0, 0, XATTR_CREATE, XATTR_REPLACE, 3 };
	const char *key = ONE_OF(keys);
	char value[200];
	long result;

	memset(value, 'v', sizeof value);
	if (!attributes)
		return 0;
	switch (below(6)) {
	case 0: case 1:
		return setxattr(name, key, value, below(100), ONE_OF(kinds));
	case 2:
		result = getxattr(name, key, value, below(3) ? sizeof value : below(60));
		break;
	case 3:
		memset(value, 0, sizeof value);
		result = listxattr(name, value, below(3) ? sizeof value : below(20));
		return result; /* in which order is the file system's affair */
	case 4:
		return removexattr(name, key);
	default:
		/* a directory that is open and was removed can't be asked where the host has it */
		result = tmpfiles ? fgetxattr(fds[below(FILES)], key, value, sizeof value) : 0;
	}
	return result;
}

static long watch(const char *name)
{
	static const unsigned masks[] = { IN_ALL_EVENTS, IN_ALL_EVENTS, IN_CREATE | IN_DELETE | IN_MOVE, IN_ATTRIB | IN_MODIFY, IN_OPEN,
					  IN_CLOSE, IN_DELETE_SELF | IN_MOVE_SELF, 0 };
	static const unsigned more[] = { IN_ONLYDIR, IN_DONT_FOLLOW, IN_EXCL_UNLINK, IN_MASK_ADD, IN_ONESHOT, IN_MASK_CREATE };
	unsigned mask = ONE_OF(masks);

	for (unsigned n = 0; n < 6; n++)
		if (!below(8))
			mask |= more[n];
	return inotify_add_watch(watching, name, mask);
}

static long events(void)
{
	static unsigned cookies[64], known;
	char data[4096] __attribute__((aligned(8)));
	long result = read(watching, data, below(6) ? sizeof data : 16 + below(40)), count = 0;

	for (char *at = data; at < data + result;) {
		struct inotify_event *each = (void *)at;
		unsigned n = 0;

		at += sizeof *each + each->len;
		if (each->len && *each->name == '#')
			continue; /* #INODE, without a name: whether two of them are one event depends on the numbers */
		count++;
		while (each->cookie && n < known % 64 && cookies[n] != each->cookie)
			n++;
		if (each->cookie && n == known % 64)
			cookies[known++ % 64] = each->cookie;
		printf("%d:%x:%s", each->wd, each->mask, each->cookie ? n == (known - 1) % 64 ? "m" : "o" : "");
		printf("%s ", each->len ? each->name : "");
	}
	return result < 0 ? -1 : count;
}

static long unnamed(const char *name)
{
	char text[40];
	int fd = open(name, O_TMPFILE | O_RDWR | (below(4) ? 0 : O_EXCL), 0600);
	long result;

	if (fd < 0)
		return -1;
	if (below(2))
		(void)!write(fd, "12345", below(6));
	snprintf(text, sizeof text, "/proc/self/fd/%d", fd);
	result = linkat(AT_FDCWD, text, AT_FDCWD, path(1), AT_SYMLINK_FOLLOW);
	close(fd);
	return result;
}

static long linked(const char *name, const char *second)
{
	int how = below(8);

	if (!how)
		return linkat(place(), name, place(), second, AT_SYMLINK_FOLLOW);
	if (how == 1)
		return linkat(fds[below(FILES)], "", AT_FDCWD, second, AT_EMPTY_PATH);
	return linkat(place(), name, place(), second, how == 2 ? 7 : 0);
}

/* Not of a FIFO: of late watches do not hear of what is written to one. */
static long changed(int fd)
{
	struct stat st;

	if (!fstat(fd, &st) && S_ISFIFO(st.st_mode))
		return 0;
	return below(2) ? write(fd, "abc", below(4)) : ftruncate(fd, below(5));
}

static long where(int fd)
{
	char link[40], text[PATH_MAX] = "";
	long result;

	snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
	if (fd < 0)
		return 0;
	result = readlink(link, text, sizeof text - 1);
	if (result > 0)
		show_place(text);
	return result < 0 ? -1 : 0;
}

static long one(int call, const char *name, const char *second)
{
	static const unsigned ways[] = { 1, 2, 1, 2, 0, 3, 8 };
	struct timespec both[2] = { { 5, 6 }, { 7, UTIME_OMIT } };
	char text[PATH_MAX];
	long result;

	switch (call) {
	case 0: case 1: case 2: case 3:
		return opened(place(), name);
	case 4: case 5: case 6:
		return mkdirat(place(), name, mode() | 0700);
	case 7:
		return unlinkat(place(), name, AT_REMOVEDIR | (below(20) ? 0 : 1));
	case 8:
		return unlinkat(place(), name, 0);
	case 9: case 10: case 11:
		return renameat(place(), name, place(), second);
	case 12: case 13:
		return syscall(SYS_renameat2, place(), name, place(), second, ONE_OF(ways));
	case 14: case 15:
		return linked(name, second);
	case 16: case 17:
		return symlinkat(path(0), place(), name);
	case 18:
		result = readlinkat(place(), name, text, below(3) ? sizeof text : below(4));
		if (result > 0)
			printf("%.*s ", (int)result, text);
		return result;
	case 19:
		return entered(chdir(name));
	case 20:
		return entered(fchdir(fds[below(FILES)]));
	case 21:
		if (!getcwd(text, below(4) ? sizeof text : 10))
			return -1;
		show_place(text);
		return 0;
	case 22: case 23:
		return looked(name);
	case 24:
		return attribute(name);
	case 25: case 26:
		return watch(name);
	case 27:
		return inotify_rm_watch(watching, 1 + below(20));
	case 28: case 29:
		return events();
	case 30:
		return changed(fds[below(FILES)]);
	case 31:
		return listed(name);
	case 32:
		return where(fds[below(FILES)]);
	case 33:
		return mknodat(place(), name, (below(2) ? S_IFIFO : below(2) ? S_IFSOCK : S_IFREG) | 0644, 0);
	case 34:
		return fchmodat(place(), name, mode() | 0700, 0);
	case 35:
		return utimensat(place(), name, below(2) ? both : NULL, below(3) ? 0 : AT_SYMLINK_NOFOLLOW);
	case 36:
		return tmpfiles ? unnamed(name) : 0;
	case 37:
		return entered(chdir(start));
	default:
		return truncate(name, below(10));
	}
}

/* All below `name`, in the order of their names: what watches sees it. */
static void show(const char *name)
{
	char *names[100], text[PATH_MAX];
	struct stat st;
	struct dirent *each;
	DIR *directory;
	int count = 0;

	if (lstat(name, &st))
		return;
	printf("%s:%o", name + strlen(base), st.st_mode);
	if (!S_ISDIR(st.st_mode))
		printf(".%d.%ld", (int)st.st_nlink, (long)st.st_size);
	printf(" ");
	if (!S_ISDIR(st.st_mode) || !(directory = opendir(name)))
		return;
	while (count < 100 && (each = readdir(directory)))
		if (strcmp(each->d_name, ".") && strcmp(each->d_name, ".."))
			names[count++] = strdup(each->d_name);
	closedir(directory);
	qsort(names, count, sizeof *names, by_name);
	for (int n = 0; n < count; n++) {
		snprintf(text, sizeof text, "%s/%s", name, names[n]);
		free(names[n]);
		show(text);
	}
}

static int away(const char *name, const struct stat *now, int type, struct FTW *at)
{
	(void)now, (void)type, (void)at;
	return remove(name);
}

int main(int argc, char **argv)
{
	int count = argc > 2 ? atoi(argv[2]) : 1000;

	seed(argc > 1 ? argv[1] : "1");
	snprintf(base, sizeof base, "%s/random.XXXXXX", argc > 3 ? argv[3] : "/tmp");
	if (!mkdtemp(base))
		return perror(base), 1;
	umask(022);
	strcpy(start, base);
	for (int n = 0; n < 4; n++)
		if (strcat(start, "/n"), mkdir(start, 0755))
			return perror(start), 1;
	tmpfiles = argc <= 3;
	attributes = setxattr(base, "user.x", "", 0, 0) == 0;
	watching = inotify_init1(IN_NONBLOCK);
	if (chdir(start))
		return perror(start), 1;
	for (int n = 0; n < count; n++) {
		const char *name = path(1), *second = path(1);
		int call = below(39);

		printf("%d %.20s %.20s ", call, name, second);
		errno = 0;
		printf("= %s\n", came(one(call, name, second)));
		if (n % 50 == 0)
			show(base), printf("\n");
	}
	nftw(base, away, 64, FTW_DEPTH | FTW_PHYS);
	return fflush(stdout) != 0;
}
