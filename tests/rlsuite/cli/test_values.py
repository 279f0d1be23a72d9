"""`key=value` as a user types it."""

from __future__ import annotations

import pytest

from registry.errors import SettingError
from rlsuite.cli.values import parse_assignments, parse_value, split_outside


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 1),
        ("1_000", 1000),
        ("0.1", 0.1),
        ("1e-3", 0.001),
        ("-2", -2),
        ("true", True),
        ("null", None),
        ("planes", "planes"),
        ("rlsuite/X-v0", "rlsuite/X-v0"),
        ('"0.1"', "0.1"),
        ("[0.1, 0.9]", [0.1, 0.9]),
        ('{"a": 1}', {"a": 1}),
        ("{ a = 1 }", {"a": 1}),
        ("2020-01-01", "2020-01-01"),
        ("", ""),
        ("1\nother = 2", "1\nother = 2"),
    ],
)
def test_a_value_is_a_toml_or_json_literal_or_else_a_word(text, value):
    got = parse_value(text)
    assert got == value
    assert type(got) is type(value)


@pytest.mark.parametrize("text", ["[1, 2", "{a", '"open', "'open", "[1, x]"])
def test_an_open_bracket_or_quote_is_no_word(text):
    with pytest.raises(ValueError, match=r"."):
        parse_value(text)
    with pytest.raises(SettingError, match=r"--set means: .* is neither a TOML nor a JSON value"):
        parse_assignments([f"means={text}"], "--set")


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("", [""]),
        ("a,b,,c", ["a", "b", "", "c"]),
        ("a:x=f(1, (2, 3), 4),b", ["a:x=f(1, (2, 3), 4)", "b"]),
        ("x=[1,[2,3]],y={a=1,b=2}", ["x=[1,[2,3]]", "y={a=1,b=2}"]),
        ("""x='1,"2',y="(,",z""", ["""x='1,"2'""", 'y="(,"', "z"]),
        ("x),y", ["x)", "y"]),
    ],
)
def test_marks_inside_brackets_and_quotations_do_not_split(text, pieces):
    assert split_outside(text, ",") == pieces


def test_assignments_become_keywords():
    words = ["step_size=0.2", "hidden=[64, 64]", "name=a=b"]
    want = {"step_size": 0.2, "hidden": [64, 64], "name": "a=b"}
    assert parse_assignments(words, "--set") == want
    assert parse_assignments([], "--set") == {}


@pytest.mark.parametrize("word", ["gamma", "=1", "two words=1", "--x=1"])
def test_a_word_that_is_no_assignment_is_refused(word):
    with pytest.raises(SettingError, match=r"--env-set wants key=value, like --env-set slip=0\.1"):
        parse_assignments([word], "--env-set")


def test_a_key_is_given_once():
    with pytest.raises(SettingError, match="--set names 'gamma' twice"):
        parse_assignments(["gamma=1", "gamma=0.9"], "--set")
