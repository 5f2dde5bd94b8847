"""An embedded broker for tests."""

from pathlib import Path

from stream_app.broker import EmbeddedBroker


def shared_broker(tmp_root: Path) -> EmbeddedBroker:
    """Run a broker with its data below `tmp_root` that ends with this process."""
    broker = EmbeddedBroker(tmp_root / "kafka", owned=True)
    broker.start()
    return broker
