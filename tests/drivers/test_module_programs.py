"""insmod, rmmod, lsmod and dmesg: ours, kmod's and util-linux's (MECHANISMS A4)."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from guest import bin_directory
from machine import Machine

Run = Callable[..., Any]


def words(m: Machine, suffix: str, *argv: str) -> tuple[int, str]:
    """Exit status and output of a demo program, wherever the guest's own would be found first."""
    program = bin_directory("i386" if suffix else "x86_64") / argv[0]
    result = m.run([str(program), *argv[1:]], timeout=60)
    return result.exit, (result.stdout + result.stderr).decode()


@pytest.mark.parametrize("suffix", ["", "32"])
def test_the_programs(easel: Machine, suffix: str) -> None:
    """insmod, lsmod, rmmod, dmesg: both builds."""
    assert words(easel, suffix, "insmod") == (1, "usage: insmod FILE|NAME [PARAMETER=VALUE...]\n")
    assert words(easel, suffix, "insmod", "easel", "count=9") == (0, "")
    assert words(easel, suffix, "insmod", "/lib/modules/6.1.0-nopage/easel.ko") == (
        1,
        "insmod: /lib/modules/6.1.0-nopage/easel.ko: it is loaded already\n",
    )
    assert words(easel, suffix, "insmod", "weasel") == (
        1,
        "insmod: /lib/modules/6.1.0-nopage/weasel.ko: No such file or directory\n",
    )
    status, text = words(easel, suffix, "lsmod")
    assert status == 0 and text.splitlines()[:2] == [
        "Module                  Size  Used by",
        "easel                   4096  0",
    ]
    assert words(easel, suffix, "rmmod", "easel", "easel") == (1, "rmmod: easel is not loaded\n")
    assert words(easel, suffix, "insmod", "easel", "colour=red") == (
        1,
        "insmod: easel: unknown parameter (see dmesg)\n",
    )
    status, text = words(easel, suffix, "dmesg", "-r")
    assert status == 0 and re.search(r"^<3>\[ +\d+\.\d{6}\] insmod: easel has no parameter 'colour'", text, re.M)
    status, text = words(easel, suffix, "dmesg", "-c")
    assert status == 0 and re.search(r"^\[ +\d+\.\d{6}\] insmod: easel has no parameter 'colour'", text, re.M)
    assert words(easel, suffix, "dmesg") == (0, "")


@pytest.mark.parametrize("suffix", ["", "32"])
def test_rmmod_says_who_holds_it(easel: Machine, suffix: str) -> None:
    """The issue's own words: `rmmod` says who holds it."""
    easel.load("scullp")
    script = f"""
        head -c 200000 /dev/zero > /dev/scullp0
        mapper /dev/scullp0 0 200000 2>/tmp/said >/tmp/fifo &
        exec 3</dev/scullp1
        while ! grep -q mapped /tmp/said; do sleep 0.01; done
        rmmod{suffix} scullp
    """
    # The mapper keeps its mapping: nobody reads the other end of its output.
    assert easel.run(["mkfifo", "/tmp/fifo"]).exit == 0
    reader = easel.spawn(["sh", "-c", "exec 4</tmp/fifo; sleep 1000"])
    result = easel.run(["sh", "-c", script], timeout=60)
    assert result.exit == 1, result.stderr
    said = result.stderr.decode()
    assert re.fullmatch(
        r"rmmod: scullp is in use by: sh \(pid (\d+)\) /dev/scullp1 \(fd 3\), "
        r"mapper \(pid (\d+)\) /dev/scullp0 \(mapped\)\n",
        said,
    ), said
    assert reader.pid in easel.kernel.tasks and easel.kernel.modules["scullp"].refcount


def test_rmmod_waits(easel: Machine) -> None:
    assert easel.run(["insmod", "easel"]).exit == 0
    result = easel.run(["sh", "-c", "sleep 0.2 3</dev/easel & sleep 0.05; rmmod -w easel; ls /dev/easel"], timeout=60)
    assert result.stderr.endswith(b"No such file or directory\n") and "easel" not in easel.kernel.modules


def test_a_driver_is_there_again_after_rmmod(m: Machine, driver: Run) -> None:
    """What --device has loaded can be unloaded and loaded inside."""
    driver(
        "level = 1\nmodule_param('level', int, 0)\nmodule_init(lambda: 0)\nmodule_exit(lambda: None)\n", name="again"
    )
    assert m.run(["rmmod", "again"]).exit == 0
    assert m.run(["insmod", "again", "level=3"]).exit == 0
    assert m.kernel.modules["again"].namespace["level"] == 3


@pytest.mark.parametrize("name", ["insmod", "rmmod", "lsmod"])
def test_programs_of_kmod(easel: Machine, name: str) -> None:
    """Those of the host, by their path: what they read in /sys/module and /proc/modules is there."""
    if not Path(f"/sbin/{name}").exists():
        pytest.skip(f"no /sbin/{name}")
    if name != "insmod":
        assert easel.run(["insmod", "easel"]).exit == 0
    argument = {"insmod": ["/lib/modules/6.1.0-nopage/easel.ko", "count=4"], "rmmod": ["easel"], "lsmod": []}[name]
    result = easel.run([f"/sbin/{name}", *argument], timeout=60)
    assert result.exit == 0 and result.stderr == b""
    assert ("easel" in easel.kernel.modules) == (name != "rmmod")
    if name == "lsmod":
        assert result.stdout == words(easel, "", "lsmod")[1].encode()


def test_dmesg_of_the_host(easel: Machine) -> None:
    """util-linux: it reads /dev/kmsg, and is found before ours."""
    program = next((path for path in ("/usr/bin/dmesg", "/bin/dmesg") if Path(path).exists()), None)
    if program is None:
        pytest.skip("no dmesg")
    easel.kernel.printk("a line for dmesg", 4)
    for argv in ([program], ["dmesg", "--level=warn"], ["dmesg", "-S"]):
        result = easel.run(argv, timeout=60)
        assert result.exit == 0 and result.stdout.endswith(b"a line for dmesg\n"), (argv, result.stderr)
    assert easel.run(["dmesg", "-C"]).exit == 0
    assert easel.run(["dmesg"]).stdout == b""
