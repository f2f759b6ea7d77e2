"""What the documents say must be what is there."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from machine import Machine
from machine.kernel import linux

TOP = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted([*TOP.glob("*.md"), *TOP.glob("docs/*.md")])


def test_the_table_of_system_calls_is_current() -> None:
    command = [sys.executable, "docs/gen_syscalls.py", "--check"]
    done = subprocess.run(command, cwd=TOP, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_readme_has_its_test_command_between_markers() -> None:
    text = (TOP / "README.md").read_text()
    found = re.findall(r"^<!-- test-command -->\n```[a-z]*\n(.*?)\n```\n<!-- /test-command -->$", text, re.M | re.S)
    assert len(found) == 1 and "-m pytest" in found[0], "what .ci/run takes from it"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(TOP)))
def test_links_lead_somewhere(document: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", document.read_text())
    gone = [link for link in links if "://" not in link and not (document.parent / link).exists()]
    assert gone == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(TOP)))
def test_files_that_documents_name_exist(document: Path) -> None:
    """Anything in backquotes that begins with one of our directories is a file or directory of ours."""
    named = set(re.findall(r"`((?:machine|drivers|guest|firmware|tests|bench|docs)/[\w./-]*)`", document.read_text()))
    assert sorted(name for name in named if not (TOP / name).exists()) == []


# -- the guide for writers of drivers ----------------------------------------------------------------------------------

GUIDE = (TOP / "docs" / "writing-a-driver.md").read_text()
BLOCKS = re.findall(r"^```python\n(.*?)^```$", GUIDE, re.M | re.S)
RING = TOP / "docs" / "examples" / "ring" / "ring.py"
DRIVER, SCRIPT = "from machine.kernel.linux import", "from machine import Machine"


def drivers_of_the_guide() -> dict[str, str]:
    """Name -> text of the whole drivers; the name is that of the node or file in the docstring."""
    whole = [block for block in BLOCKS if DRIVER in block]
    return {re.findall(r'"""/(?:dev|proc)/(\w+): ', block)[0]: block for block in whole}


def load_piece(piece: str, directory: Path) -> dict[str, Any]:
    """The globals of a driver that consists of this piece."""
    path = directory / "piece.py"
    path.write_text(f"{DRIVER} *\n{piece}")
    with Machine(devices=[str(path)], ram=16 << 20) as m:
        return dict(m.kernel.modules["piece"].namespace, nodes=dict(m.kernel.chrdevs.nodes))


def test_every_block_of_the_guide_is_executed() -> None:
    """As a driver, a script, a piece that is loaded, or a part of the ring driver."""
    left = [block for block in BLOCKS if DRIVER not in block and SCRIPT not in block and block not in RING.read_text()]
    assert len(left) == 2 and "DECLARE_MUTEX" in left[0] and "devnode" in left[1], "the pieces of the next two tests"
    assert sorted(drivers_of_the_guide()) == ["beat", "ramp", "sampler"]
    assert len([block for block in BLOCKS if SCRIPT in block]) == 2
    assert len([block for block in BLOCKS if block in RING.read_text()]) == 5


def test_the_drivers_of_the_guide_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its scripts load and check ramp.py and sampler.py; beat.py counts on the virtual clock."""
    for name, text in drivers_of_the_guide().items():
        (tmp_path / f"{name}.py").write_text(text)
    monkeypatch.chdir(tmp_path)
    for script in BLOCKS:
        if SCRIPT in script:
            exec(compile(script, "writing-a-driver.md", "exec"), {})
    with Machine(devices=["./beat.py"], ram=16 << 20, deterministic=True) as m:
        assert m.run(["sh", "-c", "sleep 0.35; cat /proc/beat"]).stdout == b"3\n"
        assert m.unload("beat") == [] and not m.kernel.reports and not m.kernel.oopses


def test_the_objects_of_the_guide(tmp_path: Path) -> None:
    """What C declares by a macro."""
    piece = next(block for block in BLOCKS if block.startswith("queue = DECLARE_WAIT_QUEUE_HEAD()\nsem"))
    made = load_piece(piece, tmp_path)
    kinds = {name: type(made[name]).__name__ for name in re.findall(r"^(\w+) = ", piece, re.M)}
    assert kinds == {
        "queue": "wait_queue_head_t", "sem": "semaphore", "mutex": "mutex", "lock": "spinlock_t", "done": "completion",
        "tasklet": "tasklet_struct", "work": "work_struct", "timer": "timer_list",
    }  # fmt: skip


def test_the_class_of_the_guide(tmp_path: Path) -> None:
    """Its devnode sets the mode of a node."""
    piece = next(block for block in BLOCKS if "devnode" in block)
    made = load_piece(piece + 'device_create(shelf_class, None, MKDEV(60, 0), None, "shelf0")\n', tmp_path)
    assert made["nodes"]["shelf0"][0] == (0o020666, 60 << 8)


# -- the list of names ------------------------------------------------------------------------------------------------

NAMES_OF_THE_BOOKS = """
    remap_pfn_range io_remap_page_range remap_page_range pgprot_noncached get_page put_page page_count VM_IO
    VM_RESERVED VM_SHARED VM_DONTCOPY VM_DONTEXPAND VM_READ VM_WRITE VM_EXEC VM_MAYREAD VM_MAYWRITE VM_MAYEXEC
    NOPAGE_SIGBUS NOPAGE_OOM VM_FAULT_MINOR get_zeroed_page get_free_page __get_free_page __get_free_pages
    get_free_pages __get_dma_pages free_page free_pages GFP_KERNEL GFP_ATOMIC GFP_DMA GFP_USER GFP_HIGHUSER
    kmalloc kfree kzalloc vmalloc vfree vmalloc_to_page __pa __va virt_to_page page_address pfn_to_page
    page_to_pfn pfn_valid MAP_NR mem_map mem_map_reserve mem_map_unreserve SetPageReserved ClearPageReserved
    high_memory access_ok verify_area get_user put_user __get_user __put_user get_user_ret put_user_ret
    copy_to_user copy_from_user __copy_to_user __copy_from_user copy_to_user_ret copy_from_user_ret clear_user
    strncpy_from_user strnlen_user ioremap ioremap_nocache iounmap readb readw readl writeb writew writel
    memcpy_fromio memcpy_toio memset_io request_mem_region release_mem_region semaphore down
    down_interruptible up spinlock_t current file_operations vm_operations_struct vm_area_struct module_init
    module_exit module_param printk poll_wait vm_start vm_end vm_flags vm_page_prot vm_pgoff vm_ops
    vm_private_data vm_file vm_mm nopage open close mmap
"""
"""What MECHANISMS B to D name."""


def test_the_list_of_names_is_current() -> None:
    command = [sys.executable, "docs/gen_interface.py", "--check"]
    done = subprocess.run(command, cwd=TOP, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_list_of_names_has_every_name() -> None:
    """All that a driver can import, all that the books name, and something to say about each function."""
    text = (TOP / "docs" / "driver-interface.md").read_text()
    named = set(re.findall(r"`(\w+)[(`]", text))
    assert sorted(set(linux.__all__) - named) == []
    assert [name for name in NAMES_OF_THE_BOOKS.split() if name not in named] == []
    assert re.findall(r"^\* `[^`]*`: ?$", text, re.M) == []


def test_the_python_example_of_the_readme_works() -> None:
    blocks = re.findall(r"^```python\n(.*?)^```$", (TOP / "README.md").read_text(), re.M | re.S)
    exec(compile(blocks[0], "README.md", "exec"), {})
