/* Standard input and output that are regular files: positions, O_APPEND, descriptors that are opened again.  The tests
 * run it on files of their own (tests/unit/test_hostregular.py); what it finds out is on standard error. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

static char bytes[64];

static void say(const char *what, long result)
{
	fprintf(stderr, "%s %ld %s\n", what, result, result < 0 ? strerror(errno) : "");
}

static void show(const char *what, long count)
{
	fprintf(stderr, "%s %ld %.*s\n", what, count, count > 0 ? (int)count : 0, bytes);
}

static void where(void)
{
	fprintf(stderr, "at %ld %ld\n", (long)lseek(0, 0, SEEK_CUR), (long)lseek(1, 0, SEEK_CUR));
}

static void positions(void)
{
	char *page = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	mprotect(page + 4096, 4096, PROT_NONE);
	show("pread", pread(0, bytes, 5, lseek(0, 0, SEEK_CUR)));
	show("pread again", pread(0, bytes, 5, 0));
	where();
	show("read", read(0, bytes, 3));
	say("three of eight", read(0, page + 4093, 8));
	where();
	say("pwrite", pwrite(1, "XYZ", 3, lseek(1, 0, SEEK_CUR)));
	say("write", write(1, "abcdef", 6));
	say("pwrite", pwrite(1, "Q", 1, 4));
	where();
}

static void appending(void)
{
	struct iovec one = { "12", 2 };
	int before = fcntl(1, F_GETFL);
	say("to the start", lseek(1, 0, SEEK_SET));
	say("the other way", fcntl(1, F_SETFL, before ^ O_APPEND));
	say("write", write(1, "abcdef", 6));
	say("pwrite", pwrite(1, "###", 3, 1));
	where();
	say("as before", fcntl(1, F_SETFL, before));
	say("to the start", lseek(1, 0, SEEK_SET));
	say("RWF_APPEND", pwritev2(1, &one, 1, -1, RWF_APPEND));
	where();
	say("write", write(1, "!", 1));
}

static void copying(void)
{
	off_t from = 1;
	loff_t in = 2, out = 7;
	int ends[2];
	say("sendfile", sendfile(1, 0, &from, 4));
	say("sendfile", sendfile(1, 0, NULL, 4));
	say("from", from);
	say("copy_file_range", copy_file_range(0, &in, 1, &out, 3, 0));
	say("copy_file_range", copy_file_range(0, NULL, 1, NULL, 3, 0));
	where();
	pipe(ends);
	say("splice", splice(0, &in, ends[1], NULL, 3, 0));
	say("splice", splice(0, NULL, ends[1], NULL, 3, 0));
	say("splice", splice(ends[0], NULL, 1, &out, 2, 0));
	say("splice", splice(ends[0], NULL, 1, NULL, 2, 0));
	where();
}

static void again(void)
{
	int in, out;
	say("read", read(0, bytes, 5));
	show("from its start", read(in = open("/dev/stdin", O_RDONLY), bytes, 5));
	say("write", write(1, "abcdef", 6));
	say("at its start", write(out = open("/dev/stdout", O_WRONLY), "@@", 2));
	where();
	say("its own position", lseek(in, 0, SEEK_CUR));
	say("its end", lseek(in, -3, SEEK_END));
	say("its hole", lseek(in, 1, SEEK_HOLE));
	say("no position", lseek(in, -100, SEEK_CUR));
	show("the end", read(in, bytes, 5));
	where();
	close(in);
	close(out);
	if (!fork()) {
		show("the child", read(0, bytes, 3));
		say("moves both", write(1, "child", 5));
		_exit(0);
	}
	wait(NULL);
	where();
	say("truncated", out = open("/dev/stdout", O_WRONLY | O_TRUNC));
	say("behind the hole", write(1, "end", 3));
}

int main(int argc, char **argv)
{
	void (*parts[])(void) = { positions, appending, copying, again };
	parts[argc > 1 ? argv[1][0] - '0' : 0]();
	return 0;
}
