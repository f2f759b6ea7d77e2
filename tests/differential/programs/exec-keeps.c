#include "common.h"

int main(void)
{
	char *const v[] =
	    {"sh", "-c",
	     "echo $A $0; ls -l /proc/self/fd/7 >/dev/null 2>&1 || echo closed; ls -l /proc/self/fd/8 > "
	     "/dev/null && echo open; trap; kill -USR1 $$; echo ignored; umask",
	     0},
		    *e[] = {"A=env", "PATH=/bin", 0};
	put("f", "");
	int fd = open("f", O_RDONLY);
	dup3(fd, 7, O_CLOEXEC);
	dup2(fd, 8);
	signal(SIGUSR1, SIG_IGN);
	signal(SIGUSR2, exit);
	umask(055);
	E(execve("/bin/sh", v, e));
	return 0;
}
