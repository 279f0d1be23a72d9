"""`key=value` on the command line: values are TOML or JSON literals, bare words are strings."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterable
from typing import Any

from registry.errors import SettingError

__all__ = ["parse_assignments", "parse_value", "split_outside"]


def parse_assignments(words: Iterable[str], option: str) -> dict[str, Any]:
    """The keywords that repeated `option key=value` spell.

    Raises:
        SettingError: no `=`, an empty or repeated key, or a value with an open bracket or quote.
    """
    found: dict[str, Any] = {}
    for word in words:
        key, equals, text = word.partition("=")
        key = key.strip()
        if not equals or not key.isidentifier():
            like = {"--env-set": "slip=0.1"}.get(option, "step_size=0.1")
            raise SettingError(f"{option} wants key=value, like {option} {like}; got {word!r}.")
        if key in found:
            raise SettingError(f"{option} names {key!r} twice; give it once.")
        found[key] = _value_of(key, text.strip(), option)
    return found


def _value_of(key: str, text: str, option: str) -> Any:
    try:
        return parse_value(text)
    except ValueError as error:
        raise SettingError(
            f"{option} {key}: {text!r} is neither a TOML nor a JSON value ({error}); write a "
            "number, true or false, a word, or a quoted list like '[0.1, 0.9]'."
        ) from error


def split_outside(text: str, mark: str) -> list[str]:
    """The pieces of `text` between those marks that stand outside of brackets and quotations."""
    pieces, depth, quote = [""], 0, ""
    for letter in text:
        if not quote and depth <= 0 and letter == mark:
            pieces.append("")
            continue
        pieces[-1] += letter
        if quote or letter in "\"'":
            quote = "" if letter == quote else quote or letter
        else:
            depth += (letter in "([{") - (letter in ")]}")
    return pieces


def parse_value(text: str) -> Any:
    """One literal: TOML first, then JSON (`null`), then the bare word.

    Raises:
        ValueError: the text opens a list, a table or a quotation that is no valid literal.
    """
    try:
        return _toml(text)
    except ValueError:
        pass
    try:
        return json.loads(text)
    except ValueError:
        if text[:1] in ("[", "{", '"', "'"):
            raise
        return text


def _toml(text: str) -> Any:
    table = tomllib.loads(f"value = {text}")
    value = table.pop("value")
    if table or not isinstance(value, str | int | float | bool | list | dict):
        raise ValueError("more than one value, or a date")
    return value
