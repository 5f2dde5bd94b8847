"""The index of dead letters follows its topics, and is rebuilt when it cannot."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

import pytest
from confluent_kafka import TopicPartition

from stream_app.broker import EmbeddedBroker
from stream_app.dead_letters.access import DeadLetters, open_dead_letters
from stream_app.dead_letters.dead_letter_selection import DeadLetterSelection
from stream_app.dead_letters.groups import find_groups
from stream_app.dead_letters.ledger import (
    DlqPartition,
    Ledger,
    OffsetRanges,
    Operation,
    operation_records,
)
from stream_app.errors import TopicsError
from stream_app.kafka.topics import create_topics
from stream_app.topic_kinds import InputKind
from tests.dead_letters.dead_letter_samples import FAILURES, SINCE, sample, write
from tests.small_pipeline import small_pipeline
from tests.transfer.clusters import (
    PARTITIONS,
    admin,
    new_topics,
    producer,
    settings_for,
    unique_name,
)

pytestmark = pytest.mark.broker

ALL = DeadLetterSelection()
BAD_TYPE, MISSING, BAD_JSON = FAILURES


class Case:
    """A pipeline with its own index; `notices` are the lines for the user."""

    def __init__(self, broker: EmbeddedBroker, folder: Path) -> None:
        self.settings = settings_for(broker).model_copy(update={"data_dir": folder})
        self.name = new_topics(self.settings)
        self.notices: list[str] = []

    @contextmanager
    def opened(self) -> Iterator[DeadLetters]:
        with open_dead_letters(
            self.settings, small_pipeline(self.name), self.notices.append
        ) as dead_letters:
            yield dead_letters

    def write(self, *numbers: int, kind: InputKind = "raw") -> None:
        write(
            self.settings,
            self.name,
            (sample(self.name, n, FAILURES[n % 3], kind=kind, at=SINCE + n) for n in numbers),
        )

    def keys(self) -> list[bytes]:
        with self.opened() as dead_letters:
            return sorted(entry.key or b"" for entry in dead_letters.index.entries(ALL))

    @property
    def file(self) -> Path:
        (file,) = (self.settings.data_dir / "dead-letters").glob(f"*/{self.name}.sqlite")
        return file


@pytest.fixture
def case(broker: EmbeddedBroker, tmp_path: Path) -> Case:
    return Case(broker, tmp_path)


def test_an_entry_has_the_fields_of_the_headers(case: Case) -> None:
    case.write(5)
    case.write(3, kind="labels")
    with case.opened() as dead_letters:
        event, label = sorted(
            dead_letters.index.entries(ALL), key=lambda entry: entry.ref.kind, reverse=True
        )
        (other,) = dead_letters.index.select(DeadLetterSelection(source="labels"))
    assert event.ref[:3] == ("raw.dlq", 5 % PARTITIONS, 0)
    assert event.ref.origin == (f"{case.name}.raw", 5 % PARTITIONS, 5 // PARTITIONS)
    assert (event.code, event.error_class, event.stage) == ("invalid-json", "contract", "decode")
    assert (event.message, event.key, event.event_id, event.attempts) == (
        BAD_JSON.message,
        b"e5",
        "e5",
        1,
    )
    assert event.timestamp == event.first_failed == event.last_failed == SINCE + 5
    assert (event.original_timestamp, event.size) == (SINCE - 995, 58)
    assert (event.model_version, event.schema_version, event.app_version) == ("7", "abc", "1.0")
    assert (event.replay_count, event.replay_id) == (0, "")
    assert label.ref == other
    assert other.kind == "labels.dlq"


def test_only_new_dead_letters_are_indexed(case: Case) -> None:
    case.write(*range(10))
    assert len(case.keys()) == 10
    before = case.file.stat().st_ino
    case.write(10, 11)
    assert len(case.keys()) == 12
    assert case.keys() == sorted(f"e{n}".encode() for n in range(12))
    assert (case.file.stat().st_ino, case.notices) == (before, [])


def test_the_index_is_rebuilt_after_a_topic_is_recreated(case: Case) -> None:
    case.write(*range(20))
    assert len(case.keys()) == 20
    for future in admin(case.settings).delete_topics([f"{case.name}.raw.dlq"]).values():
        future.result(60)
    create_topics(admin(case.settings), case.name, case.settings)
    case.write(*range(100, 140))
    assert case.keys() == sorted(f"e{n}".encode() for n in range(100, 140))
    assert "recreated" in case.notices[0]
    assert len(case.notices) == 1


def test_expired_dead_letters_are_deleted_from_the_index(case: Case) -> None:
    case.write(*range(0, 40, PARTITIONS))
    assert len(case.keys()) == 10
    deleted = admin(case.settings).delete_records([TopicPartition(f"{case.name}.raw.dlq", 0, 4)])
    for future in deleted.values():
        future.result(60)
    assert len(case.keys()) == 6
    for future in (
        admin(case.settings)
        .delete_records([TopicPartition(f"{case.name}.raw.dlq", 0, 10)])
        .values()
    ):
        future.result(60)
    assert case.keys() == []
    assert case.notices == []


@pytest.mark.parametrize(
    "damage", [b"no database at all" * 100, b"SQLite format 3\0" + b"\7" * 5000]
)
def test_a_damaged_file_is_rebuilt(case: Case, damage: bytes) -> None:
    case.write(*range(10))
    assert len(case.keys()) == 10
    case.file.write_bytes(damage)
    for suffix in ("-wal", "-shm"):
        case.file.with_name(case.file.name + suffix).unlink(missing_ok=True)
    assert len(case.keys()) == 10
    assert len(case.notices) == 1
    assert "Rebuilding" in case.notices[0]
    assert len(case.keys()) == 10
    assert len(case.notices) == 1


def test_concurrent_commands_index_each_dead_letter_once(case: Case) -> None:
    case.write(*range(2000))
    found: list[int] = []
    threads = [Thread(target=lambda: found.append(len(case.keys()))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [2000] * 3


def test_records_of_other_programs_are_indexed_with_an_unknown_code(case: Case) -> None:
    sender = producer(case.settings)
    topic = f"{case.name}.raw.dlq"
    sender.produce(topic, None, None)
    headers = [
        ("stream-app-error-attempts", b"\xb2"),
        ("stream-app-original-offset", b"9" * 40),
        ("stream-app-error-message", None),
        ("x", b"\xff"),
    ]
    sender.produce(topic, b"\xff", b"\xfe", headers=headers)
    assert sender.flush(60) == 0
    with case.opened() as dead_letters:
        assert {entry.code for entry in dead_letters.index.entries(ALL)} == {"unknown"}
        assert {one.code for one in dead_letters.reader.read(dead_letters.index.select(ALL))} == {
            "unknown"
        }
        (group,) = find_groups(dead_letters.index, ALL, dead_letters.ledger, SINCE)
    assert group.count == 2


def test_a_missing_topic_is_an_error_that_names_it(broker: EmbeddedBroker, tmp_path: Path) -> None:
    settings = settings_for(broker).model_copy(update={"data_dir": tmp_path})
    name = unique_name()
    with (
        pytest.raises(TopicsError, match=f"{name}.raw.dlq"),
        open_dead_letters(settings, small_pipeline(name)),
    ):
        pass


@pytest.mark.faults
def test_a_hundred_thousand_dead_letters_are_indexed_and_grouped(case: Case) -> None:
    count = 100_000
    write(
        case.settings,
        case.name,
        (sample(case.name, n, FAILURES[n % 3], at=SINCE + n) for n in range(count)),
    )
    with case.opened() as dead_letters:
        closed: dict[DlqPartition, list[int]] = {}
        for ref in dead_letters.index.select(DeadLetterSelection(codes=("missing-field",))):
            closed.setdefault((ref.kind, ref.partition), []).append(ref.offset)
        operation = Operation("a", "replay", 0, "ann@host", "all", "test", count)
        ledger = Ledger(
            operation_records(
                operation,
                {partition: OffsetRanges.of(offsets) for partition, offsets in closed.items()},
            )
        )
        groups = {
            group.code: group
            for group in find_groups(dead_letters.index, ALL, ledger, SINCE + count)
        }
        origins = [ref.origin for ref in dead_letters.index.select(ALL)]
    assert len(set(origins)) == len(origins) == count
    assert {code: group.count for code, group in groups.items()} == {
        "wrong-type": 33334, "missing-field": 33333, "invalid-json": 33333,
    }  # fmt: skip
    assert [code for code, group in groups.items() if group.is_closed] == ["missing-field"]
    assert groups["missing-field"].outcomes == {"replayed": 33333}
    wrong = groups["wrong-type"]
    assert (wrong.first_seen, wrong.last_seen, wrong.last_hour, wrong.hour_before) == (
        SINCE,
        SINCE + 99_999,
        33334,
        0,
    )
    assert wrong.newest.key == b"e99999"
    assert wrong.top["schema_version"] == ("abc", 1.0)
    assert "schema declares" in wrong.remedy
