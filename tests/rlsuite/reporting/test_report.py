"""The report: whole, safe, deterministic, and alone in its file."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shutil
import stat
import subprocess
from html.parser import HTMLParser
from types import SimpleNamespace

import numpy as np
import pytest

from registry.catalogue import registry
from registry.errors import StoreError
from registry.specs import Entry, Provenance
from rlsuite.records import RunKey
from rlsuite.reporting.report import render_report, write_report

GRID, CLIFF, BANDIT = "rlsuite/GridWorld-v0", "rlsuite/CliffWalk-v0", "rlsuite/BernoulliBandit-v0"
NASTY = "</script><script>document.title='taken'</script><img src=x onerror=alert(1)>\"'&{{ 7*7 }}"
VOID = {"meta", "link", "br", "img", "input", "hr"}


class Page(HTMLParser):
    """Element names with attributes, visible text, and whether all elements are closed."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.open, self.elements, self.words = [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if not self.open or self.open[-1] not in {"script", "style"}:
            self.words.append(data)

    def names(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def text(self):
        return re.sub(r"\s+", " ", " ".join(self.words))


def data_of(text):
    found = re.search(
        r'<script type="application/json" id="rlsuite-data">(.*?)</script>', text, re.S
    )
    return json.loads(found.group(1))


@pytest.fixture(name="page", scope="module")
def page_fixture():
    from importlib import util
    from pathlib import Path

    spec = util.spec_from_file_location("made", Path(__file__).parents[1] / "conftest.py")
    made = util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return render_report(
        made.quick_records(), title="Quick", command="rlsuite bench quick", suite="quick"
    )


def test_it_says_what_ran_how_many_failed_and_by_which_command(page):
    text = Page(page).text
    assert "85 runs of 10 agents on 6 tasks, suite quick" in text
    assert "1 of 85 runs has no figures." in text
    assert "rlsuite bench quick" in text


def test_every_part_is_there(page):
    parsed = Page(page)
    assert parsed.open == []
    ids = {attributes["id"] for _, attributes in parsed.elements if "id" in attributes}
    parts = {"leaderboards", "tasks", "runs", "failures", "settings", "machine", "time"}
    assert parts <= ids
    text = parsed.text
    for word in (
        "IQM score, 3 tasks",
        "optimal 0.744",
        "baseline 0.014",
        "Cumulative regret while learning",
        "ValueError: NaN in weights",
        "step_size",
        "libraries.torch",
        "steps a second",
        "E[r] − β KL(π ‖ reference)",
    ):
        assert word in text
    for target in (a["href"] for a in parsed.names("a")):
        assert target.removeprefix("#") in ids


def test_ids_are_unique(page):
    ids = [attributes["id"] for _, attributes in Page(page).elements if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_every_run_has_a_line(page):
    runs = page[page.index('<section id="runs">') : page.index('<section id="failures">')]
    assert runs.count("<tr>") == 1 + 85
    assert runs.count('class="failed') == 1


def test_charts_have_titles_descriptions_and_every_seed(page):
    parsed = Page(page)
    charts = [a for a in parsed.names("svg") if a.get("class") == "chart"]
    profiles = 2  # of the two families that are ranked by scores
    assert len(charts) == 3 * 4 + 2 + 3 + 4 + profiles
    assert all(chart["role"] == "img" and chart["aria-labelledby"] for chart in charts)
    assert page.count("<desc ") == len(charts)
    for seed in range(5):
        assert f"ucb1, seed {seed}: " in page


def test_it_asks_the_network_for_nothing(page):
    parsed = Page(page)
    for tag, attributes in parsed.elements:
        assert tag not in {"link", "img", "iframe", "object", "embed", "base", "form"}
        assert "src" not in attributes
        assert attributes.get("href", "#").startswith("#")
    assert "url(http" not in page
    assert "@import" not in page
    (policy,) = [a["content"] for a in parsed.names("meta") if "http-equiv" in a]
    assert policy.startswith("default-src 'none'")


def test_the_data_are_in_the_page(page):
    data = data_of(page)
    assert len(data["runs"]) == 85
    bandit = next(run for run in data["runs"] if run["task"] == BANDIT)
    assert len(bandit["training"]) == 200
    assert bandit["training"][0][1] is None  # NaN
    assert next(r for r in data["runs"] if r["state"] == "failed")["return"] is None


def test_the_same_records_give_the_same_bytes(quick_records, page):
    again = render_report(
        reversed(quick_records), title="Quick", command="rlsuite bench quick", suite="quick"
    )
    assert again == page


def nasty_records(make_record):
    words = {
        "task": NASTY,
        "env_id": NASTY + "2",
        "family": NASTY,
        "metric": NASTY,
        "agent_id": NASTY,
        "settings": {NASTY: NASTY, "nested": {"a": [NASTY]}},
        "notes": (NASTY,),
        "started_at": NASTY,
        "fingerprint": {NASTY: NASTY, "libraries": {NASTY: NASTY}},
        "key": RunKey(identity={NASTY: NASTY}),
    }
    good = make_record(agent=NASTY, seed=0, metrics={NASTY: 1.0}, **words)
    failed = make_record(agent=NASTY, seed=1, state="failed", error=NASTY, **words)
    other = dataclasses.replace(good, agent="b", fingerprint={})
    return [good, failed, other]


def test_nothing_from_a_record_becomes_markup(make_record):
    text = render_report(nasty_records(make_record), title=NASTY, command=NASTY, suite=NASTY)
    parsed = Page(text)
    assert parsed.open == []
    assert [a.get("type") for a in parsed.names("script")] == ["application/json", None]
    assert parsed.names("img") == []
    assert not any(
        name.startswith("on") for _, attributes in parsed.elements for name in attributes
    )
    assert "{{ 7*7 }}" in parsed.text
    assert "alert(1)" in data_of(text)["runs"][0]["error"] + data_of(text)["runs"][1]["error"]


def test_a_browser_runs_nothing_from_a_record_and_sorts_tables(make_record, tmp_path):
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    if browser is None:
        pytest.skip("no chromium is installed")
    path = write_report(nasty_records(make_record), tmp_path / "report.html", title="kept")
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"]
    command += [f"--user-data-dir={tmp_path / 'profile'}", path.as_uri()]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    if shown.returncode != 0:
        pytest.skip(f"chromium does not run here: {shown.stderr[-200:]}")
    assert "<title>kept</title>" in shown.stdout
    assert '<button type="button">agent</button>' in shown.stdout  # our own script ran


def test_logs_lose_terminal_codes_and_control_characters(make_record):
    log = "\x1b[31mTraceback\x1b[0m\n\x00 ValueError: no\udcff\n"
    text = render_report([make_record(GRID, "q", 0, state="failed", error=log)])
    assert "Traceback\n\N{REPLACEMENT CHARACTER} ValueError" in text
    assert "\x1b" not in text
    empty = render_report([make_record(GRID, "q", 0, state="failed", error="")])
    assert "The run left no log." in empty
    assert "nothing to draw" in empty


def test_no_records_say_so(tmp_path):
    path = write_report([], tmp_path / "report.html", suite=SimpleNamespace(name="mine"))
    text = Page(path.read_text(encoding="utf-8")).text
    assert "There are no runs to report for the suite mine" in text
    assert data_of(path.read_text(encoding="utf-8"))["runs"] == []


def test_strange_values_are_kept_readable(make_record):
    metrics = {"kl": np.float64(0.5), "count": np.int64(3), "bad": float("nan")}
    odd = make_record(GRID, "q", 0, fingerprint={"object": slice(1)}, metrics=metrics)
    data = data_of(render_report([odd]))
    (run,) = data["runs"]
    assert data["fingerprints"][run["fingerprint"]] == {"object": "slice(None, 1, None)"}
    assert run["metrics"] == {"kl": 0.5, "count": 3, "bad": None}


def test_a_metric_that_never_varies_describes_the_task(make_record):
    records = [
        make_record(GRID, "q", s, metrics={"best_stationary_return": 0.74, "kl": 0.1 + s})
        for s in range(2)
    ]
    text = Page(render_report(records)).text
    assert "best stationary return 0.740" in text
    assert "best_stationary_return" not in text
    assert "kl" in text


def test_different_machines_are_named(make_record):
    records = [
        make_record(GRID, "q", 0, fingerprint={"cpu": "a", "python": "3.11"}),
        make_record(GRID, "q", 1, fingerprint={"cpu": "b", "python": "3.11"}),
    ]
    text = render_report(records)
    assert "2 different installations or machines" in text
    assert text.count('<tr class="differs">') == 1


def test_settings_that_differ_between_tasks_stand_once_for_each(make_record):
    records = [make_record(GRID, "q", 0), make_record(CLIFF, "q", 0, settings={"step_size": 0.1})]
    text = Page(render_report(records)).text
    assert "step_size 0.5" in text
    assert "step_size 0.1" in text


def test_it_is_written_whole_or_not_at_all(quick_records, tmp_path, monkeypatch):
    path = tmp_path / "new" / "report.html"
    assert write_report(quick_records[:3], path) == path
    before = path.read_bytes()
    monkeypatch.setattr(
        "os.replace", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left"))
    )
    with pytest.raises(StoreError, match=r"cannot write the report to .*No space left"):
        write_report(quick_records[:5], path)
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == ["report.html"]


def test_a_path_that_cannot_be_written_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("x", encoding="utf-8")
    for path in (tmp_path, tmp_path / "file" / "report.html"):
        with pytest.raises(StoreError, match="cannot write the report to") as caught:
            write_report([], path)
        assert "\n" not in str(caught.value)
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def good_section(records):
    return f"<p id='mine'>{len(records)} runs</p>"


def broken_section(records):
    raise SystemExit("<b>no</b>")


def wrong_section(records):
    return 7


def interrupted_section(records):
    raise KeyboardInterrupt


def section(name, summary=""):
    entry = Entry(
        kind="report_section",
        id=f"test/{name}-v0",
        entry_point="test:function",
        provenance=Provenance(distribution="test", version="1"),
        meta={"summary": summary} if summary else {},
    )
    return SimpleNamespace(
        id=entry.id, meta=entry.meta, provenance=entry.provenance, load=lambda: globals()[name]
    )


def test_sections_of_plugins_and_those_that_fail(make_record, monkeypatch):
    made = [section("good_section", "Mine <3"), section("broken_section"), section("wrong_section")]
    monkeypatch.setattr(registry, "entries", lambda kind: iter(made))
    text = render_report([make_record(GRID, "q", 0)])
    assert "<p id='mine'>1 runs</p>" in text
    assert "Mine &lt;3" in text
    shown = Page(text).text
    assert "test/broken_section-v0 of test 1 failed: SystemExit: <b>no</b>" in shown
    assert "returns HTML as a string, got int" in shown
    with pytest.raises(KeyboardInterrupt):
        render_report([make_record(GRID, "q", 0)], sections=[section("interrupted_section")])


def test_an_agent_is_counted_once_in_however_many_families_it_ran(make_record):
    tasks = ("rlsuite/GridWorld-v0", "rlsuite/BernoulliBandit-v0", "CartPole-v1")
    text = render_report([make_record(task, "random") for task in tasks])
    assert "3 runs of 1 agent on 3 tasks" in text


@pytest.mark.skipif(os.name != "posix", reason="permissions of Unix")
@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600)])
def test_a_report_is_as_open_as_the_umask_says(tmp_path, make_record, umask, mode):
    before = os.umask(umask)
    try:
        path = write_report([make_record()], tmp_path / "r.html")
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == mode
