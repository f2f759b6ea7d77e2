/* A pseudo terminal pair, and showing what comes out of either side. */
#include "check.h"
#include <ctype.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>

static int master, slave;
static char slave_name[64];

static void open_pair(void)
{
	unsigned number = 0;
	int unlock = 0;

	master = open("/dev/ptmx", O_RDWR | O_NOCTTY);
	if (master < 0 || ioctl(master, TIOCSPTLCK, &unlock) || ioctl(master, TIOCGPTN, &number)) {
		perror("pty");
		exit(9);
	}
	snprintf(slave_name, sizeof slave_name, "/dev/pts/%u", number);
	slave = open(slave_name, O_RDWR | O_NOCTTY);
}

static void show(const char *what, const char *data, long count)
{
	printf("%s", what);
	if (count < 0)
		printf(" %s", strerror(errno));
	for (long i = 0; i < count; i++)
		if (isprint((unsigned char)data[i]))
			putchar(data[i]);
		else
			printf("\\%03o", (unsigned char)data[i]);
	printf("\n");
	fflush(stdout);
}

/* poll(2).  The host's terminals work in the background, and finish when somebody asks. */
static int ready(int fd)
{
	struct pollfd ask = {fd, POLLIN | POLLOUT | POLLPRI, 0};

	poll(&ask, 1, 0);
	return ask.revents;
}

/* All that can be read now. */
static void drain(const char *what, int fd)
{
	static char data[9000];
	long done = 0, count = 0;
	int flags = fcntl(fd, F_GETFL);

	ready(slave);
	ready(master);
	fcntl(fd, F_SETFL, flags | O_NONBLOCK);
	for (int quiet = 0; quiet < 5;) {
		count = read(fd, data + done, sizeof data - done);
		if (count > 0)
			done += count, quiet = 0;
		else if (count == 0 || errno != EAGAIN)
			break;
		else
			quiet++, usleep(2000);
	}
	fcntl(fd, F_SETFL, flags);
	show(what, data, done ? done : count);
}

static void type(const char *text)
{
	if (write(master, text, strlen(text)) != (long)strlen(text))
		perror("type");
	ready(slave);
}

static void set(unsigned iflag, unsigned oflag, unsigned lflag)
{
	struct termios settings;

	tcgetattr(slave, &settings);
	settings.c_iflag = iflag;
	settings.c_oflag = oflag;
	settings.c_lflag = lflag;
	tcsetattr(slave, TCSANOW, &settings);
}
