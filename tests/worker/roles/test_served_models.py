"""A failing version is replaced by the last one that scored well."""

from dataclasses import dataclass

from stream_app.core.scoring.partition_state import PartitionState
from stream_app.errors import ModelError
from stream_app.records import Features
from stream_app.worker.roles.served_models import LastGood


@dataclass
class Version:
    """Model version with a constant score."""

    version: int
    name: str = "payments"

    def score(self, features: Features) -> float:
        return 0.5


def load(version: int) -> Version:
    if version > 5:
        raise ModelError("there is no such version", "Choose another")
    return Version(version)


def test_before_any_good_version_the_previous_one_replaces_a_failing_version() -> None:
    assert LastGood(PartitionState(0, 1, 1), lambda: Version(1), load).replacement(
        Version(2)
    ) == Version(1)
    assert LastGood(PartitionState(0, 1, 1), lambda: None, load).replacement(Version(2)) is None


def test_the_last_good_version_replaces_every_failing_version() -> None:
    good = LastGood(PartitionState(0, 1, 1), lambda: Version(8), load)
    for version in (3, 4):
        good.mark_good(Version(version))
    assert [good.replacement(Version(version)) for version in (5, 9)] == [Version(4), Version(4)]
    assert good.replacement(Version(4)) == Version(3)


def test_the_next_owner_restores_the_last_good_version_if_it_exists() -> None:
    for version, found in ((4, Version(4)), (6, Version(1))):
        before = PartitionState(0, 1, 1)
        LastGood(before, lambda: None, load).mark_good(Version(version))
        state = PartitionState(0, 1, 1)
        state.restore((output.key, output.value) for output in before.final_records())
        good = LastGood(state, lambda: Version(1), load)
        good.restore()
        assert good.replacement(Version(9)) == found
