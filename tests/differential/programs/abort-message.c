#include "common.h"

int main(void)
{
	P("before\n");
	signal(SIGABRT, SIG_IGN);
	abort();
	return 0;
}
