/* /dev/fb0 as programs use it, one part a word of the command line. */
#include "scullp.h"
#include <linux/fb.h>
#include <stdint.h>
#include <sys/mman.h>

static int fd;
static struct fb_var_screeninfo var;
static struct fb_fix_screeninfo fix;

static void get(void)
{
	EQUAL("FSCREENINFO", ioctl(fd, FBIOGET_FSCREENINFO, &fix), 0);
	EQUAL("VSCREENINFO", ioctl(fd, FBIOGET_VSCREENINFO, &var), 0);
}

static int put(int xres, int yres, int xvirtual, int yvirtual, int bits)
{
	var.xres = xres, var.yres = yres, var.xres_virtual = xvirtual, var.yres_virtual = yvirtual;
	var.bits_per_pixel = bits, var.xoffset = var.yoffset = var.activate = 0, var.pixclock = 0;
	return ioctl(fd, FBIOPUT_VSCREENINFO, &var);
}

static void info(void)
{
	get();
	CHECK("id", !strcmp(fix.id, "nopage display"));
	EQUAL("memory", fix.smem_start, 0xe8000000ul);
	EQUAL("64 MiB", fix.smem_len, 64 << 20);
	EQUAL("registers", fix.mmio_start, 0xfcc00000ul);
	EQUAL("64 KiB", fix.mmio_len, 0x10000);
	EQUAL("type", fix.type, FB_TYPE_PACKED_PIXELS);
	EQUAL("visual", fix.visual, FB_VISUAL_TRUECOLOR);
	EQUAL("line", fix.line_length, 4096);
	EQUAL("steps", fix.xpanstep + fix.ypanstep + fix.ywrapstep, 2);
	CHECK("mode", var.xres == 1024 && var.yres == 768 && var.xres_virtual == 1024 && var.bits_per_pixel == 32);
	CHECK("layout", var.red.offset == 16 && var.green.offset == 8 && !var.blue.offset && var.transp.length == 8);
	ERRNO("no such command", ioctl(fd, 0x46ff, &var), ENOTTY);
	ERRNO("bad address", ioctl(fd, FBIOGET_VSCREENINFO, 8), EFAULT);
	ERRNO("bad address", ioctl(fd, FBIOGET_FSCREENINFO, 8), EFAULT);
	ERRNO("bad address", ioctl(fd, FBIOPUT_VSCREENINFO, 8), EFAULT);
	ERRNO("no second one", open("/dev/fb1", O_RDWR), ENOENT);
}

static void mode(void)
{
	get();
	EQUAL("set", put(640, 480, 0, 960, 13), 0);
	CHECK("rounded", var.xres_virtual == 640 && var.bits_per_pixel == 16 && var.green.length == 6 && !var.transp.length);
	get();
	EQUAL("line", fix.line_length, 1280);
	EQUAL("virtual", var.yres_virtual, 960);
	var.xres = 320, var.activate = FB_ACTIVATE_TEST;
	EQUAL("a test", ioctl(fd, FBIOPUT_VSCREENINFO, &var), 0);
	get();
	EQUAL("changes nothing", var.xres, 640);
	ERRNO("too large", put(8192, 8192, 0, 0, 32), EINVAL);
	ERRNO("empty", put(0, 480, 0, 0, 32), EINVAL);
	ERRNO("too deep", put(640, 480, 0, 0, 33), EINVAL);
	var.activate = 1;
	ERRNO("at the next open", ioctl(fd, FBIOPUT_VSCREENINFO, &var), EINVAL);
	get();
	CHECK("as it was", var.xres == 640 && var.bits_per_pixel == 16);
	var.xoffset = 0, var.yoffset = 100;
	EQUAL("pan", ioctl(fd, FBIOPAN_DISPLAY, &var), 0);
	get();
	EQUAL("panned", var.yoffset, 100);
	var.yoffset = 481;
	ERRNO("too far", ioctl(fd, FBIOPAN_DISPLAY, &var), EINVAL);
	EQUAL("blank", ioctl(fd, FBIOBLANK, 4), 0);
	EQUAL("unblank", ioctl(fd, FBIOBLANK, 0), 0);
}

static void readwrite(void)
{
	char in[64];

	get();
	EQUAL("write", pwrite(fd, "some pixels", 11, 4096), 11);
	EQUAL("read", pread(fd, in, 11, 4096), 11);
	CHECK("the same", !memcmp(in, "some pixels", 11));
	EQUAL("end", lseek(fd, fix.smem_len - 4, SEEK_SET), fix.smem_len - 4);
	EQUAL("what fits", write(fd, in, 11), 4);
	ERRNO("nothing fits", write(fd, in, 1), ENOSPC);
	EQUAL("end of file", read(fd, in, 1), 0);
	lseek(fd, fix.smem_len + 1, SEEK_SET);
	ERRNO("beyond", write(fd, in, 1), EFBIG);
	EQUAL("beyond", read(fd, in, 1), 0);
	ERRNO("bad address", pread(fd, (void *)8, 1, 0), EFAULT);
	ERRNO("bad address", pwrite(fd, (void *)8, 1, 0), EFAULT);
}

static void cmap(void)
{
	uint16_t red[256] = {0xffff, 0x1200}, green[256] = {0, 0x3400}, blue[256] = {0, 0x5600}, none[256];
	struct fb_cmap map = {4, 2, red, green, blue, NULL};

	get();
	EQUAL("palette", put(4, 1, 0, 0, 8), 0);
	get();
	EQUAL("visual", fix.visual, FB_VISUAL_PSEUDOCOLOR);
	EQUAL("put", ioctl(fd, FBIOPUTCMAP, &map), 0);
	memset(red, 0, 512), memset(green, 0, 512), memset(blue, 0, 512), memset(none, 1, 512);
	map.start = 3, map.len = 4, map.transp = none;
	EQUAL("get", ioctl(fd, FBIOGETCMAP, &map), 0);
	CHECK("red", red[0] == 0x303 && red[1] == 0xffff && red[2] == 0x1200 && red[3] == 0x606);
	CHECK("others", green[2] == 0x3400 && blue[2] == 0x5600 && !none[0] && none[4] == 0x101);
	map.start = 255, map.len = 2;
	ERRNO("too many", ioctl(fd, FBIOGETCMAP, &map), EINVAL);
	map.start = 0, map.red = (void *)8;
	ERRNO("bad address", ioctl(fd, FBIOPUTCMAP, &map), EFAULT);
	pwrite(fd, "\x03\x04\x05\x06", 4, 0);
}

static void draw(void)
{
	get();
	EQUAL("set", put(64, 48, 64, 96, 32), 0);
	get();
	uint32_t *pixels = mmap(NULL, fix.smem_len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	volatile uint32_t *regs = mmap(NULL, fix.mmio_len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, fix.smem_len);
	CHECK("mapped", pixels != MAP_FAILED && regs != MAP_FAILED);
	CHECK("registers", regs[0] == 0x67706f6e && regs[5] == 64);
	ERRNO("past the registers", (long)mmap(NULL, 0x11000, 1, MAP_SHARED, fd, fix.smem_len), EINVAL);
	ERRNO("over the end", (long)mmap(NULL, 8192, 1, MAP_SHARED, fd, fix.smem_len - 4096), EINVAL);
	for (int y = 0; y < 96; y++)
		for (int x = 0; x < 64; x++)
			pixels[y * 64 + x] = x << 16 | y << 8 | (x ^ y);
	var.yoffset = 40;
	EQUAL("pan", ioctl(fd, FBIOPAN_DISPLAY, &var), 0);
	/* a rectangle by the 2D engine, at what is now 10, 5 of the screen */
	regs[0x100 / 4] = 0, regs[0x104 / 4] = fix.line_length, regs[0x110 / 4] = 4, regs[0x114 / 4] = 0xffffff;
	regs[0x120 / 4] = 45 << 16 | 10, regs[0x128 / 4] = 4 << 16 | 20, regs[0x138 / 4] = 1;
	while (regs[0x30 / 4] & 1)
		;
	EQUAL("seen in memory", pixels[45 * 64 + 10], 0xffffff);
	var.accel_flags = FB_ACCELF_TEXT, var.activate = FB_ACTIVATE_NOW;
	EQUAL("the driver's own engine", ioctl(fd, FBIOPUT_VSCREENINFO, &var), 0);
	ERRNO("then no registers", (long)mmap(NULL, 4096, 1, MAP_SHARED, fd, fix.smem_len), EINVAL);
}

static void vsync(void)
{
	struct fb_vblank before, after;
	uint32_t zero = 0, one = 1;

	EQUAL("vblank", ioctl(fd, FBIOGET_VBLANK, &before), 0);
	for (int i = 0; i < 3; i++)
		EQUAL("vsync", ioctl(fd, FBIO_WAITFORVSYNC, &zero), 0);
	EQUAL("vblank", ioctl(fd, FBIOGET_VBLANK, &after), 0);
	CHECK("three or more", after.count - before.count >= 3);
	EQUAL("what it knows", after.flags & ~FB_VBLANK_VBLANKING, FB_VBLANK_HAVE_VBLANK | FB_VBLANK_HAVE_COUNT);
	ERRNO("another screen", ioctl(fd, FBIO_WAITFORVSYNC, &one), ENODEV);
	ERRNO("bad address", ioctl(fd, FBIO_WAITFORVSYNC, 8), EFAULT);
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*run)(void);
	} parts[] = {{"info", info}, {"mode", mode}, {"rw", readwrite}, {"cmap", cmap}, {"draw", draw}, {"vsync", vsync}};

	fd = must_open("/dev/fb0", O_RDWR);
	for (unsigned i = 0; i < sizeof parts / sizeof *parts; i++)
		if (argc > 1 && !strcmp(argv[1], parts[i].name))
			parts[i].run();
	return done();
}
