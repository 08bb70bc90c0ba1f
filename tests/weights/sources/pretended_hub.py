"""A Hugging Face hub on this machine, of which `huggingface_hub` takes what it would take from the real one."""

import contextlib
import dataclasses
import hashlib
import http.server
import json
import re
import threading
from collections.abc import Iterator

ADDRESS = re.compile(r"/api/models/([^/]+/[^/]+)(?:/revision/(.+))?|/([^/]+/[^/]+)/resolve/([^/]+)/(.+)")


@dataclasses.dataclass
class Hub:
    """What it has, how it behaves, and what it was asked for."""

    files: dict[str, dict[str, bytes]] = dataclasses.field(default_factory=dict)  # by OWNER/NAME@REVISION
    gated: bool = False  # everybody may list the files, few may have them
    status: int | None = None  # of every answer
    address: str = ""
    requests: list[str] = dataclasses.field(default_factory=list)
    given: list[str] = dataclasses.field(default_factory=list)  # files that were handed out

    def add(self, name: str, files: dict[str, bytes], *, revision: str = "main") -> None:
        self.files[f"{name}@{revision}"] = files


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_HEAD(self):
        self.answer(b"", with_body=False)

    def do_GET(self):
        self.answer(b"", with_body=True)

    def answer(self, body, *, with_body):
        hub: Hub = self.server.hub
        hub.requests.append(self.path)
        status, headers, body = self.found(hub)
        if hub.status is not None:
            status, headers, body = hub.status, {}, b"busy"
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if with_body:
            self.wfile.write(body)

    def found(self, hub):
        listed, listed_revision, owner, revision, file = ADDRESS.fullmatch(self.path.partition("?")[0]).groups()
        name, revision = listed or owner, listed_revision or revision or "main"
        commit = hashlib.sha1(f"{name}@{revision}".encode()).hexdigest()
        if not any(key.startswith(f"{name}@") for key in hub.files):
            return 401, {"X-Error-Code": "RepoNotFound", "X-Error-Message": "Repository not found"}, b""
        files = hub.files.get(f"{name}@{revision}")
        if files is None:
            return 404, {"X-Error-Code": "RevisionNotFound", "X-Error-Message": f"Invalid rev id: {revision}"}, b""
        if listed:
            told = {"id": name, "modelId": name, "sha": commit, "siblings": [{"rfilename": file} for file in files]}
            return 200, {"Content-Type": "application/json"}, json.dumps(told).encode()
        if hub.gated:
            return 403, {"X-Error-Code": "GatedRepo", "X-Error-Message": "Access is restricted"}, b""
        if file not in files:
            return 404, {"X-Error-Code": "EntryNotFound", "X-Error-Message": "Entry not found"}, b""
        if self.command == "GET":
            hub.given.append(file)
        return 200, {"X-Repo-Commit": commit, "ETag": f'"{hashlib.sha1(files[file]).hexdigest()}"'}, files[file]


@contextlib.contextmanager
def pretending() -> Iterator[Hub]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    hub = server.hub = Hub(address=f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
