/* Locked settings are left as they are by whoever sets all. */
#include "pair.h"

static void state(int fd)
{
	struct termios now;

	tcgetattr(fd, &now);
	printf("echo %s, icanon %s, opost %s, intr %s, quit %s\n", now.c_lflag & ECHO ? "kept" : "gone",
	       now.c_lflag & ICANON ? "kept" : "gone", now.c_oflag & OPOST ? "kept" : "gone",
	       now.c_cc[VINTR] == 3 ? "kept" : "changed", now.c_cc[VQUIT] == 28 ? "kept" : "changed");
}

int main(void)
{
	struct termios locked, other;

	open_pair();
	memset(&locked, 0, sizeof locked);
	locked.c_lflag = ECHO;
	locked.c_cc[VINTR] = 1;
	if (ioctl(slave, TIOCSLCKTRMIOS, &locked)) {
		printf("lock: %s\n", strerror(errno));
		return 0;
	}
	tcgetattr(slave, &other);
	other.c_lflag &= ~(ECHO | ICANON);
	other.c_oflag &= ~OPOST;
	other.c_cc[VINTR] = 'i';
	other.c_cc[VQUIT] = 'q';
	tcsetattr(master, TCSANOW, &other);
	state(slave);
	memset(&locked, 0, sizeof locked);
	ioctl(master, TIOCSLCKTRMIOS, &locked);
	tcsetattr(slave, TCSANOW, &other);
	state(slave);
	memset(&locked, 0xff, sizeof locked);
	ioctl(slave, TIOCSLCKTRMIOS, &locked);
	memset(&locked, 0, sizeof locked);
	ioctl(slave, TIOCGLCKTRMIOS, &locked);
	printf("%x %x %x %x %d\n", locked.c_iflag, locked.c_oflag, locked.c_cflag, locked.c_lflag, locked.c_cc[VEOF]);
	return 0;
}
