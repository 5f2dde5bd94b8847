"""Fixtures of the fault table."""

import pytest

from stream_app.broker import EmbeddedBroker
from tests.faults.run import Recovery, measure_recovery


@pytest.fixture(scope="session")
def recovery(broker: EmbeddedBroker, tmp_path_factory: pytest.TempPathFactory) -> Recovery:
    """Recovery measured once at the start of the run; the bounds of the fault table are twice that."""
    return measure_recovery(broker, tmp_path_factory.mktemp("recovery"))
