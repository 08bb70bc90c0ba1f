"""One request for one file: redirects followed with care, and failures sorted by whether trying again may help."""

import http.client
import os
import re
import socket
import ssl
import urllib.error
import urllib.request
from typing import NamedTuple
from urllib.parse import urljoin, urlsplit

from asym_jax.weights.fetching.published import HUB

SECONDS_OF_SILENCE = 30.0
MOST_REDIRECTS = 10
USER_AGENT = "asym_jax (weights fetch; Python urllib)"
REDIRECTS = (301, 302, 303, 307, 308)
SHA256 = re.compile(r'"?([0-9a-f]{64})"?')
SIZES = re.compile(r"bytes (?:(\d+)-\d+|\*)/(?:(\d+)|\*)")
HERE = ("127.0.0.1", "localhost", "::1")


class Passing(Exception):
    """Another attempt may go well."""


class Lasting(Exception):
    """Another attempt would end the same way."""


class Answer(NamedTuple):
    """What a server said."""

    status: int  # 200: all of the file; 206: from byte `start` on; 416: there is nothing from byte `start` on
    body: http.client.HTTPResponse
    start: int
    total: int | None  # bytes of the whole file
    etag: str | None  # changes with the file; only one that stands for the very bytes
    sha256: str | None  # of the whole file, if the server announces it


class _AsItIs(urllib.request.HTTPErrorProcessor):
    """Redirects and errors are answers like others."""

    def http_response(self, request: urllib.request.Request, response: http.client.HTTPResponse) -> http.client.HTTPResponse:
        return response

    https_response = http_response


def ask(url: str, start: int, etag: str | None) -> Answer:
    """Asks for the bytes of a file from `start` on; for all of them, if it is not the file with this `etag` any more.

    An address on the Hugging Face hub is looked for at `$HF_ENDPOINT`. `$HF_TOKEN`
    is sent to that host and to no other.

    Raises:
        Passing: no answer in time, a broken connection, or an error of the server (5xx).
        Lasting: any other refusal, or an address that is not https (http is allowed to this machine itself).
    """
    endpoint = (os.environ.get("HF_ENDPOINT") or HUB).rstrip("/")
    from_hub = url.startswith(f"{HUB}/")
    hop = endpoint + url.removeprefix(HUB) if from_hub else url
    first = urlsplit(hop)
    sha256 = None
    for _ in range(MOST_REDIRECTS):
        at_home = urlsplit(hop)[:2] == first[:2]
        response = _one_request(hop, start, etag, token=os.environ.get("HF_TOKEN") if from_hub and at_home else None)
        # The hub names the hash of a large file where it hands over to a store of its own, which does not know it.
        if at_home and (announced := SHA256.fullmatch(response.headers.get("X-Linked-ETag", ""))):
            sha256 = announced[1]
        try:
            if response.status not in REDIRECTS:
                return _answer(response, urlsplit(hop).hostname, start, sha256)
            hop = _next_hop(hop, response)
        except (Passing, Lasting):
            response.close()
            raise
        response.close()
    raise Lasting(f"{first.hostname} redirects more than {MOST_REDIRECTS} times")


def _one_request(url: str, start: int, etag: str | None, token: str | None) -> http.client.HTTPResponse:
    address = urlsplit(url)
    if address.scheme != "https" and not (address.scheme == "http" and address.hostname in HERE):
        raise Lasting(f"only https addresses are fetched from, not {url.partition('?')[0]}")
    request = urllib.request.Request(url, headers={"User-Agent": USER_AGENT, "Accept-Encoding": "identity"})
    if token:
        request.add_header("Authorization", f"Bearer {token}")
    if start:
        request.add_header("Range", f"bytes={start}-")
        if etag:
            request.add_header("If-Range", etag)
    opener = urllib.request.build_opener(_AsItIs)
    try:
        return opener.open(request, timeout=SECONDS_OF_SILENCE)
    except (OSError, http.client.HTTPException) as error:
        raise sorted_failure(error, address.hostname or url) from error


def _next_hop(url: str, response: http.client.HTTPResponse) -> str:
    hop = urljoin(url, response.headers.get("Location", ""))
    if urlsplit(url).scheme == "https" and urlsplit(hop).scheme != "https":
        raise Lasting(f"{urlsplit(url).hostname} redirects to an address that is not https")
    return hop


def _answer(response: http.client.HTTPResponse, host: str | None, start: int, sha256: str | None) -> Answer:
    status, headers = response.status, response.headers
    if status >= 500:
        raise Passing(f"{host} answers HTTP {status} {response.reason}")
    if status not in (200, 206, 416):
        hint = "; a repository with conditions needs HF_TOKEN, the token of an account that accepted them"
        raise Lasting(f"{host} answers HTTP {status} {response.reason}{hint if status in (401, 403) else ''}")
    if status != 416 and headers.get_content_type() == "text/html":
        raise Lasting(f"{host} answers with a web page instead of the file")
    if headers.get("Content-Encoding", "identity") != "identity":
        raise Lasting(f"{host} answers with {headers['Content-Encoding']} data, which was not asked for")
    etag = headers.get("ETag")
    if etag and etag.startswith("W/"):  # stands for the meaning, not for the bytes
        etag = None
    if status == 200:
        length = headers.get("Content-Length")
        return Answer(200, response, 0, int(length) if length else None, etag, sha256)
    sizes = SIZES.fullmatch(headers.get("Content-Range", ""))
    if status == 206 and (sizes is None or sizes[1] is None or int(sizes[1]) != start):
        raise Lasting(f"{host} was asked for the bytes from {start:,} on, and sends others")
    return Answer(status, response, start, int(sizes[2]) if sizes and sizes[2] else None, etag, sha256)


def sorted_failure(error: Exception, host: str) -> Passing | Lasting:
    """What to raise for an exception of the network: one that says what happened, and whether to try again."""
    reason = error.reason if isinstance(error, urllib.error.URLError) and isinstance(error.reason, Exception) else error
    if isinstance(reason, TimeoutError):
        return Passing(f"{host} was silent for {SECONDS_OF_SILENCE:g} s")
    if isinstance(reason, socket.gaierror):
        return Lasting(f"no network, or no host {host} ({reason})")
    if isinstance(reason, ConnectionRefusedError | ssl.SSLError):
        return Lasting(f"no connection to {host} ({reason})")
    if isinstance(reason, ConnectionError | http.client.HTTPException):
        return Passing(f"the connection to {host} broke ({type(reason).__name__}: {reason})")
    return Lasting(f"no connection to {host} ({reason})")
