/* The ioctl interface of /dev/iomap0 and its neighbours (drivers/iomap.py): the same bytes from 32- and 64-bit programs. */
#ifndef NOPAGE_IOMAP_H
#define NOPAGE_IOMAP_H

#include <stdint.h>
#include <sys/ioctl.h>

/* A range of physical addresses, in bytes. */
struct iomap_area {
	uint64_t base;
	uint64_t size;
};

/* Where the device is: size 0 when it is nowhere. */
#define IOMAP_GET _IOR('x', 1, struct iomap_area)
/* Put it there. */
#define IOMAP_SET _IOW('x', 2, struct iomap_area)
/* Give the range back. */
#define IOMAP_CLEAR _IO('x', 3)

#endif
