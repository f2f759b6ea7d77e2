/* Sets a mode of /dev/fb0 and draws one picture a step of the command line: painting WIDTH HEIGHT BITS STEPS PAUSE_MS */
#include "scullp.h"
#include <linux/fb.h>
#include <stdint.h>
#include <sys/mman.h>
#include <time.h>

int main(int argc, char **argv)
{
	int width = atoi(argv[1]), height = atoi(argv[2]), bits = atoi(argv[3]), pause = atoi(argv[argc - 1]);
	struct timespec while_ = {pause / 1000, pause % 1000 * 1000000L};
	struct fb_var_screeninfo var;
	struct fb_fix_screeninfo fix;
	int fd = must_open("/dev/fb0", O_RDWR);

	ioctl(fd, FBIOGET_VSCREENINFO, &var);
	var.xres = var.xres_virtual = width, var.yres = var.yres_virtual = height, var.bits_per_pixel = bits, var.pixclock = 0;
	EQUAL("mode", ioctl(fd, FBIOPUT_VSCREENINFO, &var), 0);
	ioctl(fd, FBIOGET_FSCREENINFO, &fix);
	unsigned char *pixels = mmap(0, fix.line_length * height, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	CHECK("mapped", pixels != MAP_FAILED);
	for (int step = 0; step < atoi(argv[4]); step++) {
		for (int y = 0; y < height; y++)
			for (int x = 0; x < width; x++) {
				unsigned char *at = pixels + y * fix.line_length + x * (bits / 8);
				uint32_t value = bits == 16 ? (uint32_t)(x + y * width) : (uint32_t)(step << 16 | y << 8 | x);

				memcpy(at, &value, bits / 8);
			}
		printf("step %d\n", step);
		fflush(stdout);
		nanosleep(&while_, 0);
	}
	return done();
}
