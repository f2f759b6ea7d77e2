#include "common.h"

int main(void)
{
	P("before\n");
	__asm__ volatile("int3");
	P("after\n");
	return 0;
}
