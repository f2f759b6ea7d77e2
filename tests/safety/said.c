/* said HOW: names with terminal escapes and forged lines in them, and a death; or keys pushed into the terminal. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define MAPPED "/tmp/\033[2J\342\200\256\240m\nnopage: forged\nnopage (pid"

static void write_file(const char *name, const char *text)
{
	int fd = open(name, O_WRONLY | O_CREAT, 0600);

	if (write(fd, text, strlen(text)) < 0)
		perror(name);
	close(fd);
}

int main(int argc, char **argv)
{
	const char *how = argc > 1 ? argv[1] : "";

	if (!strcmp(how, "comm")) {
		prctl(PR_SET_NAME, "\033]0;x\007\nnopage");
		mkdir("/var/\033[2J\n", 0700);
		write_file("/dev/kmsg", "\033[31mred\nnopage: forged\n");
		write_file(MAPPED, "text");
		if (*(volatile char *)mmap(0, 4096, PROT_READ, MAP_SHARED, open(MAPPED, O_RDONLY), 0) != 't')
			return 9;
		raise(6);
	}
	if (!strcmp(how, "core")) { /* names for the core: up, absolute, a file that is there */
		prctl(PR_SET_NAME, argv[2]);
		write_file("/proc/sys/kernel/core_pattern", argv[3]);
		*(volatile int *)8 = 1;
	}
	if (!strcmp(how, "cores")) {
		for (int i = 0; i < 40; i++) {
			if (!fork())
				*(volatile int *)8 = 1;
			wait(0);
		}
	}
	if (!strcmp(how, "sparse")) {
		write_file("/var/sparse", "at the start");
		truncate("/var/sparse", 1L << 42);
		write_file("/var/setuid", "#!/bin/sh\n");
		chmod("/var/setuid", 06755);
		symlink("/etc/passwd", "/var/link");
		mknod("/var/disk", S_IFBLK | 0600, 8 << 8);
	}
	if (!strcmp(how, "push"))
		for (const char *p = "touch /tmp/owned\n"; *p; p++)
			if (ioctl(0, TIOCSTI, p) == 0)
				return 9;
	if (!strcmp(how, "flood"))
		for (;;)
			write(1, "more and more\n", 14);
	if (!strcmp(how, "calls"))
		for (int i = 0; i < 20000; i++)
			getppid();
	puts("end");
	return 0;
}
