/* Record locks of four owners on the same bytes, at random: split, shrunk, merged, refused, and which one is in the way. */
#define _GNU_SOURCE
#include "common.h"
#include <stdint.h>
#ifndef F_OFD_GETLK
#define F_OFD_GETLK 36
#define F_OFD_SETLK 37
#endif

static uint64_t state = 20261121;

static unsigned pick(unsigned below)
{
	state = state * 6364136223846793005u + 1442695040888963407u;
	return (state >> 33) % below;
}

int main(void)
{
	static const short kinds[] = {F_RDLCK, F_WRLCK, F_RDLCK, F_WRLCK, F_UNLCK};
	int fds[4];

	for (int i = 0; i < 4; i++)
		fds[i] = open("k", O_RDWR | O_CREAT, 0600);
	for (int i = 0; i < 4000; i++) {
		int owner = pick(4), bytes = pick(10) ? 12 : 60, ofd = owner > 0;
		struct flock l = {.l_type = kinds[pick(5)], .l_start = pick(64), .l_len = pick(bytes)};
		int result, get = l.l_type != F_UNLCK && pick(4) == 0;

		if (pick(400) == 0) { /* all locks of an owner go, and it is the last in the list next time */
			close(fds[owner]);
			fds[owner] = open("k", O_RDWR | O_CREAT, 0600);
		}
		if (l.l_len == 0 && pick(8))
			l.l_len = 1;
		if (get)
			result = fcntl(fds[owner], ofd ? F_OFD_GETLK : F_GETLK, &l);
		else
			result = fcntl(fds[owner], ofd ? F_OFD_SETLK : F_SETLK, &l);
		P("%d: %d %d %d: %d %d, %d %d %d %s\n", i, owner, (int)l.l_start, get, result, result ? errno : 0, l.l_type,
		  (int)l.l_start, (int)l.l_len, l.l_pid > 0 ? "pid" : l.l_pid < 0 ? "file" : "-");
	}
	return 0;
}
