/*
 * dmesg [-c | -C] [-r]: show the kernel's log.
 *
 * -c shows it and clears it, -C only clears it, -r shows the level of each line as the kernel has it: <4>[    0.000123] text.
 *
 * Exit code: 0; 1 when the kernel refuses (clearing is root's).
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/klog.h>
#include <unistd.h>

enum { READ_ALL = 3, READ_CLEAR = 4, CLEAR = 5, SIZE_BUFFER = 10 };

static int fail(void)
{
	fprintf(stderr, "dmesg: %s\n", errno == EPERM ? "only root may clear the log" : strerror(errno));
	return 1;
}

int main(int argc, char **argv)
{
	int option, raw = 0, action = READ_ALL, size, length;
	char *text, *line, *end;

	while ((option = getopt(argc, argv, "cCr")) != -1) {
		switch (option) {
		case 'c': action = READ_CLEAR; break;
		case 'C': action = CLEAR; break;
		case 'r': raw = 1; break;
		default:
			fprintf(stderr, "usage: dmesg [-c | -C] [-r]\n");
			return 1;
		}
	}
	if (action == CLEAR)
		return klogctl(CLEAR, NULL, 0) < 0 ? fail() : 0;
	size = klogctl(SIZE_BUFFER, NULL, 0);
	if (size < 0)
		return fail();
	size *= 2; /* the size is that of the texts; each line has its level and time in front */
	text = malloc(size + 1);
	if (!text)
		abort();
	length = klogctl(action, text, size);
	if (length < 0)
		return fail();
	text[length] = 0;
	for (line = text; *line; line = end) {
		end = line + strcspn(line, "\n");
		end += *end == '\n';
		if (!raw && line[0] == '<' && line[1] && line[2] == '>')
			line += 3;
		fwrite(line, 1, end - line, stdout);
	}
	return fflush(stdout) ? 1 : 0;
}
