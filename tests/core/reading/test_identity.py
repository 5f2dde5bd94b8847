"""Texts of keys and ids: different fields never have the same text."""

from hypothesis import given
from hypothesis import strategies as st

from stream_app.core.reading.identity import (
    empty_field,
    id_fields,
    identity_text,
    join_texts,
    key_fields,
    key_is_id,
)
from tests.small_pipeline import small_pipeline

# Texts of the characters that matter, and any others.
TEXTS = st.text(st.sampled_from("ab/\\é")) | st.text()


def split(text: str) -> list[str]:
    """Return the texts that were joined, read from left to right."""
    texts, escaped = [""], False
    for character in text:
        if not escaped and character == "/":
            texts.append("")
            continue
        escaped = not escaped and character == "\\"
        if not escaped:
            texts[-1] += character
    return texts


@given(st.lists(TEXTS, min_size=1, max_size=4))
def test_the_text_of_several_fields_can_be_split_again(texts: list[str]) -> None:
    assert split(join_texts(texts)) == texts


@given(st.tuples(TEXTS, TEXTS), st.tuples(TEXTS, TEXTS))
def test_different_fields_have_different_texts(
    one: tuple[str, str], other: tuple[str, str]
) -> None:
    assert (join_texts(one) == join_texts(other)) is (one == other)


def test_the_text_of_one_field_is_its_value() -> None:
    assert identity_text({"id": "a/b\\c"}, ("id",)) == "a/b\\c"
    assert identity_text({"id": 0}, ("id",)) == "0"
    assert identity_text({"id": None}, ("id",)) is None
    assert identity_text({}, ("id",)) is None


def test_several_fields_have_a_text_only_together() -> None:
    names = ("bank", "account")
    assert identity_text({"bank": "NL/1", "account": 7}, names) == "NL\\/1/7"
    assert identity_text({"bank": "NL", "account": None}, names) is None
    assert identity_text({"account": 7}, names) is None


def test_the_key_is_the_event_id_by_default() -> None:
    pipeline = small_pipeline()
    assert (id_fields(pipeline), key_fields(pipeline)) == (("id",), ("id",))
    assert key_is_id(pipeline)
    assert key_is_id(small_pipeline(key=("id",)))
    assert not key_is_id(small_pipeline(key=("country", "id")))


def test_an_empty_field_is_named() -> None:
    assert empty_field({"a": 0, "b": "x"}, ("a", "b")) is None
    found = empty_field({"a": 0, "b": ""}, ("a", "b"))
    assert found is not None
    assert found.message == "field b is empty"
