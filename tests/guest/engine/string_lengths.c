/* PCMPESTRI and PCMPESTRM with lengths at the ends of their range: a line for each of the 256 comparisons. */
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

static const int lengths[] = {INT32_MIN, INT32_MIN + 1, -100000, -17, -16, -9, -8, -1, 0, 1,
			      7, 8, 9, 15, 16, 17, 100000, INT32_MAX};
#define COUNT ((int)(sizeof lengths / sizeof *lengths))

static unsigned char code[4096] __attribute__((aligned(4096)));
static unsigned char texts[32] __attribute__((aligned(16))) = "azAZ09\0abcdefghbcdefghazAZ0909";

static uint64_t mixed(uint64_t hash, uint64_t value)
{
	return (hash ^ value) * 0x100000001b3;
}

static uint64_t compare(int opcode, int how, int a, int d)
{
	unsigned char mask[16];
	unsigned long flags, index = 0;
	uint64_t hash = 0xcbf29ce484222325;

	memcpy(code, (unsigned char[]){0x66, 0x0f, 0x3a, opcode, 0xc1, how, 0xc3}, 7);
	__asm__ volatile("movdqa %4, %%xmm0\n\tmovdqa %5, %%xmm1\n\tcall *%6\n\tpushf\n\tpop %1\n\tmovdqu %%xmm0, %2"
			 : "+c"(index), "=&D"(flags), "=m"(mask), "+a"(a)
			 : "m"(texts), "m"(texts[16]), "S"(code), "d"(d)
			 : "xmm0", "xmm1", "memory", "cc");
	hash = mixed(mixed(hash, index), flags & 0x8d5);
	for (int i = 0; i < 16; i++)
		hash = mixed(hash, mask[i]);
	return hash;
}

int main(void)
{
	mprotect(code, sizeof code, PROT_READ | PROT_WRITE | PROT_EXEC);
	for (int how = 0; how < 256; how++) {
		uint64_t of[2] = {0, 0};

		for (int i = 0; i < COUNT; i++)
			for (int j = 0; j < COUNT; j++)
				for (int k = 0; k < 2; k++)
					of[k] = mixed(of[k], compare(0x60 + k, how, lengths[i], lengths[j]));
		printf("%02x: %llx %llx\n", how, (unsigned long long)of[0], (unsigned long long)of[1]);
	}
	return 0;
}
