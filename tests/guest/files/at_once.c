/* read and write of small pieces: those that are answered at once, and each thing that makes them wait or fail. */
#include "check.h"

#include <fcntl.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

enum { ROUNDS = 200 };

static char *map(int protection)
{
	return mmap(NULL, 3 * PAGE, protection, ANON, -1, 0);
}

static void pipes(void)
{
	int p[2];
	char in[600], out[600], *memory = map(RW), *closed = map(PROT_READ);
	long sum = 0;

	EQUAL("pipe", pipe(p), 0);
	memset(in, 0, sizeof in);
	for (int n = 0; n < ROUNDS; n++) {
		memset(out, n, sizeof out);
		if (write(p[1], out, 512) != 512 || read(p[0], in, sizeof in) != 512)
			break;
		sum += in[511] & 255;
	}
	EQUAL("all of them", sum, ROUNDS * (ROUNDS - 1) / 2);

	memset(memory, 'a', 2 * PAGE);
	EQUAL("across a page", write(p[1], memory + PAGE - 100, 300), 300);
	EQUAL("merged", write(p[1], "xyz", 3), 3);
	EQUAL("across a page, out", read(p[0], memory + 2 * PAGE - 50, 100), 100);
	EQUAL("the rest", read(p[0], in, sizeof in), 203);
	EQUAL("contents", in[199] == 'a' && !memcmp(in + 200, "xyz", 3), 1);
	EQUAL("a whole page", write(p[1], memory, PAGE), PAGE);
	EQUAL("and more", write(p[1], memory, 100), 100);
	EQUAL("two slots at once", read(p[0], memory, PAGE + 50), PAGE + 50);
	EQUAL("what is left", read(p[0], in, sizeof in), 50);

	EQUAL("nothing in", write(p[1], out, 0), 0);
	EQUAL("nothing out", read(p[0], in, 0), 0);
	ERRNO("from nowhere", write(p[1], (void *)8, 10), EFAULT);
	EQUAL("something", write(p[1], "something", 9), 9);
	ERRNO("to nowhere", read(p[0], (void *)8, 9), EFAULT);
	ERRNO("to memory that is only read", read(p[0], closed + 10, 9), EFAULT);
	EQUAL("it stayed", read(p[0], in, sizeof in), 9);
	EQUAL("into a fresh page", write(p[1], "fresh", 5), 5);
	EQUAL("into a fresh page", read(p[0], map(RW), 9), 5);
	ERRNO("the wrong end", write(p[0], out, 1), EBADF);
	ERRNO("the other", read(p[1], in, 1), EBADF);
	ERRNO("a position", lseek(p[0], 0, SEEK_CUR), ESPIPE);

	fcntl(p[0], F_SETFL, O_NONBLOCK);
	fcntl(p[1], F_SETFL, O_NONBLOCK);
	ERRNO("empty", read(p[0], in, 1), EAGAIN);
	long full = 0, more;
	while ((more = write(p[1], out, 512)) > 0)
		full += more;
	EQUAL("full", full, 65536);
	ERRNO("still full", write(p[1], out, 1), EAGAIN);
	EQUAL("room", read(p[0], memory, PAGE), PAGE);
	EQUAL("one more", write(p[1], out, 600), 600);
	close(p[0]);
	signal(SIGPIPE, SIG_IGN);
	ERRNO("nobody reads", write(p[1], out, 1), EPIPE);
	close(p[1]);

	EQUAL("packets", pipe2(p, O_DIRECT), 0);
	EQUAL("first", write(p[1], "first", 5), 5);
	EQUAL("second", write(p[1], "second", 6), 6);
	EQUAL("half of one", read(p[0], in, 3), 3);
	EQUAL("the other", read(p[0], in, sizeof in), 6);
	close(p[1]);
	EQUAL("the end", read(p[0], in, sizeof in), 0);
	close(p[0]);
}

static void two_processes(void)
{
	int there[2], back[2];
	int32_t number = 1;

	EQUAL("two pipes", pipe(there) | pipe(back), 0);
	pid_t child = fork();
	if (!child) {
		close(there[1]);
		while (read(there[0], &number, sizeof number) == sizeof number) {
			number += 2;
			write(back[1], &number, sizeof number);
		}
		_exit(7);
	}
	for (int n = 0; n < ROUNDS; n++)
		if (write(there[1], &number, 4) != 4 || read(back[0], &number, 4) != 4)
			break;
	EQUAL("there and back", number, 1 + 2 * ROUNDS);
	close(there[1]);
	int status = 0;
	EQUAL("the child", waitpid(child, &status, 0), child);
	EQUAL("its end", WEXITSTATUS(status), 7);
	close(there[0]), close(back[0]), close(back[1]);
}

static void counters(void)
{
	int event = eventfd(0, EFD_NONBLOCK);
	uint64_t value = 3, most = UINT64_MAX - 1;

	ERRNO("zero", read(event, &value, 8), EAGAIN);
	EQUAL("three", write(event, &value, 8), 8);
	EQUAL("and three", write(event, &value, 8), 8);
	ERRNO("too short", read(event, &value, 7), EINVAL);
	ERRNO("too short a write", write(event, &value, 7), EINVAL);
	EQUAL("a long buffer", read(event, (uint64_t[2]){ 0 }, 16), 8);
	EQUAL("most", write(event, &most, 8), 8);
	ERRNO("no room", write(event, &value, 8), EAGAIN);
	ERRNO("to nowhere", read(event, (void *)8, 8), EFAULT);
	ERRNO("it is gone", read(event, &value, 8), EAGAIN);
	EQUAL("it has no position", lseek(event, 0, SEEK_CUR), 0);
	close(event);

	event = eventfd(2, EFD_SEMAPHORE | EFD_NONBLOCK);
	EQUAL("one", read(event, &value, 8) + (int)value, 9);
	EQUAL("two", read(event, &value, 8) + (int)value, 9);
	ERRNO("no third", read(event, &value, 8), EAGAIN);
	close(event);
}

static void files(void)
{
	char name[] = "/tmp/at_once.XXXXXX", in[300], *memory = map(RW);
	int file = mkstemp(name), second = dup(file);

	for (int n = 0; n < 1000; n++)
		write(file, "0123456789", 10);
	lseek(file, 0, SEEK_SET);
	EQUAL("first", read(file, in, 15), 15);
	EQUAL("second", read(second, in, 10), 10);
	EQUAL("where", lseek(file, 0, SEEK_CUR), 25);
	EQUAL("what", memcmp(in, "5678901234", 10), 0);
	memory[0] = memory[PAGE] = 1;
	EQUAL("across pages", read(file, memory + PAGE - 1000, PAGE), PAGE);
	EQUAL("what", memcmp(memory + PAGE - 1000, "5678901234", 10), 0);
	lseek(file, -12, SEEK_END);
	EQUAL("the last", read(file, in, sizeof in), 12);
	EQUAL("the end", read(file, in, sizeof in), 0);
	lseek(file, 5, SEEK_SET);
	ERRNO("to nowhere", read(file, (void *)8, 9), EFAULT);
	EQUAL("where it was", lseek(file, 0, SEEK_CUR), 5);
	close(second);
	second = open(name, O_WRONLY);
	ERRNO("only written", read(second, in, 1), EBADF);
	unlink(name);
	close(file), close(second);
	ERRNO("closed", read(file, in, 1), EBADF);
	ERRNO("a directory", read(open("/", O_RDONLY), in, 1), EISDIR);
}

/* Of all bytes of the file, with their places. */
static unsigned long sum_of(int file)
{
	static unsigned char all[8 * PAGE];
	long size = pread(file, all, sizeof all, 0);
	unsigned long sum = size;

	for (long n = 0; n < size; n++)
		sum = sum * 31 + all[n];
	return sum & 0xffffff;
}

static void written(void)
{
	char name[] = "/tmp/at_once.XXXXXX", in[300], *memory = map(RW);
	int file = mkstemp(name), end = open(name, O_WRONLY | O_APPEND), reader = open(name, O_RDONLY);
	struct stat before, after;
	struct rlimit limit;

	for (int n = 0; n < 3 * PAGE; n++)
		memory[n % (3 * PAGE)] = n * 7;
	EQUAL("the first page", write(file, memory, PAGE), PAGE);
	fstat(file, &before);
	usleep(20000);
	EQUAL("over a part of it", pwrite(file, "over", 4, 1000), 4);
	fstat(file, &after);
	EQUAL("its time", after.st_mtim.tv_sec > before.st_mtim.tv_sec ||
			  after.st_mtim.tv_nsec > before.st_mtim.tv_nsec, 1);
	EQUAL("the position", lseek(file, 0, SEEK_CUR), PAGE);
	EQUAL("a byte more", write(file, "m", 1), 1);
	for (int n = 0; n < ROUNDS; n++)
		write(file, memory + n, 3);
	EQUAL("where", lseek(file, 0, SEEK_CUR), PAGE + 1 + 3 * ROUNDS);
	EQUAL("nothing at the end", write(end, in, 0), 0);
	EQUAL("where that was", lseek(end, 0, SEEK_CUR), 0);
	EQUAL("at the end", write(end, "end", 3), 3);
	EQUAL("where that was", lseek(end, 0, SEEK_CUR), PAGE + 4 + 3 * ROUNDS);
	EQUAL("the other follows not", lseek(file, 0, SEEK_CUR), PAGE + 1 + 3 * ROUNDS);
	EQUAL("pwrite appends too", pwrite(end, "END", 3, 7), 3);
	EQUAL("without moving", lseek(end, 0, SEEK_CUR), PAGE + 4 + 3 * ROUNDS);
	EQUAL("across two pages", pwrite(file, memory, 300, 2 * PAGE - 100), 300);
	EQUAL("behind a hole in a page", pwrite(file, "x", 1, 2 * PAGE + 900), 1);
	EQUAL("from two pages", pwrite(file, memory + PAGE - 50, 100, 2 * PAGE + 1000), 100);
	EQUAL("some", pread(reader, in, 8, PAGE + 1 + 3 * ROUNDS), 8);
	EQUAL("what", memcmp(in, "endEND\0", 8), 0);
	EQUAL("it did not move", lseek(reader, 0, SEEK_CUR), 0);
	EQUAL("nothing behind the end", pread(reader, in, 8, 9 * PAGE), 0);
	EQUAL("nothing to write, which grows nothing", pwrite(file, in, 0, 9 * PAGE), 0);
	EQUAL("all of it", sum_of(reader), 10827209);

	char *shared = mmap(NULL, PAGE, RW, MAP_SHARED, file, 0);
	EQUAL("seen in a mapping", pwrite(file, "seen", 4, 200) == 4 && !memcmp(shared + 200, "seen", 4), 1);
	EQUAL("from the mapping to itself", pwrite(file, shared + 200, 100, 250), 100);
	EQUAL("the same", memcmp(shared + 200, shared + 250, 4), 0);
	ERRNO("a place before the start", pwrite(file, in, 1, -1), EINVAL);
	ERRNO("and to read", pread(file, in, 1, -1), EINVAL);
	ERRNO("from nowhere", pwrite(file, (void *)8, 9, 0), EFAULT);
	ERRNO("to nowhere", pread(file, (void *)8, 9, 0), EFAULT);
	ERRNO("only read", write(reader, in, 1), EBADF);
	ERRNO("only read, with a place", pwrite(reader, in, 1, 0), EBADF);
	ERRNO("only written", pread(end, in, 1, 0), EBADF);

	signal(SIGXFSZ, SIG_IGN);
	getrlimit(RLIMIT_FSIZE, &limit);
	rlim_t most = limit.rlim_cur;
	limit.rlim_cur = 1500;
	setrlimit(RLIMIT_FSIZE, &limit);
	EQUAL("up to the limit", pwrite(file, memory, 100, 1400), 100);
	EQUAL("to the limit", pwrite(file, memory, 100, 1450), 50);
	ERRNO("at the limit", pwrite(file, memory, 100, 1500), EFBIG);
	limit.rlim_cur = most;
	setrlimit(RLIMIT_FSIZE, &limit);

	EQUAL("cut", ftruncate(file, 100), 0);
	EQUAL("behind what was cut", pwrite(file, "z", 1, 300), 1);
	EQUAL("zeros between", pread(file, in, 200, 100) + in[0] + in[199], 200);
	unlink(name);
	close(file), close(end), close(reader);
}

int main(void)
{
	pipes();
	two_processes();
	counters();
	files();
	written();
	return done();
}
