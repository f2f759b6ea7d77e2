#include "common.h"

int main(void)
{
	P("before\n");
	__builtin_trap();
	return 0;
}
