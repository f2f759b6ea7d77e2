/* x87 and SSE as a new program finds them: control words, and every x87 register empty. */
#include "check.h"

int main(void)
{
	unsigned environment[7], mxcsr;
	static unsigned char area[512] __attribute__((aligned(16)));

	__asm__ volatile("fnstenv %0" : "=m"(environment));
	__asm__ volatile("fldenv %0" : : "m"(environment));
	__asm__ volatile("fxsave %0" : "=m"(area));
	__asm__ volatile("stmxcsr %0" : "=m"(mxcsr));
	EQUAL("control", environment[0] & 0xffff, 0x37f);
	EQUAL("status", environment[1] & 0xffff, 0);
	EQUAL("tags", environment[2] & 0xffff, 0xffff);
	EQUAL("tags of FXSAVE", area[4], 0);
	EQUAL("MXCSR", mxcsr, 0x1f80);
	return done();
}
