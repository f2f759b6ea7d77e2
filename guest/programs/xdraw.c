/*
 * xdraw: drive the graphics adapter through /dev/mem, as the X server of LDD3 §15.2 does.
 *
 * Finds the video ROM and checks its signature and sum, maps the four windows of the book, sets 640x480 through the
 * adapter's registers, draws a picture into the frame buffer, has the 2D engine fill and copy, and waits for a vertical
 * blank.  Prints what it found and the lines of its /proc/self/maps that name /dev/mem.
 *
 * Exit code: 0; 1 when a call failed, or there is no such adapter.
 */
#define _FILE_OFFSET_BITS 64
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define WIDTH 640
#define HEIGHT 480

/* The adapter's registers (machine/hardware/cards/display_regs.py), as indices of 32-bit words. */
enum { ID = 0, CONTROL = 4, MODE_WIDTH, MODE_HEIGHT, DEPTH, STRIDE, START, STATUS = 12, FRAME = 15 };
enum { DST = 0x40, DST_STRIDE, SRC, SRC_STRIDE, PIXEL, COLOR, DST_XY = 0x48, SRC_XY, EXTENT, COMMAND = 0x4e };
enum { BUSY = 1, MODE_OK = 4, FILL = 1, COPY = 2 };

static int mem;

static void *window(unsigned long address, unsigned long length, int prot, int flags, off_t offset)
{
	void *got = mmap((void *)address, length, prot, MAP_SHARED | flags, mem, offset);

	if (got == MAP_FAILED) {
		perror("mmap");
		exit(1);
	}
	return got;
}

/* The option ROM's header: 55 aa, its length in 512 bytes; all of its bytes sum up to 0. */
static void check_video_rom(void)
{
	const unsigned char *rom = window(0, 0x10000, PROT_READ, 0, 0xc0000);
	unsigned length = rom[2] * 512, sum = 0, i;

	for (i = 0; i < length; i++)
		sum += rom[i];
	if (rom[0] != 0x55 || rom[1] != 0xaa)
		printf("video ROM: none\n");
	else
		printf("video ROM: %u bytes, checksum %s\n", length, sum % 256 ? "wrong" : "right");
	munmap((void *)rom, 0x10000);
}

static void set_mode(volatile uint32_t *regs)
{
	regs[CONTROL] = 0;
	regs[MODE_WIDTH] = WIDTH;
	regs[MODE_HEIGHT] = HEIGHT;
	regs[DEPTH] = 32;
	regs[STRIDE] = 4 * WIDTH;
	regs[START] = 0;
	regs[CONTROL] = 1;
	if (!(regs[STATUS] & MODE_OK)) {
		fprintf(stderr, "xdraw: the adapter does not show %dx%d\n", WIDTH, HEIGHT);
		exit(1);
	}
}

/* Hills below an evening sky with a sun, by stores into the frame buffer. */
static void draw(uint32_t *pixels)
{
	int x, y;

	for (y = 0; y < HEIGHT; y++)
		for (x = 0; x < WIDTH; x++) {
			int dx = x - 440, dy = y - 150, far = dx * dx + dy * dy;
			int hill = 330 + (x - 320) * (x - 320) / 1200 - (x % 160) * (160 - x % 160) / 300;
			uint32_t colour = (40 + y / 3) << 16 | (60 + y / 5) << 8 | (160 - y / 4);

			if (far < 60 * 60)
				colour = 0xffd860;
			else if (far < 90 * 90)
				colour += (90 - far / 90) << 16 & 0x3f0000;
			if (y > hill)
				colour = (30 + (y - hill) / 8) << 8 | 24;
			pixels[y * WIDTH + x] = colour;
		}
}

static void engine(volatile uint32_t *regs, int command, int x, int y, int width, int height, uint32_t color)
{
	while (regs[STATUS] & BUSY)
		;
	regs[COLOR] = color;
	regs[DST_XY] = y << 16 | x;
	regs[EXTENT] = height << 16 | width;
	regs[COMMAND] = command;
}

/* A house by the 2D engine, and two copies of it. */
static void build(volatile uint32_t *regs)
{
	int row;

	regs[DST] = regs[SRC] = 0;
	regs[DST_STRIDE] = regs[SRC_STRIDE] = 4 * WIDTH;
	regs[PIXEL] = 4;
	engine(regs, FILL, 270, 380, 80, 60, 0xc8b090);
	for (row = 0; row < 40; row += 2)
		engine(regs, FILL, 310 - row - row / 8, 340 + row, 2 * (row + row / 8) + 2, 2, 0x903020);
	engine(regs, FILL, 300, 405, 18, 35, 0x402810);
	engine(regs, FILL, 280, 395, 14, 14, 0xffff90);
	engine(regs, FILL, 326, 395, 14, 14, 0xffff90);
	for (row = 0; row < 2; row++) {
		while (regs[STATUS] & BUSY)
			;
		regs[SRC_XY] = 340 << 16 | 264;
		engine(regs, COPY, row ? 470 : 60, row ? 360 : 375, 92, 100, 0);
	}
	while (regs[STATUS] & BUSY)
		;
}

static void show_maps(void)
{
	char line[512];
	FILE *maps = fopen("/proc/self/maps", "r");

	if (!maps) {
		perror("/proc/self/maps");
		exit(1);
	}
	while (fgets(line, sizeof line, maps))
		if (strstr(line, "/dev/mem"))
			fputs(line, stdout);
	fclose(maps);
}

int main(void)
{
	volatile uint32_t *regs;
	volatile uint16_t *text;
	const unsigned char *bios;
	uint32_t *pixels, frame;

	mem = open("/dev/mem", O_RDWR);
	if (mem < 0) {
		perror("/dev/mem");
		return 1;
	}
	check_video_rom();
	text = window(0xa0000, 0x20000, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_FIXED, 0xa0000);
	bios = window(0xf0000, 0x10000, PROT_READ | PROT_EXEC, MAP_FIXED, 0xf0000);
#ifdef __x86_64__
	regs = window(0x2a95828000, 0x80000, PROT_READ | PROT_WRITE, 0, 0xfcc00000);
	pixels = window(0x2a958a8000, 0x8000000, PROT_READ | PROT_WRITE, 0, 0xe8000000);
#else
	regs = window(0, 0x80000, PROT_READ | PROT_WRITE, 0, 0xfcc00000);
	pixels = window(0, 0x8000000, PROT_READ | PROT_WRITE, 0, 0xe8000000);
#endif
	printf("system ROM: %s at ffff0\n", bios[0xfff0] == 0xea || bios[0xfff0] == 0xe9 ? "a jump" : "no jump");
	if (regs[ID] != 0x67706f6e) {
		fprintf(stderr, "xdraw: no adapter at 0xfcc00000\n");
		return 1;
	}
	text[0x18000 / 2] = 0x0700 | 'X';
	set_mode(regs);
	draw(pixels);
	build(regs);
	for (frame = regs[FRAME]; regs[FRAME] == frame;)
		;
	printf("%dx%d, 32 bits a pixel, picture %u\n", WIDTH, HEIGHT, regs[FRAME]);
	show_maps();
	return 0;
}
