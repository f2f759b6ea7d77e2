/* The ioctl interface of /dev/edu (drivers/edu.py): the same from 32- and 64-bit programs. */
#ifndef NOPAGE_EDU_H
#define NOPAGE_EDU_H

#include <stdint.h>
#include <sys/ioctl.h>

/* Interrupts so far, and the bits of irq_status that they brought. */
struct edu_irqs {
	uint32_t count;
	uint32_t bits;
};

/* The identification register. */
#define EDU_ID _IOR('e', 1, uint32_t)
/* A number goes in, its complement comes out. */
#define EDU_LIVENESS _IOWR('e', 2, uint32_t)
/* A number goes in, its factorial comes out (32 bits). */
#define EDU_FACTORIAL _IOWR('e', 3, uint32_t)
/* Have the device interrupt with these bits. */
#define EDU_RAISE _IOW('e', 4, uint32_t)
#define EDU_IRQS _IOR('e', 5, struct edu_irqs)

/* mmap: the registers from offset 0 on, the page that DMA goes through behind them. */
#define EDU_REGISTERS 0x100000

#endif
