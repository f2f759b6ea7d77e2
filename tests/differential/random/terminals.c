/* SPDX-License-Identifier: GPL-2.0-or-later */
/* terminals SEED COUNT: random settings of a pseudo terminal, random bytes into both of its ends, what comes out.  What goes
   in is handed on by the kernel a moment later: `settle` waits for that. */
#define _GNU_SOURCE
#include "random.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

static int master, slave;

static const unsigned input_flags[] = { IGNBRK, BRKINT, IGNPAR, PARMRK, INPCK, ISTRIP, INLCR, IGNCR, ICRNL, IUCLC, IXON, IXANY, IXOFF,
					IMAXBEL, IUTF8 };
static const unsigned output_flags[] = { OPOST, OLCUC, ONLCR, OCRNL, ONOCR, ONLRET, OFILL, XTABS };
static const unsigned local_flags[] = { ISIG, ICANON, ECHO, ECHOE, ECHOK, ECHONL, NOFLSH, TOSTOP, ECHOCTL, ECHOPRT, ECHOKE, IEXTEN,
					EXTPROC };
static const unsigned char bytes[] = { 'a', 'b', 'C', ' ', '\n', '\r', '\t', 4, 3, 8, 127, 21, 23, 22, 18, 17, 19, 15, 26, 28, 0, 255, 0xc3,
				       0xa9, 0xe2, 0x82, 0xac, 'z', 1, 27, '_', '\n', 'q', '\b' };

static void settle(void)
{
	struct pollfd both[2] = { { master, POLLIN, 0 }, { slave, POLLIN, 0 } };

	usleep(1500);
	poll(both, 2, 0);
	usleep(500);
}

static void show(const unsigned char *data, long count)
{
	for (long n = 0; n < count && n < 300; n++)
		printf(data[n] > 32 && data[n] < 127 && data[n] != '\\' ? "%c" : "\\%02x", data[n]);
	if (count > 300)
		printf("... %u", sum(data, count));
}

static int make(char *text, int count)
{
	int same = below(12) ? 0 : 1 + below(3);

	for (int n = 0; n < count; n++)
		text[n] = same ? (same == 1 ? 'x' : bytes[n % 7]) : below(3) ? (int)ONE_OF(bytes) : 'a' + (int)below(26);
	/* A signal's character throws away what is on its way, and of much something may be gone already. */
	for (int n = 0; n < count; n++)
		if (count > 12 && (text[n] == 3 || text[n] == 26 || text[n] == 28))
			text[n] = '-';
	return count;
}

static unsigned some(unsigned flags, const unsigned *known, unsigned count)
{
	for (unsigned n = 0; n < count; n++)
		if (!below(6))
			flags ^= known[n];
	return flags;
}

#define SOME(flags, known) some(flags, known, sizeof known / sizeof *known)

static long settings(int fd)
{
	static const int ways[] = { TCSANOW, TCSANOW, TCSADRAIN, TCSAFLUSH, 9 };
	static const int places[] = { VERASE, VKILL, VEOF, VSTART, VSTOP, VEOL, VREPRINT, VDISCARD, VWERASE, VLNEXT,
				      VEOL2, VSWTC };
	struct termios t;

	if (tcgetattr(fd, &t))
		return -1;
	if (!below(4)) {
		t.c_iflag = ICRNL | IXON;
		t.c_oflag = OPOST | ONLCR;
		t.c_lflag = ISIG | ICANON | ECHO | ECHOE | ECHOK | ECHOCTL | ECHOKE | IEXTEN;
	} else {
		t.c_iflag = SOME(t.c_iflag, input_flags);
		t.c_oflag = SOME(t.c_oflag, output_flags);
		t.c_lflag = SOME(t.c_lflag, local_flags);
	}
	if (!below(3))
		t.c_cc[ONE_OF(places)] = below(3) ? ONE_OF(bytes) : 0;
	t.c_cc[VMIN] = below(2) ? 1 : below(2) ? 0 : below(8);
	t.c_cc[VTIME] = 0;
	return tcsetattr(fd, ONE_OF(ways), &t);
}

static long got(int fd)
{
	static const int sizes[] = { 0, 1, 2, 3, 5, 10, 64, 100, 4000, 8000 };
	static unsigned char text[8200];
	long result = read(fd, text, ONE_OF(sizes));

	if (result > 0)
		show(text, result);
	return result;
}

static long put(int fd)
{
	static char text[400];
	int count = make(text, below(30) ? below(below(4) ? 12 : 80) : 300);

	show((unsigned char *)text, count < 100 ? count : 10);
	return write(fd, text, count);
}

static long number(int fd, unsigned long request)
{
	int value = -7;
	long result = ioctl(fd, request, &value);

	if (!result)
		printf("%d", value);
	return result;
}

static long asked(int fd)
{
	struct termios t;
	struct pollfd each = { fd, POLLIN | POLLOUT | POLLPRI, 0 };
	struct winsize size = { 0, 0, 0, 0 };
	long result;

	switch (below(8)) {
	case 0:
		return number(fd, FIONREAD);
	case 1:
		return number(fd, TIOCOUTQ);
	case 2:
		poll(&each, 1, 0);
		return each.revents;
	case 3:
		result = tcgetattr(fd, &t);
		printf("%o %o %o %o %u", (unsigned)t.c_iflag, (unsigned)t.c_oflag, (unsigned)t.c_cflag, (unsigned)t.c_lflag, sum(t.c_cc, 19));
		return result;
	case 4:
		return number(fd, TIOCGPKT);
	case 5:
		result = ioctl(fd, TIOCGWINSZ, &size);
		printf("%d %d", size.ws_row, size.ws_col);
		return result;
	case 6:
		return number(fd, TIOCGETD);
	default:
		return number(fd, TIOCGEXCL);
	}
}

static long control(int fd)
{
	static const int queues[] = { TCIFLUSH, TCOFLUSH, TCIOFLUSH, 9 };
	static const int flows[] = { TCOOFF, TCOON, TCIOFF, TCION, TCOON, TCOON, 9 };
	int value = below(2);
	struct winsize size = { below(3), below(3), 0, 0 };

	switch (below(6)) {
	case 0: case 1:
		return tcflush(fd, ONE_OF(queues));
	case 2:
		return tcflow(fd, ONE_OF(flows));
	case 3:
		return ioctl(fd, TIOCPKT, &value);
	case 4:
		return ioctl(fd, TIOCSWINSZ, &size);
	default:
		return ioctl(fd, below(2) ? TIOCCBRK : TIOCSBRK);
	}
}

static long one(int call)
{
	int fd = below(2) ? master : slave;

	switch (call) {
	case 0: case 1: case 2:
		return put(master);
	case 3:
		return put(slave);
	case 4: case 5:
		return got(slave);
	case 6:
		return got(master);
	case 7:
		return settings(fd);
	case 8:
		return control(fd);
	default:
		return asked(fd);
	}
}

static int opened(void)
{
	int unlock = 0;
	char name[40];

	master = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_NONBLOCK);
	if (master < 0 || ioctl(master, TIOCSPTLCK, &unlock) || ptsname_r(master, name, sizeof name))
		return -1;
	slave = open(name, O_RDWR | O_NOCTTY | O_NONBLOCK);
	return slave;
}

int main(int argc, char **argv)
{
	int count = argc > 2 ? atoi(argv[2]) : 1000;

	seed(argc > 1 ? argv[1] : "1");
	for (int n = 0; n < count; n++) {
		int call = below(11);
		long result;

		if (n % 200 == 0) {
			if (n)
				close(master), close(slave);
			if (opened() < 0)
				return perror("ptmx"), 1;
		}
		printf("%d ", call);
		errno = 0;
		result = one(call);
		printf(" = %s\n", came(result));
		settle();
	}
	return fflush(stdout) != 0;
}
