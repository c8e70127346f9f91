"""YAML that a stranger may have written: bombs, tags, doubled keys and depth are refused quickly."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from errors import InputError
from runner.strict_yaml import Text, read_mapping

FILE = Path("some.yaml")
BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n"
    for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)


def refusal(text: str) -> str:
    with pytest.raises(InputError) as refused:
        read_mapping(text, InputError, FILE)
    return str(refused.value)


def test_every_text_knows_its_line_in_the_file():
    data = read_mapping("a: one\nb:\n  - two\n", InputError, FILE, first_line=2)
    assert isinstance(data["a"], Text)
    assert data["a"].line == 2
    assert data["b"][0].line == 4
    assert [key.line for key in data] == [2, 3]


def test_dates_stay_texts_and_numbers_stay_numbers():
    assert read_mapping("a: 2026-11-23\nb: 3\nc: yes\nd:\n", InputError, FILE) == {
        "a": "2026-11-23",
        "b": 3,
        "c": True,
        "d": None,
    }


def test_a_bomb_of_a_billion_texts_is_refused_at_its_first_alias():
    assert refusal(BOMB).startswith("some.yaml:2: malformed YAML: an alias (*name) is not allowed")


@pytest.mark.parametrize(
    "tag", ["!!python/object/apply:os.system", "!!python/name:os.system", "!!int", "!!bool", "!!set", "!own"]
)
def test_a_tag_is_refused(tag):
    assert f"a tag ({tag.replace('!!', 'tag:yaml.org,2002:')}) is not allowed" in refusal(f"a: {tag} [x]\n")


def test_a_key_that_stands_twice_is_refused_on_its_second_line():
    assert refusal("a: 1\nb:\n  c: 1\n  c: 2\n").startswith(
        "some.yaml:4: malformed YAML: the key 'c' stands twice"
    )


def test_a_key_that_is_a_list_is_refused():
    assert "a key is not a text" in refusal("? [a, b]\n: c\n")


@pytest.mark.parametrize("text", ["[" * 100_000, "{a: " * 50_000, "- " * 100_000, "? " * 50_000])
def test_yaml_that_is_too_deep_is_refused(text):
    assert "Fix: " in refusal(text)


@pytest.mark.parametrize("text", ["a: 1\n---\nb: 2\n", "9" * 5000 + ": x\n", "a: b: c\n"])
def test_what_is_no_single_document_of_proper_text_is_refused(text):
    assert "malformed YAML" in refusal(text)


@pytest.mark.parametrize("character", ["\0", "\ud800", "\x1f", "\x7f"])
def test_a_control_character_is_refused_on_its_line(character):
    assert refusal(f"a: 1\nb: {character}\n") == (
        f"some.yaml:2: the character U+{ord(character):04X} is not allowed in YAML. Fix: delete it"
    )


@given(st.text(max_size=200))
def test_any_text_is_a_mapping_or_refused_with_the_file(text):
    try:
        assert isinstance(read_mapping(text, InputError, FILE), dict)
    except InputError as refused:
        assert str(refused).startswith("some.yaml:")
