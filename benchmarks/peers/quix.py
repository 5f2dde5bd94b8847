"""Quix Streams as in its documentation, at least once, or exactly once by its setting.

Exactly once, it commits as often as the other transactional contenders; its own interval is 5 s.
"""

import sys

from quixstreams import Application

from benchmarks.peers.work import BAD, score, trained_model

DEFAULT_COMMIT_SECONDS = 5.0


def main(
    servers: str,
    raw: str,
    scored: str,
    dead: str,
    commit_ms: str = "",
) -> None:
    """Runs until killed, exactly once if there is a commit interval."""
    app = Application(
        broker_address=servers,
        consumer_group=scored,
        auto_offset_reset="earliest",
        auto_create_topics=False,
        processing_guarantee="exactly-once" if commit_ms else "at-least-once",
        commit_interval=int(commit_ms) / 1000 if commit_ms else DEFAULT_COMMIT_SECONDS,
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
