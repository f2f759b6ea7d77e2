/* Small things that other projects' tests ask for: membarrier, execve of a memfd, O_TMPFILE, ids in /proc. */
#include "check.h"
#include "../alone.h"
#include <fcntl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

static void membarriers(void)
{
	int command;

	CHECK("expedited ones are there", (syscall(SYS_membarrier, 0, 0, 0) & 0x7f) == 0x7f);
	EQUAL("global", syscall(SYS_membarrier, 1, 0, 0), 0);
	EQUAL("global expedited", syscall(SYS_membarrier, 2, 0, 0), 0);
	for (command = 8; command <= 32; command *= 4) {
		ERRNO("not registered", syscall(SYS_membarrier, command, 0, 0), EPERM);
		EQUAL("register", syscall(SYS_membarrier, command * 2, 0, 0), 0);
		EQUAL("registered", syscall(SYS_membarrier, command, 0, 0), 0);
	}
	ERRNO("two at once", syscall(SYS_membarrier, 3, 0, 0), EINVAL);
	ERRNO("flags", syscall(SYS_membarrier, 8, 1, 0), EINVAL);
	if (fork() == 0) {
		EQUAL("a child has the parent's", syscall(SYS_membarrier, 8, 0, 0), 0);
		_exit(failures != 0);
	}
	CHECK("child", wait(&command) > 0 && command == 0);
}

/* A memfd can be executed while it is open for writing, a file that is can't. */
static void memfds(char *self)
{
	char *argv[] = { self, "again", NULL }, *envp[] = { NULL }, buffer[65536];
	int status, size, in = open("/proc/self/exe", O_RDONLY), fd = syscall(SYS_memfd_create, "copy", 0);
	int file = (alone("/tmp/found-elsewhere-alone"), open("/tmp/found-elsewhere", O_RDWR | O_CREAT | O_TRUNC, 0755));

	while ((size = read(in, buffer, sizeof(buffer))) > 0)
		if (write(fd, buffer, size) != size || write(file, buffer, size) != size)
			_exit(9);
	if (fork() == 0) {
		syscall(SYS_execveat, fd, "", argv, envp, 0x1000);
		_exit(errno);
	}
	wait(&status);
	EQUAL("memfd", status, 7 << 8);
	if (fork() == 0) {
		syscall(SYS_execveat, file, "", argv, envp, 0x1000);
		_exit(errno);
	}
	wait(&status);
	EQUAL("file", status, ETXTBSY << 8);
	unlink("/tmp/found-elsewhere");
}

static void openings(void)
{
	struct { unsigned long long flags, mode, resolve; } how = { O_TMPFILE | O_RDWR, 0600, 0 };
	int fd = syscall(SYS_openat2, AT_FDCWD, "/tmp", &how, sizeof(how));

	CHECK("O_TMPFILE", fd >= 0);
	EQUAL("is among the flags", fcntl(fd, F_GETFL) & O_TMPFILE, O_TMPFILE);
	close(fd);
	how.flags |= O_CREAT;
	ERRNO("with O_CREAT", syscall(SYS_openat2, AT_FDCWD, "/tmp", &how, sizeof(how)), EINVAL);
	how.flags = O_DIRECTORY | O_CREAT;
	ERRNO("a directory", syscall(SYS_openat2, AT_FDCWD, "/tmp", &how, sizeof(how)), EINVAL);
}

static void ids(void)
{
	char text[4096];
	int status;

	if (getuid() == 0 && fork() == 0) {	/* the only one who can have four that differ */
		int fd = open("/proc/self/status", O_RDONLY), length;

		syscall(SYS_setresgid, 11, 12, 13);
		syscall(SYS_setresuid, 1, 0, 3);
		length = read(fd, text, sizeof(text) - 1);
		text[length > 0 ? length : 0] = 0;
		CHECK("Uid", strstr(text, "\nUid:\t1\t0\t3\t0\n") != NULL);
		CHECK("Gid", strstr(text, "\nGid:\t11\t12\t13\t12\n") != NULL);
		_exit(failures != 0);
	}
	CHECK("child", wait(&status) < 0 || status == 0);
}

int main(int argc, char **argv)
{
	if (argc > 1)
		return 7;
	membarriers();
	memfds(argv[0]);
	openings();
	ids();
	return done();
}
