"""Coverage of the guest's source lines and of its blocks: `nopage run --cov`, `--nopage-cov`, `--nopage-drcov`."""

from __future__ import annotations

import re
import shutil
import subprocess
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from guest.toolchain import compile
from machine.cli import main
from machine.observe.symbols import ElfSymbols
from tests.conftest import build
from tests.testing.conftest import Project
from tests.unit.test_drcov import read as read_drcov

pytest_plugins = ["pytester"]

SOURCE = """\
#include <stdint.h>
#include <stdio.h>
#include <fcntl.h>
#include <sys/mman.h>

__attribute__((noinline)) int twice(int n) {
	return n * 2;
}

__attribute__((noinline)) int never(int n) {
	puts("never");
	return n;
}

int main(int argc, char **argv) {
	int sum = 0;
	for (int i = 0; i < 5; i++)
		sum += twice(i);
	if (argc > 1) {
		volatile uint32_t *at = mmap(0, 4096, 3, MAP_SHARED, open("/dev/mem", O_RDWR), 0xfe000000);
		at[0] = 1;
		sum += at[1];
		at[2] = 7;
	}
	if (argc > 2)
		sum = never(sum);
	printf("%d\\n", sum);
	return 0;
}
"""
ALWAYS = {6: 5, 7: 5, 15: 1, 16: 1, 17: 6, 18: 5, 19: 1, 25: 1, 27: 1, 28: 1}
"""Line -> executions, as gcov has them."""
WITH_DEVICE = (20, 21, 22, 23)
NEVER = (10, 11, 12, 26)


def lines_of(text: str) -> dict[int, int]:
    """Line -> count of a tracefile with one source."""
    assert text.count("SF:") == 1 and text.endswith("end_of_record\n")
    return {int(line): int(count) for line, count in re.findall(r"^DA:(\d+),(\d+)$", text, re.M)}


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "lines.c"
    path.write_text(SOURCE)
    return path


def built(source: Path, target: str) -> Path:
    """As gcc and clang both place lines: without optimization."""
    return Path(shutil.copy(compile(source, target=target, flags=["-O0"]), source.with_suffix("")))


@pytest.mark.parametrize("target", ["x86_64", "i386"])
def test_lines_and_functions(source: Path, target: str, capfd: pytest.CaptureFixture[str]) -> None:
    built(source, target)
    assert main(["run", "--ram", "64M", "--cov", "c.info", "--cov", "c.xml", "./lines"]) == 0
    assert capfd.readouterr().out == "20\n"
    text = Path("c.info").read_text()
    counts = lines_of(text)
    assert f"SF:{source}\n" in text
    assert {line: counts[line] for line in ALWAYS} == ALWAYS
    assert all(counts[line] == 0 for line in (*WITH_DEVICE, *NEVER))
    calls = dict(re.findall(r"^FNDA:(\d+),(\w+)$", text, re.M)[i][::-1] for i in range(3))
    assert calls == {"twice": "5", "never": "0", "main": "1"} and "FN:10,never\n" in text and "FNF:3\nFNH:2\n" in text
    ran = sum(count > 0 for count in counts.values())
    assert f"LF:{len(counts)}\nLH:{ran}\n" in text
    root = ElementTree.parse("c.xml").getroot()
    assert root.attrib["lines-valid"] == str(len(counts)) and root.attrib["lines-covered"] == str(ran)
    (one,) = root.iter("class")
    assert one.attrib["filename"] == "lines.c"
    assert {int(e.attrib["number"]): int(e.attrib["hits"]) for e in one.findall("lines/line")} == counts
    assert [e.attrib["name"] for e in one.iter("method")] == ["twice", "never", "main"]


@pytest.mark.skipif(shutil.which("genhtml") is None, reason="no genhtml here (Debian: apt install lcov)")
def test_genhtml_reads_it(source: Path) -> None:
    built(source, "x86_64")
    main(["run", "--ram", "64M", "--cov", "c.info", "./lines"])
    done = subprocess.run(["genhtml", "-o", "html", "c.info"], capture_output=True, text=True, timeout=60, check=True)
    counts = lines_of(Path("c.info").read_text())
    ran = sum(count > 0 for count in counts.values())
    assert f"({ran} of {len(counts)} lines)" in done.stdout and "(2 of 3 functions)" in done.stdout
    assert list(Path("html").rglob("lines.c.gcov.html"))


@pytest.mark.parametrize("target", ["x86_64", "i386"])
def test_removed_code_has_no_lines(tmp_path: Path, target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The linker leaves its lines behind, at 0: where a position-independent program has other code."""
    monkeypatch.chdir(tmp_path)
    dead = "".join(f"\tv = v * {n} + 1;\n" for n in range(3, 3000))
    text = f"volatile int v;\nint main(void) {{\n\treturn v;\n}}\nvoid dead(void) {{\n{dead}}}\n"
    source = Path("gone.c")
    source.write_text(text)
    flags = ["-O0", "-ffunction-sections", "-Wl,--gc-sections"]
    shutil.copy(build(source, target=target, libc="glibc", static=False, cc="host", flags=flags), "gone")
    assert main(["run", "--ram", "64M", "--cov", "c.info", "./gone"]) == 0
    assert set(lines_of(Path("c.info").read_text()).items()) == {(2, 1), (3, 1), (4, 1)}


@pytest.mark.parametrize("workers", [0, 2])
def test_runs_of_all_tests_are_added_up(
    project: Project, source: Path, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two runs without the device and one with it; of two processes as of one.  Registers cut no block in two."""
    shutil.copy(source, project.path)
    shutil.copy(built(source, "x86_64"), project.path)
    monkeypatch.chdir(project.path)
    tests = """
@pytest.mark.parametrize("words", [(), (), ("device",)])
@at_timer
def test_it(run, words):
    assert run("./lines", *words).exit == 0
"""
    parallel = ["-n", str(workers)] if workers else []
    result = project.run(tests, "--nopage-cov=all.info", *parallel, subprocess=bool(workers))
    result.assert_outcomes(passed=3)
    counts = lines_of((project.path / "all.info").read_text())
    assert {line: counts[line] for line in ALWAYS} == {line: 3 * count for line, count in ALWAYS.items()}
    assert [counts[line] for line in WITH_DEVICE] == [1, 1, 1, 1] and not any(counts[line] for line in NEVER)
    ran = sum(count > 0 for count in counts.values())
    share = 100 * ran // len(counts)
    result.stdout.fnmatch_lines([f"nopage: {ran} of {len(counts)} lines of 1 sources ({share} %): all.info"])


@pytest.mark.parametrize("workers", [0, 2])
def test_blocks_of_all_tests_and_of_each(
    project: Project, source: Path, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file of all tests is the union of their own files; a test that runs nothing has none."""
    program = Path(shutil.copy(built(source, "x86_64"), project.path))
    monkeypatch.chdir(project.path)
    tests = """
@pytest.mark.parametrize("words", [(), ("device", "never")])
@at_timer
def test_it(run, for_each_fault, words):
    for_each_fault(lambda run: run("./lines", *words), "ENOMEM", workers=2)
    assert run("./lines", *words).exit == 0

def test_of_another_kind(machine): pass
"""
    options = ["--nopage-drcov=all.drcov", "--nopage-drcov-dir=each", *(["-n", str(workers)] if workers else [])]
    result = project.run(tests, *options, subprocess=bool(workers))
    result.assert_outcomes(passed=3)
    names = [f"each/test_it.py-test_it[words{n}].drcov" for n in (0, 1)]
    assert sorted(str(path) for path in Path("each").iterdir()) == names
    files = [read_drcov(Path(name)) for name in ("all.drcov", *names)]
    assert files[0][1] == files[1][1] | files[2][1] and files[1][1] != files[2][1]
    symbols = ElfSymbols(program.read_bytes())
    first = min(vaddr - offset for offset, vaddr, _ in symbols.segments)
    for function, ran in (("main", (1, 1, 1)), ("twice", (1, 1, 1)), ("never", (1, 0, 1))):
        at = next(address for address, name in symbols.functions() if name == function) - first
        assert tuple((str(program), at) in begun for _, _, begun in files) == ran, function
    result.stdout.fnmatch_lines([f"nopage: {len(files[0][2])} blocks of 1 programs and libraries: all.drcov"])


def test_a_file_of_another_kind_is_refused(project: Project, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["run", "--cov", "c.txt", "./lines"])
    assert "'c.txt' does not end in .info (lcov) or .xml (Cobertura)" in capfd.readouterr().err
    result = project.run("def test_it(): pass\n", "--nopage-cov", "tests", subprocess=True)
    result.stderr.fnmatch_lines(["*--nopage-cov=tests: the name ends in .info*"])


@pytest.mark.parametrize(
    ("flags", "named", "said"),
    [
        (["-s"], "lines.c", "lines has no debugging information (compile with -g)"),
        ([], __file__, f"the sources of lines are outside of the current directory and of its own: {__file__}"),
        ([], "lines.c", "the sources of lines are not found from here: lines.c"),
    ],
)
def test_no_lines_at_all(
    source: Path, flags: list[str], named: str, said: str, capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch, project: Project,
) -> None:  # fmt: skip
    """An empty file is told with its reason: by `nopage run` and by the plugin."""
    source.write_text(f'#line 1 "{named}"\n{SOURCE}')
    program = Path(shutil.copy(compile(source, flags=["-O0", *flags]), project.path / "lines"))
    monkeypatch.chdir(project.path)
    assert main(["run", "--ram", "64M", "--cov", "c.info", "--cov", "c.xml", str(program)]) == 0
    said = f"no source lines: {said}"
    assert capfd.readouterr().err == f"nopage: c.info, c.xml: {said}\n" and Path("c.info").read_text() == ""
    monkeypatch.chdir(project.path)
    result = project.run("def test_it(run):\n    assert run('./lines').exit == 0", "--nopage-cov=all.info")
    result.stdout.fnmatch_lines([f"nopage: all.info: {said}"])
