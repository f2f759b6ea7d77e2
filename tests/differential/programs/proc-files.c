#include "common.h"

int main(void)
{
	char t[4000] = "", *s;
	int fd = open("/proc/self/status", O_RDONLY);
	read(fd, t, 3999);
	for (s = strtok(t, "\n"); s; s = strtok(0, "\n"))
		if (!strncmp(s, "State", 5) || !strncmp(s, "Threads", 7) || !strncmp(s, "SigIgn", 6) ||
		    !strncmp(s, "Uid", 3) || !strncmp(s, "Umask", 5))
			P("%s\n", s);
	close(fd);
	E(open("/proc/self/none", O_RDONLY));
	E(open("/proc/99999/maps", O_RDONLY));
	E(readlink("/proc/self/fd/0", t, 50));
	fd = open("/proc/self/mem", O_RDWR);
	static int v = 5;
	int w = 77;
	E(pwrite(fd, &w, 4, (long)&v));
	P("%d\n", v);
	E(pread(fd, &w, 4, 8));
	DIR *d = opendir("/proc/self/task");
	int n = 0;
	while (readdir(d))
		n++;
	P("%d\n", n);
	return 0;
}
