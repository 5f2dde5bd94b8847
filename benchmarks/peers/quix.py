"""Quix Streams as in its documentation, at least once, or exactly once by its setting.

Exactly once, it commits as often as the other transactional contenders; its own interval is 5 s.
"""

import sys
from typing import Literal

from quixstreams import Application

from benchmarks.peers.work import BAD, score, trained_model

Guarantee = Literal["at-least-once", "exactly-once"]


def main(
    servers: str,
    raw: str,
    scored: str,
    dead: str,
    guarantee: Guarantee = "at-least-once",
    commit_ms: str = "5000",
) -> None:
    """Runs until killed."""
    app = Application(
        broker_address=servers,
        consumer_group=scored,
        auto_offset_reset="earliest",
        auto_create_topics=False,
        processing_guarantee=guarantee,
        commit_interval=int(commit_ms) / 1000,
    )
    model = trained_model()
    source = app.topic(raw, key_deserializer="bytes", value_deserializer="bytes")
    sink = app.topic(scored, key_serializer="bytes", value_serializer="bytes")
    dead_letters = app.topic(dead, key_serializer="bytes", value_serializer="bytes")

    def work(value: bytes) -> tuple[bool, bytes]:
        try:
            return True, score(model, value)
        except BAD:
            return False, value

    outcomes = app.dataframe(source).apply(work)
    outcomes[outcomes.apply(lambda outcome: outcome[0])].apply(lambda outcome: outcome[1]).to_topic(
        sink
    )
    outcomes[outcomes.apply(lambda outcome: not outcome[0])].apply(
        lambda outcome: outcome[1]
    ).to_topic(dead_letters)
    app.run()


if __name__ == "__main__":
    main(*sys.argv[1:])
