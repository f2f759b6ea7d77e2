/*
 * mapdo [-a] [-p] [-r] [-s] FILE OFFSET LENGTH [ACTION...]: map a device, then do these things one after another.
 *
 * Maps LENGTH bytes of FILE at OFFSET, shared and writable: -p makes it private, -r read-only, -s opens with O_SYNC, -a
 * maps memory of the program's own in place of the file.
 * Every ACTION prints one line; offsets are from the start of the mapping:
 *
 *   r@OFF          read the byte there             size=LEN       mremap to LEN bytes; it may move
 *   w@OFF=VALUE    store a byte                    unmap@OFF=LEN  munmap this part
 *   fork           a child that ends at once       prot@OFF=LEN   mprotect this part to read-only
 *   maps           the lines of /proc/self/maps that name FILE
 *   read@OFF=LEN   read(2) from FILE into the mapping at OFF; read!ADDRESS=LEN reads to any address
 *   write@OFF=LEN  write(2) to FILE from there       ioctl@OFF=CMD  ioctl(FILE, CMD, address)
 *
 * A fault that nobody answers is caught, and its signal is what the line shows.
 *
 * Exit code: 0; 1 for a mistake in the arguments or a call that failed.
 */
#define _FILE_OFFSET_BITS 64
#define _GNU_SOURCE
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "args.h"

static sigjmp_buf after;
static siginfo_t caught;
static const char *me, *path;
static volatile unsigned char *base;
static size_t length;
static int fd;

static void on_fault(int signo, siginfo_t *info, void *context)
{
	(void)signo;
	(void)context;
	caught = *info;
	siglongjmp(after, 1);
}

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static const char *name_of_fault(void)
{
	if (caught.si_signo == SIGBUS)
		return caught.si_code == BUS_ADRERR ? "SIGBUS (BUS_ADRERR)" : "SIGBUS";
	return caught.si_code == SEGV_MAPERR ? "SIGSEGV (SEGV_MAPERR)" : "SIGSEGV (SEGV_ACCERR)";
}

static void touch(unsigned long long offset, const char *value)
{
	if (sigsetjmp(after, 1)) {
		printf("%s\n", name_of_fault());
		return;
	}
	if (value) {
		base[offset] = number(me, value);
		printf("stored\n");
	} else {
		printf("0x%02x\n", base[offset]);
	}
}

static void resize(size_t wanted)
{
	void *moved = mremap((void *)base, length, wanted, MREMAP_MAYMOVE);

	if (moved == MAP_FAILED) {
		printf("mremap: %s\n", strerror(errno));
		return;
	}
	printf("%s, %zu bytes\n", moved == base ? "in place" : "moved", wanted);
	base = moved;
	length = wanted;
}

static void fork_once(void)
{
	pid_t child;
	int status;

	fflush(stdout);
	child = fork();
	if (child < 0)
		die("fork");
	if (child == 0)
		_exit(0);
	if (waitpid(child, &status, 0) < 0)
		die("waitpid");
	printf("the child has ended\n");
}

static void show_maps(void)
{
	char line[512];
	FILE *maps = fopen("/proc/self/maps", "r");

	if (!maps)
		die("/proc/self/maps");
	printf("\n");
	while (fgets(line, sizeof line, maps))
		if (strstr(line, path))
			fputs(line, stdout);
	fclose(maps);
}

static void transfer(const char *call, unsigned char *address, size_t count)
{
	ssize_t done = *call == 'r'   ? read(fd, address, count)
		       : *call == 'w' ? write(fd, address, count)
				      : ioctl(fd, count, address);

	if (done < 0)
		printf("%s\n", strerror(errno));
	else
		printf("%zd%s\n", done, *call == 'i' ? "" : " bytes");
}

static void result_of(int failed)
{
	printf("%s\n", failed ? strerror(errno) : "done");
}

static void act(char *action)
{
	char *at = strpbrk(action, "@!"), *value = strchr(action, '=');
	int absolute = at && *at == '!';
	unsigned long long offset = 0;

	printf("%s: ", action);
	if (value)
		*value++ = 0;
	if (at) {
		*at++ = 0;
		offset = number(me, at);
	}
	if (!strcmp(action, "r") && at && !value)
		touch(offset, NULL);
	else if (!strcmp(action, "w") && at && value)
		touch(offset, value);
	else if (!strcmp(action, "size") && value)
		resize(number(me, value));
	else if (!strcmp(action, "unmap") && at && value)
		result_of(munmap((void *)(base + offset), number(me, value)));
	else if (!strcmp(action, "prot") && at && value)
		result_of(mprotect((void *)(base + offset), number(me, value), PROT_READ));
	else if ((!strcmp(action, "read") || !strcmp(action, "write") || !strcmp(action, "ioctl")) && at && value)
		transfer(action, absolute ? (unsigned char *)(unsigned long)offset : (unsigned char *)base + offset,
			 number(me, value));
	else if (!strcmp(action, "fork"))
		fork_once();
	else if (!strcmp(action, "maps"))
		show_maps();
	else {
		printf("no such action\n");
		exit(1);
	}
}

int main(int argc, char **argv)
{
	struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO};
	int option, prot = PROT_READ | PROT_WRITE, flags = MAP_SHARED, how = O_RDWR;

	me = argv[0];
	while ((option = getopt(argc, argv, "+aprs")) != -1) {
		if (option == 'a')
			flags |= MAP_ANONYMOUS;
		else if (option == 'p')
			flags = MAP_PRIVATE | (flags & MAP_ANONYMOUS);
		else if (option == 'r')
			prot = PROT_READ, how = (how & ~O_ACCMODE) | O_RDONLY;
		else if (option == 's')
			how |= O_SYNC;
		else
			return 1;
	}
	if (argc - optind < 3) {
		fprintf(stderr, "usage: %s [-a] [-p] [-r] [-s] FILE OFFSET LENGTH [ACTION...]\n", me);
		return 1;
	}
	path = argv[optind];
	length = number(me, argv[optind + 2]);
	fd = open(path, how);
	if (fd < 0)
		die(path);
	base = mmap(NULL, length, prot, flags, flags & MAP_ANONYMOUS ? -1 : fd, number(me, argv[optind + 1]));
	if (base == MAP_FAILED)
		die("mmap");
	sigaction(SIGBUS, &action, NULL);
	sigaction(SIGSEGV, &action, NULL);
	for (option = optind + 3; option < argc; option++)
		act(argv[option]);
	return 0;
}
