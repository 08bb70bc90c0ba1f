"""A web server on this machine that misbehaves as it is told."""

import contextlib
import dataclasses
import hashlib
import http.server
import random
import re
import threading
import time
from collections.abc import Iterator

from asym_jax.weights.fetching.published import PublishedFile

BLOCK = 1 << 16


@dataclasses.dataclass
class Site:
    """What is served, and what was asked for."""

    content: bytes = b""
    etag: str | None = '"one"'
    ranges: bool = True  # whether Range is understood
    if_range: bool = True  # whether If-Range is understood
    length: bool = True  # whether Content-Length is said
    redirect: str | None = None
    headers: dict[str, str] = dataclasses.field(default_factory=dict)
    statuses: list[int] = dataclasses.field(default_factory=list)  # for the next requests; then as usual
    drops: list[int] = dataclasses.field(default_factory=list)  # after so many bytes the connection ends, once each
    stall: int | None = None  # after so many bytes, over all requests, nothing more comes
    base: str = ""
    requests: list[dict[str, str]] = dataclasses.field(default_factory=list)
    sent: list[int] = dataclasses.field(default_factory=list)  # bytes of each answer
    stopped: bool = False

    @property
    def starts(self) -> list[str | None]:
        """The Range of every request."""
        return [request.get("range") for request in self.requests]


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_GET(self):
        site = self.server.site
        site.requests.append({"path": self.path, **{name.lower(): value for name, value in self.headers.items()}})
        self.close_connection = True
        if site.statuses:
            self.answer(site.statuses.pop(0), {"Content-Length": "0"}, b"")
        elif site.redirect:
            self.answer(302, {"Location": site.redirect, "Content-Length": "0"}, b"")
        else:
            self.answer_with_file(site)

    def answer_with_file(self, site):
        size = len(site.content)
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", "")) if site.ranges else None
        if asked and site.if_range and self.headers.get("If-Range", site.etag) != site.etag:
            asked = None
        start = int(asked[1]) if asked else 0
        if asked and start >= size:
            self.answer(416, {"Content-Range": f"bytes */{size}", "Content-Length": "0"}, b"")
            return
        said = {"Content-Type": "application/octet-stream"}
        if site.etag:
            said["ETag"] = site.etag
        if site.length:
            said["Content-Length"] = str(size - start)
        if asked:
            said["Content-Range"] = f"bytes {start}-{size - 1}/{size}"
        self.answer(206 if asked else 200, said, site.content[start:])

    def answer(self, status, said, body):
        site = self.server.site
        self.send_response(status)
        for name, value in {**said, **site.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        end = site.drops.pop(0) if site.drops and status < 300 else len(body)
        mine = len(site.sent)
        site.sent.append(0)
        for at in range(0, end, BLOCK):
            while site.stall is not None and sum(site.sent) >= site.stall and not site.stopped:
                time.sleep(0.01)
            try:
                self.wfile.write(body[at : min(at + BLOCK, end)])
            except OSError:
                return  # nobody listens any more
            site.sent[mine] += min(BLOCK, end - at)


@contextlib.contextmanager
def serving(**settings) -> Iterator[Site]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    site = server.site = Site(base=f"http://127.0.0.1:{server.server_port}", **settings)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield site
    finally:
        site.stopped = True
        server.shutdown()
        server.server_close()
        thread.join()


CONTENT = random.Random(0).randbytes(1_500_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()
OTHER = random.Random(1).randbytes(1_500_000)


def file_of(site: Site, size: int | None = 1_500_000, sha256: str | None = SHA256, name: str = "net.pth") -> PublishedFile:
    """What a table would say of CONTENT."""
    return PublishedFile(name, f"{site.base}/some/net.pth", size, sha256)


def nothing(done: int, total: int | None) -> None:
    """A report that nobody reads."""
