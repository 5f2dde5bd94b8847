"""A selection returns the dead letters that meet all of its conditions."""

from collections.abc import Callable, Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_app.broker import EmbeddedBroker
from stream_app.dead_letters.access import DeadLetters, open_dead_letters
from stream_app.dead_letters.dead_letter_reader import DeadLetter
from stream_app.dead_letters.dead_letter_selection import (
    DeadLetterSelection,
    OffsetBounds,
    parse_offsets,
    parse_time,
)
from stream_app.dead_letters.index import IndexEntry
from stream_app.errors import SelectionError
from tests.dead_letters.dead_letter_samples import FAILURES, SINCE, sample, write
from tests.small_pipeline import small_pipeline
from tests.transfer.clusters import new_topics, settings_for

pytestmark = pytest.mark.broker

COUNT = 120
ALL = DeadLetterSelection()


@pytest.fixture(scope="module")
def dead_letters(
    broker: EmbeddedBroker, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[DeadLetters]:
    """Dead letters of both inputs, three causes and ten keys, one second apart."""
    settings = settings_for(broker).model_copy(update={"data_dir": tmp_path_factory.mktemp("data")})
    name = new_topics(settings)
    write(
        settings,
        name,
        (
            sample(
                name,
                number,
                FAILURES[number // 2 % 3],
                kind="labels" if number % 5 == 0 else "raw",
                key=f"k{number % 10}".encode(),
                at=SINCE + 1000 * number,
                value=b"{broken" if number % 7 == 0 else None,
            )
            for number in range(COUNT)
        ),
    )
    with open_dead_letters(settings, small_pipeline(name)) as opened:
        yield opened


def some(*values: str) -> st.SearchStrategy[tuple[str, ...]]:
    return st.lists(st.sampled_from(values), max_size=2).map(tuple)


TIMES = st.none() | st.integers(SINCE - 1000, SINCE + 1000 * (COUNT + 1))
OFFSETS = st.none() | st.integers(0, COUNT // 4 + 1)
SELECTIONS = st.builds(
    DeadLetterSelection,
    codes=some("wrong-type", "missing-field", "invalid-json", "unknown-event"),
    classes=some("contract", "bug"),
    stages=some("decode", "validate", "join"),
    keys=st.lists(st.integers(0, 11).map(lambda n: f"k{n}".encode()), max_size=2).map(tuple),
    since=TIMES,
    until=TIMES,
    source=st.sampled_from((None, "raw", "labels")),
    partition=st.none() | st.integers(0, 4),
    offsets=st.tuples(OFFSETS, OFFSETS),
)


def meets(entry: IndexEntry, selection: DeadLetterSelection) -> bool:
    """Return True if an entry meets a selection: an independent implementation."""
    first, last = selection.offsets
    conditions = (
        not selection.codes or entry.code in selection.codes,
        not selection.classes or entry.error_class in selection.classes,
        not selection.stages or entry.stage in selection.stages,
        not selection.keys or entry.key in selection.keys,
        selection.since is None or entry.timestamp >= selection.since,
        selection.until is None or entry.timestamp < selection.until,
        selection.source is None or entry.ref.kind == f"{selection.source}.dlq",
        selection.partition is None or entry.ref.origin.partition == selection.partition,
        first is None or entry.ref.origin.offset >= first,
        last is None or entry.ref.origin.offset <= last,
    )
    return all(conditions)


@given(SELECTIONS)
def test_a_selection_returns_what_meets_all_its_conditions(
    dead_letters: DeadLetters, selection: DeadLetterSelection
) -> None:
    expected = [entry for entry in dead_letters.index.entries(ALL) if meets(entry, selection)]
    assert list(dead_letters.index.entries(selection)) == expected
    assert set(dead_letters.index.select(selection)) == {entry.ref for entry in expected}
    assert dead_letters.index.count(selection) == len(expected)


def test_refs_are_ordered_by_position_and_entries_by_time(dead_letters: DeadLetters) -> None:
    refs = list(dead_letters.index.select(ALL))
    assert len(refs) == COUNT
    assert [ref[:3] for ref in refs] == sorted(
        (ref[:3] for ref in refs), key=lambda p: (p[0] != "raw.dlq", *p[1:])
    )
    times = [entry.timestamp for entry in dead_letters.index.entries(ALL, 20)]
    assert times == [SINCE + 1000 * number for number in range(COUNT - 1, COUNT - 21, -1)]


@given(st.data())
# Each range of dead letters is fetched separately, which takes time.
@settings(max_examples=15)
def test_dead_letters_are_read_in_the_chosen_order(
    dead_letters: DeadLetters, data: st.DataObject
) -> None:
    refs = data.draw(st.lists(st.sampled_from(list(dead_letters.index.select(ALL))), max_size=4))
    found = list(dead_letters.reader.read(refs))
    assert [one.ref for one in found] == refs
    for one in found:
        number = one.ref.origin.offset * 4 + one.ref.origin.partition
        assert (one.timestamp, one.key) == (SINCE + 1000 * number, f"k{number % 10}".encode())
        assert (one.record is None) == (number % 7 == 0)


def test_a_prefix_of_the_fingerprint_selects_a_group(dead_letters: DeadLetters) -> None:
    groups = {entry.group for entry in dead_letters.index.entries(ALL)}
    for group in groups:
        chosen = list(dead_letters.index.entries(DeadLetterSelection(groups=(group[:6],))))
        assert {entry.group for entry in chosen} == {group}
    assert dead_letters.index.count(DeadLetterSelection(groups=tuple(groups))) == COUNT


@pytest.mark.parametrize("group", ["zz", ""])
def test_an_unknown_group_is_an_error(dead_letters: DeadLetters, group: str) -> None:
    with pytest.raises(SelectionError, match="No group"):
        dead_letters.index.select(DeadLetterSelection(groups=(group,)))


def test_a_prefix_of_the_error_id_selects_a_dead_letter(dead_letters: DeadLetters) -> None:
    wanted = next(iter(dead_letters.index.select(ALL)))
    assert list(dead_letters.index.select(DeadLetterSelection(ids=(wanted.error_id,)))) == [wanted]
    assert wanted in set(
        dead_letters.index.select(DeadLetterSelection(ids=(wanted.error_id[:8], "zz")))
    )


EXPRESSIONS: dict[str, Callable[[DeadLetter], bool]] = {
    "record is None": lambda one: one.record is None,
    "record and record['amount'] > 50": lambda one: bool(one.record and one.record["amount"] > 50),
    "key in {'k1', 'k2'} and code == 'wrong-type'": lambda one: (
        one.key in (b"k1", b"k2") and one.code == "wrong-type"
    ),
    "any(name in message for name in ('at', 'line'))": lambda one: (
        "at" in one.message or "line" in one.message
    ),
    "headers['stream-app-model-version'] == '7' and offset % 2": lambda one: (
        one.ref.origin.offset % 2 == 1
    ),
    "topic.endswith('.labels') and partition == 1": lambda one: (
        one.ref.kind == "labels.dlq" and one.ref.partition == 1
    ),
}


@pytest.mark.parametrize("where", EXPRESSIONS)
def test_an_expression_is_a_further_condition(dead_letters: DeadLetters, where: str) -> None:
    expected = {
        one.ref
        for one in dead_letters.reader.read(dead_letters.index.select(ALL))
        if EXPRESSIONS[where](one)
    }
    assert expected
    chosen = DeadLetterSelection(where=where)
    assert set(dead_letters.index.select(chosen)) == expected
    assert dead_letters.index.count(chosen) == len(expected)
    late = DeadLetterSelection(where=where, since=SINCE + 60_000)
    assert {e.ref for e in dead_letters.index.entries(late)} == {
        e.ref
        for e in dead_letters.index.entries(DeadLetterSelection(since=SINCE + 60_000))
        if e.ref in expected
    }


def test_a_reader_can_be_used_while_an_expression_is_evaluated(dead_letters: DeadLetters) -> None:
    reading = dead_letters.reader.read(dead_letters.index.select(ALL))
    first = next(reading)
    assert dead_letters.index.count(DeadLetterSelection(where="stage == 'decode' or True")) == COUNT
    assert [first, *reading] == list(dead_letters.reader.read(dead_letters.index.select(ALL)))


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("record[", "no Python expression"),
        ("recrod is None", "recrod"),
        ("[f(x) for x in key]", "the name f"),
    ],
)
def test_an_invalid_expression_is_an_error_before_anything_is_read(
    dead_letters: DeadLetters, where: str, message: str
) -> None:
    with pytest.raises(SelectionError, match=message):
        dead_letters.index.select(DeadLetterSelection(where=where))


@pytest.mark.parametrize(
    ("text", "offsets"),
    [("1-2", (1, 2)), ("7", (7, 7)), ("7-", (7, None)), ("-7", (None, 7)), ("0-0", (0, 0))],
)
def test_a_range_of_offsets_is_parsed(text: str, offsets: OffsetBounds) -> None:
    assert parse_offsets(text) == offsets


@pytest.mark.parametrize("text", ["", "-", "a", "1-2-3", "1.5", "1 - 2", "9" * 30])
def test_a_malformed_range_of_offsets_is_an_error(text: str) -> None:
    with pytest.raises(SelectionError, match="offsets"):
        parse_offsets(text)


def test_a_malformed_time_is_an_error() -> None:
    with pytest.raises(SelectionError, match="yesterday"):
        parse_time("yesterday")
