"""What /proc and /sys show of PCI, by compiled guests and by pciutils (MECHANISMS A1, A3, C9)."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from typing import Any

import pytest

from machine import Machine
from machine.testing import Bar, PciFunction
from tests.drivers.test_pci import ADDER, AdderCard

Run = Callable[..., Any]
Load = Callable[..., dict[str, Any]]
pciutils = pytest.mark.skipif(shutil.which("lspci") is None, reason="lspci (Debian: apt install pciutils) is missing")


class PortCard(PciFunction):
    device = 0x1060

    def __init__(self) -> None:
        self.registers = AdderCard().registers
        rom = b"\x55\xaa\x02" + bytes(range(253)) * 4
        super().__init__(bars=[Bar(64, block=self.registers, io=True), Bar(4096)], rom=rom)


def text_of(m: Machine, path: str) -> str:
    return m.read_file(path).decode()


def test_proc_pci_in_the_text_s_form(m: Machine) -> None:  # A3
    lines = text_of(m, "/proc/pci").splitlines()
    assert lines[0] == "PCI devices found:" and lines[-5] == "  Bus  1, device   0, function  0:"
    assert lines[-4].startswith("    VGA compatible controller: ") and lines[-4].endswith(" (rev 17).")
    assert "      Prefetchable 32 bit memory at 0xe8000000 [0xefffffff]." in lines
    assert "      Non-prefetchable 32 bit memory at 0xfcc00000 [0xfcc0ffff]." in lines
    devices = text_of(m, "/proc/bus/pci/devices").splitlines()
    words = devices[2].split("\t")
    assert words[0] == "0100" and len(words) == 18
    assert [int(word, 16) for word in words[3:5]] == [0xE8000008, 0xFCC00000]
    assert [int(word, 16) for word in words[10:12]] == [0x8000000, 0x10000]
    assert text_of(m, "/proc/ioports") == "0cf8-0cff : PCI conf1\n"


OK = """
    #define OK(condition) CHECK(#condition, condition)
"""
GUEST = r"""
    const char *dir = "/sys/bus/pci/devices/0000:00:04.0";
    char path[200], text[300];
    unsigned char config[300];
    int fd, n;
    #define AT(name) (snprintf(path, sizeof path, "%s/%s", dir, name), path)
    fd = must_open(AT("config"), O_RDWR);
    OK(pread(fd, config, sizeof config, 0) == 256 && config[0] == 0x34 && config[2] == 0xd0);
    OK(pread(fd, config, 1, 255) == 1 && pread(fd, config, 4, 256) == 0);
    config[0] = 0x77;
    OK(pwrite(fd, config, 1, 0x3c) == 1 && pread(fd, config + 1, 3, 0x3b) == 3 && config[2] == 0x77);
    close(fd);
    fd = must_open(AT("enable"), O_RDWR);
    OK(read(fd, text, 10) == 2 && text[0] == '0');
    OK(write(fd, "1", 1) == 1 && pread(fd, text, 10, 0) == 2 && text[0] == '1');
    int bar = must_open(AT("resource0"), O_RDWR);
    struct stat st;
    OK(fstat(bar, &st) == 0 && st.st_size == 4096 && (st.st_mode & 0777) == 0600);
    OK(mmap(0, 8192, PROT_READ, MAP_SHARED, bar, 0) == (void *)-1 && errno == EINVAL);
    OK(mmap(0, 4096, PROT_READ, MAP_SHARED, bar, 4096) == (void *)-1 && errno == EINVAL);
    volatile unsigned *r = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, bar, 0);
    r[0] = 1; r[1] = 0x41;
    OK(r[2] == 0x42);
    int memory = must_open(AT("resource1_wc"), O_RDWR);
    volatile unsigned *w = mmap(0, 65536, PROT_READ | PROT_WRITE, MAP_SHARED, memory, 0);
    w[0x400] = 0x12345678;
    OK(w[0x400] == 0x12345678 && w[0x1000] == 0xffffffff);
    OK(write(fd, "0", 1) == 1 && write(fd, "0", 1) == -1 && errno == EIO);
    OK(write(fd, "x", 1) == -1 && errno == EINVAL);
    n = readlink(AT("subsystem"), text, sizeof text);
    text[n] = 0;
    OK(!strcmp(text, "../../../bus/pci"));
    OK(chdir(AT("driver")) == -1 && chdir(AT("subsystem")) == 0 && access("devices/0000:01:00.0/vendor", R_OK) == 0);
    OK(open(AT("resource9"), O_RDONLY) == -1 && errno == ENOENT);
    if (fork() == 0) {
        setuid(1000);
        fd = open(AT("config"), O_RDONLY);
        n = read(fd, config, 256) == 64 && open(AT("config"), O_RDWR) == -1 && open(AT("resource0"), O_RDWR) == -1;
        _exit(!n);
    }
    wait(&n);
    OK(n == 0);
    FILE *maps = fopen("/proc/self/maps", "r");
    while (fgets(text, sizeof text, maps))
        if (strstr(text, "resource1_wc")) fputs(strchr(text, ' '), stdout);
"""


def test_files_of_a_device(m: Machine, run_c: Run) -> None:  # A3
    """config, enable, and resourceN by mmap: what the guest stores is in the card, and what it reads comes from it."""
    card = AdderCard()
    m.plug(card, "04.0")
    result = run_c(m, OK + GUEST)
    assert card.registers.b == 0x41 and card.config[0x3C] == 0x77
    assert bytes(card.bars[1].buffer[0x1000:0x1004]) == b"\x78\x56\x34\x12"
    assert b" rw-s f8010000 " in result.stdout and b"/sys/devices/pci0000:00/0000:00:04.0/" in result.stdout
    assert m.kernel.reports == [] and m.check_clean() == []


def test_ports_and_rom(m: Machine, run_c: Run) -> None:
    """An I/O BAR is read and written, 1, 2 or 4 bytes; the ROM can be read while 1 is in its file."""
    card = PortCard()
    m.plug(card, "05.0")
    run_c(
        m,
        OK
        + r"""
        unsigned value = 0x1234, sum;
        char data[2000];
        int fd = must_open("/sys/bus/pci/devices/0000:00:05.0/resource0", O_RDWR);
        OK(pread(fd, &sum, 4, 0) == 4 && sum == 0xffffffff);
        int on = must_open("/sys/bus/pci/devices/0000:00:05.0/enable", O_WRONLY);
        OK(write(on, "1\n", 2) == 2);
        OK(pwrite(fd, &value, 2, 0) == 2 && pwrite(fd, &value, 1, 4) == 1 && pread(fd, &sum, 4, 8) == 4);
        OK(sum == 0x1268);
        OK(pread(fd, data, 3, 0) == -1 && errno == EINVAL && pread(fd, data, 4, 62) == -1);
        OK(mmap(0, 4096, PROT_READ, MAP_SHARED, fd, 0) == (void *)-1 && errno == ENODEV);
        int rom = must_open("/sys/bus/pci/devices/0000:00:05.0/rom", O_RDWR);
        OK(read(rom, data, 10) == -1 && errno == EINVAL);
        OK(pwrite(rom, "1", 1, 0) == 1 && pread(rom, data, 2000, 0) == 1024 && data[0] == 0x55 && data[4] == 1);
        OK(pwrite(rom, "0", 1, 0) == 1 && pread(rom, data, 10, 0) == -1);
        """,
    )
    assert "c000-c03f : 0000:00:05.0\n" in text_of(m, "/proc/ioports") and card.config[0x30] & 1 == 0


@pciutils
def test_pciutils(m: Machine, driver: Load) -> None:
    """Debian's lspci lists and decodes, setpci reads and writes; unmodified."""
    m.plug(AdderCard(), "04.0")
    driver(ADDER)
    listed = m.run(["lspci", "-n"]).stdout.decode().splitlines()
    assert listed == [
        "00:00.0 0600: 1234:0600", "00:01.0 0604: 1234:0604", "00:04.0 ff00: 1234:add0 (rev 02)",
        "01:00.0 0300: 1234:1111 (rev 11)",
    ]  # fmt: skip
    shown = m.run(["lspci", "-vvx"]).stdout.decode()
    for text in (
        "Memory behind bridge: fc700000-fccfffff [size=6M]",
        "Region 0: Memory at e8000000 (32-bit, prefetchable) [size=128M]",
        "Region 1: Memory at fcc00000 (32-bit, non-prefetchable) [size=64K]", "Kernel driver in use: adder",
        "Capabilities: [40] MSI: Enable- Count=1/1 Maskable- 64bit+", "Interrupt: pin A routed to IRQ",
        "Control: I/O- Mem+ BusMaster+", "\n00: 34 12 d0 ad 06 00 90 02 02 00 00 ff",
    ):  # fmt: skip
        assert text in shown, text
    assert (
        m.run(["lspci", "-t"]).stdout.decode()
        == "-[0000:00]-+-00.0\n           +-01.0-[01]----00.0\n           \\-04.0\n"
    )
    assert m.run(["setpci", "-s", "04.0", "LATENCY_TIMER=20", "COMMAND=0:2"]).exit == 0
    read = m.run(["setpci", "-s", "04.0", "LATENCY_TIMER", "COMMAND", "BASE_ADDRESS_0", "CAP_MSI+2.W"])
    assert read.stdout == b"20\n0004\nf8000000\n0080\n"
    proc = m.run(["lspci", "-A", "linux-proc", "-n"])
    assert proc.stdout.decode().splitlines() == listed, proc.stderr


def test_bind_and_unbind(m: Machine, driver: Load) -> None:
    """The files of a driver: give a device away, take it back, learn a new one; the link `driver` follows."""
    m.plug(AdderCard(), "04.0")
    d = driver(ADDER)
    where = "/sys/bus/pci/drivers/adder"
    device = "/sys/bus/pci/devices/0000:00:04.0"
    script = f"""
        cd {where} && readlink 0000:00:04.0 && readlink {device}/driver && readlink module
        echo 0000:00:04.0 > unbind && ls {where} && ls {device}/driver
        echo 0000:00:04.0 > unbind
        echo 0000:01:00.0 > bind
        echo 0000:09:00.0 > bind
        echo 0000:00:04.0 > bind && readlink {device}/driver
        echo 0000:00:04.0 > bind
        echo nonsense > new_id
        cat {device}/uevent {device}/modalias
    """
    result = m.run(["sh", "-c", script])
    assert result.stdout.decode().splitlines() == [
        "../../../../devices/pci0000:00/0000:00:04.0", "../../../bus/pci/drivers/adder", "../../../../module/bad",
        "bind", "module", "new_id", "unbind", "../../../bus/pci/drivers/adder",
        "DRIVER=adder", "PCI_CLASS=FF0000", "PCI_ID=1234:ADD0", "PCI_SUBSYS_ID=0000:0000",
        "PCI_SLOT_NAME=0000:00:04.0", "MODALIAS=pci:v00001234d0000ADD0sv00000000sd00000000bcFFsc00i00",
        "pci:v00001234d0000ADD0sv00000000sd00000000bcFFsc00i00",
    ]  # fmt: skip
    said = result.stderr.decode()
    assert said.count("I/O error") == 5  # dash says so of every failed write
    assert m.run(["sh", "-c", f"printf 0000:09:00.0 | tee {where}/bind"]).stderr.endswith(b": No such device\n")
    assert m.run(["sh", "-c", f"printf 0000:00:04.0 | tee {where}/bind"]).stderr.endswith(
        b": Device or resource busy\n"
    )
    assert m.run(["sh", "-c", f"printf 1 | tee {where}/new_id"]).stderr.endswith(b": Invalid argument\n")
    assert d["state"]["removed"] == 1 and m.unload("bad") == []
