"""The part of a Mender server that its client cannot do without: it accepts the device, offers one deployment, hands out its file
and hears how it went. The real one is many services; devices see these few answers of it."""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType

_FILE = "/update.mender"
_FINAL = ("success", "failure", "already-installed")


@dataclass
class Deployment:
    """A file for devices of this type; `statuses` are what the device reported, in this order, `log` its log of a failure."""

    file: Path
    name: str
    device_type: str
    statuses: list[str] = field(default_factory=list)
    log: str = ""
    id: str = field(default_factory=lambda: str(uuid.uuid4()))

    @property
    def ended(self) -> str:
        """`success`, `failure`, `already-installed`, or nothing yet."""
        return next((status for status in self.statuses if status in _FINAL), "")


class Server:
    """On a port of its own of this machine, while the context is open."""

    def __init__(self) -> None:
        self.deployment: Deployment | None = None
        self.asked = 0
        """How often a device that had nothing else to do asked for a deployment."""
        self._changed = threading.Condition()
        server = self

        class Handler(_Handler):
            owner = server

        self._http = _Quiet(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self) -> Server:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    @property
    def url(self) -> str:
        """As in mender.conf."""
        return f"http://127.0.0.1:{self._http.server_port}"

    def deploy(self, file: Path, name: str, device_type: str) -> Deployment:
        """Offer it until a device says how it ended."""
        self.deployment = Deployment(file, name, device_type)
        return self.deployment

    def wait(self, condition: Callable[[], object], seconds: float, every: float | None = None) -> bool:
        """Whether the condition came true in this time. It is looked at when a device has said something, and `every` so many
        seconds."""
        deadline = time.monotonic() + seconds
        with self._changed:
            while not condition():
                left = deadline - time.monotonic()
                if left <= 0:
                    return False
                self._changed.wait(left if every is None else min(left, every))
        return True

    def answer(self, method: str, path: str, body: bytes) -> tuple[int, bytes]:
        """To one request of a device: status and content."""
        deployment = self.deployment
        if path.endswith("/auth_requests"):
            return 200, b"a-token"
        if path == _FILE and deployment is not None:
            return 200, deployment.file.read_bytes()
        if path.partition("?")[0].endswith("/deployments/next"):
            with self._changed:
                self.asked += 1
                self._changed.notify_all()
            return (204, b"") if deployment is None or deployment.ended else (200, self._offer(deployment))
        if deployment is not None and f"/deployments/{deployment.id}/" in path:
            with self._changed:
                if path.endswith("/status"):
                    deployment.statuses.append(str(json.loads(body)["status"]))
                elif path.endswith("/log"):
                    deployment.log = body.decode(errors="replace")
                self._changed.notify_all()
            return 204, b""
        return 200, b""

    def _offer(self, deployment: Deployment) -> bytes:
        artifact = {
            "artifact_name": deployment.name,
            "source": {"uri": self.url + _FILE, "expire": "2099-01-01T00:00:00Z"},
            "device_types_compatible": [deployment.device_type],
        }
        return json.dumps({"id": deployment.id, "artifact": artifact}).encode()


class _Quiet(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Devices whose power fails break off in the middle. Of anything else the device's log has what it lacked."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    owner: Server

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: the device's log has it all."""

    def _any(self) -> None:
        status, content = self.owner.answer(self.command, self.path, self._body())
        self.send_response(status)
        if status != 204:
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        chunks = []
        while size := int(self.rfile.readline(), 16):
            chunks.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(chunks)

    do_GET = do_POST = do_PUT = do_PATCH = _any  # noqa: N815 (names of the standard library's)
