/*
 * lsmod: the loaded drivers, from /proc/modules: name, size in bytes, and how many open files use it (those that only a mapping
 * still holds count).
 *
 * Exit code: 0; 1 when /proc/modules can't be read.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

int main(void)
{
	char line[512], name[64], others[256];
	FILE *modules = fopen("/proc/modules", "r");
	unsigned long size;
	int uses;

	if (!modules) {
		fprintf(stderr, "lsmod: /proc/modules: %s\n", strerror(errno));
		return 1;
	}
	puts("Module                  Size  Used by");
	while (fgets(line, sizeof line, modules)) {
		if (sscanf(line, "%63s %lu %d %255s", name, &size, &uses, others) != 4)
			continue;
		printf("%-19s %8lu  %d", name, size, uses);
		if (strcmp(others, "-"))
			printf(" %.*s", (int)strcspn(others, "\n") - 1, others); /* the list ends with a comma */
		putchar('\n');
	}
	fclose(modules);
	return 0;
}
