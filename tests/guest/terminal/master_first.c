/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What is written to the master before a slave is open waits for it; after the last slave is closed, too. */
#include "pair.h"

int main(void)
{
	unsigned number;
	int unlock = 0;

	master = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_NONBLOCK);
	EQUAL("written while it is locked", (int)write(master, "one\n", 4), 4);
	ioctl(master, TIOCSPTLCK, &unlock);
	ioctl(master, TIOCGPTN, &number);
	EQUAL("written", (int)write(master, "two\n", 4), 4);
	snprintf(slave_name, sizeof slave_name, "/dev/pts/%u", number);
	slave = open(slave_name, O_RDWR | O_NOCTTY | O_NONBLOCK);
	drain("the slave reads", slave);
	drain("the slave reads", slave);
	drain("echoed", master);
	close(slave);
	drain("no slave", master);
	EQUAL("written afterwards", (int)write(master, "three\n", 6), 6);
	return done();
}
