"""PCI drivers: probe and remove, resources, config space, interrupts and DMA, from compiled guests (LDD3 ch. 12)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from machine import Machine
from machine.errors import ConfigError
from machine.testing import Bar, PciFunction, Reg, RegisterBlock

Run = Callable[..., Any]
Load = Callable[..., dict[str, Any]]


class Adder(RegisterBlock):
    a = Reg(0x00)
    b = Reg(0x04)
    sum = Reg(0x08, access="ro")
    pending = Reg(0x0C, access="w1c", doc="an interrupt is pending")
    address = Reg(0x10, 8)
    length = Reg(0x18)
    go = Reg(0x1C, access="wo", doc="1: add 1 to each byte at address; 2: interrupt")

    def __init__(self, card: AdderCard) -> None:
        self.card = card
        super().__init__()

    def read_sum(self) -> int:
        return self.a + self.b

    def write_pending(self, value: int) -> None:
        if not self.pending:
            self.card.lower_irq()

    def write_go(self, value: int) -> None:
        if value & 1:
            data = self.card.dma_read(self.address, self.length)
            self.card.dma_write(self.address, bytes(byte + 1 & 0xFF for byte in data))
        self.pending = 1
        self.card.hold_irq()


class AdderCard(PciFunction):
    vendor, device = 0x1234, 0xADD0
    class_code, revision = 0xFF0000, 2
    irq_pin, msi = 1, True

    def __init__(self) -> None:
        self.registers = Adder(self)
        super().__init__(bars=[Bar(block=self.registers), Bar(0x10000, memory=0x4000, prefetchable=True)])


ADDER = """
    from typing import Any
    state: dict[str, Any] = {"irqs": 0, "removed": 0}
    use_msi = 0
    module_param("use_msi", int, 0)

    def handler(irq, dev_id, regs):
        if not readl(state["io"] + 0x0C):
            return IRQ_NONE
        writel(1, state["io"] + 0x0C)
        state["irqs"] += 1
        return IRQ_HANDLED

    def probe(dev, id):
        state.update(dev=dev, id=id, before=[0])
        pci_read_config_word(dev, PCI_COMMAND, state["before"])
        if pci_enable_device(dev):
            return -EIO
        pci_set_master(dev)
        if pci_request_regions(dev, "adder"):
            return -EBUSY
        if use_msi and pci_enable_msi(dev):
            return -EIO
        state["io"] = ioremap(pci_resource_start(dev, 0), pci_resource_len(dev, 0))
        handle = [0]
        state["buffer"] = dma_alloc_coherent(dev, 4096, handle, GFP_KERNEL)
        state["bus"] = handle[0]
        pci_set_drvdata(dev, state)
        return request_irq(dev.irq, handler, SA_SHIRQ, "adder", dev)

    def remove(dev):
        free_irq(dev.irq, dev)
        if use_msi:
            pci_disable_msi(dev)
        dma_free_coherent(dev, 4096, state["buffer"], state["bus"])
        iounmap(state["io"])
        pci_release_regions(dev)
        pci_disable_device(dev)
        state["removed"] += 1

    driver = pci_driver(name="adder", id_table=[PCI_DEVICE(0x1234, 0xADD0)._replace(driver_data=77)], probe=probe,
                        remove=remove)

    def mmap(filp, vma):
        dev = state["dev"]
        if vma.vm_pgoff == 2:
            return io_remap_page_range(vma, vma.vm_start, pci_resource_start(dev, 1), 0x5000, vma.vm_page_prot)
        if vma.vm_pgoff:
            return remap_pfn_range(vma, vma.vm_start, state["bus"] >> PAGE_SHIFT, PAGE_SIZE, vma.vm_page_prot) and -EIO
        return io_remap_page_range(vma, vma.vm_start, pci_resource_start(dev, 0), PAGE_SIZE, vma.vm_page_prot)

    def ioctl(inode, filp, cmd, arg):
        return state["bus"] if cmd == 1 else state["irqs"]

    fops = file_operations(mmap=mmap, ioctl=ioctl)

    def init():
        result = pci_register_driver(driver)
        if result:
            return result
        register_chrdev(240, "adder", fops)
        devfs_mk_cdev(MKDEV(240, 0), 0o666, "adder")
        return 0

    def exit():
        devfs_remove("adder")
        unregister_chrdev(240, "adder")
        pci_unregister_driver(driver)

    module_init(init)
    module_exit(exit)
"""

GUEST = r"""
    #include <sys/ioctl.h>
    int fd = must_open("/dev/adder", O_RDWR);
    volatile unsigned *r = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    volatile unsigned short *r16 = (volatile unsigned short *)r;
    if (r == MAP_FAILED) { perror("mmap"); return 2; }
    r[0] = 40;
    r[1] = 0x10002;
    printf("sum %x, low half %x\n", r[2], r16[4]);
    r[4] = ioctl(fd, 1, 0);
    r[5] = 0;
    r[6] = 5;
    r[7] = 1;
    printf("irqs %d\n", ioctl(fd, 2, 0));
"""


@pytest.mark.parametrize("msi", [0, 1])
def test_a_driver_and_its_card(m: Machine, driver: Load, run_c: Run, msi: int) -> None:  # A3
    """probe, MMIO from user space, DMA, an interrupt by pin or message, remove; nothing is left."""
    card = AdderCard()
    m.plug(card, "0000:00:04.0")
    before = m.kernel.iomem.render()
    assert "f8000000-f8000fff : 0000:00:04.0\n" in before and "f8010000-f801ffff : 0000:00:04.0\n" in before
    d = driver(ADDER, f",use_msi={msi}")
    state, k = d["state"], m.kernel
    assert state["before"] == [0] and state["id"].driver_data == 77
    assert "  f8000000-f8000fff : adder\n" in k.iomem.render()
    assert card.msi_enabled == bool(msi) and state["dev"].irq == (24 if msi else 11)
    k.ram.view[state["bus"] : state["bus"] + 6] = b"HAL9\xff!"
    result = run_c(m, GUEST, fine=False)
    assert result.stdout == b"sum 1002a, low half 2a\nirqs 1\n", result.stderr
    assert bytes(k.ram.view[state["bus"] : state["bus"] + 6]) == b"IBM:\0!"
    assert card.registers.pending == 0 and not card.irq_held and card.refused == card.aborts == 0
    assert f"{state['dev'].irq:3}:          1          XT-PIC  adder\n" in k.irq.show()
    assert m.unload("bad") == [] and state["removed"] == 1 and k.reports == []
    assert k.iomem.render() == before and not card.msi_enabled and card.command & 4 == 0
    assert m.check_clean() == []


def test_moving_a_bar_under_a_mapping(m: Machine, driver: Load, run_c: Run) -> None:
    """With memory off, and after the BAR has gone elsewhere, the mapping reads ones; it works again afterwards."""
    card = AdderCard()
    m.plug(card, "00:04.0")
    driver(ADDER.replace('return state["bus"] if cmd == 1 else state["irqs"]', "return act(cmd)")
           .replace("def ioctl", """def act(cmd):
        dev = state["dev"]
        if cmd < 0x10000:
            return pci_write_config_word(dev, PCI_COMMAND, cmd)
        return pci_write_config_dword(dev, PCI_BASE_ADDRESS_0, cmd << 8)

    def ioctl"""))  # fmt: skip
    body = r"""
    #include <sys/ioctl.h>
    int fd = must_open("/dev/adder", O_RDWR);
    volatile unsigned *r = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    volatile unsigned *memory = mmap(0, 0x5000, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0x2000);
    r[0] = 1;
    memory[0] = 0x77;
    printf("%x %x %x\n", r[2], memory[0], memory[0x1000]);
    ioctl(fd, 0, 0); r[0] = 5; memory[0] = 5; printf("off %x %x\n", r[2], memory[0]);
    ioctl(fd, 2, 0); printf("on %x %x\n", r[2], memory[0]);
    ioctl(fd, 0xf90000, 0); printf("moved %x %x\n", r[2], memory[0]);
    ioctl(fd, 0xf80000, 0); printf("back %x %x\n", r[2], memory[0]);
    """
    expected = b"1 77 ffffffff\noff ffffffff ffffffff\non 1 77\nmoved ffffffff 77\nback 1 77\n"
    assert run_c(m, body, fine=False).stdout == expected
    assert bytes(card.bars[1].buffer[:4]) == b"\x77\0\0\0"
    m.unload("bad")


def test_enumeration(m: Machine, driver: Load) -> None:
    """Every function of the default PC, its bus and resources, as a driver sees them."""
    d = driver("""
        got = []
        dev = pci_get_device(PCI_ANY_ID, PCI_ANY_ID)
        while dev is not None:
            word = [0]
            pci_read_config_word(dev, PCI_CLASS_DEVICE, word)
            got.append((pci_name(dev), word[0], dev.class_ >> 8, dev.bus.number, PCI_SLOT(dev.devfn)))
            last, dev = dev, pci_get_device(PCI_ANY_ID, PCI_ANY_ID, dev)
        bars = [(pci_resource_start(last, n), pci_resource_end(last, n), pci_resource_len(last, n),
                 bool(pci_resource_flags(last, n) & IORESOURCE_PREFETCH)) for n in range(3)]
        windows = [(hex(r.start), hex(r.end)) for r in last.bus.resource if r.flags]
        val = [0]
        odd = pci_read_config_word(last, 1, val), pci_read_config_dword(last, 254, val), val
        none = pci_get_device(0xdead, PCI_ANY_ID), pci_find_capability(last, 0x11), pci_enable_msi(last)
        sized = pci_read_config_dword(last, PCI_BASE_ADDRESS_0, val), hex(val[0])
        taken = [pci_request_region(last, 0, "me"), pci_request_region(last, 0, "you")]
        taken.append(pci_request_regions(last, "you"))
        pci_release_region(last, 0)
        claimed = pci_request_regions(last, "all")
        pci_release_regions(last)
        last.slot = pci_get_slot(last.bus, last.devfn) is last
    """)
    assert d["got"] == [
        ("0000:00:00.0", 0x0600, 0x0600, 0, 0), ("0000:00:01.0", 0x0604, 0x0604, 0, 1),
        ("0000:01:00.0", 0x0300, 0x0300, 1, 0),
    ]  # fmt: skip
    assert d["bars"] == [
        (0xE8000000, 0xEFFFFFFF, 0x8000000, True), (0xFCC00000, 0xFCC0FFFF, 0x10000, False), (0, 0, 0, False),
    ]  # fmt: skip
    assert d["windows"] == [("0xfc700000", "0xfccfffff"), ("0xd7f00000", "0xf7efffff")]
    assert d["odd"][:2] == (0x87, 0x87)
    assert d["none"][:2] == (None, 0) and d["sized"] == (0, "0xe8000008")
    assert d["taken"] == [0, -16, -16] and d["claimed"] == 0
    assert m.kernel.reports == [] and m.unload("bad") == []


def test_plug_finds_the_waiting_driver(m: Machine, driver: Load) -> None:
    """As with hot plug; a slot that is taken, a bus that is not there, a card that is too large are refused."""
    d = driver(ADDER)
    assert "dev" not in d["state"]
    m.plug(AdderCard(), "01:03.0")
    assert d["state"]["dev"].slot_name == "0000:01:03.0" and d["state"]["dev"].bus.self.slot_name == "0000:00:01.0"
    where = d["pci_resource_start"](d["state"]["dev"], 0)
    assert 0xFC700000 <= where < 0xFCC00000

    class Huge(PciFunction):
        def __init__(self) -> None:
            super().__init__(bars=[Bar(1 << 30)])

    for slot, why in (("01:03.0", "taken by AdderCard"), ("07:00.0", "no PCI bus 7"), ("x", "no PCI slot")):
        with pytest.raises(ConfigError, match=why):
            m.plug(AdderCard(), slot)
    with pytest.raises(ConfigError, match="no room for its BARs"):
        m.plug(Huge(), "05.0")
    assert m.unload("bad") == []


def test_what_a_driver_leaves_and_gets_wrong(m: Machine, driver: Load) -> None:
    """The list at rmmod, and reports for what would go wrong on a PC."""
    m.plug(AdderCard(), "04.0")
    d = driver("""
        def probe(dev, id):
            pci_enable_device(dev)
            pci_request_regions(dev, "left")
            return 0
        drv = pci_driver(name="left", id_table=[pci_device_id(0x1234, 0xADD0)], probe=probe)
        twice = [pci_register_driver(drv), pci_register_driver(drv)]
        dev = pci_get_device(0x1234, 0xADD0)
        page = __get_free_page(GFP_KERNEL)
        dma = dma_map_single(dev, page, 100, DMA_TO_DEVICE)
        dma_unmap_single(dev, dma, 99, DMA_TO_DEVICE)
        area = vmalloc(8192)
        bad = dma_map_single(dev, area, 10, DMA_FROM_DEVICE)
        vfree(area)
        failed = dma_mapping_error(bad), dma_mapping_error(dma)
        pci_set_dma_mask(dev, DMA_24BIT_MASK)
        handle = [0]
        low = dma_alloc_coherent(dev, 5000, handle, GFP_KERNEL)
        dma_free_coherent(dev, 5000, low, handle[0])
        pci_disable_device(dev)
        pci_disable_device(dev)
        pci_enable_device(dev)
        other = pci_driver(name="other", id_table=[], probe=probe)
        pci_unregister_driver(other)
        free_page(page)
        many = [inb(0x1234), inl(0xCF8) , request_region(0x300, 8, "left") is None, check_region(0x304, 8)]
    """)
    assert d["twice"] == [0, -16] and d["failed"] == (1, 0) and d["handle"][0] < 16 << 20
    assert d["many"] == [0xFF, 0, False, -16]
    said = "\n".join(m.kernel.reports)
    for text in ("'left' is registered already", "that is not mapped; mapped there: 100 bytes", "a vmalloc address",
                 "disabling already-disabled device 0000:00:04.0", "'other' is not registered"):  # fmt: skip
        assert text in said, text
    left = m.unload("bad")
    for text in ("pci_driver 'left'", "PCI device 0000:00:04.0, enabled at bad.py", "region f8000000-f8000fff 'left'",
                 "100 bytes at bus address", "region 00000300-00000307 'left'"):  # fmt: skip
        assert any(text in line for line in left), (text, left)


def test_probe_that_fails(m: Machine, driver: Load) -> None:
    """A negative answer leaves the device to others; an exception is an oops, and the module is loaded all the same."""
    m.plug(AdderCard(), "04.0")
    d = driver("""
        def refuses(dev, id): return -EIO
        def raises(dev, id): raise KeyError("no such thing")
        def strange(dev, id): return "yes"
        def takes(dev, id): return 0
        ids = [PCI_DEVICE_CLASS(0xFF0000, 0xFFFFFF)]
        for number, probe in enumerate((refuses, raises, strange, takes)):
            drv = pci_driver(name=f"d{number}", id_table=ids, probe=probe)
            pci_register_driver(drv)
        dev = pci_get_device(0x1234, 0xADD0)
    """)
    assert d["dev"].driver.name == "d3"
    assert any("d0: probe of 0000:00:04.0 failed with error -5" in line for line in m.dmesg)
    assert len(m.kernel.oopses) == 1 and "probe of d2 returned 'yes'" in m.kernel.reports[0]
