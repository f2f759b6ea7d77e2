/* hello [NAME...]: the smallest thing to run; greets, and says what it runs on.  Exit code: 0. */
#include <stdio.h>
#include <sys/utsname.h>

int main(int argc, char **argv)
{
	struct utsname name;
	int i;

	if (uname(&name) < 0) {
		perror("uname");
		return 1;
	}
	printf("hello");
	for (i = 1; i < argc; i++)
		printf(", %s", argv[i]);
	printf(": %s %s, a program of %zu bits\n", name.sysname, name.release, 8 * sizeof(void *));
	return 0;
}
