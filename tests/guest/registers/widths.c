/* Accesses of every width and kind to a register block at 0xfe000000, compiled at -O2: prints what it read. */
#define _FILE_OFFSET_BITS 64
#include <emmintrin.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

struct card {
	volatile uint8_t bytes[8];	/* 0x00 */
	volatile uint16_t halves[4];	/* 0x08 */
	volatile uint32_t words[4];	/* 0x10 */
	volatile uint64_t longs[2];	/* 0x20 */
	volatile uint32_t flags;	/* 0x30 */
};

extern char here[] asm("here");

int main(void)
{
	int fd = open("/dev/mem", O_RDWR | O_SYNC);
	char *base = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0xfe000000);
	struct card *card = (struct card *)base;
	static uint32_t source[4] = {1, 2, 3, 4}, copy[4];
	void *to, *from;
	unsigned long count;
	uint64_t wide;

	if (base == MAP_FAILED)
		return perror("mmap"), 1;
	/* every width, each way */
	card->bytes[1] = 0x81;
	card->halves[1] = 0x8182;
	card->words[1] = 0x81828384;
	printf("%x %x %x\n", card->bytes[1], card->halves[1], card->words[1]);
	/* 64 bits: one access on x86-64, two of 32 for an i386 compiler, one again by SSE */
	card->longs[0] = 0x8182838485868788;
	wide = card->longs[0];
	printf("%llx\n", (unsigned long long)wide);
	asm volatile("movq %1, %0" : "=m"(card->longs[1]) : "x"(_mm_set_epi32(0, 0, 0x11121314, 0x15161718)));
	_mm_storeu_si128((__m128i *)(base + 0x10), _mm_set_epi32(4, 3, 2, 1));
	/* read-modify-write */
	card->flags |= 4;
	card->flags++;
	asm volatile("lock; orl %1, %0" : "+m"(card->flags) : "r"(0x100));
	printf("%x %x\n", __sync_fetch_and_add(&card->flags, 0x10), card->flags);
	/* string instructions */
	to = base + 0x10, from = source, count = 4;
	asm volatile("rep; movsl" : "+D"(to), "+S"(from), "+c"(count) : : "memory");
	to = copy, from = base + 0x10, count = 4;
	asm volatile("rep; movsl" : "+D"(to), "+S"(from), "+c"(count) : : "memory");
	printf("%u %u %u %u\n", copy[0], copy[1], copy[2], copy[3]);
	to = base, count = 3;
	asm volatile("rep; stosb" : "+D"(to), "+c"(count) : "a"(0x5a) : "memory");
	to = base + 8, count = 2;
	asm volatile("rep; stosw" : "+D"(to), "+c"(count) : "a"(0x5b5c) : "memory");
	/* unaligned, over-wide, outside */
	*(volatile uint16_t *)(base + 1) = 0xaabb;
	*(volatile uint32_t *)(base + 0x12) = 0xccddeeff;
	printf("%x\n", *(volatile uint32_t *)(base + 4));
	printf("%x\n", *(volatile uint32_t *)(base + 0x800));
	/* where each access comes from */
	asm volatile(".globl here\nhere: movl %1, %0" : "=m"(card->flags) : "r"(7));
	printf("%lx\n", (unsigned long)here);
	return 0;
}
