/*
 * lsdev [-o FILE] [DIRECTORY...]: a long listing, as `ls -l` prints one (default: /dev).
 *
 * With -o the listing is written to FILE, in pieces of a page: `lsdev -o /dev/scullp0 /dev /usr/bin` fills a scullp
 * device with text without a shell.  Names are sorted by their bytes; a device shows its numbers in place of a size.
 *
 * Exit code: 0; 1 when something could not be listed or written.
 */
#define _FILE_OFFSET_BITS 64
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

static int status;

static void complain(const char *what)
{
	fprintf(stderr, "lsdev: %s: %s\n", what, strerror(errno));
	status = 1;
}

static char type_letter(mode_t mode)
{
	switch (mode & S_IFMT) {
	case S_IFDIR: return 'd';
	case S_IFCHR: return 'c';
	case S_IFBLK: return 'b';
	case S_IFLNK: return 'l';
	case S_IFIFO: return 'p';
	case S_IFSOCK: return 's';
	default: return '-';
	}
}

static void permissions(mode_t mode, char text[11])
{
	int i;

	text[0] = type_letter(mode);
	for (i = 0; i < 9; i++)
		text[1 + i] = mode & (0400 >> i) ? "rwx"[i % 3] : '-';
	if (mode & S_ISUID)
		text[3] = mode & S_IXUSR ? 's' : 'S';
	if (mode & S_ISGID)
		text[6] = mode & S_IXGRP ? 's' : 'S';
	if (mode & S_ISVTX)
		text[9] = mode & S_IXOTH ? 't' : 'T';
	text[10] = 0;
}

static const char *user_name(uid_t uid)
{
	static char text[32];
	static uid_t last = -1;
	struct passwd *entry;

	if (uid != last) {
		entry = getpwuid(uid);
		if (entry)
			snprintf(text, sizeof text, "%s", entry->pw_name);
		else
			snprintf(text, sizeof text, "%u", (unsigned)uid);
		last = uid;
	}
	return text;
}

static const char *group_name(gid_t gid)
{
	static char text[32];
	static gid_t last = -1;
	struct group *entry;

	if (gid != last) {
		entry = getgrgid(gid);
		if (entry)
			snprintf(text, sizeof text, "%s", entry->gr_name);
		else
			snprintf(text, sizeof text, "%u", (unsigned)gid);
		last = gid;
	}
	return text;
}

static void list_entry(int directory, const char *name)
{
	char mode[11], size[32], when[32], link[4096];
	struct stat st;
	ssize_t length;

	if (fstatat(directory, name, &st, AT_SYMLINK_NOFOLLOW) < 0) {
		complain(name);
		return;
	}
	permissions(st.st_mode, mode);
	if (S_ISCHR(st.st_mode) || S_ISBLK(st.st_mode))
		snprintf(size, sizeof size, "%3u, %3u", major(st.st_rdev), minor(st.st_rdev));
	else
		snprintf(size, sizeof size, "%8lld", (long long)st.st_size);
	strftime(when, sizeof when, "%b %e %H:%M", localtime(&st.st_mtime));
	printf("%s %3lu %-8s %-8s %8s %s %s", mode, (unsigned long)st.st_nlink, user_name(st.st_uid),
	       group_name(st.st_gid), size, when, name);
	if (S_ISLNK(st.st_mode)) {
		length = readlinkat(directory, name, link, sizeof link - 1);
		if (length < 0)
			complain(name);
		else
			printf(" -> %.*s", (int)length, link);
	}
	putchar('\n');
}

static int compare(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void list_directory(const char *path, int heading)
{
	size_t count = 0, room = 0, i;
	struct dirent *entry;
	char **names = NULL;
	DIR *directory = opendir(path);

	if (!directory) {
		complain(path);
		return;
	}
	while ((entry = readdir(directory))) {
		if (entry->d_name[0] == '.')
			continue;
		if (count == room) {
			room = room ? 2 * room : 64;
			names = realloc(names, room * sizeof *names);
			if (!names)
				abort();
		}
		names[count++] = strdup(entry->d_name);
	}
	qsort(names, count, sizeof *names, compare);
	if (heading)
		printf("%s:\n", path);
	printf("total %zu\n", count);
	for (i = 0; i < count; i++) {
		list_entry(dirfd(directory), names[i]);
		free(names[i]);
	}
	free(names);
	closedir(directory);
}

int main(int argc, char **argv)
{
	static char buffer[4096];
	const char *output = NULL;
	int option, fd, i;

	while ((option = getopt(argc, argv, "o:")) != -1) {
		if (option != 'o') {
			fprintf(stderr, "usage: %s [-o FILE] [DIRECTORY...]\n", argv[0]);
			return 1;
		}
		output = optarg;
	}
	if (output) {
		fd = open(output, O_WRONLY | O_CREAT | O_TRUNC, 0666);
		if (fd < 0 || dup2(fd, STDOUT_FILENO) < 0) {
			complain(output);
			return 1;
		}
		close(fd);
	}
	setvbuf(stdout, buffer, _IOFBF, sizeof buffer);
	if (optind == argc)
		list_directory("/dev", 0);
	for (i = optind; i < argc; i++)
		list_directory(argv[i], argc - optind > 1);
	if (fflush(stdout) || fclose(stdout)) {
		complain(output ? output : "standard output");
		return 1;
	}
	return status;
}
