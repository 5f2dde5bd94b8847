"""Fixtures of the fault table."""

import pytest

from stream_app.broker import EmbeddedBroker
from tests.faults.run import Recovery, measure_recovery


@pytest.fixture(scope="session")
def recovery(broker: EmbeddedBroker, tmp_path_factory: pytest.TempPathFactory) -> Recovery:
    """Returns the recovery times of this machine; the bounds of the fault table are twice them."""
    return measure_recovery(broker, tmp_path_factory.mktemp("recovery"))
