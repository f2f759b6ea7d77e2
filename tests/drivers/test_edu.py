"""edu driven by compiled programs: a PCI card with interrupts and DMA (MECHANISMS D2, D8, D9)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from guest import INCLUDE
from machine import Machine
from machine.errors import ConfigError
from machine.testing.cards import Edu

Run = Callable[..., Any]
Make = Callable[..., Machine]

HEADER = "\n".join(line for line in (INCLUDE / "edu.h").read_text().splitlines() if not line.startswith("#include"))
OPEN = "#include <stdint.h>\n" + HEADER + '\nint fd = must_open("/dev/edu", O_RDWR); struct edu_irqs irqs;\n'


@pytest.fixture
def card() -> Edu:
    return Edu()


@pytest.fixture(params=["", ",edu_msi=1"])
def edu(request: pytest.FixtureRequest, machine_clean: Make, card: Edu) -> Machine:
    m = machine_clean(deterministic=True)
    m.plug(card, "00:04.0")
    m.load("edu" + request.param)
    return m


def test_identification_factorial_interrupts(edu: Machine, card: Edu, run_c: Run) -> None:
    """Each request sleeps until the card interrupts: by its pin, and by a message."""
    run_c(edu, OPEN + """
        uint32_t n = 0;
        EQUAL("id", ioctl(fd, EDU_ID, &n), 0);
        EQUAL("edu", n, 0x010000ed);
        n = 0x12345678;
        EQUAL("liveness", ioctl(fd, EDU_LIVENESS, &n), 0);
        EQUAL("complement", n, 0xedcba987);
        n = 10;
        EQUAL("factorial", ioctl(fd, EDU_FACTORIAL, &n), 0);
        EQUAL("10!", n, 3628800);
        n = 0x40;
        EQUAL("raise", ioctl(fd, EDU_RAISE, &n), 0);
        EQUAL("irqs", ioctl(fd, EDU_IRQS, &irqs), 0);
        EQUAL("two", irqs.count, 2);
        EQUAL("which", irqs.bits, 0x41);
        ERRNO("no command", ioctl(fd, 0x1234, 0), ENOTTY);
        ERRNO("bad address", ioctl(fd, EDU_FACTORIAL, 8), EFAULT);
    """)  # fmt: skip
    assert not card.registers.irq_status and not card.irq_held and edu.kernel.reports == []
    assert any("edu: 0000:00:04.0, interrupt" in line for line in edu.dmesg)
    assert edu.unload("edu") == []


def test_read_and_write_are_dma(edu: Machine, card: Edu, run_c: Run) -> None:
    """The card's buffer through a page of RAM: the bytes that a program writes are in the card, and come back."""
    run_c(edu, OPEN + """
        static char out[5000], in[5000];
        for (int i = 0; i < 5000; i++)
            out[i] = i * 7;
        EQUAL("write", pwrite(fd, out, 100, 1000), 100);
        EQUAL("all", write(fd, out, 5000), 4096);
        ERRNO("at the end", write(fd, out, 1), ENOSPC);
        EQUAL("end", read(fd, in, 1), 0);
        EQUAL("read", pread(fd, in, 300, 4000), 96);
        CHECK("the same", !memcmp(in, out + 4000, 96));
        EQUAL("irqs", ioctl(fd, EDU_IRQS, &irqs), 0);
        EQUAL("three transfers", irqs.count, 3);
        EQUAL("DMA", irqs.bits, 0x100);
        ERRNO("bad buffer", pread(fd, (void *)8, 10, 0), EFAULT);
    """)  # fmt: skip
    assert bytes(card.registers.buffer) == bytes(i * 7 & 255 for i in range(4096))
    assert card.refused == card.aborts == card.registers.overruns == 0


def test_mmap_of_registers_and_of_the_page(edu: Machine, card: Edu, run_c: Run) -> None:
    """A program drives the card itself: registers uncached by remap, the page of RAM by nopage.  # B3, B7"""
    accesses: list[Any] = []
    edu.events.listen("register", accesses.append)
    run_c(edu, OPEN + """
        volatile uint32_t *regs = map(fd, 0, 0x100000, RW, MAP_SHARED);
        char *page = map(fd, EDU_REGISTERS, PAGE, RW, MAP_SHARED), in[8];
        ERRNO("beyond", (long)map(fd, EDU_REGISTERS + PAGE, PAGE, RW, MAP_SHARED), EINVAL);
        ERRNO("both", (long)map(fd, 0, EDU_REGISTERS + PAGE, RW, MAP_SHARED), EINVAL);
        regs[1] = 5;
        EQUAL("complement", regs[1], 0xfffffffa);
        EQUAL("16 bits are refused", *(volatile uint16_t *)regs, 0xffff);
        EQUAL("8 bits too", *(volatile uint8_t *)regs, 0xff);
        regs[0x20 / 4] = 0;
        regs[2] = 6;
        while (regs[0x20 / 4] & 1)
            ;
        EQUAL("factorial by polling", regs[2], 720);
        EQUAL("write", pwrite(fd, "abcdefgh", 8, 64), 8);
        CHECK("it went through the page", !memcmp(page, "abcdefgh", 8));
        memcpy(page, "ABCD", 4);
        EQUAL("read", pread(fd, in, 2, 66), 2);
        CHECK("as does this", !memcmp(page, "cdCD", 4) && !memcmp(in, "cd", 2));
    """)  # fmt: skip
    refused = [(a.width, a.value) for a in accesses if a.width in (1, 2)]
    assert refused == [(2, 0xFFFF), (1, 0xFF)] and card.registers.counts.refused == 2


def test_requests_wait_for_each_other(edu: Machine, run_c: Run) -> None:
    """Two processes at once: one card, one at a time, and every result is the right one.  # D9"""
    run_c(edu, OPEN + """
        int status, child = fork();
        for (int i = 0; i < 40; i++) {
            uint32_t n = child ? 5 : 6;
            if (ioctl(fd, EDU_FACTORIAL, &n) || n != (child ? 120 : 720))
                _exit(7);
        }
        if (!child)
            _exit(0);
        wait(&status);
        EQUAL("child", status, 0);
        EQUAL("irqs", ioctl(fd, EDU_IRQS, &irqs), 0);
        EQUAL("all", irqs.count, 80);
    """)  # fmt: skip


def test_unbind_with_open_files(edu: Machine, card: Edu, run_c: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """sysfs takes the driver off the card: ENODEV for who has it open, asleep in a request or not; no register is used.

    `card` never finishes the factorial, so its request sleeps.
    """
    monkeypatch.setattr(card.registers, "_computed", lambda *_: None)
    run_c(edu, OPEN + """
        uint32_t n = 5;
        catch_faults();
        char *page = map(fd, EDU_REGISTERS, PAGE, RW, MAP_SHARED), byte;
        int unbind = must_open("/sys/bus/pci/drivers/edu/unbind", O_WRONLY), status, child = fork();
        if (!child) {
            int result = ioctl(fd, EDU_FACTORIAL, &n);
            _exit(result == -1 && errno == ENODEV ? 0 : 1);
        }
        until_asleep(child);
        EQUAL("unbind", write(unbind, "0000:00:04.0", 12), 12);
        wait(&status);
        EQUAL("the child", status, 0);
        ERRNO("id", ioctl(fd, EDU_ID, &n), ENODEV);
        ERRNO("liveness", ioctl(fd, EDU_LIVENESS, &n), ENODEV);
        ERRNO("factorial", ioctl(fd, EDU_FACTORIAL, &n), ENODEV);
        ERRNO("raise", ioctl(fd, EDU_RAISE, &n), ENODEV);
        EQUAL("no register", ioctl(fd, EDU_IRQS, &irqs), 0);
        ERRNO("read", read(fd, &byte, 1), ENODEV);
        ERRNO("write", write(fd, &byte, 1), ENODEV);
        ERRNO("mmap", (long)map(fd, 0, PAGE, RW, MAP_SHARED), ENODEV);
        ERRNO("open", open("/dev/edu", O_RDWR), ENODEV);
        EQUAL("SIGBUS", touch(page, -1), SIGBUS);
    """)  # fmt: skip
    assert edu.kernel.reports == [] and edu.unload("edu") == []


def test_without_the_card(machine_clean: Make) -> None:
    m = machine_clean()
    with pytest.raises(ConfigError, match="ENODEV"):
        m.load("edu")
    assert "edu: there is no such card" in m.dmesg and "edu" not in m.kernel.chrdevs.nodes


def test_dma_without_bus_mastering(machine_clean: Make, card: Edu) -> None:
    """The card asks, the command register says no: nothing is written, and the card knows."""
    m = machine_clean()
    m.plug(card, "00:04.0")
    m.load("edu")
    m.kernel.ram.view[0x400000:0x400004] = b"same"
    m.kernel.pci_host.find(0, 0x20).config_write(4, 2, 0x0002)
    assert not card.dma_write(0x400000, b"else") and card.refused == 1
    assert bytes(m.kernel.ram.view[0x400000:0x400004]) == b"same"
