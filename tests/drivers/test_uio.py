"""uio driven by compiled programs: its files in /sys, its maps, its interrupt (MECHANISMS C9)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from machine import Machine
from machine.errors import ConfigError
from machine.hardware.paging import PCD
from machine.testing import BusLog
from machine.testing.cards import TimerGpio

Run = Callable[..., Any]
Make = Callable[..., Machine]

BASE = 0xFD00_0000
DRIVER = f"uio,uio_start={BASE:#x}:0xe8000010,uio_size=0x40:0x1800,uio_ram=5000,uio_irq=7,uio_name=tgio"
TGIO = """
    enum { ID, CONTROL, LOAD, COUNT, STATUS, OUT = 8, SET, CLEAR, DIRECTION, IN, EDGE, CHANGED };
    int fd = must_open("/dev/uio0", O_RDWR), n = 0, one = 1, zero = 0;
    volatile unsigned *regs = map(fd, 0, PAGE, RW, MAP_SHARED);
    (void)n, (void)one, (void)zero, (void)regs;
"""


@pytest.fixture
def tgio() -> TimerGpio:
    return TimerGpio()


@pytest.fixture
def uio(machine_clean: Make, tgio: TimerGpio) -> Machine:
    m = machine_clean(deterministic=True)
    m.attach(f"/dev/mem@{BASE:#x}", tgio)
    m.load(DRIVER)
    return m


def test_what_sys_says(uio: Machine, run_c: Run) -> None:
    """Values in the kernel's form: %pa is 0x and 16 digits.  # C9"""
    out = run_c(uio, r"""
        static const char *const files[] = { "name", "version", "event", "dev", "maps/map0/name", "maps/map0/addr",
            "maps/map0/size", "maps/map0/offset", "maps/map1/addr", "maps/map1/size", "maps/map1/offset",
            "maps/map2/name", "maps/map2/size" };
        char path[100], text[100];
        for (unsigned i = 0; i < sizeof files / sizeof *files; i++) {
            sprintf(path, "/sys/class/uio/uio0/%s", files[i]);
            int fd = must_open(path, O_RDONLY);
            ssize_t n = read(fd, text, sizeof text - 1);
            text[n > 0 ? n : 0] = 0;
            printf("%s=%s", files[i], text);
            close(fd);
        }
        ERRNO("read-only", open("/sys/class/uio/uio0/maps/map3/name", O_RDONLY), ENOENT);
    """).stdout.decode()  # fmt: skip
    shown = dict(line.split("=", 1) for line in out.splitlines() if "=" in line)
    major = shown.pop("dev").split(":")[0]
    assert int(major) >= 200
    assert shown == {
        "name": "tgio", "version": "devicetree", "event": "0",
        "maps/map0/name": "fd000000", "maps/map0/addr": "0x00000000fd000000", "maps/map0/size": "0x0000000000001000",
        "maps/map0/offset": "0x0", "maps/map1/addr": "0x00000000e8000000", "maps/map1/size": "0x0000000000002000",
        "maps/map1/offset": "0x10", "maps/map2/name": "ram", "maps/map2/size": "0x0000000000002000",
    }  # fmt: skip
    assert uio.unload("uio") == []
    assert not [path for path in uio.kernel.sysfs_entries if "uio" in path]


def test_the_offset_selects_the_map(uio: Machine, tgio: TimerGpio, run_c: Run) -> None:
    """Page M of the offset is map M from its start: registers, device memory, the driver's own memory.  # C9, B5"""
    entries: list[int] = []

    def look(call: Any) -> None:
        if call.operation == "mmap" and call.result == 0:
            vma = call.args[1]
            entries.append(vma.vm_mm.tables.get(vma.vm_start))

    uio.events.listen("driver_call", look)
    result = run_c(uio, TGIO + """
        unsigned char *vram = map(fd, PAGE, 2 * PAGE, RW, MAP_SHARED);
        unsigned char *ram = map(fd, 2 * PAGE, 2 * PAGE, RW, MAP_SHARED);
        EQUAL("registers", regs[ID], 0x4f494754);
        memcpy(vram + 0x10, "picture", 8);
        memcpy(ram + PAGE, "memory", 7);
        EQUAL("zeroed", ram[0], 0);
        ERRNO("no such map", (long)map(fd, 3 * PAGE, PAGE, RW, MAP_SHARED), EINVAL);
        ERRNO("too long", (long)map(fd, 0, 2 * PAGE, RW, MAP_SHARED), EINVAL);
        ERRNO("too long", (long)map(fd, 2 * PAGE, 3 * PAGE, RW, MAP_SHARED), EINVAL);
        ERRNO("too long", (long)map(fd, PAGE, 3 * PAGE, RW, MAP_SHARED), EINVAL);
        if (!fork()) {
            CHECK("another process", !strcmp((char *)map(fd, 2 * PAGE, 2 * PAGE, RW, MAP_SHARED) + PAGE, "memory"));
            EQUAL("and its registers", regs[ID], 0x4f494754);
            _exit(done());
        }
        int status;
        wait(&status);
        EQUAL("child", status, 0);
    """)  # fmt: skip
    assert bytes(uio.kernel.bus.memories[0].data[0x10:0x17]) == b"picture"
    assert [entry & 0xFFFFF000 for entry in entries[:2]] == [BASE, 0xE8000000] and entries[1] & PCD and not entries[2]
    assert BusLog(result.bus).reads() == [("id", 0x4F494754)] * 2
    assert uio.unload("uio") == []


def test_blocking_read_write_and_poll(uio: Machine, tgio: TimerGpio, run_c: Run) -> None:
    """The count of interrupts; off from one until the program has written 1.  # C9, D9"""
    run_c(uio, TGIO + """
        struct { int fd; short events, revents; } p = { fd, 1, 0 };
        extern int poll(void *, unsigned long, int);
        ERRNO("no 4 bytes", read(fd, &n, 3), EINVAL);
        ERRNO("no 4 bytes", write(fd, &n, 8), EINVAL);
        ERRNO("bad address", write(fd, (void *)1, 4), EFAULT);
        fcntl(fd, F_SETFL, O_NONBLOCK);
        ERRNO("nothing yet", read(fd, &n, 4), EAGAIN);
        fcntl(fd, F_SETFL, 0);
        EQUAL("not ready", poll(&p, 1, 0), 0);
        regs[LOAD] = 5000;
        regs[CONTROL] = 7;
        EQUAL("read", read(fd, &n, 4), 4);
        EQUAL("one", n, 1);
        EQUAL("the timer's", regs[STATUS], 1);
        regs[CONTROL] = 5;
        usleep(50000);
        EQUAL("off, so still one", poll(&p, 1, 0), 0);
        regs[STATUS] = 1;
        EQUAL("on", write(fd, &one, 4), 4);
        EQUAL("poll", poll(&p, 1, -1), 1);
        EQUAL("events", p.revents, 1);
        EQUAL("read", read(fd, &n, 4), 4);
        EQUAL("two", n, 2);
        regs[CONTROL] = 4;
        EQUAL("still held: at once", write(fd, &one, 4), 4);
        ERRNO("copy", read(fd, (void *)8, 4), EFAULT);
        EQUAL("not lost by that", read(fd, &n, 4), 4);
        regs[STATUS] = 1;
        int other = must_open("/dev/uio0", O_RDWR | O_NONBLOCK);
        ERRNO("only what comes after its open", read(other, &n, 4), EAGAIN);
        EQUAL("on", write(fd, &one, 4), 4);
        EQUAL("off", write(fd, &zero, 4), 4);
        regs[CONTROL] = 7;
        usleep(20000);
        ERRNO("off", read(other, &n, 4), EAGAIN);
        EQUAL("on", write(other, &one, 4), 4);
        EQUAL("it had waited", read(other, &n, 4), 4);
        EQUAL("each file sees it", poll(&p, 1, 0), 1);
    """)  # fmt: skip
    assert uio.kernel.reports == []
    assert b"tgio" in uio.read_file("/proc/interrupts")
    assert int(uio.read_file("/sys/class/uio/uio0/event")) == uio.kernel.irq.lines[7].count
    tgio.reset()
    tgio.lower_irq()
    assert uio.unload("uio") == [] and uio.kernel.irq.lines[7].actions == []


def test_a_signal_ends_the_wait(uio: Machine, run_c: Run) -> None:
    """A sleeper can be killed, and an alarm whose handler is not to restart calls gives EINTR.  # C9"""
    run_c(uio, TGIO + """
        int status, child = fork();
        if (!child) {
            alarm(1);
            n = read(fd, &n, 4);
            _exit(9);
        }
        wait(&status);
        EQUAL("killed in its sleep", status, SIGALRM);
        struct sigaction sa;
        memset(&sa, 0, sizeof sa);
        sa.sa_handler = (void (*)(int))abs;  /* any function that takes a number */
        sigaction(SIGALRM, &sa, NULL);
        ualarm(100000, 100000);  /* again and again: the first may come before the call */
        ERRNO("interrupted", read(fd, &n, 4), EINTR);
    """)  # fmt: skip


def test_pins_from_outside(uio: Machine, tgio: TimerGpio, run_c: Run) -> None:
    """The world pulls a pin while the program sleeps in read; the program drives one, and the world hears of it."""
    heard: list[int] = []
    tgio.on_output = heard.append
    uio.events.listen("register", lambda a: tgio.call_later(1_000_000, lambda: tgio.pull(3, True))
                      if (a.register, a.write) == ("edge", True) else None)  # fmt: skip
    run_c(uio, TGIO + """
        regs[DIRECTION] = 0xf0;
        regs[EDGE] = 8;
        EQUAL("read", read(fd, &n, 4), 4);
        EQUAL("pins", regs[STATUS], 2);
        EQUAL("which", regs[CHANGED], 8);
        EQUAL("level", regs[IN], 8);
        regs[CHANGED] = 8;
        EQUAL("quiet", regs[STATUS], 0);
        regs[SET] = 0x50;
        regs[CLEAR] = 0x10;
    """)  # fmt: skip
    assert heard == [0, 0x50, 0x40]


def test_without_an_interrupt(machine_clean: Make, run_c: Run) -> None:
    """read, write and poll: EIO; nothing else changes.  # C9"""
    m = machine_clean(devices=["uio,uio_start=0xe8000000,uio_size=0x10000"])
    run_c(m, """
        int fd = must_open("/dev/uio0", O_RDWR), n = 1;
        struct { int fd; short events, revents; } p = { fd, 1, 0 };
        extern int poll(void *, unsigned long, int);
        ERRNO("read", read(fd, &n, 4), EIO);
        ERRNO("write", write(fd, &n, 4), EIO);
        EQUAL("poll", poll(&p, 1, 0), 1);
        EQUAL("POLLERR", p.revents, 8);
        EQUAL("no position", lseek(fd, 100, SEEK_SET), 0);
        *(volatile char *)map(fd, 0, PAGE, RW, MAP_SHARED) = 'u';
    """)  # fmt: skip
    assert bytes(m.kernel.bus.memories[0].data[:1]) == b"u"
    assert m.unload("uio") == []


@pytest.mark.parametrize(
    ("parameters", "why"),
    [
        ("", "0 addresses and 0 sizes"),
        (",uio_start=0xfd000000", "1 addresses and 0 sizes"),
        (",uio_start=1:2:3:4:5:6,uio_size=1:1:1:1:1:1", "one to 5 pairs"),
        (",uio_start=0xfd000000,uio_size=4096,uio_irq=0xffff", "can't have interrupt 65535"),
        (",uio_start=0xfd000000,uio_size=4096,uio_irq=2", "can't have interrupt 2"),
    ],
)
def test_parameters_that_make_no_device(machine_clean: Make, parameters: str, why: str) -> None:
    """Nothing is left behind.  # C9, D6"""
    m = machine_clean()
    with pytest.raises(ConfigError):
        m.load("uio" + parameters)
    assert any(why in line for line in m.dmesg), m.dmesg
    assert "uio0" not in m.kernel.chrdevs.nodes and not [path for path in m.kernel.sysfs_entries if "uio" in path]


def test_a_pci_card(machine_clean: Make, run_c: Run) -> None:
    """uio_pci: its BAR, DMA allowed, and its interrupt, which the command register switches.  # C9, A3"""
    m = machine_clean(deterministic=True, board="lab", devices=["uio,uio_pci=1234:11e8"])
    run_c(m, """
        enum { ID, FACTORIAL = 2, STATUS = 8, IRQ_STATUS, IRQ_RAISE = 24, IRQ_ACK };
        int fd = must_open("/dev/uio0", O_RDWR), n = 0, one = 1;
        volatile unsigned *regs = map(fd, 0, 0x100000, RW, MAP_SHARED);
        struct { int fd; short events, revents; } p = { fd, 1, 0 };
        extern int poll(void *, unsigned long, int);
        EQUAL("id", regs[ID], 0x010000edu);
        regs[STATUS] = 0x80;
        regs[FACTORIAL] = 10;
        EQUAL("sleeps until the card is done", read(fd, &n, 4), 4);
        EQUAL("one", n, 1);
        EQUAL("10!", regs[FACTORIAL], 3628800u);
        EQUAL("why", regs[IRQ_STATUS], 1u);
        EQUAL("no more while it is off", poll(&p, 1, 0), 0);
        EQUAL("on again", write(fd, &one, 4), 4);
        EQUAL("the card still pulls", read(fd, &n, 4), 4);
        EQUAL("two", n, 2);
        regs[IRQ_ACK] = 1;
        write(fd, &one, 4);
        EQUAL("acknowledged", poll(&p, 1, 0), 0);
        regs[IRQ_RAISE] = 0x40;
        EQUAL("raised", read(fd, &n, 4), 4);
        EQUAL("three", n, 3);
        ERRNO("no second map", (long)mmap(0, PAGE, 1, MAP_SHARED, fd, PAGE), EINVAL);
    """)  # fmt: skip
    card = next(dev for dev in m.kernel.pci.devices if dev.device == 0x11E8)
    assert m.read_file("/sys/class/uio/uio0/maps/map0/name") == b"BAR0\n" and card.is_busmaster
    assert m.read_file("/sys/class/uio/uio0/maps/map0/size") == b"0x0000000000100000\n"
    assert m.unload("uio") == [] and m.kernel.irq.lines[card.irq].actions == [] and card.driver is None
    assert not card.enable_cnt and "uio" not in m.kernel.iomem.render()
    for parameter, why in (("1234:5678", "there is no card 1234:5678"), ("edu", "is not VENDOR:DEVICE")):
        with pytest.raises(ConfigError, match=why):
            m.load(f"uio,uio_pci={parameter}")


@pytest.mark.parametrize("board", ["ldd3-pc", "lab", "bare"])
def test_the_option_brings_the_hardware(machine_clean: Make, board: str, run_c: Run) -> None:
    """--device edu, --device uio: the board's own card and block, or some that come with the drivers.  # C9"""
    m = machine_clean(deterministic=True, board=board, devices=["edu", "uio"])
    result = m.run(
        ["sh", "-c", "printf hello > /dev/edu; head -c 5 /dev/edu; cat /sys/class/uio/uio0/name"], timeout=100
    )
    assert result.stdout == b"hellotimer-gpio\n", result.stderr
    run_c(m, TGIO + """
        EQUAL("TGIO", regs[ID], 0x4f494754u);
        regs[LOAD] = 1000;
        regs[CONTROL] = 7;
        EQUAL("its interrupt", read(fd, &n, 4), 4);
    """)  # fmt: skip
    assert len([dev for dev in m.kernel.pci.devices if dev.device == 0x11E8]) == 1
    assert [each.start for each in m.kernel.bus.blocks if each.block.name == "timergpio"] == [BASE]
