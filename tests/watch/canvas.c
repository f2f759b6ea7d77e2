/* A screen of 60 by 40 pixels drawn through mmap, then lines from the terminal until one says bye. */
#include <fcntl.h>
#include <linux/fb.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

int main(void)
{
	struct fb_var_screeninfo var;
	struct fb_fix_screeninfo fix;
	char line[256];
	int fd = open("/dev/fb0", O_RDWR);

	ioctl(fd, FBIOGET_VSCREENINFO, &var);
	var.xres = var.xres_virtual = 60, var.yres = var.yres_virtual = 40, var.bits_per_pixel = 32, var.pixclock = 0;
	if (ioctl(fd, FBIOPUT_VSCREENINFO, &var) || ioctl(fd, FBIOGET_FSCREENINFO, &fix))
		return 1;
	uint8_t *pixels = mmap(0, fix.line_length * 40, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	for (int y = 0; y < 40; y++)
		for (int x = 0; x < 60; x++)
			((uint32_t *)(pixels + y * fix.line_length))[x] = 77 << 16 | y << 8 | x;
	printf("on %s <img src=x onerror=document.title='stolen'>\n", ttyname(0));
	while (fgets(line, sizeof line, stdin)) {
		line[strcspn(line, "\n")] = 0;
		if (!strcmp(line, "bye"))
			return 7;
		printf("\033[1mgot\033[0m (%s)\n", line);
		fflush(stdout);
	}
	return 2;
}
