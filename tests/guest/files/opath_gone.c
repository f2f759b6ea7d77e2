/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Objects that only an O_PATH descriptor refers to any more, and others made under their names. */
#include "check.h"

#include <fcntl.h>
#include <sys/stat.h>

static char link_to[32];

static int gone(int fd, const char *what, mode_t mode, long size)
{
	struct stat now;

	snprintf(link_to, sizeof link_to, "/proc/self/fd/%d", fd);
	EQUAL(what, fstat(fd, &now), 0);
	EQUAL("links", now.st_nlink, 0);
	EQUAL("mode", now.st_mode, mode);
	EQUAL("size", S_ISDIR(mode) ? 0 : now.st_size, size);
	return fd;
}

static int make(const char *name, const char *text, mode_t mode)
{
	int fd = open(name, O_CREAT | O_EXCL | O_RDWR, mode);

	EQUAL("text", write(fd, text, strlen(text)), strlen(text));
	return fd;
}

static void file(int moved)
{
	char text[16] = "";
	int path, again, other;

	close(make("file", "hello", 0644));
	path = open("file", O_PATH), other = open("file", O_PATH);
	close(make("other", "another", 0600));
	if (moved)
		EQUAL("renamed over it", rename("other", "file"), 0);
	else
		EQUAL("removed", unlink("file") || rename("other", "file"), 0);
	close(other);
	gone(path, "a file", S_IFREG | 0644, 5);
	EQUAL("chmod", chmod(link_to, 0640), 0);
	gone(path, "its mode", S_IFREG | 0640, 5);
	again = open(link_to, O_RDWR);
	EQUAL("read", read(again, text, sizeof text), 5);
	EQUAL("its bytes", strcmp(text, "hello"), 0);
	EQUAL("write", write(again, "!", 1), 1);
	char *mapped = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, again, 0);
	close(again);
	gone(path, "longer", S_IFREG | 0640, 6);
	EQUAL("mapped", strcmp(mapped, "hello!"), 0);
	munmap(mapped, PAGE);
	EQUAL("truncate", truncate(link_to, 2), 0);
	gone(path, "shorter", S_IFREG | 0640, 2);
	ERRNO("no new name", linkat(AT_FDCWD, link_to, AT_FDCWD, "new", AT_SYMLINK_FOLLOW), ENOENT);
	close(path);
	EQUAL("the other", truncate("file", 7) || unlink("file"), 0);
}

static void others(void)
{
	char text[16] = "";
	int path;

	mkdir("directory", 0700), path = open("directory", O_PATH);
	rmdir("directory"), mkdir("directory", 0711);
	gone(path, "a directory", S_IFDIR | 0700, 0);
	EQUAL("chmod", chmod(link_to, 0750), 0);
	gone(path, "its mode", S_IFDIR | 0750, 0);
	ERRNO("nothing in it", openat(path, "new", O_CREAT | O_RDWR, 0600), ENOENT);
	close(path), rmdir("directory");

	symlink("one", "link"), path = open("link", O_PATH | O_NOFOLLOW);
	unlink("link"), symlink("second", "link");
	gone(path, "a symbolic link", S_IFLNK | 0777, 3);
	EQUAL("where it leads", readlinkat(path, "", text, sizeof text), 3);
	EQUAL("there", strcmp(text, "one"), 0);
	close(path);
	path = open("link", O_PATH | O_NOFOLLOW);
	symlink("third", "newer"), rename("newer", "link");
	gone(path, "one renamed over", S_IFLNK | 0777, 6);
	close(path), unlink("link");

	mkfifo("pipe", 0600), path = open("pipe", O_PATH);
	unlink("pipe"), mkfifo("pipe", 0644);
	gone(path, "a pipe", S_IFIFO | 0600, 0);
	EQUAL("chmod", chmod(link_to, 0640), 0);
	gone(path, "its mode", S_IFIFO | 0640, 0);
	int end = open(link_to, O_RDWR | O_NONBLOCK);
	EQUAL("write", write(end, "x", 1), 1);
	close(end), close(path), unlink("pipe");
}

int main(int argc, char **argv)
{
	char name[4096];

	umask(022);
	snprintf(name, sizeof name, "%s/gone.XXXXXX", argc > 1 ? argv[1] : "/tmp");
	CHECK("a place", mkdtemp(name) && !chdir(name));
	file(0), file(1), others();
	EQUAL("all gone", chdir("/") || rmdir(name), 0);
	return done();
}
