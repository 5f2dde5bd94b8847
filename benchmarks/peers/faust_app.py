"""Faust as in its documentation, at least once: an agent that awaits one send per event."""

import sys
from tempfile import mkdtemp

import faust

from benchmarks.peers.work import BAD, score, trained_model


def main(servers: str, raw: str, scored: str, dead: str) -> None:
    """Runs until killed."""
    app = faust.App(
        scored,
        broker=f"kafka://{servers}",
        store="memory://",
        datadir=mkdtemp(prefix="bench-faust-"),
        web_enabled=False,
        topic_disable_leader=True,
        topic_allow_declare=False,
    )
    source = app.topic(raw, key_serializer="raw", value_serializer="raw")
    sink = app.topic(scored, key_serializer="raw", value_serializer="raw")
    dead_letters = app.topic(dead, key_serializer="raw", value_serializer="raw")
    model = trained_model()

    async def work(stream: faust.Stream) -> None:
        async for event in stream.events():
            try:
                await sink.send(key=event.key, value=score(model, event.value))
            except BAD:
                await dead_letters.send(key=event.key, value=event.value)

    app.agent(source)(work)
    faust.Worker(app, loglevel="warn", redirect_stdouts=False).execute_from_commandline()


if __name__ == "__main__":
    main(*sys.argv[1:])
