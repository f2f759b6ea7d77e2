#include "common.h"

int main(void)
{
	char t[50] = "";
	FILE *f = popen("echo piped; exit 5", "r");
	P("%s", fgets(t, 50, f));
	P("%d\n", WEXITSTATUS(pclose(f)));
	f = popen("cat; echo end", "w");
	fputs("written\n", f);
	pclose(f);
	P("%d\n", WEXITSTATUS(system("exit 7")));
	int s = system("kill -9 $$");
	P("%d\n", WIFSIGNALED(s) || WEXITSTATUS(s) == 137);
	P("%d\n", system(0) != 0);
	setenv("V", "from c", 1);
	system("echo $V");
	unsetenv("V");
	P("%d\n", getenv("V") == 0);
	return 0;
}
