#include "common.h"

int main(void)
{
	put("f", "x");
	char v[20] = "";
	E(getxattr("none", "user.a", v, 20));
	E(listxattr("none", v, 20));
	E(getxattr("f", "nodot", v, 20));
	E(setxattr("none", "user.a", "v", 1, 0));
	E(fgetxattr(99, "user.a", v, 20));
	E(getxattr((char *)8, "user.a", v, 20));
	return 0;
}
