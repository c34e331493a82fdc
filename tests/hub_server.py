"""A small stand-in for the Hugging Face Hub: one dataset, enough of the API for `datasets` to download it."""

import hashlib
import io
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

import pyarrow
import pyarrow.parquet

REPOSITORY = "Salesforce/wikitext"


def rows_of(text: str) -> list[str]:
    """A text as the Hub's rows: one per line with its newline, but a blank line is an empty string."""
    return ["" if line.strip() == "" else line for line in text.splitlines(keepends=True)]


def parquet(rows: list[str], column: str = "text") -> bytes:
    """Rows as the bytes of a parquet file with one column."""
    buffer = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table({column: rows}), buffer)
    return buffer.getvalue()


def wikitext_files(name: str, splits: dict[str, list[str]], column: str = "text") -> dict[str, bytes]:
    """The files of a dataset with one configuration: each split in parquet, and the README that lists them."""
    files = {f"{name}/{split}-00000-of-00001.parquet": parquet(rows, column) for split, rows in splits.items()}
    lines = ["---", "configs:", f"- config_name: {name}", "  data_files:"]
    for split in splits:
        lines += [f"  - split: {split}", f"    path: {name}/{split}-*"]
    return files | {"README.md": "\n".join([*lines, "---", ""]).encode()}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def _answer(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.server.requests.append(f"{self.command} {path}")
        repository = self.server.repository
        files, api = self.server.files, f"/api/datasets/{repository}"
        resolve = f"/datasets/{repository}/resolve/"
        if self.server.status != 200 and path != "/":
            self._send(self.server.status, b"out of order")
        elif path == "/":
            self._send(200, b"a hub")
        elif path == api or path.startswith(f"{api}/revision/"):
            siblings = [{"rfilename": name} for name in files]
            self._send_json(
                {"id": repository, "sha": self.server.commit, "private": False, "tags": [], "siblings": siblings}
            )
        elif path.startswith(f"{api}/tree/"):
            self._send_json(self._tree(path.removeprefix(f"{api}/tree/").partition("/")[2]))
        elif path.startswith(resolve) and (name := path.removeprefix(resolve).partition("/")[2]) in files:
            content = files[name]
            first = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").partition("-")[0])
            headers = {"ETag": f'"{_digest(content)}"'}
            if first:
                headers["Content-Range"] = f"bytes {first}-{len(content) - 1}/{len(content)}"
            self._send(206 if first else 200, content[first:], headers)
        else:
            known = repository in path
            self._send(404, b"", {"X-Error-Code": "EntryNotFound" if known else "RepoNotFound"})

    do_GET = do_HEAD = _answer

    def _tree(self, folder: str) -> list[dict]:
        """The entries directly in a folder of the repository."""
        prefix = f"{folder}/" if folder else ""
        entries = {}
        for name, content in self.server.files.items():
            if name.startswith(prefix):
                child, _, deeper = name.removeprefix(prefix).partition("/")
                kind = "directory" if deeper else "file"
                size = 0 if deeper else len(content)
                path = prefix + child
                entries[path] = {"type": kind, "path": path, "size": size, "oid": _digest(path.encode())}
        return list(entries.values())

    def _send_json(self, content: object) -> None:
        self._send(200, json.dumps(content).encode(), {"Content-Type": "application/json"})

    def _send(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {
            "X-Repo-Commit": self.server.commit,
            "Content-Length": str(len(body)),
            **(headers or {}),
        }.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        if self.server.cut and body[:4] == b"PAR1":
            self.wfile.write(body[: len(body) // 2])
            self.connection.shutdown(socket.SHUT_RDWR)
        else:
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def _digest(content: bytes) -> str:
    return hashlib.sha1(content).hexdigest()


class HubServer(ThreadingHTTPServer):
    """Serves `files` at `address`; every request so far is in `requests`.

    With a status other than 200 it answers just that, except for its front page; with `cut` each download of a
    parquet file ends in the middle. Both may be changed while it runs.
    """

    daemon_threads = True

    def __init__(self, files: dict[str, bytes], status: int, repository: str):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files, self.status, self.repository = files, status, repository
        self.cut = False
        self.requests: list[str] = []
        self.address = f"http://127.0.0.1:{self.server_port}"

    @property
    def commit(self) -> str:
        """Changes with the files, as in a git repository."""
        return _digest(b"".join(name.encode() + content for name, content in self.files.items()))


@contextmanager
def hub(files: dict[str, bytes], status: int = 200, repository: str = REPOSITORY) -> Iterator[HubServer]:
    """Run a server in a thread of its own."""
    server = HubServer(files, status, repository)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def silence() -> Iterator[str]:
    """The address of a server that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
