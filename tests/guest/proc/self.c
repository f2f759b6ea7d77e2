/* What a process finds about itself in /proc: maps, smaps, pagemap, mem, status, stat, fd, exe, cmdline, task. */
#include "check.h"
#include <dirent.h>
#include <fcntl.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

static char text[1 << 20];

static size_t slurp(const char *path)
{
	int fd = open(path, O_RDONLY);
	ssize_t n, all = 0;

	if (fd < 0)
		return 0;
	while ((n = read(fd, text + all, sizeof text - 1 - all)) > 0)
		all += n;
	close(fd);
	text[all] = 0;
	return all;
}

/* The figure of `label` in the smaps block of the area that starts at `start`; -1 where there is none. */
static long smaps(const void *start, const char *label)
{
	char head[40], *at;

	slurp("/proc/self/smaps");
	snprintf(head, sizeof head, "%08lx-", (unsigned long)start);
	at = strstr(text, head);
	at = at ? strstr(at, label) : NULL;
	return at ? atol(at + strlen(label) + 1) : -1;
}

static long status(const char *label)
{
	char *at;

	slurp("/proc/self/status");
	at = strstr(text, label);
	return at ? atol(at + strlen(label)) : -1;
}

static void areas(void)
{
	char *p = anonymous(8), line[80];
	volatile char sink;

	mprotect(p + 4 * PAGE, PAGE, PROT_READ);
	if (mmap(NULL, PAGE, PROT_READ, MAP_SHARED, syscall(SYS_memfd_create, "new\nline \\ \t", 0), 0) == MAP_FAILED)
		CHECK("mmap of a memfd", 0);
	slurp("/proc/self/maps");
	CHECK("maps: only a newline is spelled out", strstr(text, "/memfd:new\\012line \\ \t (deleted)\n"));
	snprintf(line, sizeof line, "%08lx-%08lx rw-p 00000000 00:00 0 \n", (unsigned long)p, (unsigned long)(p + 4 * PAGE));
	CHECK("maps: the area before the hole", strstr(text, line));
	snprintf(line, sizeof line, "%08lx-%08lx r--p 00000000 00:00 0 \n", (unsigned long)(p + 4 * PAGE),
		 (unsigned long)(p + 5 * PAGE));
	CHECK("maps: the read-only page", strstr(text, line));
	CHECK("maps: the stack", strstr(text, "[stack]\n"));

	EQUAL("smaps: nothing touched", smaps(p, "\nRss:"), 0);
	p[0] = p[PAGE] = 1;
	sink = p[2 * PAGE];
	(void)sink;
	EQUAL("smaps: Size", smaps(p, "\nSize:"), 16);
	EQUAL("smaps: Rss counts written pages, not the zero page", smaps(p, "\nRss:"), 8);
	EQUAL("smaps: Pss", smaps(p, "\nPss:"), 8);
	EQUAL("smaps: Private_Dirty", smaps(p, "\nPrivate_Dirty:"), 8);
	EQUAL("smaps: Anonymous", smaps(p, "\nAnonymous:"), 8);
	EQUAL("smaps: page size", smaps(p, "\nMMUPageSize:"), 4);
}

static void flags(void)
{
	char *p = anonymous(2), *at;
	int go[2];
	pid_t child;

	EQUAL("mlock2, as its pages come", syscall(SYS_mlock2, p, PAGE, 1), 0);
	p[0] = p[PAGE] = 1;
	smaps(p, "\nVmFlags:");
	at = strstr(text, " lo lf ac");
	CHECK("smaps: the flags' order", at != NULL);
	EQUAL("smaps: Referenced", smaps(p + PAGE, "\nReferenced:"), 4);
	ERRNO("MADV_COLD", madvise(p + PAGE, PAGE, 20), 0);
	EQUAL("...as if not touched", smaps(p + PAGE, "\nReferenced:"), 0);
	EQUAL("...and it is there", smaps(p + PAGE, "\nRss:"), 4);
	p[PAGE] = 2;
	EQUAL("...touched", smaps(p + PAGE, "\nReferenced:"), 4);
	if (pipe(go))
		_exit(2);
	child = fork();
	if (!child)
		_exit(read(go[0], text, 1) != 1);
	ERRNO("MADV_COLD of a page that a child has, too", madvise(p + PAGE, PAGE, 20), 0);
	EQUAL("...changes nothing", smaps(p + PAGE, "\nReferenced:"), 4);
	if (write(go[1], "x", 1) != 1)
		_exit(2);
	waitpid(child, NULL, 0);
}

/* What is left of a process that nobody has waited for. */
static void zombie(void)
{
	char name[64], to[64];
	siginfo_t info;
	pid_t child = fork();

	if (!child)
		_exit(0);
	waitid(P_PID, child, &info, WEXITED | WNOWAIT);
	for (int i = 0; i < 3; i++) {
		static const char *const links[] = {"cwd", "root", "exe"};

		snprintf(name, sizeof name, "/proc/%d/%s", child, links[i]);
		ERRNO(links[i], readlink(name, to, sizeof to), ENOENT);
	}
	snprintf(name, sizeof name, "/proc/%d/mountinfo", child);
	ERRNO("a zombie's mountinfo", open(name, O_RDONLY), EINVAL);
	snprintf(name, sizeof name, "/proc/%d/mounts", child);
	ERRNO("a zombie's mounts", open(name, O_RDONLY), EINVAL);
	waitpid(child, NULL, 0);
	CHECK("our own mounts", slurp("/proc/self/mounts") > 0 && slurp("/proc/self/mountinfo") > 0);
}

static long meminfo(const char *label)
{
	char *at;

	slurp("/proc/meminfo");
	at = strstr(text, label);
	return at ? atol(at + strlen(label)) : -1;
}

static long pss_shmem(void)
{
	slurp("/proc/self/smaps_rollup");
	return atol(strstr(text, "Pss_Shmem:") + 10);
}

enum { MANY = 1024 };

/* Pages of files in memory are counted by themselves.  Since Linux 6.2 the figures of status may be behind, by some
   dozen pages for each processor; those of smaps are counted anew. */
static void shmem(const char *name, char *p, int private)
{
	long files = status("\nRssFile:"), there = status("\nRssShmem:"), pss = pss_shmem();
	char line[80];

#define NAMED(what) (snprintf(line, sizeof line, "%s: %s", name, what), line)
	for (int i = 0; i < MANY; i++)
		(void)*(volatile char *)(p + i * PAGE);
	EQUAL(NAMED("Pss_Shmem"), pss_shmem() - pss, 4 * MANY);
	CHECK(NAMED("RssShmem"), status("\nRssShmem:") - there > 2 * MANY);
	CHECK(NAMED("RssFile"), status("\nRssFile:") - files < MANY);
	memset(p, 1, MANY / 2 * PAGE);
	EQUAL(NAMED("Pss_Shmem, half of them written"), pss_shmem() - pss, private ? 2 * MANY : 4 * MANY);
	munmap(p, MANY * PAGE);
	EQUAL(NAMED("Pss_Shmem, unmapped"), pss_shmem() - pss, 0);
	CHECK(NAMED("RssShmem, unmapped"), status("\nRssShmem:") - there < MANY);
}

static void files_in_memory(void)
{
	int fd = syscall(SYS_memfd_create, "shmem", 0), id = shmget(IPC_PRIVATE, MANY * PAGE, 0600);
	int zero = open("/dev/zero", O_RDWR);
	long before = meminfo("\nShmem:");

	ERRNO("a memfd", ftruncate(fd, MANY * PAGE) | fallocate(fd, 0, 0, MANY * PAGE), 0);
	CHECK("meminfo: Shmem", meminfo("\nShmem:") - before > 2 * MANY);
	shmem("shared anonymous memory", mmap(NULL, MANY * PAGE, RW, MAP_SHARED | MAP_ANONYMOUS, -1, 0), 0);
	shmem("/dev/zero, shared", mmap(NULL, MANY * PAGE, RW, MAP_SHARED, zero, 0), 0);
	shmem("a memfd, shared", mmap(NULL, MANY * PAGE, RW, MAP_SHARED, fd, 0), 0);
	shmem("a memfd, private", mmap(NULL, MANY * PAGE, RW, MAP_PRIVATE, fd, 0), 1);
	shmem("System V shared memory", shmat(id, NULL, 0), 0);
	shmctl(id, IPC_RMID, NULL);
	close(zero);
	close(fd);
}

static void frames(void)
{
	char *p = anonymous(3);
	uint64_t entries[3];
	int fd = open("/proc/self/pagemap", O_RDONLY);

	p[0] = p[2 * PAGE] = 1;
	EQUAL("pagemap: three entries", pread(fd, entries, 24, (uintptr_t)p / PAGE * 8), 24);
	CHECK("pagemap: written pages are present", entries[0] >> 63 && entries[2] >> 63);
	EQUAL("pagemap: an untouched page is not", entries[1], 0);
	CHECK("pagemap: exclusively mapped", entries[0] >> 56 & 1);
	CHECK("pagemap: anonymous", !(entries[0] >> 61 & 1));
	ERRNO("pagemap: odd offset", pread(fd, entries, 8, 4), EINVAL);
	ERRNO("pagemap: odd count", pread(fd, entries, 7, 0), EINVAL);
	close(fd);
}

/* mov eax, 0x11; ret */
int patched(void);
__asm__(".text\n.globl patched\n.type patched, @function\npatched: .byte 0xb8, 0x11, 0, 0, 0, 0xc3\n.previous");

static void memory(void)
{
	char code = 0x22;
	char *p = anonymous(1), back[4] = "";
	int fd = open("/proc/self/mem", O_RDWR);

	CHECK("mem opens", fd >= 0);
	EQUAL("mem: write", pwrite(fd, "abc", 3, (off_t)(uintptr_t)p), 3);
	CHECK("mem: is the memory", !memcmp(p, "abc", 3));
	EQUAL("mem: read", pread(fd, back, 3, (off_t)(uintptr_t)p), 3);
	CHECK("mem: what was written", !memcmp(back, "abc", 3));
	mprotect(p, PAGE, PROT_READ);
	EQUAL("mem: write where the process may not", pwrite(fd, "xyz", 3, (off_t)(uintptr_t)p), 3);
	CHECK("mem: that is the memory too", !memcmp(p, "xyz", 3));
	NO_WRITE("mem: the process still may not", p, SIGSEGV, SEGV_ACCERR);
	mprotect(p, PAGE, PROT_NONE);
	EQUAL("mem: read what has no permission", pread(fd, back, 3, (off_t)(uintptr_t)p), 3);
	CHECK("mem: what it holds", !memcmp(back, "xyz", 3));
	NO_READ("mem: the process can't", p, SIGSEGV, SEGV_ACCERR);
	munmap(p, PAGE);
	ERRNO("mem: nothing there", pread(fd, back, 3, (off_t)(uintptr_t)p), EIO);
	p = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, temporary_file(PAGE), 0);
	ERRNO("mem: a shared read-only file", pwrite(fd, "xyz", 3, (off_t)(uintptr_t)p), EIO);
	EQUAL("mem: code can be patched", pwrite(fd, &code, 1, (off_t)((uintptr_t)patched + 1)), 1);
	EQUAL("mem: and runs so", patched(), 0x22);
	close(fd);
}

static void names(char **argv)
{
	char link[4096], path[64];
	struct stat one, other;
	int fd = open("/etc", O_RDONLY | O_DIRECTORY), again;
	ssize_t n = readlink("/proc/self/exe", link, sizeof link - 1);

	link[n > 0 ? n : 0] = 0;
	CHECK("exe: our name", strrchr(link, '/') && !strcmp(strrchr(link, '/'), strrchr(argv[0], '/')));
	CHECK("exe: opens", !stat("/proc/self/exe", &one) && S_ISREG(one.st_mode));

	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	n = readlink(path, link, sizeof link - 1);
	link[n > 0 ? n : 0] = 0;
	CHECK("fd: its path", !strcmp(link, "/etc"));
	again = open(path, O_RDONLY);
	CHECK("fd: the same object", !fstat(fd, &one) && !fstat(again, &other) && one.st_ino == other.st_ino);
	close(again);
	close(fd);
	ERRNO("fd: closed", readlink(path, link, sizeof link), ENOENT);

	n = readlink("/proc/self", link, sizeof link - 1);
	link[n > 0 ? n : 0] = 0;
	EQUAL("self", atoi(link), getpid());
	chdir("/etc");
	n = readlink("/proc/self/cwd", link, sizeof link - 1);
	link[n > 0 ? n : 0] = 0;
	CHECK("cwd", !strcmp(link, "/etc"));
	ERRNO("no such process", open("/proc/999999/status", O_RDONLY), ENOENT);
	ERRNO("no such file", open("/proc/self/nothing", O_RDONLY), ENOENT);
}

static void texts(int argc, char **argv)
{
	size_t n = slurp("/proc/self/cmdline"), at = 0;
	int i, fields = 0, depth = 0, fd;
	char *p, one[8];

	for (i = 0; i < argc && at < n; i++)
		at += !strcmp(text + at, argv[i]) ? strlen(argv[i]) + 1 : n;
	EQUAL("cmdline: argv with NULs", at, n);

	slurp("/proc/self/environ");
	CHECK("environ", strstr(text, "HOME=") || memmem(text, sizeof text, "HOME=", 5));

	prctl(PR_SET_NAME, "a (new) name");
	slurp("/proc/self/comm");
	CHECK("comm", !strcmp(text, "a (new) name\n"));
	slurp("/proc/self/stat");
	EQUAL("stat: pid", atoi(text), getpid());
	for (p = text; *p; p++) {
		depth += (*p == '(') - (*p == ')');
		fields += !depth && *p == ' ';
	}
	EQUAL("stat: fields", fields + 1, 52);
	EQUAL("status: Pid", status("\nPid:"), getpid());
	EQUAL("status: PPid", status("\nPPid:"), getppid());
	EQUAL("status: Tgid", status("\nTgid:"), getpid());
	EQUAL("status: Threads", status("\nThreads:"), 1);
	CHECK("status: VmRSS", status("\nVmRSS:") > 0);
	CHECK("status: VmHWM is no less", status("\nVmHWM:") >= status("\nVmRSS:"));
	CHECK("status: VmSize", status("\nVmSize:") >= status("\nVmRSS:"));

	fd = open("/proc/self/status", O_RDONLY);
	EQUAL("a small read", read(fd, one, 5), 5);
	CHECK("its first bytes", !memcmp(one, "Name:", 5));
	EQUAL("seek back", lseek(fd, 0, SEEK_SET), 0);
	EQUAL("read again", read(fd, one, 5), 5);
	CHECK("the same bytes", !memcmp(one, "Name:", 5));
	ERRNO("no end to seek from", lseek(fd, 0, SEEK_END), EINVAL);
	close(fd);
}

static void directories(void)
{
	DIR *directory = opendir("/proc/self/task");
	struct dirent *entry;
	struct stat info;
	int threads = 0, mine = 0;

	while ((entry = readdir(directory)))
		if (entry->d_name[0] != '.') {
			threads++;
			mine += atoi(entry->d_name) == getpid();
		}
	closedir(directory);
	CHECK("task: one thread", threads == 1 && mine == 1);
	CHECK("task: its comm", slurp("/proc/self/task/../comm") > 0);
	stat("/proc/self/maps", &info);
	CHECK("a text has no size", info.st_size == 0 && S_ISREG(info.st_mode));
	EQUAL("mode of maps", info.st_mode & 07777, 0444);
	stat("/proc/self/mem", &info);
	EQUAL("mode of mem", info.st_mode & 07777, 0600);
	stat("/proc/self/fd", &info);
	EQUAL("mode of fd", info.st_mode & 07777, 0500);
	ERRNO("nothing is made here", mkdir("/proc/self/x", 0777), ENOENT);
	ERRNO("nor removed", unlink("/proc/self/maps"), EPERM);
}

int main(int argc, char **argv)
{
	catch_faults();
	EQUAL("before the patch", patched(), 0x11);
	areas();
	flags();
	zombie();
	files_in_memory();
	frames();
	memory();
	names(argv);
	texts(argc, argv);
	directories();
	return done();
}
