"""Documentation that cannot fall behind: every id has a page, every setting is on it."""

from __future__ import annotations

import dataclasses
import inspect
import re
from pathlib import Path

import pytest

import rlsuite  # noqa: F401  (registers everything)
from registry.catalogue import registry
from registry.specs import load_entry_point

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
ENVIRONMENT_HEADINGS = [
    "Description",
    "Action Space",
    "Observation Space",
    "Starting State",
    "Rewards",
    "Episode End",
    "Information",
    "Arguments",
    "Answer Key",
    "References",
    "Version History",
]
AGENT_HEADINGS = [
    "Description",
    "Update",
    "Settings",
    "Spaces",
    "Promises",
    "Differs From The Source",
    "References",
    "Version History",
]


def built_in(kind: str) -> list[str]:
    entries = registry.entries(kind)
    return [entry.id for entry in entries if entry.provenance.distribution == "rlsuite"]


def page_of(folder: str, identifier: str) -> Path:
    """`rlsuite/GridWorld-v0` is described in grid_world.md, `sb3/PPO-v0` in sb3_ppo.md."""
    namespace, _, name = identifier.partition("/")
    name = re.sub(r"-v\d+$", "", name)
    snake = re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()
    return DOCS / folder / (f"{snake}.md" if namespace == "rlsuite" else f"{namespace}_{snake}.md")


def headings(page: str) -> list[str]:
    return re.findall(r"^## (.+)$", page, flags=re.MULTILINE)


def section(page: str, heading: str) -> str:
    return page.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]


def missing_from(text: str, names: list[str]) -> list[str]:
    return [name for name in names if f"`{name}`" not in text]


@pytest.mark.parametrize("identifier", built_in("env"))
def test_every_environment_has_a_page_with_every_argument(identifier):
    page = page_of("environments", identifier).read_text(encoding="utf-8")
    assert page.startswith(f"# `{identifier}`\n")
    assert headings(page) == ENVIRONMENT_HEADINGS
    entry = registry.get("env", identifier)
    keywords = [k for k in inspect.signature(entry.load()).parameters if k != "render_mode"]
    assert missing_from(section(page, "Arguments"), keywords) == []


@pytest.mark.parametrize("identifier", built_in("agent"))
def test_every_agent_has_a_page_with_every_setting(identifier):
    page = page_of("agents", identifier).read_text(encoding="utf-8")
    assert page.startswith(f"# `{identifier}`\n")
    assert headings(page) == AGENT_HEADINGS
    spec = registry.agent_spec(identifier)
    settings = {field.name: field for field in dataclasses.fields(spec.load().config_type)}
    assert missing_from(section(page, "Settings"), list(settings)) == []
    assert missing_from(section(page, "Promises"), sorted(spec.promises)) == []


@pytest.mark.parametrize("identifier", built_in("agent"))
def test_the_settings_table_names_no_setting_that_is_gone(identifier):
    page = page_of("agents", identifier).read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)`", section(page, "Settings"), flags=re.MULTILINE)
    config_type = registry.agent_spec(identifier).load().config_type
    assert sorted(rows) == sorted(field.name for field in dataclasses.fields(config_type))


@pytest.mark.parametrize("identifier", built_in("env"))
def test_the_arguments_table_names_no_argument_that_is_gone(identifier):
    page = page_of("environments", identifier).read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)`", section(page, "Arguments"), flags=re.MULTILINE)
    parameters = inspect.signature(registry.get("env", identifier).load()).parameters
    assert set(rows) == set(parameters) | ({"render_mode"} & set(rows))


def test_no_page_is_left_over():
    wanted = {page_of("environments", i) for i in built_in("env")}
    wanted |= {page_of("agents", i) for i in built_in("agent")}
    found = {*(DOCS / "environments").glob("*.md"), *(DOCS / "agents").glob("*.md")}
    assert found == wanted


def test_links_between_pages_lead_somewhere():
    for page in [*DOCS.rglob("*.md"), *ROOT.glob("*.md")]:
        for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            if "://" not in target:
                assert (page.parent / target).exists(), f"{page.relative_to(ROOT)} links {target}"


def test_every_registered_kind_loads():
    """An entry point is a string; a wrong one would only show when somebody uses it."""
    models = ("model", "reward_model", "reference_model")
    for kind in ("env", "agent", "oracle", "suite", "backend", *models):
        for entry in registry.entries(kind):
            if entry.provenance.distribution == "rlsuite":
                assert load_entry_point(entry.entry_point) is not None
