"""The report in a real browser: it sorts, filters, leads within the page and asks for nothing."""

from __future__ import annotations

import base64
import io
import json
import shutil
from importlib import util
from pathlib import Path

import numpy as np
import pytest

from rlsuite.reporting.pictures import Filmstrip, Frame
from rlsuite.reporting.report import write_report

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--force-prefers-reduced-motion",
    "--hide-scrollbars",
)
NASTY = "</script><script>document.title='taken'</script><img src=x onerror=alert(1)>\"'&{{ 7*7 }}"
GRID = "rlsuite/GridWorld-v0"


def made():
    spec = util.spec_from_file_location("made", Path(__file__).parents[1] / "conftest.py")
    module = util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def png():
    from PIL import Image

    out = io.BytesIO()
    Image.fromarray(np.full((40, 60, 3), 90, np.uint8)).save(out, format="PNG")
    return out.getvalue()


@pytest.fixture(name="driver", scope="module")
def driver_fixture(tmp_path_factory):
    browser, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if browser is None or driver is None:
        pytest.skip("no chromium with its chromedriver is installed")
    webdriver = pytest.importorskip("selenium.webdriver")
    options = webdriver.ChromeOptions()
    options.binary_location = browser
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    opened = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    yield opened
    opened.quit()


@pytest.fixture(name="page", scope="module")
def page_fixture(driver, tmp_path_factory):
    """The report of a small benchmark, open in the browser."""
    frames = tuple(Frame(step, png()) for step in (0, 5, 9))
    strip = Filmstrip(agent="q-learning", seed=1, frames=frames, steps=9, episode_return=0.9)
    path = tmp_path_factory.mktemp("report") / "report.html"
    write_report(made().quick_records(), path, title="Quick", pictures={GRID: strip})
    show(driver, path)
    return driver


def show(driver, path, width=1280, height=900):
    driver.get_log("performance")
    driver.get_log("browser")
    driver.set_window_size(width, height)
    driver.get(path.as_uri())


def css(driver, selector):
    return driver.find_elements("css selector", selector)


def column(driver, table, index):
    script = "return [...arguments[0].tBodies[0].rows].map(r => r.cells[arguments[1]].innerText)"
    return driver.execute_script(script, table, index)


def requested(driver):
    """Addresses that the page asked for, and no page of the browser's own."""
    messages = [json.loads(entry["message"])["message"] for entry in driver.get_log("performance")]
    return [
        message["params"]["request"]["url"]
        for message in messages
        if message["method"] == "Network.requestWillBeSent"
        and not message["params"]["documentURL"].startswith(("chrome://", "chrome-untrusted://"))
    ]


def test_it_asks_for_nothing_but_itself_and_says_nothing_to_the_console(page):
    assert page.title == "Quick"
    asked = [address for address in requested(page) if not address.startswith("data:image/png")]
    assert asked == [page.current_url]
    assert page.get_log("browser") == []


def test_a_heading_sorts_and_sorts_back(page):
    (table,) = css(page, "#runs table")
    heads = table.find_elements("css selector", "th")
    (seed,) = [k for k, head in enumerate(heads) if head.text.startswith("seed")]
    before = column(page, table, seed)
    assert before != sorted(before)
    button = heads[seed].find_element("css selector", "button")
    button.click()
    assert column(page, table, seed) == sorted(before, reverse=True)
    assert heads[seed].get_attribute("aria-sort") == "descending"
    button.click()
    assert column(page, table, seed) == sorted(before)


def test_a_leaderboard_sorts_by_a_figure(page):
    table = next(t for t in css(page, "#leaderboards table") if "IQM score" in t.text)
    heads = table.find_elements("css selector", "th")
    (name,) = [k for k, head in enumerate(heads) if head.text.startswith("agent")]
    before = column(page, table, name)
    heads[name].find_element("css selector", "button").click()
    after = column(page, table, name)
    assert after == sorted(before)
    assert after != before


@pytest.mark.parametrize(
    ("words", "lines"), [("sarsa seed=3", 3), ("state=failed", 1), ("nobody", 0)]
)
def test_the_runs_are_filtered(page, words, lines):
    (field,) = css(page, "#runs input")
    field.clear()
    field.send_keys(words)
    (rows, told) = page.execute_script(
        "return [[...document.querySelectorAll('#runs tbody tr')].filter(r => r.offsetParent)"
        ".length, document.querySelector('#runs .shown').innerText]"
    )
    assert rows == lines
    assert told == f"{lines} of 85 lines"
    page.execute_script(
        "arguments[0].value = ''; arguments[0].dispatchEvent(new Event('input'))", field
    )


def test_the_leaderboards_are_filtered_and_empty_ones_go(page):
    (field,) = css(page, "#leaderboards input")
    field.send_keys("thompson")
    seen = [card.text for card in css(page, "#leaderboards article") if card.is_displayed()]
    assert len(seen) == 1
    assert "ucb1" not in seen[0]
    field.clear()
    field.send_keys(" ")
    assert all(card.is_displayed() for card in css(page, "#leaderboards article"))


def test_links_lead_within_the_page(page):
    for link in css(page, "nav a"):
        link.click()
        target = page.current_url.partition("#")[2]
        top = page.execute_script(
            "return document.getElementById(arguments[0]).getBoundingClientRect().top", target
        )
        bottom = page.execute_script(
            "return innerHeight + scrollY >= document.documentElement.scrollHeight - 2"
        )
        assert abs(top) < 40 or bottom


def test_pictures_are_shown(page):
    sizes = page.execute_script(
        "return [...document.querySelectorAll('.frames img')].map(i => i.naturalWidth)"
    )
    assert sizes == [60, 60, 60]


@pytest.mark.parametrize("width", [400, 1280])
def test_nothing_is_wider_than_the_screen(page, width):
    """Tables scroll by themselves; the page does not."""
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 640}
    page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    try:
        assert page.execute_script("return document.documentElement.scrollWidth") <= width
        wide = page.execute_script(
            "return [...document.querySelectorAll('svg.chart, .frames, pre, p')]"
            ".filter(e => e.getBoundingClientRect().right > innerWidth + 1).length"
        )
        assert wide == 0
        first = css(page, "#leaderboards td.main .value")
        assert first
        assert all(figure.rect["x"] + figure.rect["width"] <= width for figure in first)
        assert page.get_screenshot_as_png().startswith(b"\x89PNG")
    finally:
        page.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def luminance(colour):
    r, g, b = (float(part) for part in colour.partition("(")[2].rstrip(")").split(",")[:3])
    return 0.2126 * r + 0.7152 * g + 0.0722 * b


def test_it_is_dark_where_the_reader_wants_it_dark_and_light_in_print(page):
    read = "const s = getComputedStyle(document.body); return [s.backgroundColor, s.color]"
    media = [("screen", "light"), ("screen", "dark"), ("print", "dark")]
    grounds = []
    for kind, scheme in media:
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": kind, "features": features})
        ground, ink = map(luminance, page.execute_script(read))
        assert abs(ground - ink) > 150
        grounds.append(ground)
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "", "features": []})
    assert grounds[0] > 200
    assert grounds[1] < 60
    assert grounds[2] > 200


def test_it_prints(page):
    printed = page.execute_cdp_cmd("Page.printToPDF", {"printBackground": False})
    assert base64.b64decode(printed["data"]).startswith(b"%PDF")


def test_nothing_from_a_record_is_run(driver, tmp_path):
    """Script in every text that a record, a command or a picture can carry."""
    record = made().record
    words = {
        "task": NASTY,
        "env_id": NASTY,
        "family": NASTY,
        "metric": NASTY,
        "agent_id": NASTY,
        "settings": {NASTY: NASTY},
        "notes": (NASTY,),
        "started_at": NASTY,
        "fingerprint": {NASTY: NASTY},
    }
    runs = [
        record(agent=agent, seed=seed, score=0.5 + 0.1 * seed, metrics={NASTY: 1.0 + seed}, **words)
        for agent in (NASTY, "b")
        for seed in range(3)
    ]
    failed = [
        record(agent=NASTY, seed=seed, state=state, error=f"{NASTY}\n{NASTY}", **words)
        for seed, state in ((3, "failed"), (4, "timeout"))
    ]
    strip = Filmstrip(agent=NASTY, seed=0, note=NASTY)
    path = tmp_path / "nasty.html"
    write_report(
        [*runs, *failed], path, title="kept", command=NASTY, suite=NASTY, pictures={NASTY: strip}
    )
    show(driver, path)
    assert driver.title == "kept"
    assert css(driver, "img") == []
    assert driver.get_log("browser") == []
    assert requested(driver) == [driver.current_url]
    data = driver.execute_script(
        "return JSON.parse(document.getElementById('rlsuite-data').textContent)"
    )
    assert data["command"] == NASTY
    assert {run["agent"] for run in data["runs"]} == {NASTY, "b"}
    text = driver.execute_script("return document.body.textContent")
    assert text.count("alert(1)") > 40
    assert "{{ 7*7 }}" in text
    assert [mark.text for mark in css(driver, "#failures .state")] == ["failed", "timeout"]
