#include "common.h"

int main(void)
{
	regex_t r;
	regmatch_t m[3];
	P("%d\n", regcomp(&r, "([a-z]+)=([0-9]{2,})", REG_EXTENDED));
	P("%d %d %d\n", regexec(&r, "xx key=123;", 3, m, 0), (int)m[1].rm_so, (int)m[2].rm_eo);
	P("%d\n", regcomp(&r, "(", REG_EXTENDED) != 0);
	put("a1.c", "");
	put("a2.c", "");
	put("b.h", "");
	glob_t g;
	P("%d", glob("*.[ch]", 0, 0, &g));
	for (size_t i = 0; i < g.gl_pathc; i++)
		P(" %s", g.gl_pathv[i]);
	P("\n%d %d\n", fnmatch("a?.c", "a1.c", 0), fnmatch("*.c", ".c", FNM_PERIOD) != 0);
	return 0;
}
