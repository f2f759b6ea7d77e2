#include "common.h"

int main(void)
{
	time_t t = 1700000000;
	struct tm *m = gmtime(&t);
	char b[80];
	strftime(b, 80, "%F %T %a %j %U %p", m);
	P("%s %d\n", b, m->tm_yday);
	m->tm_mon += 20;
	P("%lld\n", (long long)timegm(m));
	setenv("TZ", "EST5EDT", 1);
	tzset();
	localtime_r(&t, m);
	P("%d %d %s", m->tm_hour, m->tm_isdst, asctime(m));
	P("%s\n", strptime("2024-02-30 10:11", "%Y-%m-%d %H:%M", m) ? "parsed" : "no");
	P("%.0f\n", difftime(t, 0));
	return 0;
}
