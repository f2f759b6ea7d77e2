"""`nopage sweep --scheduler`: a cluster of Dask, and all that can be wrong with one."""

from __future__ import annotations

import importlib.util
import os
import pickle
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from guest.toolchain import compile
from machine.cli import main
from machine.errors import ConfigError
from machine.sweep.job import Job, build, make_run
from machine.sweep.summary import page
from machine.testing.foreach import FaultReport, Outcome
from tests.report.browser import CHROMIUM, Browser
from tests.testing.programs import CAREFUL
from tests.testing.test_sweep import MODEL, WORDS

TOP = Path(__file__).parents[2]
CLUSTER = """
import sys
from distributed import LocalCluster
if __name__ == '__main__':
    with LocalCluster(n_workers=1, threads_per_worker=2, dashboard_address=None) as cluster:
        print(cluster.scheduler_address, flush=True)
        sys.stdin.read()
"""
NO_NOPAGE = """
import sys
class Nothing:
    def find_spec(self, name, path=None, target=None):
        if name.partition('.')[0] == 'machine':
            raise ModuleNotFoundError("No module named 'machine'")
sys.meta_path.insert(0, Nothing())
"""
READER = r"""
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>
int main(void)
{
	char text[8] = "";
	int fd = open("data.txt", O_RDONLY);
	if (fd < 0) return 9;
	if (read(fd, text, 5) != 5) return perror("read"), 3;
	return puts(text), 0;
}
"""
needs_dask = pytest.mark.skipif(
    importlib.util.find_spec("distributed") is None, reason="Dask is not installed: pip install 'nopage[sweep]'"
)


class Cluster:
    """A scheduler with a worker, in a session of its own that has neither this directory nor the programs."""

    def __init__(self, directory: Path, sitecustomize: str = "") -> None:
        directory.mkdir()
        (directory / "sitecustomize.py").write_text(sitecustomize)
        (directory / "cluster.py").write_text(CLUSTER)
        path = os.pathsep.join([str(directory), str(TOP)])
        self.process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "cluster.py"], cwd=directory, env={**os.environ, "PYTHONPATH": path},
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, start_new_session=True,
        )  # fmt: skip
        assert self.process.stdout is not None
        self.address = self.process.stdout.readline().strip()
        assert self.address.startswith("tcp://"), "Dask does not start"

    def kill(self) -> None:
        """As a computer that is switched off."""
        if self.process.returncode is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            assert stream is not None
            stream.close()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    made = Cluster(tmp_path_factory.mktemp("cluster") / "d")
    yield made.address
    made.kill()


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    directory = tmp_path / "here"
    directory.mkdir()
    (directory / "model.py").write_text(MODEL)
    for name, source in (("careful", CAREFUL), ("reader", READER)):
        shutil.copy(compile(source), directory / name)
    monkeypatch.chdir(directory)
    return directory


def sweep(*words: str) -> tuple[int, str, str]:
    """(status, standard output, standard error) of a command of its own: Dask leaves threads behind."""
    command = [sys.executable, "-W", "ignore", "-m", "machine", *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    return done.returncode, done.stdout, done.stderr


@needs_dask
def test_the_workers_of_a_cluster(here: Path, cluster: str) -> None:
    """The program and the model go along: the workers have neither, nor this directory."""
    work = ["--kind", "oom", "--limit", "5", "--html", "s.html", "--", "./careful"]
    status, said, errors = sweep(*WORDS, "--scheduler", cluster, *work)
    assert (status, errors) == (0, "") and "5 runs (of " in said
    text = Path("s.html").read_text()
    assert sweep(*WORDS, "-j", "1", *work) == (status, said, "") and Path("s.html").read_text() == text


@needs_dask
def test_a_file_that_only_this_computer_has(here: Path, cluster: str) -> None:
    Path("data.txt").write_text("12345")
    words = ["sweep", "--scheduler", cluster, "--kind", "syscall:read", "--journal", "j"]
    errors = (
        "nopage: run 1 did not come to what was to fail in it: where the worker is, the program's libraries or the "
        "files that it reads are others. --file takes files along\n"
        "0 of 1 runs are done; the same command goes on from there\n"
    )
    assert sweep(*words, "--", "./reader") == (125, "", errors)
    Path("j").unlink()
    assert sweep(*words, "--file", "data.txt", "--", "./reader") == (
        0, "./reader, syscall:read: 1 runs: 1 clean error\n", ""
    )  # fmt: skip


@needs_dask
def test_the_scheduler_dies_and_another_goes_on(here: Path, cluster: str, tmp_path: Path) -> None:
    dying = Cluster(tmp_path / "dying")
    work = ["--kind", "oom", "--limit", "30", "--journal", "j"]
    command = [sys.executable, "-W", "ignore", "-m", "machine", *WORDS, "--scheduler", dying.address, *work]
    try:
        running = subprocess.Popen(
            [*command, "--", "./careful"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        while running.poll() is None and not (Path("j").exists() and Path("j").read_text().count("\n") > 2):
            time.sleep(0.02)
    finally:
        dying.kill()
    said, errors = running.communicate(timeout=120)
    done = Path("j").read_text().count("\n") - 1
    total = 30 if "of 30 runs" in errors else int(errors.split(" of ")[1].split()[0])
    assert (running.returncode, said) == (125, "") and 2 <= done < total
    assert errors == (
        f"nopage: --scheduler {dying.address}: the connection to the scheduler is lost\n{done} of {total} runs are "
        "done; the same command goes on from there\n"
    )
    lines = Path("j").read_text()
    status, said, errors = sweep(*WORDS, "--scheduler", cluster, *work, "--", "./careful")
    assert (status, errors) == (0, "") and f"{total} runs" in said
    assert Path("j").read_text().startswith(lines) and Path("j").read_text().count("\n") == total + 1


@needs_dask
def test_a_cluster_without_nopage(here: Path, tmp_path: Path) -> None:
    made = Cluster(tmp_path / "bare", NO_NOPAGE)
    try:
        status, said, errors = sweep(*WORDS, "--scheduler", made.address, "--kind", "syscall:read", "--", "./careful")
    finally:
        made.kill()
    assert (status, said) == (125, "")
    assert errors == (
        f"nopage: --scheduler {made.address}: its workers can't make the runs: "
        "ModuleNotFoundError(\"No module named 'machine'\"). "
        "nopage has to be installed where the workers are, and where the scheduler is\n0 of 1 runs are done\n"
    )


@needs_dask
def test_nobody_there(here: Path) -> None:
    status, said, errors = sweep(*WORDS, "--scheduler", "tcp://127.0.0.1:1", "--", "./careful")
    assert (status, said) == (125, "")
    assert errors == (
        "nopage: --scheduler tcp://127.0.0.1:1: no scheduler of Dask answers there: Timed out trying to connect to "
        "tcp://127.0.0.1:1 after 10 s\n0 of 2 runs are done\n"
    )


def test_without_dask(here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    assert main([*WORDS, "--scheduler", "tcp://127.0.0.1:1", "--", "./careful"]) == 125
    assert capsys.readouterr().err == (
        "nopage: --scheduler: Dask is not installed here: pip install 'nopage[sweep]'\n0 of 2 runs are done\n"
    )


def test_a_computer_that_cannot_make_the_runs() -> None:
    """What a worker says goes over the network: one argument, and the computer's name."""
    clean = Outcome(0, "", "same")
    job = Job(["/nowhere/prog"], "syscall:read", 64 << 20, 10.0)
    with pytest.raises(ConfigError) as missing:
        make_run(job, 1, clean)
    where = f"{os.uname().nodename}, process {os.getpid()}"
    assert str(pickle.loads(pickle.dumps(missing.value))).startswith(
        f"{where}: /nowhere/prog: no such program. Looked in:"
    )
    old = Job(["/nowhere/prog"], "syscall:read", 64 << 20, 10.0, nopage="0.0.9 (01234567)")
    with pytest.raises(ConfigError) as other:
        make_run(old, 1, clean)
    assert str(other.value) == f"{where}: nopage is {build()} there and 0.0.9 (01234567) here: install the same"
    assert job.fingerprint() != old.fingerprint()


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed (apt install chromium)")
def test_the_page_in_a_browser(tmp_path: Path) -> None:
    report = FaultReport(
        "oom", "./prog <b>", [Outcome(1, "a frame", "same"), Outcome(2, "mmap", "signal", 139, "SIGSEGV & more")], 9
    )
    (tmp_path / "s.html").write_text(page(report), encoding="utf-8")
    browser = Browser()
    try:
        browser.call("Page.navigate", url=f"file://{tmp_path}/s.html")
        browser.wait("document.readyState == 'complete' && document.title.startsWith('./prog')")
        text = str(browser.js("document.body.innerText"))
        assert "./prog <b>: oom" in text and text.index("SIGSEGV & more") < text.index("a frame")
        assert browser.js("document.querySelectorAll('.bar span').length") == 2
        assert browser.js("document.documentElement.scrollWidth <= innerWidth") is True
        assert browser.errors == []
    finally:
        browser.close()
