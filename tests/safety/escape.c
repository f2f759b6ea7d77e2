/*
 * escape OUTSIDE HOSTPID ABSTRACT CWD: a program that wants out of its machine.
 *
 * OUTSIDE is a directory of the host with a file `secret` in it, which begins with "the secret"; the machine has beside
 * it /ro (a bind without :rw), /rw (with) and CWD (the current directory), each of which lies next to OUTSIDE on the host
 * and has links into it.  Every attempt is a line, `NAME ok`, or `NAME: what it got`.
 */
#define _GNU_SOURCE
#define _FILE_OFFSET_BITS 64
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/time.h>
#include <sys/timex.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#ifndef SYS_openat2
#define SYS_openat2 437
#endif
#ifndef AT_EMPTY_PATH
#define AT_EMPTY_PATH 0x1000
#endif

struct how {
	uint64_t flags, mode, resolve;
};

extern char **environ;
static const char *outside, *abstract_name, *cwd;
static pid_t host_pid;
static const char *attempt;
static int failed;

/* Something that must not be. */
static void escaped(const char *format, ...)
{
	va_list arguments;

	if (failed++)
		printf("; ");
	else
		printf("%s: ", attempt);
	va_start(arguments, format);
	vprintf(format, arguments);
	va_end(arguments);
}

static char *join(const char *format, ...)
{
	static char texts[8][8192];
	static int next;
	char *text = texts[next++ % 8];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(text, 8192, format, arguments);
	va_end(arguments);
	return text;
}

static int holds_secret(int fd)
{
	char buffer[64] = "";
	int found = fd >= 0 && read(fd, buffer, sizeof buffer - 1) > 0 && strstr(buffer, "the secret");

	if (fd >= 0)
		close(fd);
	return found;
}

static void try_path(const char *path)
{
	if (holds_secret(open(path, O_RDONLY | O_NONBLOCK)))
		escaped("read %s", path);
}

static void try_at(int dir, const char *path)
{
	if (holds_secret(openat(dir, path, O_RDONLY | O_NONBLOCK)))
		escaped("read %s at a directory", path);
}

/* A call that must fail, with one of up to three errors when they are given. */
static void must_fail(const char *name, long result, int one, int two, int three)
{
	int error = errno;

	if (result != -1)
		escaped("%s worked: %ld", name, result);
	else if (one && error != one && error != two && error != three)
		escaped("%s: %s", name, strerror(error));
}
#define FAILS(call, ...) (errno = 0, must_fail(#call, (long)(call), __VA_ARGS__))
#define READ_ONLY(call) FAILS(call, EROFS, EROFS, EROFS)

static void links(void)
{
	static const char *const places[] = {"/ro", "/rw", "."};

	for (int i = 0; i < 3; i++) {
		try_path(join("%s/relative", places[i]));
		try_path(join("%s/absolute", places[i]));
		try_path(join("%s/away/secret", places[i]));
		try_path(join("%s/magic%s/secret", places[i], outside));
		try_path(join("%s/up/outside/secret", places[i]));
	}
}

static void links_made(void)
{
	static const char *const places[] = {"/rw", ".", "/tmp", "/var"};

	for (int i = 0; i < 4; i++) {
		const char *name = join("%s/mine", places[i]);

		symlink(join("%s/secret", outside), name);
		try_path(name);
		unlink(name);
		symlink("../outside/secret", name);
		try_path(name);
		unlink(name);
		symlink("../outside", name);
		try_path(join("%s/secret", name));
		if (open(join("%s/planted", name), O_CREAT | O_WRONLY, 0600) >= 0)
			escaped("made a file behind a link");
		unlink(name);
	}
}

static void dots(void)
{
	const char *up = "../../../../../../../../../../../../../../..";

	try_path(join("/ro/../outside/secret"));
	try_path(join("/ro/dir/../../outside/secret"));
	try_path(join("/rw/dir/../../outside/secret"));
	try_path(join("/ro/%s%s/secret", up, outside));
	try_path(join("%s%s/secret", up, outside));
	try_path("../outside/secret");
	try_path(join("%s/secret", outside));
	chdir("/ro/dir");
	try_path("../../outside/secret");
	chdir(cwd);
}

static void proc_links(void)
{
	static const char *const who[] = {"self", "1", "thread-self", "self/task/1"};
	int dir = open("/ro", O_RDONLY | O_DIRECTORY), path = open("/rw", O_PATH), file = open("/ro/file", O_RDONLY);

	for (int i = 0; i < 4; i++) {
		try_path(join("/proc/%s/root%s/secret", who[i], outside));
		try_path(join("/proc/%s/cwd/../outside/secret", who[i]));
		try_path(join("/proc/%s/fd/%d/../outside/secret", who[i], dir));
		try_path(join("/proc/%s/fd/%d/../outside/secret", who[i], path));
		try_path(join("/proc/%s/fd/%d/../../outside/secret", who[i], file));
	}
	try_path(join("/proc/%d/root%s/secret", host_pid, outside));
	try_path(join("/proc/%d/cwd/outside/secret", host_pid));
	try_at(dir, "../outside/secret");
	try_at(dir, "relative");
	try_at(path, "away/secret");
	fchdir(dir);
	try_path("../outside/secret");
	chdir(cwd);
	FAILS(open(join("/proc/%d/mem", host_pid), O_RDWR), ENOENT, ENOENT, ENOENT);
	FAILS(open(join("/proc/%d/environ", host_pid), O_RDONLY), ENOENT, ENOENT, ENOENT);
}

static void proc_exe(void)
{
	int fd = open("/proc/self/exe", O_WRONLY);

	if (fd >= 0 && write(fd, "overwritten", 11) > 0)
		escaped("wrote to the running program");
	FAILS(truncate("/proc/self/exe", 0), ETXTBSY, EROFS, EACCES);
}

static void proc_mem(void)
{
	char found[8] = "";
	static char mine[8] = "my own";
	int fd = open("/proc/self/mem", O_RDWR);

	if (pread(fd, found, 7, (off_t)(uintptr_t)mine) != 7 || strcmp(found, mine))
		escaped("/proc/self/mem is somebody else's: %s", found);
	/* where the emulator's own objects may be: nothing there belongs to the guest */
	if (pread(fd, found, 7, 0x7fffff000000LL - 4096) > 0 && sizeof(long) == 4)
		escaped("memory beyond the task");
}

static void openat2_flags(void)
{
	static const char *const paths[] = {"../outside/secret", "away/secret", "relative", "absolute", "up/outside/secret",
		"dir/../../outside/secret", "/proc/self/root/ro/../outside/secret"};
	int dirs[] = {open("/ro", O_PATH), open("/rw", O_PATH), open(cwd, O_PATH)};

	for (unsigned resolve = 0; resolve < 64; resolve++)
		for (int i = 0; i < 7; i++)
			for (int k = 0; k < 3; k++) {
				struct how how = {O_RDONLY | O_NONBLOCK, 0, resolve};

				if (holds_secret(syscall(SYS_openat2, dirs[k], paths[i], &how, sizeof how)))
					escaped("openat2 %s with %#x", paths[i], resolve);
				how.flags = O_RDWR | O_CREAT, how.mode = 0600;
				if (!k && syscall(SYS_openat2, dirs[k], join("new%d", i), &how, sizeof how) >= 0)
					escaped("openat2 made a file with %#x", resolve);
			}
}

static void o_path(void)
{
	static const char *const names[] = {"relative", "absolute", "away"};

	for (int i = 0; i < 3; i++) {
		int fd = open(join("/rw/%s", names[i]), O_PATH | O_NOFOLLOW), ro = open("/ro/file", O_PATH);

		if (fd < 0)
			escaped("O_PATH: %s", strerror(errno));
		try_at(fd, "");
		try_at(fd, "secret");
		try_path(join("/proc/self/fd/%d", fd));
		try_path(join("/proc/self/fd/%d/secret", fd));
		FAILS(syscall(SYS_fchmod, fd, 0777), EBADF, EBADF, EBADF);
		FAILS(syscall(SYS_fchmod, ro, 0777), EBADF, EBADF, EBADF);
		FAILS(chmod(join("/proc/self/fd/%d", ro), 0777), EROFS, EROFS, EROFS);
		FAILS(linkat(ro, "", AT_FDCWD, "/rw/linked", AT_EMPTY_PATH), EXDEV, ENOENT, EPERM);
		FAILS(linkat(AT_FDCWD, join("/proc/self/fd/%d", ro), AT_FDCWD, "/rw/linked", AT_SYMLINK_FOLLOW), EXDEV, EPERM, 0);
		FAILS(fchownat(ro, "", 7, 7, AT_EMPTY_PATH), EROFS, EROFS, EROFS);
		FAILS(ftruncate(ro, 0), EBADF, EINVAL, 0);
		close(fd);
		close(ro);
	}
}

static void execute_outside(void)
{
	char *words[] = {"true", 0};
	int link = open("/rw/program", O_PATH | O_NOFOLLOW);
	pid_t pid = fork();
	int status;

	if (!pid) {
		execv(join("%s/program", outside), words);
		execv("/rw/program", words);
		execv("/ro/away/program", words);
		syscall(SYS_execveat, link, "", words, environ, AT_EMPTY_PATH);
		_exit(77);
	}
	waitpid(pid, &status, 0);
	if (status != 77 << 8)
		escaped("a program outside ran: %#x", status);
}

static void handles(void)
{
	struct {
		unsigned bytes;
		int type;
		unsigned char data[128];
	} handle = {.bytes = 8, .type = 1, .data = {2}};
	int mount_id, mount_fd = open("/rw", O_RDONLY);

	if (syscall(SYS_open_by_handle_at, mount_fd, &handle, O_RDONLY) >= 0)
		escaped("open_by_handle_at");
	handle.bytes = 128;
	if (syscall(SYS_name_to_handle_at, AT_FDCWD, "/rw/file", &handle, &mount_id, 0) == 0 &&
	    holds_secret(syscall(SYS_open_by_handle_at, mount_fd, &handle, O_RDONLY)))
		escaped("a handle");
}

static void chroots(void)
{
	pid_t pid = fork();
	int status, fd;

	if (!pid) {
		fd = open("/", O_RDONLY);
		mkdir("/tmp/jail", 0700);
		if (chroot("/tmp/jail") == 0) {
			fchdir(fd);
			for (int i = 0; i < 40; i++)
				chdir("..");
			chroot(".");
		}
		failed = 0;
		try_path(join("%s/secret", outside));
		try_path(join(".%s/secret", outside));
		try_path("/etc/shadow");
		if (chroot("/ro") == 0 && chroot("..") == 0)
			try_path("outside/secret");
		_exit(failed);
	}
	waitpid(pid, &status, 0);
	if (status)
		escaped("after chroot");
}

static void mounts(void)
{
	mkdir("/tmp/m", 0700);
	FAILS(mount(outside, "/tmp/m", 0, MS_BIND, 0), 0, 0, 0);
	FAILS(mount("/dev/sda1", "/tmp/m", "ext4", 0, 0), 0, 0, 0);
	FAILS(mount("proc", "/tmp/m", "proc", 0, 0), 0, 0, 0);
	FAILS(mount(0, "/ro", 0, MS_REMOUNT | MS_BIND, 0), 0, 0, 0);
	FAILS(umount2("/ro", MNT_DETACH), 0, 0, 0);
	FAILS(umount2("/proc", MNT_DETACH), 0, 0, 0);
	FAILS(syscall(SYS_pivot_root, "/ro", "/ro/dir"), 0, 0, 0);
	FAILS(syscall(SYS_setns, open("/proc/1/ns/mnt", O_RDONLY), 0), 0, 0, 0);
	FAILS(syscall(428, AT_FDCWD, outside, 1), 0, 0, 0); /* open_tree */
	FAILS(syscall(430, "ext4", 0), 0, 0, 0);            /* fsopen */
	if (unshare(CLONE_NEWNS | CLONE_NEWUSER) == 0)
		FAILS(mount(outside, "/tmp/m", 0, MS_BIND, 0), 0, 0, 0);
	try_path("/tmp/m/secret");
}

static void hard_links(void)
{
	int fd;

	FAILS(link("/ro/file", "/rw/linked"), EXDEV, EXDEV, EXDEV);
	FAILS(link("/rw/file", "/ro/linked"), EXDEV, EROFS, 0);
	FAILS(link(join("%s/secret", outside), "/rw/linked"), ENOENT, ENOENT, ENOENT);
	FAILS(link("/rw/relative", "/tmp/linked"), EXDEV, EXDEV, EXDEV);
	if (link("/rw/relative", "/rw/linked") == 0) /* the link, not what is behind it */
		try_path("/rw/linked");
	unlink("/rw/linked");
	fd = open("/ro/hard", O_WRONLY); /* it has another name outside */
	if (fd >= 0)
		escaped("a file with a name outside was opened for writing");
	FAILS(rename("/rw/file", "/tmp/file"), EXDEV, EXDEV, EXDEV);
	FAILS(rename("/ro/file", "/rw/file"), EXDEV, EROFS, 0);
}

static void devices(void)
{
	char data[512];
	int fd;

	FAILS(mknod("/rw/sda", S_IFBLK | 0600, makedev(8, 0)), EPERM, EPERM, EPERM);
	FAILS(mknod("/rw/mem", S_IFCHR | 0600, makedev(1, 1)), EPERM, EPERM, EPERM);
	READ_ONLY(mknod("/ro/sda", S_IFBLK | 0600, makedev(8, 0)));
	if (mknod("/tmp/sda", S_IFBLK | 0600, makedev(8, 0)) == 0) {
		fd = open("/tmp/sda", O_RDONLY);
		if (fd >= 0 && read(fd, data, sizeof data) > 0)
			escaped("read a disk");
	}
	/* nodes that the host's directory has */
	fd = open("/ro/loop0", O_RDONLY | O_NONBLOCK);
	if (fd >= 0 && read(fd, data, sizeof data) > 0)
		escaped("read a disk of the host");
	FAILS(open("/ro/tun", O_RDWR | O_NONBLOCK), ENODEV, ENOENT, EROFS);
	FAILS(open("/rw/tun", O_RDWR | O_NONBLOCK), ENODEV, ENOENT, ENODEV);
	fd = open("/ro/fifo", O_RDONLY | O_NONBLOCK);
	if (fd >= 0 && read(fd, data, sizeof data) > 0)
		escaped("read a FIFO of the host");
	fd = open("/rw/fifo", O_RDWR | O_NONBLOCK);
	if (fd >= 0 && write(fd, "from the guest", 14) > 0)
		read(fd, data, sizeof data);
}

static void read_only(void)
{
	struct timespec times[2] = {{1, 0}, {1, 0}};
	int fd = open("/ro/file", O_RDONLY), other = open("/rw/file", O_RDONLY), ends[2], flags = 0x10;
	loff_t zero = 0, origin = 0;

	READ_ONLY(open("/ro/file", O_WRONLY));
	READ_ONLY(open("/ro/file", O_RDWR));
	READ_ONLY(open("/ro/file", O_RDONLY | O_TRUNC));
	READ_ONLY(open("/ro/file", O_WRONLY | O_APPEND));
	READ_ONLY(open("/ro/new", O_CREAT | O_WRONLY, 0600));
	READ_ONLY(open("/ro/new", O_CREAT | O_RDONLY, 0600));
	FAILS(open("/ro", O_TMPFILE | O_RDWR, 0600), EROFS, EOPNOTSUPP, 0);
	READ_ONLY(truncate("/ro/file", 0));
	READ_ONLY(chmod("/ro/file", 0777));
	READ_ONLY(chmod("/ro", 0777));
	READ_ONLY(chown("/ro/file", 1, 1));
	READ_ONLY(lchown("/ro/relative", 1, 1));
	READ_ONLY(utimensat(AT_FDCWD, "/ro/file", times, 0));
	READ_ONLY(utimensat(AT_FDCWD, "/ro/relative", times, AT_SYMLINK_NOFOLLOW));
	READ_ONLY(setxattr("/ro/file", "user.x", "y", 1, 0));
	READ_ONLY(lsetxattr("/ro/file", "user.x", "y", 1, 0));
	READ_ONLY(removexattr("/ro/file", "user.x"));
	READ_ONLY(rename("/ro/file", "/ro/other"));
	READ_ONLY(syscall(SYS_renameat2, AT_FDCWD, "/ro/file", AT_FDCWD, "/ro/hard", 2));
	READ_ONLY(link("/ro/file", "/ro/other"));
	READ_ONLY(symlink("x", "/ro/other"));
	READ_ONLY(unlink("/ro/file"));
	READ_ONLY(unlinkat(AT_FDCWD, "/ro/dir", AT_REMOVEDIR));
	READ_ONLY(rmdir("/ro/dir"));
	READ_ONLY(mkdir("/ro/new", 0700));
	READ_ONLY(mknod("/ro/new", S_IFIFO | 0600, 0));
	READ_ONLY(mknod("/ro/new", S_IFREG | 0600, 0));
	READ_ONLY(fchmod(fd, 0777));
	READ_ONLY(fchown(fd, 1, 1));
	READ_ONLY(futimens(fd, times));
	READ_ONLY(fsetxattr(fd, "user.x", "y", 1, 0));
	FAILS(mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), EACCES, EACCES, EACCES);
	FAILS(mprotect(mmap(0, 4096, PROT_READ, MAP_SHARED, fd, 0), 4096, PROT_READ | PROT_WRITE), EACCES, EACCES, EACCES);
	FAILS(write(fd, "x", 1), EBADF, EBADF, EBADF);
	FAILS(pwrite(fd, "x", 1, 0), EBADF, EBADF, EBADF);
	FAILS(ftruncate(fd, 0), EINVAL, EBADF, 0);
	FAILS(fallocate(fd, 0, 0, 4096), EBADF, EBADF, EBADF);
	FAILS(syscall(SYS_copy_file_range, other, &origin, fd, &zero, 4L, 0), EBADF, EBADF, EBADF);
	FAILS(sendfile(fd, other, 0, 4), EBADF, EBADF, EBADF);
	pipe(ends);
	write(ends[1], "splice", 6);
	FAILS(splice(ends[0], 0, fd, 0, 6, 0), EBADF, EBADF, EBADF);
	FAILS(ioctl(fd, _IOW('f', 2, long), &flags), ENOTTY, EROFS, EOPNOTSUPP);
	FAILS(open(join("/proc/self/fd/%d", fd), O_RDWR), EROFS, EACCES, 0);
	FAILS(bind(socket(AF_UNIX, SOCK_STREAM, 0), (struct sockaddr *)&(struct sockaddr_un){AF_UNIX, "/ro/sock"}, 12), EROFS, EROFS, EROFS);
	{
		char *private = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);

		private[0] = '!'; /* a copy of one's own */
		msync(private, 4096, MS_SYNC);
	}
}

/* The same in the layer over the current directory works, and the host does not hear of it. */
static void layer(void)
{
	struct timespec times[2] = {{1, 0}, {1, 0}};
	int fd = open("file", O_RDWR);
	char *map;

	if (fd < 0 || pwrite(fd, "changed", 7, 0) != 7 || ftruncate(fd, 100000) || fchmod(fd, 04777) || fchown(fd, 5, 5) ||
	    futimens(fd, times) || fallocate(fd, 0, 0, 8192))
		escaped("the layer: %s", strerror(errno));
	map = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	map[1] = '!';
	msync(map, 4096, MS_SYNC);
	fsync(fd);
	fsetxattr(fd, "user.x", "y", 1, 0);
	if (rename("hard", "moved") || link("file", "other") || mkdir("made", 0700) || chmod("dir", 0) || unlink("relative") ||
	    symlink("x", "dir/x") || rmdir("empty") || chown("dir", 9, 9) || utimensat(AT_FDCWD, "dir", times, 0))
		escaped("the layer's names: %s", strerror(errno));
	sync();
}

static void set_id(void)
{
	struct stat info;
	int fd;

	FAILS(chmod("/rw/file", 04755), EPERM, EPERM, EPERM);
	FAILS(chmod("/rw/file", 02755), EPERM, EPERM, EPERM);
	FAILS(open("/rw/program2", O_CREAT | O_WRONLY, 06755), EPERM, EPERM, EPERM);
	FAILS(mknod("/rw/program3", S_IFREG | 04755, 0), EPERM, EPERM, EPERM);
	FAILS(chown("/rw/file", 4242, -1), EPERM, EPERM, EPERM);
	FAILS(chown("/rw/file", -1, 4242), EPERM, EPERM, EPERM);
	FAILS(lchown("/rw/relative", 4242, 4242), EPERM, EPERM, EPERM);
	FAILS(setxattr("/rw/file", "security.capability", "\1\0\0\2\377\377\377\377", 8, 0), EOPNOTSUPP, EPERM, 0);
	FAILS(setxattr("/rw/file", "trusted.x", "y", 1, 0), EOPNOTSUPP, EPERM, 0);
	fd = open("/rw/trusted", O_WRONLY); /* a set-user-ID program of the host */
	if (fd < 0 || write(fd, "#!/bin/sh\n", 10) != 10)
		escaped("write: %s", strerror(errno));
	if (fstat(fd, &info) || info.st_mode & 06000)
		escaped("a program kept its set-user-ID bit: %o", info.st_mode);
	if (truncate("/rw/trusted2", 3) || stat("/rw/trusted2", &info) || info.st_mode & 06000)
		escaped("a truncated program kept its set-user-ID bit: %o", info.st_mode);
}

static void network(void)
{
	int ends[2];

	for (int family = 0; family < 50; family++)
		for (int type = 1; type < 6; type++)
			if (family != AF_UNIX) {
				FAILS(socket(family, type, 0), EAFNOSUPPORT, EINVAL, 0);
				FAILS(socketpair(family, type, 0, ends), EAFNOSUPPORT, EINVAL, 0);
			}
}

static void connect_to(const char *path, int type)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, type, 0);
	size_t length = strlen(path);

	memcpy(address.sun_path, path, length);
	if (path[0] == '@')
		address.sun_path[0] = 0;
	errno = 0;
	if (connect(fd, (void *)&address, sizeof(sa_family_t) + length + (path[0] != '@')) != -1 || errno != ECONNREFUSED)
		escaped("connect to %s: %s", path, strerror(errno));
	close(fd);
}

static void host_sockets(void)
{
	connect_to("/ro/stream", SOCK_STREAM);
	connect_to("/rw/stream", SOCK_STREAM);
	connect_to("/ro/dgram", SOCK_DGRAM);
	connect_to("/rw/dgram", SOCK_DGRAM);
	connect_to(abstract_name, SOCK_STREAM);
}

static void signals(void)
{
	siginfo_t info = {.si_code = SI_QUEUE};

	FAILS(kill(host_pid, 0), ESRCH, ESRCH, ESRCH);
	FAILS(kill(host_pid, SIGKILL), ESRCH, ESRCH, ESRCH);
	FAILS(kill(-host_pid, SIGKILL), ESRCH, ESRCH, ESRCH);
	FAILS(kill(getppid() == 1 ? host_pid : getppid(), SIGKILL), ESRCH, EPERM, 0);
	FAILS(syscall(SYS_tgkill, host_pid, host_pid, SIGKILL), ESRCH, ESRCH, ESRCH);
	FAILS(syscall(SYS_tkill, host_pid, SIGKILL), ESRCH, ESRCH, ESRCH);
	FAILS(syscall(SYS_rt_sigqueueinfo, host_pid, SIGKILL, &info), ESRCH, EPERM, 0);
	if (syscall(434, host_pid, 0) >= 0) /* pidfd_open */
		escaped("pidfd_open");
	kill(-1, SIGKILL); /* everybody but init and oneself */
	kill(0, 0);
}

static void other_processes(void)
{
	char buffer[16];
	struct iovec mine = {buffer, sizeof buffer}, theirs = {(void *)0x400000, sizeof buffer};
	struct rlimit limit;
	cpu_set_t set;

	FAILS(ptrace(PTRACE_ATTACH, host_pid, 0, 0), ESRCH, EPERM, 0);
	FAILS(ptrace(PTRACE_SEIZE, host_pid, 0, 0), ESRCH, EPERM, 0);
	FAILS(syscall(SYS_process_vm_readv, host_pid, &mine, 1L, &theirs, 1L, 0L), ESRCH, ESRCH, ESRCH);
	FAILS(syscall(SYS_process_vm_writev, host_pid, &mine, 1L, &theirs, 1L, 0L), ESRCH, ESRCH, ESRCH);
	FAILS(setpriority(PRIO_PROCESS, host_pid, 19), ESRCH, ESRCH, ESRCH);
	FAILS(prlimit(host_pid, RLIMIT_CPU, 0, (void *)&limit), ESRCH, ESRCH, ESRCH);
	FAILS(sched_getaffinity(host_pid, sizeof set, &set), ESRCH, ESRCH, ESRCH);
	FAILS(setpgid(host_pid, 0), ESRCH, ESRCH, ESRCH);
	FAILS(waitpid(host_pid, 0, WNOHANG), ECHILD, ECHILD, ECHILD);
}

static void descriptors(void)
{
	for (int fd = 3; fd < 1024; fd++)
		if (fcntl(fd, F_GETFD) != -1)
			escaped("descriptor %d is open", fd);
}

/* Standard output is a file of the host. */
static void inherited(void)
{
	struct timespec times[2] = {{1, 0}, {1, 0}};
	static const int commands[] = {F_SETOWN, F_SETSIG, 1024 /* F_SETLEASE */, 1026 /* F_NOTIFY */, 1031 /* F_SETPIPE_SZ */,
		1033 /* F_ADD_SEALS */, F_SETFL};

	for (int fd = 0; fd < 2; fd++) {
		fchmod(fd, 04777);
		fchown(fd, 4242, 4242);
		futimens(fd, times);
		fsetxattr(fd, "user.x", "y", 1, 0);
		for (unsigned i = 0; i < sizeof commands / sizeof commands[0]; i++)
			fcntl(fd, commands[i], commands[i] == F_SETOWN ? host_pid : commands[i] == F_SETFL ? O_NONBLOCK | O_DIRECT : 1);
		fcntl(fd, F_SETFL, 0);
		flock(fd, 2);
		if (mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) != MAP_FAILED)
			escaped("descriptor %d was mapped", fd);
	}
	FAILS(ioctl(0, 0x5412, "x"), ENOTTY, EPERM, EIO); /* TIOCSTI */
	FAILS(openat(1, "../outside/secret", O_RDONLY), ENOTDIR, ENOTDIR, ENOTDIR);
	FAILS(open(join("/proc/self/fd/1/../secret"), O_RDONLY), ENOTDIR, ENOENT, 0);
}

static void environment(void)
{
	static const char *const known[] = {"PATH=", "HOME=", "USER=", "LOGNAME=", "SHELL=", "TERM=", "LANG=", "TZ=", "COLUMNS=",
		"LINES=", "LC_"};
	char **each, text[4096];
	int fd;
	unsigned i;

	for (each = environ; *each; each++) {
		for (i = 0; i < sizeof known / sizeof known[0]; i++)
			if (!strncmp(*each, known[i], strlen(known[i])))
				break;
		if (i == sizeof known / sizeof known[0])
			escaped("the environment has %s", *each);
	}
	for (i = 0; i < 3; i++) {
		ssize_t got;

		fd = open(i == 0 ? "/proc/self/environ" : i == 1 ? "/proc/1/environ" : "/proc/1/cmdline", O_RDONLY);
		got = fd < 0 ? 0 : read(fd, text, sizeof text);
		if (got > 0 && memmem(text, got, "NOPAGE_SECRET", 13))
			escaped("the host's environment in /proc");
		close(fd);
	}
}

static volatile int stop;

static void *swap_names(void *unused)
{
	(void)unused;
	while (!stop) {
		rename("/rw/turn", "/rw/middle");
		rename("/rw/spare", "/rw/turn");
		rename("/rw/middle", "/rw/spare");
	}
	return 0;
}

static void race(void)
{
	pthread_t thread;

	mkdir("/rw/turn", 0700);
	close(open("/rw/turn/secret", O_CREAT | O_WRONLY, 0600));
	symlink("../outside", "/rw/spare");
	pthread_create(&thread, 0, swap_names, 0);
	for (int i = 0; i < 1500; i++) {
		int fd;

		try_path("/rw/turn/secret");
		fd = open("/rw/turn/planted", O_CREAT | O_WRONLY, 0600);
		close(fd);
		chmod("/rw/turn/secret", 0600);
		truncate("/rw/turn/secret", 0);
		unlink("/rw/turn/planted");
		if (failed)
			break;
	}
	stop = 1;
	pthread_join(thread, 0);
}

static void modules(void)
{
	static const char python[] = "nopage module\nimport os; os.system('touch /tmp/owned')\n", path[] = "nopage module\n../../../tmp/x\n";
	static const char name[] = "nopage module\n/tmp/evil.py\n";
	int fd;

	FAILS(syscall(SYS_init_module, python, sizeof python - 1, ""), ENOEXEC, ENOENT, EINVAL);
	FAILS(syscall(SYS_init_module, path, sizeof path - 1, ""), ENOEXEC, ENOENT, EINVAL);
	FAILS(syscall(SYS_init_module, name, sizeof name - 1, ""), ENOEXEC, ENOENT, EINVAL);
	fd = open("/tmp/evil.ko", O_CREAT | O_RDWR, 0600);
	write(fd, python, sizeof python - 1);
	FAILS(syscall(SYS_finit_module, fd, "", 0), ENOEXEC, ENOENT, EINVAL);
	fd = open("/dev/zero", O_RDONLY);
	FAILS(syscall(SYS_finit_module, fd, "", 0), ENOEXEC, EINVAL, EFBIG);
}

static void host_files(void)
{
	char text[4096] = "";
	int fd = open("/etc/passwd", O_RDONLY);

	read(fd, text, sizeof text - 1);
	if (strstr(text, "daemon") || strstr(text, "www-data"))
		escaped("/etc/passwd is the host's");
	FAILS(open("/etc/shadow", O_RDONLY), ENOENT, ENOENT, ENOENT);
	FAILS(open("/root/.ssh", O_RDONLY), ENOENT, ENOENT, ENOENT);
	FAILS(open("/home/user", O_RDONLY), ENOENT, ENOENT, ENOENT);
	FAILS(open("/var/run/docker.sock", O_RDONLY), ENOENT, ENOENT, ENOENT);
}

static void machine_calls(void)
{
	struct timespec time = {1, 0};
	struct timeval day = {1, 0};
	struct timex adjust = {.modes = ADJ_FREQUENCY, .freq = 1 << 16};

	clock_settime(CLOCK_REALTIME, &time); /* the test looks at the host's clock */
	settimeofday(&day, 0);
	adjtimex(&adjust);
	sethostname("owned", 5);
	FAILS(syscall(SYS_swapon, "/rw/file", 0), 0, 0, 0);
	FAILS(syscall(SYS_acct, "/ro/file"), 0, 0, 0);
	FAILS(syscall(SYS_kexec_load, 0L, 0L, 0L, 0L), 0, 0, 0);
	FAILS(syscall(321, 0, 0, 0), 0, 0, 0); /* bpf, or signalfd of i386 with nonsense */
	FAILS(syscall(SYS_perf_event_open, 0L, host_pid, -1, -1, 0L), 0, 0, 0);
}

static const struct {
	const char *name;
	void (*function)(void);
} attempts[] = {
	{"descriptors", descriptors}, {"environment", environment}, {"links", links}, {"links_made", links_made},
	{"dots", dots}, {"proc_links", proc_links}, {"proc_exe", proc_exe}, {"proc_mem", proc_mem},
	{"openat2_flags", openat2_flags}, {"o_path", o_path}, {"execute_outside", execute_outside}, {"handles", handles},
	{"chroots", chroots}, {"mounts", mounts}, {"hard_links", hard_links}, {"devices", devices},
	{"read_only", read_only}, {"layer", layer}, {"set_id", set_id}, {"network", network},
	{"host_sockets", host_sockets}, {"signals", signals}, {"other_processes", other_processes},
	{"inherited", inherited}, {"race", race}, {"modules", modules}, {"host_files", host_files},
	{"machine_calls", machine_calls},
};

int main(int argc, char **argv)
{
	if (argc < 5)
		return 2;
	outside = argv[1];
	host_pid = atoi(argv[2]);
	abstract_name = argv[3];
	cwd = argv[4];
	setvbuf(stdout, 0, _IOLBF, 0);
	umask(0);
	for (size_t i = 0; i < sizeof attempts / sizeof attempts[0]; i++) {
		if (argc > 5 && strcmp(argv[5], attempts[i].name))
			continue;
		attempt = attempts[i].name;
		failed = 0;
		attempts[i].function();
		if (failed)
			printf("\n");
		else
			printf("%s ok\n", attempt);
	}
	return 0;
}
