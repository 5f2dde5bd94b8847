"""Flights shared by the tests, read once."""

from datetime import datetime

import pytest

from stream_app.examples.nycflights import Flight, read_flights


@pytest.fixture(scope="session")
def two_months() -> list[Flight]:
    """Return the flights of January and February 2013."""
    return read_flights(datetime(2013, 1, 1), datetime(2013, 3, 1))
