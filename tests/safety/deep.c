/* deep DIR COUNT LENGTH: directories in one another, with names of so many letters; the top one gets another name. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	char name[256] = "";
	int made = 0;

	memset(name, 'd', atoi(argv[3]));
	if (chdir(argv[1]))
		return 2;
	while (made < atoi(argv[2]) && !mkdir(name, 0700) && !chdir(name))
		made++;
	if (chdir("/") || chdir(argv[1]) || rename(name, "top"))
		return 3;
	printf("%d\n", made);
	return 0;
}
