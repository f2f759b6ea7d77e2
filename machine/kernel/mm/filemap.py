"""The page cache: the pages of one file, shared by read, write and every mapping of it (mm/filemap.c).

A page that is in `pages` is the truth about its part of the file.  A page that is not comes from
the backing (a host file, through the layer above it untouched parts stay there), or is zeros.
read() patches cached pages over what the backing has, so a big file is read without caching it;
write() and faults go through cached pages.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, Optional, Protocol

from machine.hardware.paging import D, P
from machine.hardware.ram import PAGE_SHIFT, PAGE_SIZE
from machine.kernel.abi.errno import EIO, ENOEXEC, ENOMEM, EPERM, Errno
from machine.kernel.fs.file import O_NOATIME, Ptr, file, inode, vm_operations_struct
from machine.kernel.mm.page import (
    GFP_HIGHUSER,
    GFP_ZERO,
    VM_FAULT_MAJOR,
    NopageResult,
    Page,
    PG_dirty,
    PG_exec,
)  # fmt: skip
from machine.kernel.mm.refusal import beyond_end, not_read
from machine.kernel.mm.vma import VM_MAYWRITE, VM_SHARED, VM_WRITE, vm_area_struct

if TYPE_CHECKING:
    from machine.kernel.kernel import Kernel

OWNER = "page cache"
_OFFSET = PAGE_SIZE - 1
F_SEAL_WRITE, F_SEAL_FUTURE_WRITE = 0x8, 0x10


class Backing(Protocol):
    """Where pages come from that nobody has written: a file of the host."""

    def open(self) -> int:
        """A descriptor of the host's, open to be read and not the caller's to close; Errno on failure."""

    def pread(self, count: int, position: int) -> bytes:
        """Up to `count` bytes; Errno(EIO) and others on failure."""

    def preadv(self, memory: memoryview, position: int) -> int:
        """The same straight into `memory`; how many bytes came."""

    def pwrite(self, data: bytes, position: int) -> int:
        """Write `data` to the host, perhaps less than all; how much (write-through mappings only)."""

    def seek(self, offset: int, whence: int) -> int:
        """SEEK_DATA or SEEK_HOLE from `offset` on; -1 where nothing follows."""


class Accounting(Protocol):
    """Who is told of pages that exist only in memory."""

    def charge(self, pages: int) -> None:
        """Errno(ENOSPC) when there is no room."""

    def uncharge(self, pages: int) -> None:
        """They are gone."""


class address_space:
    """`struct address_space`: the cached pages of the file `host`."""

    __slots__ = ("account", "backing", "backing_size", "dirty", "fallocated", "holds_code", "host", "i_mmap", "kernel",
                 "pages", "write_through")  # fmt: skip

    def __init__(
        self,
        kernel: Kernel,
        host: inode,
        backing: Optional[Backing] = None,
        account: Optional[Accounting] = None,
        write_through: bool = False,
    ) -> None:
        self.kernel = kernel
        self.host = host
        self.backing = backing
        self.backing_size = host.i_size if backing is not None else 0
        """Bytes of the backing that are still part of the file: truncation shortens it for good."""
        self.account = account
        self.write_through = write_through
        """Whether writes go to the backing (a ``:rw`` bind) and not into the layer."""
        self.pages: dict[int, int] = {}
        """Page index -> frame; the cache holds one reference to each."""
        self.fallocated: dict[int, int] = {}
        """The same of pages that fallocate(2) took and nobody has used: holes yet.  `new_page` uses them first."""
        self.dirty: set[int] = set()
        """Pages that exist in memory alone: charged, and never dropped."""
        self.i_mmap: dict[vm_area_struct, None] = {}
        self.holds_code = False
        """Whether an area has ever mapped it executable (mm/vma_ops.py: watch_code)."""

    # -- mappings ----------------------------------------------------------------------------------

    def vma_link(self, vma: vm_area_struct) -> None:
        """An area maps this file."""
        self.i_mmap[vma] = None

    def vma_unlink(self, vma: vm_area_struct) -> None:
        """It does no longer; its entries are still there, so what it wrote is known now."""
        self.i_mmap.pop(vma, None)
        if self.write_through and vma.vm_flags & VM_SHARED:
            self._collect_dirty(vma)
            with suppress(Errno):  # munmap and exit don't fail of it: the pages stay dirty
                self._write_dirty()

    def _collect_dirty(self, vma: vm_area_struct) -> None:
        """Take the D bits of an area's entries over into the frames' flags."""
        flags, pages = self.kernel.mem.flags, self.pages
        for address, pte in vma.vm_mm.walk_present(vma.vm_start, vma.vm_end):
            if pte & P and pte & D:
                pfn = pages.get(vma.vm_pgoff + ((address - vma.vm_start) >> PAGE_SHIFT))
                if pfn is not None and pfn == (pte & 0x000F_FFFF_FFFF_F000) >> PAGE_SHIFT:
                    flags[pfn] |= PG_dirty

    # -- pages -------------------------------------------------------------------------------------

    def find_or_read(self, index: int) -> int:
        """The frame of page `index`, read in if need be.  EIO, ENOMEM, ENOSPC (tmpfs is full)."""
        while True:
            pfn = self.pages.get(index)
            if pfn is not None:
                return pfn
            try:
                return self._read_page(index)
            except Errno as error:
                if error.errno != ENOMEM or not self.kernel.wait_for_memory():
                    raise

    def _read_page(self, index: int) -> int:
        start = index << PAGE_SHIFT
        if start >= self.backing_size:
            return self.new_page(index)
        assert self.backing is not None
        kernel = self.kernel
        data = self.backing.pread(min(PAGE_SIZE, self.backing_size - start), start)
        pfn = kernel.mem.alloc_pages(GFP_HIGHUSER, 0, OWNER)
        kernel.ram.frame(pfn)[:] = data.ljust(PAGE_SIZE, b"\0")
        self.pages[index] = pfn
        return pfn

    def new_page(self, index: int) -> int:
        """A page of zeros that only memory has."""
        if index in self.fallocated:
            return self.pages.setdefault(index, self.fallocated.pop(index))
        charged = self.account is not None and not self.write_through
        if charged:
            self.account.charge(1)  # type: ignore[union-attr]
        try:
            pfn = self.kernel.mem.alloc_pages(GFP_HIGHUSER | GFP_ZERO, 0, OWNER)
        except Errno:
            if charged:
                self.account.uncharge(1)  # type: ignore[union-attr]
            raise
        self.pages[index] = pfn
        if charged:
            self.dirty.add(index)
        return pfn

    def _page_for_writing(self, index: int, whole: bool) -> int:
        pfn = self.pages.get(index)
        if pfn is None:
            pfn = self._whole_page(index) if whole else self.find_or_read(index)
        if index not in self.dirty and self.account is not None and not self.write_through:
            self.account.charge(1)
            self.dirty.add(index)
        return pfn

    def writable_at_once(self, index: int) -> bool:
        """Whether `_page_for_writing` would neither wait nor fail, and what is written stays here."""
        return not self.write_through and index in self.pages and (index in self.dirty or self.account is None)

    def _whole_page(self, index: int) -> int:
        while True:
            try:
                return self.pages[index] if index in self.pages else self.new_page(index)
            except Errno as error:
                if error.errno != ENOMEM or not self.kernel.wait_for_memory():
                    raise

    # -- read and write ----------------------------------------------------------------------------

    def read(self, position: int, count: int) -> bytes:
        """Up to `count` bytes from `position`, b"" at the end of the file."""
        count = min(count, self.host.i_size - position)
        if count <= 0:
            return b""
        view, pages = self.kernel.ram.view, self.pages
        first, last = position >> PAGE_SHIFT, (position + count - 1) >> PAGE_SHIFT
        if first == last and first in pages:
            start = (pages[first] << PAGE_SHIFT) + (position & _OFFSET)
            return bytes(view[start : start + count])
        if not pages and position + count <= self.backing_size:
            data = self.backing.pread(count, position)  # type: ignore[union-attr]
            return data if len(data) == count else data + bytes(count - len(data))
        return bytes(self._patched(position, count, first, last))

    def _patched(self, position: int, count: int, first: int, last: int) -> bytearray:
        view, pages = self.kernel.ram.view, self.pages
        out = bytearray(count)
        wanted = min(count, self.backing_size - position)
        if wanted > 0 and any(index not in pages for index in range(first, last + 1)):
            data = self.backing.pread(wanted, position)  # type: ignore[union-attr]
            out[: len(data)] = data
        cached = range(first, last + 1) if last - first < len(pages) else sorted(pages)
        for index in cached:
            pfn = pages.get(index)
            if pfn is None or not first <= index <= last:
                continue
            start = max(position, index << PAGE_SHIFT)
            end = min(position + count, (index + 1) << PAGE_SHIFT)
            base = (pfn << PAGE_SHIFT) + (start & _OFFSET)
            out[start - position : end - position] = view[base : base + end - start]
        return out

    def write(self, position: int, data: bytes) -> int:
        """Write `data` at `position`; the file grows.  A count short of `data` where memory ran out midway."""
        host = self.host
        if position > host.i_size:
            self._zero_tail(host.i_size)
        if self.write_through:
            done = self.backing.pwrite(data, position)  # type: ignore[union-attr]
            self.patch_cached(position, data[:done])
            self.backing_size = max(self.backing_size, position + done)
        else:
            done = self._write_pages(position, data)
        host.i_size = max(host.i_size, position + done)
        return done

    def _write_pages(self, position: int, data: bytes) -> int:
        view, mem = self.kernel.ram.view, self.kernel.mem
        done, count = 0, len(data)
        source = memoryview(data)
        while done < count:
            offset = position & _OFFSET
            piece = min(count - done, PAGE_SIZE - offset)
            try:
                pfn = self._page_for_writing(position >> PAGE_SHIFT, piece == PAGE_SIZE)
            except Errno:
                if done:
                    break
                raise
            base = (pfn << PAGE_SHIFT) + offset
            view[base : base + piece] = source[done : done + piece]
            if mem.flags[pfn] & PG_exec:
                self.kernel.cpu.drop_code()
            done += piece
            position += piece
        return done

    def patch_cached(self, position: int, data: bytes) -> None:
        """Write what is in pages that are here."""
        view, mem = self.kernel.ram.view, self.kernel.mem
        end = position + len(data)
        for index in range(position >> PAGE_SHIFT, ((end - 1) >> PAGE_SHIFT) + 1):
            pfn = self.pages.get(index)
            if pfn is None:
                continue
            low, high = max(position, index << PAGE_SHIFT), min(end, (index + 1) << PAGE_SHIFT)
            base = (pfn << PAGE_SHIFT) + (low & _OFFSET)
            view[base : base + high - low] = data[low - position : high - position]
            if mem.flags[pfn] & PG_exec:
                self.kernel.cpu.drop_code()

    def _zero_tail(self, size: int) -> None:
        """Zero what a mapping may have written behind the end `size`, before the file grows over it."""
        pfn = self.pages.get(size >> PAGE_SHIFT)
        offset = size & _OFFSET
        if pfn is not None and offset:
            start = pfn << PAGE_SHIFT
            self.kernel.ram.view[start + offset : start + PAGE_SIZE] = bytes(PAGE_SIZE - offset)

    # -- truncation, write-back, release -----------------------------------------------------------

    def truncate(self, length: int) -> None:
        """Set the size: mapped pages beyond it go, the rest of the last one becomes zeros.

        The backing of a write-through file is truncated by its inode, before this.
        """
        old, self.host.i_size = self.host.i_size, length
        if length >= old:
            self._zero_tail(old)
            if self.write_through:
                self.backing_size = length
            return
        first = (length + _OFFSET) >> PAGE_SHIFT
        if self.i_mmap:
            self.kernel.unmap_mapping_range(self, first, 1 << 51)
        self._drop([index for index in (*self.pages, *self.fallocated) if index >= first])
        self.backing_size = min(self.backing_size, length)
        offset = length & _OFFSET
        if offset:
            if not self.write_through and length - offset < self.backing_size:
                self._page_for_writing(length >> PAGE_SHIFT, False)
            self._zero_tail(length)

    def punch(self, first: int, last: int) -> None:
        """Make pages `first` up to `last` (exclusive) zeros that take no room (FALLOC_FL_PUNCH_HOLE); the backing of a
        write-through file has its hole already."""
        if self.i_mmap:
            from machine.kernel.mm.munmap import unmap_mapping_range

            unmap_mapping_range(self.kernel, self, first, last - 1, even_cows=False)
        self._drop([index for index in (*self.pages, *self.fallocated) if first <= index < last])
        for index in () if self.write_through else range(first, min(last, (self.backing_size + _OFFSET) >> PAGE_SHIFT)):
            self.new_page(index)

    def _drop(self, indexes: list[int]) -> None:
        for index in indexes:
            self.kernel.mem.put_page((self.pages if index in self.pages else self.fallocated).pop(index))
            if index in self.dirty:
                self.dirty.discard(index)
                if self.account is not None:
                    self.account.uncharge(1)

    def writeback(self, start_index: int = 0, end_index: int = 1 << 52) -> None:
        """Bring pages `start_index` to `end_index` (inclusive) that mappings wrote to the host (msync, fsync).

        Nothing to do unless the file is a ``:rw`` bind.  Errno of the host's write.
        """
        if not self.write_through:
            return
        for vma in self.i_mmap:
            if vma.vm_flags & VM_SHARED:
                self._collect_dirty(vma)
        self._write_dirty(start_index, end_index)

    def _write_dirty(self, first: int = 0, last: int = 1 << 52) -> None:
        """An entry that stays writable keeps its D bit, so a page that is mapped may be written again."""
        kernel, size = self.kernel, self.host.i_size
        for index in sorted(self.pages):
            pfn = self.pages[index]
            start = index << PAGE_SHIFT
            if first <= index <= last and kernel.mem.flags[pfn] & PG_dirty and start < size:
                kernel.mem.flags[pfn] &= ~PG_dirty
                try:
                    self._write_back(bytes(kernel.ram.frame(pfn)[: size - start]), start)
                except Errno:
                    kernel.mem.flags[pfn] |= PG_dirty  # the disk may have room next time
                    raise

    def _write_back(self, data: bytes, position: int) -> None:
        while data:
            done = self.backing.pwrite(data, position)  # type: ignore[union-attr]
            if not done:
                raise Errno(EIO)
            data, position = data[done:], position + done

    def drop_clean_pages(self) -> int:
        """Give back pages that can be read again and that nobody maps; returns how many."""
        mem = self.kernel.mem
        if self.backing is None or not self.pages:
            return 0
        clean = [
            index
            for index, pfn in self.pages.items()
            if index not in self.dirty and mem.count[pfn] == 1 and not mem.flags[pfn] & PG_dirty
        ]
        self._drop(clean)
        return len(clean)

    def invalidate(self, size: int) -> None:
        """The backing has changed under us: forget what was read, except pages that are mapped or written."""
        self.drop_clean_pages()
        self.backing_size = size

    def invalidate_mapped(self, size: int) -> None:
        """As `invalidate`, and who maps it sees the backing as it is now: what mappings wrote stays, but for what is
        beyond the new end (mm/truncate.c: invalidate_inode_pages2, truncate_inode_pages)."""
        mem, end = self.kernel.mem, (size + _OFFSET) >> PAGE_SHIFT
        for vma in self.i_mmap:
            if vma.vm_flags & VM_SHARED:
                self._collect_dirty(vma)
        stale = [index for index, pfn in self.pages.items() if index >= end or not mem.flags[pfn] & PG_dirty]
        if self.i_mmap:
            from machine.kernel.mm.munmap import unmap_mapping_range

            unmap_mapping_range(self.kernel, self, end, 1 << 51)
            for index in stale:
                if index < end and mem.count[self.pages[index]] > 1:
                    unmap_mapping_range(self.kernel, self, index, index, even_cows=False)
        self._drop([index for index in stale if mem.count[self.pages[index]] == 1])
        self.backing_size = size

    def release(self) -> None:
        """The file is gone: free every page."""
        self._drop([*self.pages, *self.fallocated])


# -- mappings of regular files ---------------------------------------------------------------------


def filemap_nopage(vma: vm_area_struct, address: int, kind: Optional[Ptr]) -> NopageResult:
    """First touch of a page of a mapped file (mm/filemap.c: filemap_nopage).

    Beyond the end of the file, and where the host can't be read or tmpfs is full: NOPAGE_SIGBUS.
    """
    filp: Any = vma.vm_file
    mapping: address_space = filp.f_inode.i_mapping
    index = vma.vm_pgoff + ((address - vma.vm_start) >> PAGE_SHIFT)
    node: Any = mapping.host
    if index << PAGE_SHIFT >= node.i_size:
        node.before_read()
    if index << PAGE_SHIFT >= mapping.host.i_size:
        return beyond_end(vma, mapping.host.i_size)
    pfn = mapping.pages.get(index)
    if pfn is None:
        if kind is not None and index << PAGE_SHIFT < mapping.backing_size:
            kind[0] = VM_FAULT_MAJOR
        try:
            pfn = mapping.find_or_read(index)
        except Errno as error:
            return not_read(vma, error)
    mem = mapping.kernel.mem
    mem.get_page(pfn)
    return Page(mem, pfn)


generic_file_vm_ops = vm_operations_struct(nopage=filemap_nopage)


def generic_file_mmap(filp: file, vma: vm_area_struct) -> int:
    """The `mmap` method of every regular file.  EPERM where a seal forbids a writable shared mapping."""
    node: Any = filp.f_inode
    if node.i_mapping is None:
        return -ENOEXEC
    seals = getattr(node, "seals", 0)
    if vma.vm_flags & VM_SHARED and seals & (F_SEAL_WRITE | F_SEAL_FUTURE_WRITE):
        if vma.vm_flags & VM_WRITE:
            return -EPERM
        vma.vm_flags &= ~VM_MAYWRITE
    if not filp.f_flags & O_NOATIME:
        node.touch_atime()
    vma.vm_ops = generic_file_vm_ops
    return 0
