"""Waiting for a store that is away."""

from collections.abc import Callable
from time import sleep
from typing import TypeVar

from stream_app.errors import StoreError
from stream_app.telemetry.logs import get_logger

log = get_logger(__name__)

WAIT_SECONDS = 2.0  # between two looks at a store that is away

_T = TypeVar("_T")


def patiently(call: Callable[[], _T]) -> _T:
    """Repeat what needs the store until it answers."""
    problem = ""
    while True:
        try:
            return call()
        except StoreError as error:
            if str(error) != problem:
                log.error("waiting for the store", why=str(error))
            problem = str(error)
            sleep(WAIT_SECONDS)
