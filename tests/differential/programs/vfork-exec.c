#include "common.h"

int main(void)
{
	int s;
	pid_t p = vfork();
	if (!p) {
		execl("/bin/sh", "sh", "-c", "echo from exec; exit 6", (char *)0);
		_exit(1);
	}
	waitpid(p, &s, 0);
	status_of(s);
	if (!vfork()) {
		execl("/none", "none", (char *)0);
		_exit(errno);
	}
	wait(&s);
	status_of(s);
	E(execl(".", ".", (char *)0));
	put("noexec", "x");
	E(execl("noexec", "n", (char *)0));
	chmod("noexec", 0755);
	E(execl("noexec", "n", (char *)0));
	return 0;
}
