"""What stands in for a version that fails."""

from dataclasses import dataclass

from stream_app.core.scoring.partition_state import PartitionState
from stream_app.errors import ModelError
from stream_app.records import Features
from stream_app.worker.roles.last_good import LastGood


@dataclass
class Version:
    """A model version."""

    version: int
    name: str = "payments"

    def score(self, features: Features) -> float:
        return 0.5


def load(version: int) -> Version:
    if version > 5:
        raise ModelError("there is no such version", "Choose another")
    return Version(version)


def test_until_one_has_served_well_it_is_the_version_before() -> None:
    assert LastGood(PartitionState(0, 1, 1), lambda: Version(1), load).instead_of(
        Version(2)
    ) == Version(1)
    assert LastGood(PartitionState(0, 1, 1), lambda: None, load).instead_of(Version(2)) is None


def test_however_many_versions_fail_it_is_the_last_that_served_well() -> None:
    good = LastGood(PartitionState(0, 1, 1), lambda: Version(8), load)
    for version in (3, 4):
        good.worked(Version(version))
    assert [good.instead_of(Version(version)) for version in (5, 9)] == [Version(4), Version(4)]
    assert good.instead_of(Version(4)) == Version(3)


def test_whoever_takes_over_knows_it_too_if_it_still_exists() -> None:
    for version, found in ((4, Version(4)), (6, Version(1))):
        before = PartitionState(0, 1, 1)
        LastGood(before, lambda: None, load).worked(Version(version))
        output, state = before.checkpoint(), PartitionState(0, 1, 1)
        state.restore([(output.key, output.value)])
        good = LastGood(state, lambda: Version(1), load)
        good.restore()
        assert good.instead_of(Version(9)) == found
