/* What is open keeps its own attributes when its name is gone, or is another file's by now. */
#include "common.h"

static void look(const char *name)
{
	struct stat s;
	if (stat(name, &s))
		P("%s: %s\n", name, strerror(errno));
	else
		P("%s %o %ld %d\n", name, s.st_mode, S_ISDIR(s.st_mode) ? 0 : (long)s.st_size, S_ISDIR(s.st_mode) ? 0 : s.st_mtime < 1000);
}

static void fshow(int fd)
{
	struct stat s;
	fstat(fd, &s);
	P("open %o links %d %d\n", s.st_mode, (int)s.st_nlink, s.st_mtime < 1000);
}

int main(void)
{
	char text[32];
	struct timespec old[2] = { { 5, 0 }, { 6, 0 } };
	int a, b, c, d, e;
	umask(0);
	E(a = open("u", O_CREAT | O_RDWR, 0644));
	E(write(a, "old", 3));
	E(unlink("u"));
	E(b = open("u", O_CREAT | O_RDWR, 0644));
	E(write(b, "newer", 5));
	E(fchmod(a, 0600));
	E(futimens(a, old));
	E(fsetxattr(a, "user.key", "v", 1, 0));
	E(fgetxattr(b, "user.key", text, sizeof text));
	E(fgetxattr(a, "user.key", text, sizeof text));
	E(ftruncate(a, 1));
	look("u"), fshow(a), fshow(b);
	E(c = open("w", O_CREAT | O_RDWR, 0644));
	E(rename("w", "u"));
	E(fchmod(b, 0640));
	E(futimens(b, old));
	look("u"), fshow(b), fshow(c);
	E(mkdir("dir", 0755));
	E(d = open("dir", O_RDONLY));
	E(rmdir("dir"));
	E(mkdir("dir", 0755));
	E(fchmod(d, 0700));
	E(openat(d, "x", O_CREAT | O_RDWR, 0600));
	E(mkdirat(d, "y", 0700));
	look("dir"), look("dir/x"), look("dir/y"), fshow(d);
	E(mkdir("from", 0755));
	E(e = open("dir", O_RDONLY));
	E(rename("from", "dir"));
	E(fchmod(e, 0711));
	look("dir"), fshow(e);
	E(open("A", O_CREAT | O_RDWR, 0644));
	E(link("A", "B"));
	E(a = open("A", O_RDWR));
	E(unlink("A"));
	E(open("A", O_CREAT | O_RDWR, 0644));
	E(fchmod(a, 0606));
	look("A"), look("B"), fshow(a);
	E(unlink("B"));
	E(fchmod(a, 0660));
	look("A"), fshow(a);
	return 0;
}
