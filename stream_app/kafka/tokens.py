"""OAuth 2 tokens for OAUTHBEARER, fetched with client credentials and cached until they expire."""

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
from stream_app.settings import KafkaSettings, read_secret

log = logging.getLogger(__name__)

# Share of a token's lifetime after which it is renewed; librdkafka asks again after 0.8.
RENEWAL_SHARE = 0.75
RETRY_SECONDS = 1.0
TIMEOUT = 5.0  # seconds
MAX_RESPONSE_BYTES = 1 << 20


class Token(NamedTuple):
    """Bearer token.

    Attributes:
        renew_at: Unix seconds after which it is renewed.
        expires: Unix seconds after which it is invalid.
    """

    text: str
    renew_at: float
    expires: float

    def __repr__(self) -> str:
        return f"Token(expires={self.expires})"


class TokenSource:
    """Token shared by all clients of this process. Thread-safe.

    Attributes:
        problem: error of the last request, None if it succeeded.
    """

    def __init__(self, kafka: KafkaSettings) -> None:
        self._kafka = kafka
        self._token: Token | None = None
        self._lock = Lock()
        # Monotonic seconds before which the provider is not asked again.
        self._retry_at = 0.0
        self.problem: StreamAppError | None = None

    def token(self) -> Token:
        """Return a valid token.

        Raises:
            AccessError: the identity provider rejects this client.
            KafkaUnavailableError: it does not answer.
        """
        with self._lock:
            if self._token is None or time.time() > self._token.renew_at:
                self._renew()
            if self._token is not None and time.time() < self._token.expires:
                return self._token
            assert self.problem is not None
            raise self.problem

    def for_librdkafka(self, _: str | None) -> tuple[str, float]:
        """Return a token; librdkafka calls this as `oauth_cb` when a client is polled."""
        token = self.token()
        return token.text, token.expires

    def for_aiokafka(self) -> Any:
        """Return a token provider of aiokafka."""
        from aiokafka.abc import AbstractTokenProvider

        source = self

        class Provider(AbstractTokenProvider):  # type: ignore[misc]
            async def token(self) -> str:
                loop = asyncio.get_running_loop()
                try:
                    return (await loop.run_in_executor(None, source.token)).text
                except StreamAppError as problem:
                    # aiokafka retries after this error.
                    raise ConnectionError(str(problem)) from None

        return Provider()

    def _renew(self) -> None:
        """Request a new token; if the provider is away, the old one is used until it expires."""
        if time.monotonic() < self._retry_at:
            return
        try:
            self._token, self.problem = self._fetch(), None
        except StreamAppError as problem:
            self.problem, self._retry_at = problem, time.monotonic() + RETRY_SECONDS
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
            with opener.open(request, timeout=TIMEOUT) as response:
                return _parse(response.read(MAX_RESPONSE_BYTES), issued)
        except HTTPError as error:
            with error:
                raise self._rejected(error) from None
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
            getattr(error, "reason", error) if isinstance(error, OSError) else "unexpected response"
        )
        message = (
            f"The identity provider at {self._kafka.oauth_token_url} returned no token: {reason}"
        )
        if isinstance(reason, ssl.SSLError):
            return AccessError(
                message, "Name the authority of its certificate in STREAM_APP_KAFKA__CA_FILE"
            )
        return KafkaUnavailableError(
            message, "Check STREAM_APP_KAFKA__OAUTH_TOKEN_URL, and that the provider runs"
        )

    def _rejected(self, error: HTTPError) -> StreamAppError:
        url = self._kafka.oauth_token_url
        message = f"The identity provider at {url} returned no token: HTTP status {error.code}"
        if error.code >= 500 or error.code == 429:
            return KafkaUnavailableError(message, "Try again, or see its log")
        return AccessError(
            f"{message} to client {self._kafka.oauth_client_id}",
            "Check STREAM_APP_KAFKA__OAUTH_TOKEN_URL, __OAUTH_CLIENT_ID, "
            "__OAUTH_CLIENT_SECRET_FILE and __OAUTH_SCOPE",
        )


class _NoRedirect(HTTPRedirectHandler):
    """Rejects redirections, which would send the client secret to another host."""

    def redirect_request(self, *_: Any) -> None:
        return None


@cache
def token_source(kafka: KafkaSettings) -> TokenSource:
    """Return the token source of this process for these settings."""
    return TokenSource(kafka)


def _parse(response: bytes, issued: float) -> Token:
    fields = json.loads(response)
    text, lifetime = str(fields["access_token"]), float(fields["expires_in"])
    if not lifetime > 0:
        raise ValueError("expired")
    return Token(text, issued + RENEWAL_SHARE * lifetime, issued + lifetime)
