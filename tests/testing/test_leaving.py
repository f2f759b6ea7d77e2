"""How a test leaves its machine: drivers are unloaded, and what they leave behind fails it.

LDD3 ch. 2: an exit function undoes what init did; docs/writing-a-driver.md: "Mistakes that are reported".
"""

from __future__ import annotations

import re

import pytest

from tests.testing.conftest import Project

pytest_plugins = ["pytester"]

DRIVER = """
from machine.kernel.linux import *

how = ""
module_param("how", charp, 0)
page = 0

def holder_init():
    global page
    page = get_zeroed_page(GFP_KERNEL)
    printk(f"{THIS_MODULE.name} is there\\n")
    return register_chrdev(231, "holder", file_operations())

def holder_exit():
    unregister_chrdev(231, "holder")
    printk(f"{THIS_MODULE.name} goes\\n")
    if how == "raise":
        raise ValueError("no way out")
    if how != "leak":
        free_page(page)

module_init(holder_init)
module_exit(holder_exit)
"""
LEAK = r"holder: not released at unload: 1 page at physical 0x[0-9a-f]+, count 1, got at holder\.py:10 in holder_init"
NOT_CLEAN = "the machine is not clean after the test:\n"


@pytest.fixture
def holder(project: Project) -> Project:
    (project.path / "holder.py").write_text(DRIVER)
    return project


def teardown_of(holder: Project, tests: str, how: str = "leak", passed: int = 1) -> str:
    """What the one error at teardown says."""
    result = holder.run(f"@pytest.mark.device('holder.py,how={how}')\n{tests}", "--tb=short")
    result.assert_outcomes(passed=passed, errors=1)
    text = str(result.stdout.str())
    return text.partition(" ERROR at teardown of test_it ")[2].partition("\n")[2].partition("\n===")[0]


@pytest.mark.parametrize(
    "body",
    [
        "run('true')",
        "run('rmmod', 'holder', check=True)",
        "machine.unload('holder')",
        "run('rmmod', 'holder', check=True); run('insmod', 'holder', 'how=leak', check=True)",
    ],
)
def test_a_page_that_exit_forgets(holder: Project, body: str) -> None:
    """Whoever unloads it: the end of the test, the guest, the test."""
    said = teardown_of(holder, f"def test_it(run, machine): {body}\n")
    leaks = "\n".join([LEAK] * (1 + body.count("how=leak")))
    assert re.fullmatch(NOT_CLEAN + leaks, said.strip()), said


def test_an_exit_function_that_raises(holder: Project) -> None:
    said = teardown_of(holder, "def test_it(run): run('true')\n", "raise")
    assert said.startswith(NOT_CLEAN + "oops: Traceback (most recent call last):\n"), said
    assert 'holder.py", line 18, in holder_exit' in said and "ValueError: no way out\n" in said
    assert re.search(f"^{LEAK}$", said, re.M), "what it did not get to"


def test_a_driver_that_gives_all_back_goes_well(holder: Project) -> None:
    """Also when the guest has loaded it, or still has it open when the test ends."""
    tests = """
@pytest.mark.device("holder.py")
@pytest.mark.parametrize("way", ["loaded", "open", "insmod"])
def test_it(machine, run, start, guest_cc, way):
    if way == "open":
        start("sh", "-c", "mknod /tmp/h c 231 0 && exec 3</tmp/h && exec sleep 1000")
        machine.run_until(lambda: machine.kernel.modules["holder"].refcount)
    if way == "insmod":
        run("rmmod", "holder", check=True)
        run("insmod", "holder", check=True)
    from machine import Machine
    before = Machine.close
    def closed(self):
        assert [line for line in self.dmesg if "holder goes" in line][-1:], "it went before the machine"
        assert "holder" not in self.kernel.modules
        before(self)
    machine.close = closed.__get__(machine)
"""
    holder.run(tests).assert_outcomes(passed=3)


def test_the_last_goes_first(holder: Project) -> None:
    (holder.path / "other.py").write_text(DRIVER.replace("231", "232"))
    tests = """
@pytest.mark.device("other.py,how=leak")
@pytest.mark.device("holder.py,how=leak")
def test_it(machine): pass
"""
    said = holder.run(tests).stdout.str()
    assert said.index("\nholder: not released") < said.index("\nother: not released"), said


def test_a_failed_test_fails_once(holder: Project) -> None:
    tests = "@pytest.mark.device('holder.py,how=leak')\ndef test_it(run): assert run('false').exit == 0\n"
    holder.run(tests).assert_outcomes(failed=1)


def test_each_run_of_for_each_fault_is_left_so(holder: Project) -> None:
    tests = """
@pytest.mark.device("holder.py,how=leak")
@pytest.mark.misbehaves("not released at unload: 1 page")
def test_wanted(for_each_fault):
    for_each_fault(["true"], "ENOMEM", limit=1).assert_survived()

@pytest.mark.device("holder.py,how=leak")
@pytest.mark.misbehaves("not released at unload: 1 page", "never seen")
def test_never(for_each_fault):
    for_each_fault(["true"], "ENOMEM", limit=1).assert_survived()

@pytest.mark.device("holder.py,how=raise")
@pytest.mark.for_each_fault("ENOMEM", ["true"], limit=1)
def test_leak(fault_run):
    assert fault_run[0].verdict == "leak" and "no way out" in fault_run[0].detail
"""
    result = holder.run(tests)
    result.assert_outcomes(passed=3, errors=1)
    result.stdout.fnmatch_lines(["*misbehaves marker: nothing that the kernel complained of has 'never seen' in it"])


# -- what a test wants -------------------------------------------------------------------------------------------------


def test_misbehaviour_that_is_wanted(holder: Project) -> None:
    tests = """
@pytest.mark.misbehaves(r"not released at unload: 1 page at .*holder\\.py:10 in holder_init")
@pytest.mark.device("holder.py,how=leak")
def test_it(run): run("rmmod", "holder", check=True)
@pytest.mark.misbehaves("no way out")
@pytest.mark.misbehaves("holder: not released", "made up")
@pytest.mark.device("holder.py,how=raise")
def test_several(machine): machine.kernel.report("Bad page state: made up")
"""
    holder.run(tests).assert_outcomes(passed=2)
    said = teardown_of(holder, "@pytest.mark.misbehaves('no way out')\ndef test_it(machine): pass\n", "raise")
    assert re.fullmatch(NOT_CLEAN + LEAK, said.strip()), "the exception was wanted, and nothing else"


@pytest.mark.parametrize(
    ("marker", "text"),
    [
        ('("no way out", "2 pages")', "nothing that the kernel complained of has 'no way out', '2 pages' in it"),
        ("", ("it takes what the kernel is to complain of, a regular expression each: "
              '@pytest.mark.misbehaves("not released at unload: 1 page")')),
        ('("*")', "'*': no regular expression: nothing to repeat at position 0"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_the_marker(holder: Project, marker: str, text: str) -> None:
    tests = f"@pytest.mark.misbehaves{marker}\n@pytest.mark.device('holder.py')\ndef test_it(machine): pass\n"
    result = holder.run(tests, "--tb=short")
    result.assert_outcomes(passed=int("nothing that" in text), errors=1)
    assert f"\ntest_it.py:3: misbehaves marker: {text}\n" in result.stdout.str(), result.stdout.str()
