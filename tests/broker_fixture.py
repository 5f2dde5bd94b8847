"""A real broker for tests."""

from pathlib import Path

from stream_app.broker import EmbeddedBroker


def shared_broker(tmp_root: Path) -> EmbeddedBroker:
    """Start a broker with its data below `tmp_root` that cannot outlive this test process."""
    broker = EmbeddedBroker(tmp_root / "kafka", owned=True)
    broker.start()
    return broker
