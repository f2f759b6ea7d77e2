/* A store of 16 bytes that crosses into a read-only page: nothing is written. */
#include "check.h"

int main(void)
{
	char *p = anonymous(2);

	catch_faults();
	memset(p, 'o', 2 * PAGE);
	mprotect(p + PAGE, PAGE, PROT_READ);
	if (!CATCH()) {
		__asm__ volatile("pxor %%xmm0, %%xmm0; movups %%xmm0, (%0)" : : "r"(p + PAGE - 8) : "memory", "xmm0");
		fault_signal = 0;
	}
	CHECK("a store of 16 bytes", fault_signal == SIGSEGV && all_are(p, 'o', 2 * PAGE));
	return done();
}
