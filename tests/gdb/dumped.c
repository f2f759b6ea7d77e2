/* Whether a process that dies of a signal leaves a core: who asks for one, and how the parent sees it. */
#include <check.h>
#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

static int die(int signo, long limit, int dumpable)
{
	int status = 0;
	pid_t pid = fork();

	if (!pid) {
		struct rlimit core = {limit, RLIM_INFINITY};

		setrlimit(RLIMIT_CORE, &core);
		prctl(PR_SET_DUMPABLE, dumpable);
		kill(getpid(), signo);
		_exit(1);
	}
	waitpid(pid, &status, 0);
	CHECK("killed", WIFSIGNALED(status) && WTERMSIG(status) == signo);
	return WIFSIGNALED(status) && WCOREDUMP(status);
}

static void pattern(const char *text)
{
	int fd = open("/proc/sys/kernel/core_pattern", O_WRONLY);

	EQUAL("pattern", write(fd, text, strlen(text)), (long)strlen(text));
	close(fd);
}

int main(int argc, char **argv)
{
	struct stat info;
	char head[5] = "";
	int fd;

	EQUAL("no core without a limit above 0", die(SIGSEGV, 0, 1), 0);
	if (argc < 2)
		return done();
	CHECK("a directory", !chdir(argv[1]));
	EQUAL("less than a page", die(SIGSEGV, 4095, 1), 0);
	EQUAL("not dumpable", die(SIGSEGV, 1 << 30, 0), 0);
	EQUAL("no core action", die(SIGTERM, 1 << 30, 1), 0);
	CHECK("none yet", stat("core", &info) < 0 && errno == ENOENT);
	EQUAL("a core", die(SIGABRT, 1 << 30, 1), 1);
	CHECK("there", !stat("core", &info) && S_ISREG(info.st_mode));
	EQUAL("for its owner alone", info.st_mode & 0777, 0600);
	fd = open("core", O_RDONLY);
	CHECK("an ELF file", read(fd, head, 4) == 4 && !memcmp(head, "\177ELF", 4));
	close(fd);
	EQUAL("cut at the limit", die(SIGABRT, 8192, 1), 1);
	CHECK("so long", !stat("core", &info) && info.st_size == 8192);
	pattern("small.%e.%s%%");
	EQUAL("another name", die(SIGQUIT, 1 << 30, 1), 1);
	CHECK("its name", !stat("small.dumped.3%", &info));
	fd = open("/proc/sys/kernel/core_pattern", O_WRONLY);
	ERRNO("nobody to pipe it to", write(fd, "|/bin/cat", 9), EINVAL);
	close(fd);
	CHECK("a directory in the way", !mkdir("way", 0755));
	pattern("way");
	EQUAL("no core", die(SIGQUIT, 1 << 30, 1), 0);
	return done();
}
