"""Texts of keys and ids: different fields never have the same text."""

from hypothesis import given
from hypothesis import strategies as st

from stream_app.core.reading.identity import (
    EventIdentity,
    empty_field,
    event_identity,
    id_fields,
    identity_text,
    join_texts,
    key_fields,
    key_is_id,
    split_texts,
)
from tests.small_pipeline import small_pipeline

# Texts of the characters that matter, and any others.
TEXTS = st.text(st.sampled_from("ab/\\é")) | st.text()


@given(st.lists(TEXTS, min_size=1, max_size=4))
def test_the_text_of_several_fields_can_be_split_again(texts: list[str]) -> None:
    assert split_texts(join_texts(texts)) == texts


@given(st.tuples(TEXTS, TEXTS), st.tuples(TEXTS, TEXTS))
def test_different_fields_have_different_texts(
    one: tuple[str, str], other: tuple[str, str]
) -> None:
    assert (join_texts(one) == join_texts(other)) is (one == other)


@given(TEXTS, TEXTS)
def test_an_identity_is_the_key_and_the_id_as_two_fields(key: str, event_id: str) -> None:
    text = event_identity(key, event_id)
    assert text == join_texts((key, event_id))
    assert EventIdentity.parse(text) == (key, event_id)


@given(st.tuples(TEXTS, TEXTS), st.tuples(TEXTS, TEXTS))
def test_different_keys_or_ids_are_different_identities(
    one: tuple[str, str], other: tuple[str, str]
) -> None:
    assert (event_identity(*one) == event_identity(*other)) is (one == other)


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
