#include "common.h"

int main(void)
{
	volatile double x = 2, y = 3, z = 0;
	P("%.17g %.17g %.17g %.17g\n", sqrt(x), sin(y), pow(x, 0.3), exp(-y));
	P("%g %g %g %d\n", x / z, -x / z, z / z, isnan(z / z));
	P("%a %.20Lg %La\n", 1.0 / y, 1.0L / 3, sqrtl(2));
	P("%d %lld %u\n", (int)-2.7, (long long)1e15, (unsigned)3e9);
	P("%.3f %e %g %s\n", 1234.5678, 1e-300 * 1e-20, 1e21, 0.1 + 0.2 == 0.3 ? "eq" : "ne");
	float f = 16777216.0f;
	f += 1;
	P("%.1f %g %g\n", f, strtod("0x1.8p3", 0), nextafter(1, 2) - 1);
	P("%ld %g %g\n", lrint(2.5), fmod(-7, 3), hypot(3, 4));
	return 0;
}
