"""A stand-in for the part of the Hugging Face Hub that models come from: HEAD describes a file, GET sends it."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest


class _Handler(BaseHTTPRequestHandler):
    def do_HEAD(self, body: bool = False) -> None:
        self.server.requests.append(self.path)
        name, _, file = self.path.removeprefix("/").partition("/resolve/main/")
        folder = self.server.models.get(name)
        if self.path == "/":
            self._send(b"", body)
        elif folder is None or not (folder / file).is_file():
            self._send(b"", body, 404, {"X-Error-Code": "RepoNotFound" if folder is None else "EntryNotFound"})
        else:
            self._send((folder / file).read_bytes(), body, 200, {"ETag": f'"{abs(hash(name))}-{file}"'})

    def do_GET(self) -> None:
        self.do_HEAD(body=True)

    def _send(self, content: bytes, body: bool, status: int = 200, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        commit = {"X-Repo-Commit": self.server.commit}
        for name, value in ({"Content-Length": str(len(content))} | commit | (headers or {})).items():
            self.send_header(name, value)
        self.end_headers()
        if body:
            self.wfile.write(content)

    def log_message(self, *arguments: object) -> None:
        pass


class ModelHub(ThreadingHTTPServer):
    """Serves the folders of `models` by their names; the paths asked for are in `requests`."""

    daemon_threads = True

    def __init__(self, models: dict[str, Path]):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.models = models
        self.requests: list[str] = []
        self.commit = "0123456789abcdef0123456789abcdef01234567"
        self.address = f"http://127.0.0.1:{self.server_port}"


@contextmanager
def model_hub(models: dict[str, Path], cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModelHub]:
    """Run a server in a thread of its own, for this process's clients, which keep what they fetch in `cache`.

    The Hub's client reads its cache's place from the environment when it is imported, but looks it up at each call.
    """
    server = ModelHub(models)
    monkeypatch.setenv("HF_ENDPOINT", server.address)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(cache))
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
