"""State of learning: pauses, exclusions, and the progress of the learner."""

from collections.abc import Iterator
from typing import NamedTuple

from stream_app.core.learning.learning_rules import Exclusion
from stream_app.formatting import counted, iso_time
from stream_app.model_admin.learning_decisions import span_text
from stream_app.model_admin.model_admin import ModelAdmin
from stream_app.model_store.annotations import Annotation
from stream_app.transfer.record_rendering import sanitize_for_terminal


class LearningStatus(NamedTuple):
    """State of learning, and progress of the learner.

    Attributes:
        paused: True while learning as a whole is paused.
        since: time of its last pause or resumption, with the author `who` and reason `why`.
        learned_to: offset of the next example of the learner, None before it has run.
        log_end: end offset of the log of examples.
        newest: newest version.
        served: version in use.
        paused_sources: pauses of sources by name.
        exclusions: exclusions in force, oldest first.
    """

    paused: bool
    since: str | None
    who: str | None
    why: str | None
    learned_to: int | None
    log_end: int
    newest: int | None
    served: int | None
    paused_sources: dict[str, Annotation]
    exclusions: tuple[Exclusion, ...]

    def as_object(self) -> dict[str, object]:
        """Return the status as JSON values, with label times in ISO 8601."""
        sources = [
            {"source": name, "since": one.at, "who": one.who, "why": one.why}
            for name, one in self.paused_sources.items()
        ]
        exclusions = [
            {**one._asdict(), "start": iso_time(one.start), "end": iso_time(one.end)}
            for one in self.exclusions
        ]
        return {**self._asdict(), "paused_sources": sources, "exclusions": exclusions}

    def lines(self) -> Iterator[str]:
        """Yield the status as text."""
        if self.since is None:
            yield "Learning is active; it was never paused."
        else:
            state = "paused" if self.paused else "active"
            since = f"{self.since[:19]}Z"
            yield sanitize_for_terminal(
                f"Learning is {state} since {since}, by {self.who}: {self.why}"
            )
        for name, one in self.paused_sources.items():
            yield sanitize_for_terminal(
                f"Learning from {name} is paused since {one.at[:19]}Z, by {one.who}: {one.why}"
            )
        for exclusion in self.exclusions:
            yield sanitize_for_terminal(
                f"Exclusion {exclusion.number}: {span_text(exclusion)}, by {exclusion.who} at "
                f"{exclusion.at[:19]}Z: {exclusion.why}"
            )
        behind = self.log_end - (self.learned_to or 0)
        done = "nothing yet" if self.learned_to is None else f"up to offset {self.learned_to:,}"
        yield (
            f"The learner has processed {done} of {self.log_end:,}: "
            f"at most {counted(behind, 'record')} behind."
        )
        yield f"Newest version: {_name(self.newest)}; served: {_name(self.served)}."


def learning_status(admin: ModelAdmin) -> LearningStatus:
    """Return the present state of learning."""
    registry = admin.registry()
    last, rules = registry.learning, registry.rules
    since, who, why = (None, None, None) if last is None else (last.at, last.who, last.why)
    return LearningStatus(
        registry.paused,
        since,
        who,
        why,
        admin.learned_to(),
        admin.ends("examples")[1],
        max(registry.versions, default=None),
        registry.served,
        {name: registry.source_learning[name] for name in rules.paused_sources},
        rules.exclusions,
    )


def _name(version: int | None) -> str:
    return "none" if version is None else str(version)
