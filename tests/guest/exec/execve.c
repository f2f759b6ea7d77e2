/* execve(2): errors, scripts, and what a new program keeps of the old one. */
#include "check.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

static char directory[] = "/tmp/nopage-XXXXXX", name[200];
static char *const no_environment[] = {NULL};

static const char *in_directory(const char *file)
{
	snprintf(name, sizeof name, "%s/%s", directory, file);
	return name;
}

static const char *put(const char *file, const char *text, size_t length, int mode)
{
	int fd = open(in_directory(file), O_WRONLY | O_CREAT | O_TRUNC, 0600);

	if (fd < 0 || write(fd, text, length) != (ssize_t)length || fchmod(fd, mode) || close(fd))
		_exit(2);
	return name;
}

static int try(const char *path)
{
	char *const arguments[] = {(char *)path, "argument", NULL};

	errno = 0;
	execve(path, arguments, no_environment);
	return errno;
}

static void errors(void)
{
	char *const self[] = {"self", NULL}, *big = malloc(200000), *large[2] = {big, NULL};
	const char *loop;

	EQUAL("nothing there", try(in_directory("missing")), ENOENT);
	EQUAL("the empty path", try(""), ENOENT);
	EQUAL("a directory", try(directory), EACCES);
	EQUAL("a file that is no directory", try("/proc/self/exe/x"), ENOTDIR);
	EQUAL("not executable", try(put("plain", "text", 4, 0600)), EACCES);
	EQUAL("no program", try(put("text", "some text\n", 10, 0700)), ENOEXEC);
	EQUAL("an empty file", try(put("empty", "", 0, 0700)), ENOEXEC);
	EQUAL("a truncated ELF file", try(put("elf", "\177ELF\2\1\1\0\0\0\0\0\0\0\0\0\2\0\76\0", 20, 0700)), ENOEXEC);
	EQUAL("an interpreter that is missing", try(put("script1", "#! /no/such/program\n", 20, 0700)), ENOENT);
	EQUAL("a script without one", try(put("script2", "#!\n", 3, 0700)), ENOEXEC);
	EQUAL("blanks for one", try(put("script3", "#!   \n", 6, 0700)), ENOEXEC);
	EQUAL("a device", try("/dev/null"), EACCES);
	loop = in_directory("loop");
	if (symlink(loop, loop))
		_exit(2);
	EQUAL("a link to itself", try(loop), ELOOP);
	memset(big, 'x', 200000);
	big[199999] = 0;
	EQUAL("a string above 128 KiB", execve("/proc/self/exe", large, no_environment) ? errno : 0, E2BIG);
	EQUAL("execveat with unknown flags",
	      syscall(SYS_execveat, AT_FDCWD, "/proc/self/exe", self, no_environment, 0x10) ? errno : 0, EINVAL);
	EQUAL("and an empty path", syscall(SYS_execveat, AT_FDCWD, "", self, no_environment, 0x10) ? errno : 0, ENOENT);
	EQUAL("that is allowed", syscall(SYS_execveat, AT_FDCWD, "", self, no_environment, 0x1010) ? errno : 0, EINVAL);
	memset(big, 'n', 300);
	big[300] = 0;
	EQUAL("a long name", try(big), ENAMETOOLONG);
	EQUAL("this program still runs", getpid() > 0, 1);
}

/* Start `path` and say how it ended. */
static int start(const char *path, char *const arguments[], char *const environment[])
{
	pid_t pid = fork();
	int status;

	if (!pid) {
		execve(path, arguments, environment);
		_exit(errno);
	}
	waitpid(pid, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

static const char *me(void)
{
	static char path[4096];
	ssize_t length = readlink("/proc/self/exe", path, sizeof path - 1);

	if (length < 0)
		_exit(2);
	path[length] = 0;
	return path;
}

static void scripts(void)
{
	char text[5000], *arguments[] = {"ignored", "first", "second", NULL};
	int length = snprintf(text, sizeof text, "#!%s script  with blanks \nrest\n", me());

	EQUAL("a script", start(put("run", text, length, 0700), arguments, no_environment), 21);
	length = snprintf(text, sizeof text, "#! %s\n", in_directory("run"));
	EQUAL("a script of a script", start(put("twice", text, length, 0700), arguments, no_environment), 22);
	EQUAL("with an empty argv", start("/proc/self/exe", (char *const[]){NULL}, no_environment), 23);
}

static void kept(void)
{
	int kept_fd = temporary_file(10), closed_fd = temporary_file(10);
	char one[20], two[20], three[20];
	sigset_t set;
	pid_t pid;
	int status;

	fcntl(closed_fd, F_SETFD, FD_CLOEXEC);
	lseek(kept_fd, 5, SEEK_SET);
	snprintf(one, sizeof one, "%d", kept_fd);
	snprintf(two, sizeof two, "%d", closed_fd);
	pid = fork();
	if (!pid) {
		signal(SIGUSR1, SIG_IGN);
		signal(SIGUSR2, (void (*)(int))_exit);
		sigemptyset(&set);
		sigaddset(&set, SIGTERM);
		sigprocmask(SIG_BLOCK, &set, NULL);
		umask(037);
		if (chdir(directory))
			_exit(2);
		snprintf(three, sizeof three, "%d", getpid());
		execve("/proc/self/exe", (char *const[]){"kept", one, two, three, NULL}, (char *const[]){"A=b", NULL});
		_exit(errno);
	}
	waitpid(pid, &status, 0);
	EQUAL("the new program is content", status, 0);
}

/* The other side of kept(). */
static int check_kept(char **argv)
{
	struct sigaction action;
	char text[300];
	sigset_t set;
	ssize_t length;

	EQUAL("a descriptor is kept, with its position", lseek(atoi(argv[1]), 0, SEEK_CUR), 5);
	EQUAL("one with FD_CLOEXEC is not", fcntl(atoi(argv[2]), F_GETFD), -1);
	EQUAL("the process is the same", getpid(), atoi(argv[3]));
	sigaction(SIGUSR1, NULL, &action);
	CHECK("an ignored signal stays ignored", action.sa_handler == SIG_IGN);
	sigaction(SIGUSR2, NULL, &action);
	CHECK("a handler does not stay", action.sa_handler == SIG_DFL);
	sigprocmask(0, NULL, &set);
	CHECK("the mask stays", sigismember(&set, SIGTERM) && !sigismember(&set, SIGUSR1));
	EQUAL("the umask stays", umask(0), 037);
	CHECK("the working directory stays", getcwd(text, sizeof text) && !strncmp(text, "/tmp/nopage-", 12));
	CHECK("the environment is new", getenv("A") && !getenv("PATH"));
	length = read(open("/proc/self/comm", O_RDONLY), text, sizeof text);
	CHECK("the name is the file's", length > 0 && length <= 16 && !strncmp(text, "exe\n", 4));
	return done();
}

/* How long a single argument may be: 1 where a new program was begun with it. */
static int fits(size_t length, size_t limit)
{
	char *argument = malloc(length + 1);
	pid_t pid = fork();
	int status;

	if (!pid) {
		memset(argument, 'x', length);
		argument[length] = 0;
		setrlimit(RLIMIT_STACK, &(struct rlimit){limit, 8 << 20});
		execve("/proc/self/exe", (char *const[]){"quick", argument, NULL}, no_environment);
		_exit(errno == E2BIG ? 77 : 78);
	}
	free(argument);
	waitpid(pid, &status, 0);
	return !WIFEXITED(status) || WEXITSTATUS(status) != 77;
}

/* The strings and a word above them are in the new stack before the old program is gone. */
static void small_stacks(void)
{
	const size_t more = sizeof "/proc/self/exe" + sizeof "quick" + 8 + 1;

	EQUAL("strings of 64 KiB in a stack of 64 KiB", fits(65536 - more, 65536), 1);
	EQUAL("one byte more", fits(65536 - more + 1, 65536), 0);
	EQUAL("a limit within a page", fits(65536 - more - 4096 + 1, 65536 - 1), 0);
	EQUAL("the first page is always there", fits(4096 - more, 0), 1);
	EQUAL("no second", fits(4096 - more + 1, 0), 0);
}

/* A timer's signal that nobody took goes with the timer. */
static void timers(void)
{
	struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1};
	struct itimerspec soon = {.it_value.tv_nsec = 1};
	sigset_t set, pending;
	timer_t timer;
	pid_t pid = fork();
	int status;

	if (!pid) {
		sigemptyset(&set);
		sigaddset(&set, SIGUSR1);
		sigaddset(&set, SIGUSR2);
		sigprocmask(SIG_BLOCK, &set, NULL);
		if (timer_create(CLOCK_MONOTONIC, &event, &timer) || timer_settime(timer, 0, &soon, NULL))
			_exit(2);
		do
			sigpending(&pending);
		while (!sigismember(&pending, SIGUSR1));
		raise(SIGUSR2);
		execve("/proc/self/exe", (char *const[]){"pending", NULL}, no_environment);
		_exit(errno);
	}
	waitpid(pid, &status, 0);
	EQUAL("pending are, of a timer and raised", WEXITSTATUS(status), 0 + 2);
}

static void vforks(void)
{
	volatile int seen = 0;
	pid_t pid = vfork();
	int status;

	if (!pid) {
		seen = 5;
		execve("/proc/self/exe", (char *const[]){"quick", NULL}, no_environment);
		_exit(2);
	}
	EQUAL("vfork shares memory", seen, 5);
	waitpid(pid, &status, 0);
	EQUAL("and execve ends that", WEXITSTATUS(status), 9);
}

static void tidy(void)
{
	static const char *const files[] = {"plain", "text", "empty", "elf", "script1", "script2", "script3", "loop", "run",
					    "twice"};
	unsigned i;

	for (i = 0; i < sizeof files / sizeof *files; i++)
		unlink(in_directory(files[i]));
	rmdir(directory);
}

int main(int argc, char **argv)
{
	if (argc == 1 && argv[0][0] == 0)
		return 23;
	if (!strcmp(argv[0], "quick"))
		return 9;
	if (!strcmp(argv[0], "pending")) {
		sigset_t pending;

		sigpending(&pending);
		return sigismember(&pending, SIGUSR1) + 2 * sigismember(&pending, SIGUSR2);
	}
	if (!strcmp(argv[0], "kept"))
		return check_kept(argv);
	if (argc == 5 && !strcmp(argv[1], "script  with blanks"))
		return strcmp(argv[3], "first") || strcmp(argv[4], "second") || !strstr(argv[2], "/run") ? 1 : 21;
	if (argc == 6 && !strcmp(argv[1], "script  with blanks"))
		return strcmp(argv[4], "first") || !strstr(argv[2], "/run") || !strstr(argv[3], "/twice") ? 1 : 22;
	if (!mkdtemp(directory))
		return 2;
	errors();
	scripts();
	kept();
	small_stacks();
	timers();
	vforks();
	tidy();
	return done();
}
