"""Fixtures of the tests of secured clusters."""

import pytest

from tests.kafka.security.cluster import SecuredCluster


@pytest.fixture(scope="session")
def cluster(secured: SecuredCluster) -> SecuredCluster:
    """The secured broker."""
    return secured
