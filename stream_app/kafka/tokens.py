"""Tokens for OAUTHBEARER: fetched with client credentials (OAuth 2), kept until shortly before they expire."""

import asyncio
import base64
import json
import logging
import ssl
import time
from functools import cache
from http.client import HTTPException
from threading import Lock
from typing import Any, NamedTuple
from urllib.error import HTTPError
from urllib.parse import quote, urlencode
from urllib.request import HTTPRedirectHandler, HTTPSHandler, Request, build_opener

from stream_app.errors import AccessError, KafkaUnavailableError, StreamAppError
from stream_app.secrets import read_secret
from stream_app.settings import KafkaSettings

log = logging.getLogger(__name__)

FRESH_SHARE = 0.75  # of a token's life, after which another is asked for; librdkafka asks after 0.8
RETRY_SECONDS = 1.0  # after a failure
TIMEOUT = 5.0  # seconds
LARGEST_ANSWER = 1 << 20  # bytes


class Token(NamedTuple):
    """A bearer token; `stale` is when another should be asked for, both times in epoch seconds."""

    text: str
    stale: float
    expires: float

    def __repr__(self) -> str:
        return f"Token(expires={self.expires})"


class TokenSource:
    """Gives one token to all clients of this process (thread-safe).

    `problem` is why the last attempt to get one failed, None if it did not.
    """

    def __init__(self, kafka: KafkaSettings) -> None:
        self._kafka = kafka
        self._token: Token | None = None
        self._lock = Lock()
        self._again = 0.0  # monotonic; when the provider may be asked again
        self.problem: StreamAppError | None = None

    def token(self) -> Token:
        """A token that is still good for a while.

        Raises `AccessError` if the identity provider refuses us, `KafkaUnavailableError` if it does not answer.
        """
        with self._lock:
            if self._token is None or time.time() > self._token.stale:
                self._renew()
            if self._token is not None and time.time() < self._token.expires:
                return self._token
            assert self.problem is not None
            raise self.problem

    def for_librdkafka(self, _: str | None) -> tuple[str, float]:
        """The callback `oauth_cb`, which librdkafka calls when one of its clients is polled."""
        token = self.token()
        return token.text, token.expires

    def for_aiokafka(self) -> Any:
        """An aiokafka token provider."""
        from aiokafka.abc import AbstractTokenProvider

        source = self

        class Provider(AbstractTokenProvider):  # type: ignore[misc]
            async def token(self) -> str:
                try:
                    return (
                        await asyncio.get_running_loop().run_in_executor(None, source.token)
                    ).text
                except StreamAppError as problem:
                    raise ConnectionError(
                        str(problem)
                    ) from None  # which aiokafka takes for a passing one

        return Provider()

    def _renew(self) -> None:
        """Ask for a new token; the old one serves until it expires when the provider is away."""
        if time.monotonic() < self._again:
            return
        try:
            self._token, self.problem = self._fetch(), None
        except StreamAppError as problem:
            self.problem, self._again = problem, time.monotonic() + RETRY_SECONDS
            if self._token is not None:
                log.warning("%s", problem)

    def _fetch(self) -> Token:
        kafka, issued = self._kafka, time.time()
        form = {"grant_type": "client_credentials"} | (
            {"scope": kafka.oauth_scope} if kafka.oauth_scope else {}
        )
        headers = {"Authorization": f"Basic {self._credentials()}", "Accept": "application/json"}
        try:
            opener = build_opener(_NoRedirect, HTTPSHandler(context=self._context()))
            request = Request(str(kafka.oauth_token_url), urlencode(form).encode(), headers)
            with opener.open(request, timeout=TIMEOUT) as answer:
                return _parse(answer.read(LARGEST_ANSWER), issued)
        except HTTPError as error:
            with error:
                raise self._refused(error) from None
        except (OSError, HTTPException, ValueError, KeyError, TypeError) as error:
            raise self._failed(error) from None

    def _credentials(self) -> str:
        kafka = self._kafka
        variable = "STREAM_APP_KAFKA__OAUTH_CLIENT_SECRET"
        secret = read_secret(kafka.oauth_client_secret, kafka.oauth_client_secret_file, variable)
        pair = f"{quote(str(kafka.oauth_client_id), safe='')}:{quote(secret or '', safe='')}"
        return base64.b64encode(pair.encode()).decode()

    def _context(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=self._kafka.ca_file)

    def _failed(self, error: Exception) -> StreamAppError:
        reason = (
            getattr(error, "reason", error)
            if isinstance(error, OSError)
            else "it answers something else"
        )
        message = f"The identity provider at {self._kafka.oauth_token_url} gives no token: {reason}"
        if isinstance(reason, ssl.SSLError):
            return AccessError(
                message, "Name the authority of its certificate in STREAM_APP_KAFKA__CA_FILE"
            )
        return KafkaUnavailableError(
            message, "Check STREAM_APP_KAFKA__OAUTH_TOKEN_URL, and that the provider runs"
        )

    def _refused(self, error: HTTPError) -> StreamAppError:
        message = f"The identity provider at {self._kafka.oauth_token_url} gives no token: it answered {error.code}"
        if error.code >= 500 or error.code == 429:
            return KafkaUnavailableError(message, "Try again, or see its log")
        return AccessError(
            f"{message} to client {self._kafka.oauth_client_id}",
            "Check STREAM_APP_KAFKA__OAUTH_TOKEN_URL, __OAUTH_CLIENT_ID, __OAUTH_CLIENT_SECRET_FILE and __OAUTH_SCOPE",
        )


class _NoRedirect(HTTPRedirectHandler):
    """A redirection would carry the client secret to another host."""

    def redirect_request(self, *_: Any) -> None:
        return None


@cache
def token_source(kafka: KafkaSettings) -> TokenSource:
    """The one source of this process for these settings."""
    return TokenSource(kafka)


def _parse(answer: bytes, issued: float) -> Token:
    fields = json.loads(answer)
    text, lifetime = str(fields["access_token"]), float(fields["expires_in"])
    if not lifetime > 0:
        raise ValueError("expired")
    return Token(text, issued + FRESH_SHARE * lifetime, issued + lifetime)
