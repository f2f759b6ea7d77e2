#include "common.h"

int main(void)
{
	struct utsname u;
	E(uname(&u));
	P("%s %s %s\n", u.sysname, u.nodename, u.domainname);
	P("%ld %ld %ld\n", sysconf(_SC_PAGESIZE), sysconf(_SC_CLK_TCK), sysconf(_SC_OPEN_MAX));
	P("%d\n", gethostname(u.nodename, 3));
	E(getpagesize());
	struct statfs f;
	E(statfs("/proc", &f));
	P("%lx\n", (long)f.f_type);
	E(statfs("none", &f));
	E(syscall(9999));
	E(getppid() > 0);
	struct passwd *p = getpwuid(0);
	P("%s %s\n", p->pw_name, p->pw_dir);
	return 0;
}
