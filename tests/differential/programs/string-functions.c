#include "common.h"

int main(void)
{
	char b[100] = "the quick brown fox", *p;
	P("%s %d %d %zu\n", strstr(b, "brown"), strcmp("a", "b") < 0, memcmp("ab", "ac", 2) < 0,
	  strspn(b, "eht "));
	for (p = strtok(b, " "); p; p = strtok(0, " "))
		P("<%s>", p);
	P("\n%ld %lu %lld %g\n", strtol("-0x1fz", &p, 0), strtoul("777", 0, 8),
	  strtoll("99999999999999999999", 0, 10), atof("1e3x"));
	P("%s\n", strerror(ENOENT));
	memmove(b + 2, b, 10);
	P("%.5s %s\n", b, strsignal(SIGSEGV));
	P("%d %ls\n", (int)wcslen(L"wide"), L"wide");
	char *d = strdup("dup");
	d = realloc(d, 1000);
	strcat(d, "licate");
	P("%s %5s|%-5s|%.2s|%c|%%|%05d|%+d|%x|%#o|%*d\n", d, "r", "l", "cut", 'c', 42, 42, 255, 8, 6, 7);
	return 0;
}
