"""How learning is: held or not, how far it has come, and which version came of it."""

from collections.abc import Iterator
from typing import NamedTuple

from stream_app.formatting import counted
from stream_app.model_admin.model_admin import ModelAdmin
from stream_app.transfer.record_rendering import harmless


class LearningStatus(NamedTuple):
    """`since`, `who` and `why` are of the last hold or resumption. `learned_to` and `log_end` are offsets of the log of
    examples, `learned_to` None before the learner has run; `newest` is the last version, `served` the one in use.
    """

    held: bool
    since: str | None
    who: str | None
    why: str | None
    learned_to: int | None
    log_end: int
    newest: int | None
    served: int | None

    def lines(self) -> Iterator[str]:
        """For people."""
        if self.since is None:
            yield "Learning goes on; it was never held."
        else:
            how = "is held" if self.held else "goes on"
            yield harmless(f"Learning {how} since {self.since[:19]}Z, by {self.who}: {self.why}")
        behind = self.log_end - (self.learned_to or 0)
        where = "nothing yet" if self.learned_to is None else f"up to offset {self.learned_to:,}"
        yield f"The learner has processed {where} of {self.log_end:,}: at most {counted(behind, 'record')} behind."
        yield f"Newest version: {_name(self.newest)}; served: {_name(self.served)}."


def learning_status(desk: ModelAdmin) -> LearningStatus:
    """As it is now; raises as `ModelAdmin`."""
    registry = desk.registry()
    mark = registry.learning
    since, who, why = (None, None, None) if mark is None else mark[1:]
    position, end = desk.learned_to(), desk.ends("examples")[1]
    newest = max(registry.versions, default=None)
    return LearningStatus(registry.held, since, who, why, position, end, newest, registry.served)


def _name(version: int | None) -> str:
    return "none" if version is None else str(version)
