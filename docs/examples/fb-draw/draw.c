/* draw: a red cross on blue, as large as the screen of /dev/fb0 is. */
#include <fcntl.h>
#include <linux/fb.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

int main(void)
{
	struct fb_var_screeninfo var;
	struct fb_fix_screeninfo fix;
	uint8_t *screen;
	uint32_t x, y;
	int fd = open("/dev/fb0", O_RDWR);

	if (fd < 0 || ioctl(fd, FBIOGET_VSCREENINFO, &var) || ioctl(fd, FBIOGET_FSCREENINFO, &fix))
		return perror("draw: /dev/fb0"), 1;
	if (var.bits_per_pixel != 32)
		return fprintf(stderr, "draw: %u bits a pixel, it can only do 32\n", var.bits_per_pixel), 1;
	screen = mmap(NULL, fix.line_length * var.yres, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (screen == MAP_FAILED)
		return perror("draw: mmap"), 1;
	for (y = 0; y < var.yres; y++) {
		uint32_t *line = (uint32_t *)(screen + y * fix.line_length);
		for (x = 0; x < var.xres; x++) {
			int red = x / 8 == var.xres / 16 || y / 8 == var.yres / 16;
			line[x] = red ? 0xffu << var.red.offset : 0x80u << var.blue.offset;
		}
	}
	printf("%ux%u\n", var.xres, var.yres);
	return 0;
}
