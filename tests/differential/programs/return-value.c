#include "common.h"

int main(int argc, char **argv)
{
	P("%d %s\n", argc, argv[1] ? argv[1] : "none");
	return 300;
}
