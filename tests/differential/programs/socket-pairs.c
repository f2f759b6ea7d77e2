#include "common.h"

int main(void)
{
	int s[2];
	char t[9] = "";
	E(socketpair(AF_UNIX, SOCK_STREAM, 0, s));
	E(send(s[0], "stream", 6, 0));
	E(recv(s[1], t, 3, 0));
	E(recv(s[1], t, 9, MSG_DONTWAIT));
	E(recv(s[1], t, 9, MSG_DONTWAIT));
	E(shutdown(s[0], SHUT_WR));
	E(recv(s[1], t, 9, 0));
	E(send(s[0], "x", 1, MSG_NOSIGNAL));
	E(socketpair(AF_UNIX, SOCK_DGRAM, 0, s));
	send(s[0], "one", 3, 0);
	send(s[0], "two!", 4, 0);
	E(recv(s[1], t, 2, 0));
	E(recv(s[1], t, 9, 0));
	E(socket(AF_UNIX, 99, 0));
	E(send(99, "x", 1, 0));
	E(send(0, "x", 1, 0));
	return 0;
}
