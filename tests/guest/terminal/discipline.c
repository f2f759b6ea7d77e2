/* The line discipline: editing, echo, output processing, raw mode, sizes, packet mode. */
#include "pair.h"

#define USUAL (ISIG | ICANON | ECHO | ECHOE | ECHOK | ECHOCTL | ECHOKE | IEXTEN)

static void line(const char *keys)
{
	printf("-- ");
	show("", keys, strlen(keys));
	type(keys);
	drain("echo ", master);
	drain("read ", slave);
}

static void lines(void)
{
	static const char *keys[] = {
		"one\n", "ab\177c\n", "word two\027three\n", "kill\025new\n", "a\tb\177\177\177c\n", "\026\003x\n", "x\001\177y\n",
		"re\022do\n", "\004", "part\004", "one\ntwo\nthree\n", "cr\r", "high\303\251\177x\n", "  x y  \027\027z\n", "\177\027\025\n",
		"tab\t\tx\025y\n", "\033[A\n", "\000a\n", "long word_2-x\027\n", "stop\023me\021\n",
	};

	for (unsigned i = 0; i < sizeof keys / sizeof *keys; i++)
		line(keys[i]);
}

static void modes(void)
{
	set(ICRNL | IXON, OPOST | ONLCR, USUAL);
	lines();
	puts("== utf-8");
	set(ICRNL | IXON | IUTF8, OPOST | ONLCR, USUAL);
	lines();
	puts("== no echo of erasing");
	set(ICRNL, OPOST | ONLCR, ICANON | ECHO | IEXTEN);
	lines();
	puts("== ECHOPRT, ECHOK");
	set(ICRNL, OPOST | ONLCR, ICANON | ECHO | ECHOPRT | ECHOE | ECHOK | ECHOCTL | IEXTEN);
	lines();
	puts("== ECHONL");
	set(ICRNL | INLCR | IXON | IXANY, OPOST | ONLCR, ICANON | ECHONL);
	lines();
	puts("== old ways");
	set(IGNCR | ISTRIP | IUCLC, OPOST | OLCUC | OCRNL | ONOCR | XTABS, ICANON | ECHO | ECHOE | IEXTEN);
	lines();
	line("UPPER lower\n");
	puts("== raw");
	set(0, 0, 0);
	lines();
	set(ICRNL, OPOST | ONLCR, USUAL);
}

static void output(void)
{
	static const unsigned flags[] = {OPOST | ONLCR, 0, OPOST, OPOST | XTABS, OPOST | OCRNL, OPOST | ONOCR, OPOST | ONLRET | XTABS};

	for (unsigned i = 0; i < sizeof flags / sizeof *flags; i++) {
		set(ICRNL, flags[i], USUAL);
		if (write(slave, "a\tb\nc\rd\be\n\r\rAb\033[1m\t|\n", 22) != 22)
			perror("write");
		drain("output ", master);
	}
	set(ICRNL | IXON, OPOST | ONLCR, USUAL);
}

static void minimum(void)
{
	struct termios settings;
	char data[100];

	tcgetattr(slave, &settings);
	settings.c_lflag = 0;
	settings.c_iflag = 0;
	for (int i = 0; i < 4; i++) {
		settings.c_cc[VMIN] = i & 1 ? 3 : 0;
		settings.c_cc[VTIME] = i & 2 ? 1 : 0;
		tcsetattr(slave, TCSANOW, &settings);
		if (!(i & 1))
			show("nothing ", data, read(slave, data, sizeof data));
		type("abcd");
		show("some ", data, read(slave, data, 2));
		show("rest ", data, i == 1 ? 0 : read(slave, data, sizeof data));
		printf("poll %x\n", ready(slave));
		drain("left ", slave);
	}
	type("raw to canonical");
	set(ICRNL, OPOST | ONLCR, USUAL);
	drain("kept ", slave);
	type("two\nhalf");
	set(0, 0, 0);
	drain("kept ", slave);
	set(ICRNL | IXON, OPOST | ONLCR, USUAL);
	drain("echo ", master);
}

static void sizes(void)
{
	struct winsize size = {31, 97, 1, 2};
	int count = -1;

	ERRNO("size of the master", ioctl(master, TIOCSWINSZ, &size), 0);
	memset(&size, 0, sizeof size);
	ERRNO("size of the slave", ioctl(slave, TIOCGWINSZ, &size), 0);
	EQUAL("rows", size.ws_row, 31);
	EQUAL("columns", size.ws_col, 97);
	EQUAL("pixels", size.ws_xpixel + size.ws_ypixel, 3);
	type("abc\nde");
	usleep(20000); /* the host's terminal works in the background */
	ERRNO("FIONREAD", ioctl(slave, FIONREAD, &count), 0);
	EQUAL("a line", count, 4);
	ERRNO("FIONREAD of the master", ioctl(master, FIONREAD, &count), 0);
	EQUAL("its echo", count, 7);
	ERRNO("TCFLSH", tcflush(slave, TCIFLUSH), 0);
	ioctl(slave, FIONREAD, &count);
	EQUAL("nothing", count, 0);
	drain("echo ", master);
	EQUAL("is a terminal", isatty(slave) && isatty(master), 1);
	ERRNO("seek", lseek(slave, 0, SEEK_SET), ESPIPE);
	ERRNO("a wrong ioctl", ioctl(slave, 0x5499, &count), ENOTTY);
	ERRNO("TIOCGPTN of a slave", ioctl(slave, TIOCGPTN, &count), ENOTTY);
	ERRNO("a wrong TCFLSH", ioctl(slave, TCFLSH, 7), EINVAL);
	ERRNO("TIOCSETD", ioctl(slave, TIOCSETD, &(int){29}), EINVAL);
	ERRNO("TCGETS to nowhere", ioctl(slave, TCGETS, 8), EFAULT);
}

static void packets(void)
{
	int on = 1;
	char data[100];

	ERRNO("TIOCPKT", ioctl(master, TIOCPKT, &on), 0);
	if (write(slave, "data\n", 5) != 5)
		perror("write");
	show("packet ", data, read(master, data, sizeof data));
	tcflush(slave, TCIFLUSH);
	printf("poll %x\n", ready(master));
	show("flushed ", data, read(master, data, sizeof data));
	set(ICRNL, OPOST | ONLCR, USUAL);
	show("no stop ", data, read(master, data, sizeof data));
	on = 0;
	ioctl(master, TIOCPKT, &on);
	set(ICRNL | IXON, OPOST | ONLCR, USUAL);
}

static void too_long(void)
{
	char *much = malloc(6000);
	int count;

	memset(much, 'x', 6000);
	set(ICRNL, OPOST | ONLCR, ICANON);
	for (int i = 0; i < 6000; i += 500)
		if (write(master, much, 500) != 500)
			perror("write");
	printf("poll %x\n", ready(slave));
	type("\n");
	usleep(20000);
	ioctl(slave, FIONREAD, &count);
	printf("a line of %d\n", count);
	printf("read %ld\n", (long)read(slave, much, 6000));
	set(ICRNL | IXON, OPOST | ONLCR, USUAL);
	free(much);
}

int main(void)
{
	setvbuf(stdout, NULL, _IONBF, 0);
	open_pair();
	modes();
	output();
	minimum();
	sizes();
	packets();
	too_long();
	return done();
}
