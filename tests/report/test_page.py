"""The report in a browser: headless Chromium, by mouse and keys (F4)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from machine import Machine
from machine.observe.report import Report
from tests.conftest import build
from tests.report.browser import CHROMIUM, Browser
from tests.report.conftest import HERE, embedded, program

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed (apt install chromium)")

MANY = """
#include <stdlib.h>
#include <sys/mman.h>
int main(int argc, char **arguments)
{
	long pages = atol(arguments[1]);
	char *at = mmap(0, pages * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	for (long i = 0; argc > 1 && i < pages; i++)
		at[i * 4096] = 1;
	return *(volatile int *)at;
}
"""


@pytest.fixture(scope="module")
def hole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, list[Any]]]:
    """The report of a program that dies in a hole of scullp, and the faults that the stream told of."""
    path = tmp_path_factory.mktemp("report") / "hole.html"
    faults: list[Any] = []
    with pytest.MonkeyPatch.context() as patch, Machine(devices=["scullp"], modules=[]) as machine:
        patch.chdir(HERE)
        machine.events.listen("fault", faults.append)
        report = Report(machine, path, commands=["hole /dev/scullp0"])
        result = machine.run([program("hole.c")], timeout=240)
        report.close()
    assert result.signal == 7
    yield path, faults


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with Browser() as one:
        yield one


@pytest.fixture
def opened(browser: Browser, hole: tuple[Path, list[Any]]) -> Iterator[Browser]:
    """The hole's report, freshly loaded; the console must have been silent in the end."""
    browser.errors.clear()
    browser.call("Page.navigate", url="about:blank")
    browser.open(hole[0])
    yield browser
    assert browser.errors == []


def line(name: str, text: str) -> int:
    return next(n for n, each in enumerate((HERE / name).read_text().splitlines(), 1) if text in each)


def test_it_opens_on_the_answer(opened: Browser, hole: tuple[Path, list[Any]]) -> None:
    """Without a click: the line of C, the instruction, the offset, the driver's reason, the walk that found nothing."""
    where = line("hole.c", "return device[offset]")
    assert opened.text("h1") == f"hole[2] was killed by SIGBUS at hole.c:{where}"
    detail = opened.text("#detail")
    assert "SIGBUS (BUS_ADRERR)" in detail and f"hole.c:{where}" in detail
    assert "0x1000 (4,096) of scullp0" in detail
    assert "NOPAGE_SIGBUS" in detail and "scullp_vma_nopage" in detail and "pageptr" in detail
    assert opened.text(".source .at").split() == [str(where), "return", "device[offset];"]
    assert [opened.text(f".walk tbody tr:nth-child({n}) th").split("[")[0] for n in (1, 2, 3, 4)] == [
        "PML4E", "PDPTE", "PDE", "PTE"]  # fmt: skip
    assert "absent" in opened.text(".walk tbody tr:nth-child(4)")
    ran = opened.js("[...document.querySelectorAll('.source .ran code')].map((line) => line.innerText.trim())")
    idle = opened.js("[...document.querySelectorAll('.source .idle code')].map((line) => line.innerText.trim())")
    assert "if pageptr:  # else a hole" in ran and "get_page(page)" in idle


def test_every_fault_is_there(opened: Browser, hole: tuple[Path, list[Any]]) -> None:
    faults = hole[1]
    assert opened.js("report.model.data.faults.number.length") == len(faults)
    assert opened.js("report.model.faultOf.filter((i) => i >= 0).length") == len(faults)
    assert f"{len(faults)} faults" in opened.text("#figures")


def test_what_ran_around_a_fault(browser: Browser, tmp_path: Path) -> None:
    """The lines of --trace-window are with their fault, and are no markup."""
    path, faults = tmp_path / "window.html", []
    with Machine(ram=64 << 20) as machine:
        machine.events.listen("fault", faults.append)
        report = Report(machine, path)
        machine.run(["hello"])
        report.window(faults[-1], "before", ["0x401000 <b>main</b>   nop", "0x401001 main+0x1   ret"])
        report.window(faults[-1], "after", ["0x402000 other   ret"])
        report.close()
    browser.errors.clear()
    browser.call("Page.navigate", url="about:blank")
    browser.open(path)
    cards = "[...document.querySelectorAll('#detail .card')].map((c) => c.innerText)"
    shown = []
    for number in (faults[-1].number, faults[0].number):
        browser.js(f"location.hash = '#fault-{number}'")
        browser.wait(f"document.querySelector('#detail h2').innerText === 'Fault {number}'")
        shown.append(
            [line for line in browser.js(f"{cards}.find((t) => t.startsWith('What ran')) || ''").splitlines() if line]
        )
    assert shown[0][1:] == [
        "Before", "0x401000 <b>main</b>   nop", "0x401001 main+0x1   ret", "After", "0x402000 other   ret",
    ]  # fmt: skip
    assert shown[1] == [] and not browser.errors


def test_a_click_on_a_fault_shows_its_walk(opened: Browser, hole: tuple[Path, list[Any]]) -> None:
    """The entries before and after, as the stream told them."""
    given = next(fault for fault in hole[1] if fault.answer == "scullp.nopage" and fault.pfn is not None)
    opened.js("report.go(0)")
    opened.js(f"report.list.show(report.position(report.model.faultOf.indexOf({given.number - 1})))")
    opened.click(f"#list .row[id=step-{opened.js(f'report.model.faultOf.indexOf({given.number - 1})')}]")
    assert opened.text("#detail h2") == f"Fault {given.number}"
    walk = opened.text(".walk")
    for level, (at, entry) in enumerate(given.walk_after):
        row = opened.text(f".walk tbody tr:nth-child({level + 1})")
        assert f"{at:#x}" in row and f"{entry:016x}" in row
    assert "absent" in walk
    last = opened.js(
        "[...document.querySelectorAll('.walk tbody tr:last-child td:last-child .bit')].map((b) => b.innerText)"
    )
    assert set(last) >= {"P", "US", "A", "NX"}
    detail = opened.text("#detail")
    assert f"frame {given.pfn:#x}" in detail and f"count {given.count_before} → {given.count_after}" in detail
    assert "scullp.nopage" in detail and "get_page(page)" in detail
    opened.wait(f"location.hash === '#fault-{given.number}'")


def test_links_lead_from_fault_to_page_to_frame_to_fault(opened: Browser) -> None:
    number = opened.js("report.model.data.faults.number[report.model.faultOf[report.step]]")
    opened.js("report.go(report.timeline.tones.indexOf('device'))")
    opened.click("#detail .card .facts button.mono")  # the address
    assert "page of hole[2]" in opened.text("#detail > header")
    opened.js("[...document.querySelectorAll('#detail button')].find((b) => b.innerText.startsWith('frame')).click()")
    assert opened.text("#detail > header").startswith("frame")
    assert not opened.js("document.getElementById('frames').hidden")
    opened.js(
        "[...document.querySelectorAll('#detail .links button')].find((b) => b.innerText.startsWith('fault')).click()"
    )
    assert opened.text("#detail h2").startswith("Fault ")
    opened.js(f"location.hash = '#fault-{number}'")
    opened.wait(f"document.querySelector('#detail h2').innerText === 'Fault {number}'")


def test_the_address_space_at_each_step(opened: Browser) -> None:
    """The page of the device is absent before its fault and there after it; after fork pages are copy-on-write."""
    state = """(() => {
      const space = report.model.spaces.get(report.space), page = Math.floor(report.address() / 4096);
      const of = () => stateOfPage(space, page);
      const after = of();
      report.go(report.step - 1);
      const before = of();
      report.go(report.step + 1);
      return [before, after];
      function stateOfPage(space, page) {
        const area = report.model.areaAt(space, page * 4096);
        return report.map.describe.call({ space, model: report.model }, area, page);
      }
    })()"""
    opened.js("report.go(report.timeline.tones.indexOf('device'))")
    before, after = opened.js(state)
    assert before.endswith("absent") and "device, frame" in after
    opened.js("report.go(report.model.kinds.findIndex((k, i) => k === 'task' && report.model.rowOf[i][3] === 'fork'))")
    detail = opened.text("#detail")
    assert "Frames before and after" in detail and "copy-on-write" in detail and "1 → 2" in detail
    assert opened.js("report.model.spaces.size") == 2
    opened.js("report.go(report.step - 1)")
    assert opened.js("report.model.spaces.size") == 1
    # There and back again is the same.
    print_all = (
        "JSON.stringify([...report.model.spaces].map(([n, s]) =>"
        " [n, [...s.areas].sort(), [...s.pages].map(([p, v]) => [p, v.lo, v.hi]).sort()]))"
    )
    opened.js("report.go(30)")
    there = opened.js(print_all)
    opened.js("report.go(report.model.steps - 1); report.go(0); report.go(30)")
    assert opened.js(print_all) == there


def test_search_finds(opened: Browser) -> None:
    """A symbol, a driver, an outcome, a process, an address; Enter goes there."""
    faults = opened.js("report.model.data.faults.number.length")
    address = opened.js("report.model.data.faults.address[report.model.data.faults.number.length - 1].toString(16)")
    for words, fewest in (("touch", 2), ("scullp.nopage", 2), ("SIGBUS", 2), ("hole[3]", 2), ("0x" + address, 1)):
        opened.key("Escape")
        opened.key("/")
        opened.type(words)
        opened.wait("document.getElementById('found').innerText !== ''")
        opened.key("Enter", text="\r")
        opened.wait(f"report.query === {words!r}")
        found = opened.js("report.visible.length")
        assert fewest <= found < faults, words
        assert opened.js("report.visible.includes(report.step)"), words
    opened.key("Escape")
    assert opened.js("report.visible.length === report.model.steps")
    opened.key("/")
    opened.type("no such thing anywhere")
    opened.wait("document.getElementById('found').innerText.startsWith('0 of')")
    opened.key("Escape")


def test_keys(opened: Browser) -> None:
    step = opened.js("report.step")
    opened.key("ArrowLeft")
    assert opened.js("report.step") == step - 1
    opened.key("ArrowRight")
    assert opened.js("report.step") == step
    opened.key("Home")
    assert opened.js("report.step") == 0
    opened.key("n")
    assert opened.js("report.model.isProblem(report.step)")
    opened.key("End")
    assert opened.js("report.step === report.model.steps - 1")
    opened.key("N", shift=True)
    assert opened.js("report.model.isProblem(report.step)")
    opened.key("m")
    assert opened.js("document.getElementById('map').hidden")
    opened.key("a")
    assert opened.js("document.activeElement.id") == "map"
    cursor = opened.js("report.map.cursor")
    opened.key("ArrowRight")
    assert opened.js("report.map.cursor") != cursor
    opened.key("Enter", text="\r")
    assert "page of" in opened.text("#detail > header")
    opened.key("Escape")
    assert not opened.js("document.querySelector('#detail .back')")
    opened.key("?")
    assert opened.js("document.getElementById('keys').open")
    listed = opened.text("#keys")
    for key in ("Space", "Home", "Esc", "/", "?"):
        assert key in listed
    opened.key("Escape")
    opened.wait("!document.getElementById('keys').open")
    opened.key("Home")
    opened.key(" ")
    opened.wait("report.step > 2")
    opened.key(" ")
    assert opened.js("report.timer") == 0


def test_the_slider(opened: Browser) -> None:
    opened.js("const s = document.getElementById('slider'); s.value = '7'; s.dispatchEvent(new Event('input'))")
    assert opened.js("report.step") == 7 and opened.text("#where").startswith("step 8 of")


def contrast(one: str, other: str) -> float:
    """WCAG 2's ratio of two colours ``rgb(r, g, b)``."""

    def luminance(text: str) -> float:
        channels = [int(each) / 255 for each in text[text.index("(") + 1 : -1].split(",")[:3]]
        r, g, b = (c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
        return 0.2126 * r + 0.7152 * g + 0.0722 * b

    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_dark_and_light(opened: Browser) -> None:
    """By what the system prefers, by the button and by the key; text can be read in both."""
    ground = "getComputedStyle(document.querySelector('.verdict')).backgroundColor"
    light = opened.js(ground)
    assert light == "rgb(255, 255, 255)"
    opened.click("#theme")
    dark = opened.js(ground)
    assert dark != light
    for scheme in ("dark", "light"):
        for selector in ("h1", ".figures", ".badge.bad", "#detail .dim", "button.link", ".row .right", ".walk .dim"):
            ink = opened.js(f"getComputedStyle(document.querySelector({selector!r})).color")
            under = opened.js(f"getComputedStyle(document.querySelector({selector!r})).backgroundColor")
            behind = under if under != "rgba(0, 0, 0, 0)" else opened.js(ground)
            assert contrast(ink, behind) >= 4.5, f"{selector} in {scheme}"
        opened.key("t")
    assert opened.js(ground) == dark
    opened.key("t")
    opened.js("delete document.documentElement.dataset.theme; localStorage.clear()")
    opened.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark"}])
    assert opened.js(ground) == dark
    opened.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "light"}])


def test_a_narrow_window(opened: Browser) -> None:
    """Nothing sticks out at the width of a telephone."""
    opened.call("Emulation.setDeviceMetricsOverride", width=380, height=800, deviceScaleFactor=1, mobile=False)
    assert opened.js("document.documentElement.scrollWidth") <= 380
    opened.js("report.go(3)")
    assert opened.text("#detail h2")
    opened.call("Emulation.setDeviceMetricsOverride", width=1440, height=1000, deviceScaleFactor=1, mobile=False)


def cpu(browser: Browser) -> float:
    """Seconds of processor time of the page's thread: a busy computer does not count."""
    metrics = browser.call("Performance.getMetrics")["metrics"]
    return next(float(each["value"]) for each in metrics if each["name"] == "TaskDuration")


def test_fifty_thousand_faults(browser: Browser, tmp_path: Path) -> None:
    """Loads within a few seconds, a step within a few frames, and the page does not grow with the number of faults."""
    path = tmp_path / "many.html"
    with Machine() as machine:
        report = Report(machine, path)
        machine.run([str(build(MANY, flags=("-g",))), "50000"], timeout=400)
        report.close()
    assert len(embedded(path)["faults"]["number"]) > 50_000
    assert path.stat().st_size < 4 << 20
    browser.errors.clear()
    browser.call("Performance.enable", timeDomain="threadTicks")
    before = cpu(browser)
    browser.open(path)
    loaded = cpu(browser) - before
    assert browser.js("document.querySelectorAll('*').length") < 1500
    before = cpu(browser)
    browser.js("for (let i = 0; i < 100; i++) report.go((i * 7919) % report.model.steps)")
    jump = (cpu(browser) - before) / 100
    before = cpu(browser)
    browser.js("for (let i = 0; i < 200; i++) report.go(25000 + i)")
    step = (cpu(browser) - before) / 200
    before = cpu(browser)
    browser.js("report.query = 'copy'; report.filter(); report.query = ''; report.filter()")
    search = cpu(browser) - before
    browser.call("Performance.disable")
    assert (loaded < 4, jump < 0.12, step < 0.06, search < 2) == (True,) * 4, (loaded, jump, step, search)
    assert browser.errors == []
