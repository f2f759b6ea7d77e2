"""Drivers loaded and unloaded in the guest: init_module, finit_module, delete_module, /sys/module (A4, D6)."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from machine import Machine
from machine.kernel.modparam import parse_args

Run = Callable[..., Any]

HEADER = """
#include <sys/syscall.h>
#define KO "/lib/modules/6.1.0-nopage/"
#define IMAGE(name) "nopage module\\n" name "\\n"
#define init_module(image, arguments) syscall(SYS_init_module, image, sizeof image - 1, arguments)
#define finit_module(fd, arguments, flags) syscall(SYS_finit_module, fd, arguments, flags)
#define delete_module(name, flags) syscall(SYS_delete_module, name, flags)
"""


def test_load_and_unload(easel: Machine, run_c: Run) -> None:
    """# A4: by image and by file, from a copy of the file too; each error; what is loaded shows."""
    run_c(
        easel,
        HEADER
        + r"""
        static const char image[] = IMAGE("easel"), unknown[] = IMAGE("weasel"), path[] = IMAGE("../easel");
        static const char longer[] = IMAGE("easel") "import os\n", code[] = "import os\nos.system('id')\n";
        char text[100];
        int fd = open(KO "easel.ko", O_RDONLY), copy = open("/tmp/any-name", O_RDWR | O_CREAT, 0600), n;

        CHECK("its file is there", fd >= 0);
        n = read(fd, text, sizeof text);
        EQUAL("of the image's length", n, sizeof image - 1);
        CHECK("and is the image", !memcmp(text, image, n));
        EQUAL("init_module", init_module(image, "count=0x10 word=\"two words\" sizes=3,010 flag"), 0);
        ERRNO("twice", init_module(image, ""), EEXIST);
        CHECK("its device", !access("/dev/easel", R_OK | W_OK));
        EQUAL("delete_module", delete_module("easel", O_NONBLOCK), 0);
        ERRNO("the device is gone", open("/dev/easel", O_RDONLY), ENOENT);
        ERRNO("delete_module twice", delete_module("easel", O_NONBLOCK), ENOENT);
        EQUAL("finit_module", finit_module(fd, "", 3), 0);
        EQUAL("unload", delete_module("easel", 0), 0);
        EQUAL("a copy", write(copy, text, n), n);
        EQUAL("works like the file", finit_module(copy, "", 0), 0);
        EQUAL("unload", delete_module("easel", O_NONBLOCK | O_TRUNC), 0);

        ERRNO("a driver that is not there", init_module(unknown, ""), ENOEXEC);
        ERRNO("a path", init_module(path, ""), ENOEXEC);
        ERRNO("more than an image", init_module(longer, ""), ENOEXEC);
        ERRNO("Python", init_module(code, ""), ENOEXEC);
        ERRNO("nothing", syscall(SYS_init_module, image, 0L, ""), ENOEXEC);
        ERRNO("a bad address", syscall(SYS_init_module, 8L, sizeof image - 1, ""), EFAULT);
        ERRNO("bad parameters", init_module(image, (char *)8), EFAULT);
        ERRNO("an unknown parameter", init_module(image, "colour=3"), ENOENT);
        ERRNO("a value that is none", init_module(image, "count=three"), EINVAL);
        ERRNO("what init returned", init_module(image, "answer=-19"), ENODEV);
        ERRNO("init raised", init_module(image, "answer=1"), EIO);
        ERRNO("no descriptor", finit_module(99, "", 0), EBADF);
        ERRNO("not open for reading", finit_module(open("/tmp/any-name", O_WRONLY), "", 0), EBADF);
        ERRNO("a directory", finit_module(open("/tmp", O_RDONLY), "", 0), EINVAL);
        ERRNO("a program", finit_module(open("/proc/self/exe", O_RDONLY), "", 0), ENOEXEC);
        ERRNO("an unknown flag", finit_module(fd, "", 8), EINVAL);
        ERRNO("compressed", finit_module(fd, "", 4), EOPNOTSUPP);
        ERRNO("no such module", delete_module("mem2", O_NONBLOCK), ENOENT);
        ERRNO("a bad name", delete_module((char *)8, O_NONBLOCK), EFAULT);
        EQUAL("a positive answer of init", init_module(image, "answer=5"), 0);
        CHECK("not root any more", !setuid(1000));
        ERRNO("init_module", init_module(image, ""), EPERM);
        ERRNO("finit_module", finit_module(fd, "", 0), EPERM);
        ERRNO("delete_module", delete_module("easel", O_NONBLOCK), EPERM);
    """,
    )
    log = easel.dmesg
    assert "insmod: easel is loaded already" in log
    assert [line for line in log if "no parameter 'colour'" in line and "count (int), flag (bool)" in line]
    assert "insmod: easel: count=three: not a number" in log
    assert "insmod: easel: its init function failed: ENODEV" in log
    assert [line for line in log if line.startswith("BUG: easel: ZeroDivisionError: on purpose at easel.py:")]
    assert "easel: init suspiciously returned 5; it should be 0 or a negative errno" in log
    assert sorted(easel.kernel.modules) == ["easel", "mem"]  # the last one, whose init returned 5
    assert easel.kernel.modules["easel"].state == "live"
    assert not [line for line in log if "not released at unload" in line]


def test_parameters_reach_the_driver(easel: Machine) -> None:
    """# A4: the kernel's syntax, and the driver's globals."""
    words = ["insmod", "easel", "count=-0x10", "flag", "word=two words", "sizes=5,010,0x7"]
    assert easel.run(words).exit == 0
    found = easel.kernel.modules["easel"].namespace
    assert [found[name] for name in ("count", "flag", "word", "sizes")] == [-16, True, "two words", [5, 8, 7]]
    assert parse_args('a=1  b="x y"\t"c=d e" f-g=h" "i on "" \n') == [
        ("a", "1"), ("b", "x y"), ("c", "d e"), ("f_g", 'h" "i'), ("on", ""), ("", ""),
    ]  # fmt: skip


def test_a_module_in_use_stays(easel: Machine, run_c: Run) -> None:
    """# A4: open files and mappings count; EWOULDBLOCK with O_NONBLOCK."""
    run_c(
        easel,
        HEADER
        + r"""
        static const char image[] = IMAGE("easel");
        char *p;
        int fd, other;

        EQUAL("load", init_module(image, ""), 0);
        fd = open("/dev/easel", O_RDWR);
        other = dup(fd);
        ERRNO("open", delete_module("easel", O_NONBLOCK), EWOULDBLOCK);
        p = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, 0);
        close(fd);
        ERRNO("the other descriptor", delete_module("easel", O_NONBLOCK | O_TRUNC), EWOULDBLOCK);
        close(other);
        ERRNO("only mapped", delete_module("easel", O_NONBLOCK), EWOULDBLOCK);
        munmap(p, PAGE);
        EQUAL("nobody", delete_module("easel", O_NONBLOCK), 0);
    """,
    )
    assert "easel" not in easel.kernel.modules and easel.kernel.reports == []


def test_delete_module_waits(easel: Machine, run_c: Run) -> None:
    """# A4: without O_NONBLOCK, until the last user goes; nobody new comes in; a signal ends it."""
    run_c(
        easel,
        HEADER
        + r"""
        static const char image[] = IMAGE("easel");
        struct sigaction action = { .sa_handler = (void (*)(int))getpid };
        int fd, pid, status, state;
        char text[20] = "";

        EQUAL("load", init_module(image, ""), 0);
        fd = open("/dev/easel", O_RDONLY);
        sigaction(SIGALRM, &action, NULL);
        ualarm(20000, 20000); /* again and again: the first may come before the call */
        ERRNO("a signal comes first", delete_module("easel", 0), EINTR);
        ualarm(0, 0);
        CHECK("it is as usable as before", (status = open("/dev/easel", O_RDONLY)) >= 0);
        close(status);

        pid = fork();
        if (!pid) {
            until_state(getppid(), 0, "SD");
            state = open("/sys/module/easel/initstate", O_RDONLY);
            if (read(state, text, 19) < 1 || strcmp(text, "going\n"))
                _exit(3);
            ERRNO("nobody can open it now", open("/dev/easel", O_RDONLY), ENXIO);
            ERRNO("nor unload it twice", delete_module("easel", O_NONBLOCK), EBUSY);
            _exit(failures != 0);
        }
        close(fd); /* the child has it */
        EQUAL("it waits", delete_module("easel", 0), 0);
        EQUAL("for the child", waitpid(pid, &status, WNOHANG), pid);
        EQUAL("which is content", status, 0);
    """.replace("waitpid(pid, &status, WNOHANG)", "(usleep(300000), waitpid(pid, &status, WNOHANG))"),
    )
    assert "easel" not in easel.kernel.modules


def test_exit_functions(m: Machine, driver: Run) -> None:
    """# A4: a module with an init and no exit stays; one whose exit raises goes, and says what it left."""
    driver("module_init(lambda: 0)\n", name="forever")
    result = m.run(["rmmod", "forever"])
    assert (result.exit, result.stderr) == (
        1,
        b"rmmod: forever can't be unloaded: it has no exit function, or is just being loaded or unloaded\n",
    )
    driver(
        """
        def cleanup():
            raise KeyError("too early")
            free_page(page)
        page = get_zeroed_page(GFP_KERNEL)
        module_exit(cleanup)
        """,
        name="clumsy",
    )
    assert m.run(["rmmod", "clumsy"]).exit == 0
    assert list(m.kernel.modules) == ["mem", "forever"]
    assert [oops.where for oops in m.kernel.oopses] == ["clumsy.exit"]
    assert re.fullmatch(
        r"clumsy: not released at unload: 1 page at physical 0x[0-9a-f]+, count 1, got at clumsy.py:6 in <module>",
        m.dmesg[-1],
    )


def test_everything_that_is_left_is_listed(m: Machine, driver: Run) -> None:
    """# D6: a line for each thing that the driver did not give back."""
    driver("""
        def init():
            get_zeroed_page(GFP_KERNEL)
            __get_free_pages(GFP_KERNEL, 2)
            kmalloc(100, GFP_KERNEL)
            vmalloc(5000)
            ioremap(0xe8000000, 0x1000)
            request_mem_region(0xfcc00000, 0x100, "bad regs")
            register_chrdev(0, "bad", file_operations())
            devfs_mk_cdev(MKDEV(254, 0), 0o666, "bad0")
            devfs_mk_symlink("badlink", "bad0")
            create_proc_read_entry("badproc", 0, None, lambda data: "", None)
            return 0
        module_init(init)
        module_exit(lambda: None)
    """)
    assert m.run(["cat", "/proc/badproc"]).exit == 0
    assert m.run(["rmmod", "bad"]).exit == 0
    left = [line.removeprefix("bad: not released at unload: ") for line in m.dmesg if "not released" in line]
    wanted = (
        r"1 page at physical 0x\w+, count 1, got at bad.py:4 in init",
        r"4 pages \(order 2\) at physical 0x\w+, count 1, got at bad.py:5 in init",
        r"kmalloc\(100\) at physical 0x\w+, got at bad.py:6 in init",
        r"vmalloc.*5000.*bad.py:7 in init",
        r"ioremap.*0xe8000000.*bad.py:8 in init",
        r"region fcc00000-fcc000ff 'bad regs'.*bad.py:9 in init",
        r"character device 254:0",
        r"device numbers of major 254 \('bad'\)",
        r"/dev/bad0",
        r"/dev/badlink",
        r"/proc/badproc",
    )
    for pattern in wanted:
        assert [line for line in left if re.search(pattern, line)], f"{pattern} is not in\n" + "\n".join(left)
    assert len(left) == len(wanted)
    after = m.run(["ls", "/dev/bad0", "/dev/badlink", "/proc/badproc"])
    assert after.stderr.count(b"No such file") == 3


def test_sys_module(easel: Machine, run_c: Run) -> None:
    """/sys/module: parameters with the permissions that the driver gave them; a write goes through the parser."""
    assert easel.run(["insmod", "easel", "count=5", "flag=y"]).exit == 0
    run_c(
        easel,
        r"""
        #define P "/sys/module/easel/parameters/"
        #define READS_AS(name, path, want) do { \
            char text[100] = ""; int fd = open(path, O_RDONLY); \
            CHECK(name, fd >= 0 && read(fd, text, 99) >= 0 && !strcmp(text, want)); close(fd); } while (0)
        int fd;

        READS_AS("int", P "count", "5\n");
        READS_AS("bool", P "flag", "Y\n");
        READS_AS("text", P "word", "plain\n");
        READS_AS("array", P "sizes", "1,2\n");
        READS_AS("state", "/sys/module/easel/initstate", "live\n");
        READS_AS("uses", "/sys/module/easel/refcnt", "0\n");
        READS_AS("size", "/sys/module/easel/coresize", "4096\n");
        ERRNO("permission 0: no file", access(P "secret", F_OK), ENOENT);
        fd = open(P "count", O_WRONLY);
        EQUAL("write", write(fd, "0x20\n", 5), 5);
        READS_AS("it is set", P "count", "32\n");
        ERRNO("a value that is none", write(fd, "x", 1), EINVAL);
        READS_AS("changes nothing", P "count", "32\n");
        fd = open(P "sizes", O_WRONLY);
        EQUAL("write an array", write(fd, "7,8,9", 5), 5);
        fd = open("/dev/easel", O_RDONLY);
        READS_AS("a use", "/sys/module/easel/refcnt", "1\n");
        CHECK("as another user", !setuid(1000));
        READS_AS("0644 can be read", P "count", "32\n");
        ERRNO("but not written", open(P "count", O_WRONLY), EACCES);
        ERRNO("0600 not even read", open(P "flag", O_RDONLY), EACCES);
        ERRNO("who uses it is root's to know", open("/sys/module/easel/users", O_RDONLY), EACCES);
        """,
    )
    found = easel.kernel.modules["easel"].namespace
    assert (found["count"], found["sizes"]) == (32, [7, 8, 9])
