"""GPT-2's two files: fetched once, checked, kept whole, and one clear line where they cannot be had."""

import errno
import http.server
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
import tiktoken

from tinyllm import SubWordTokenizer
from tinyllm.text import gpt2_vocabulary


@pytest.fixture
def empty_cache(tmp_path, monkeypatch) -> Path:
    """An empty cache, and a tiktoken that has not loaded GPT-2's vocabulary yet."""
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path / "tiktoken"))
    monkeypatch.setattr(tiktoken.registry, "ENCODINGS", {})
    return tmp_path / "tiktoken"


@pytest.fixture
def mirror(gpt2_files, monkeypatch) -> Iterator[dict]:
    """A server on this machine that answers for the address of GPT-2's files, and may answer badly."""
    state = {"asked": [], "status": 200, "spoil": ""}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            name = self.path.rpartition("/")[2]
            state["asked"].append(name)
            content = b"<html>Log in first</html>" if name == state["spoil"] else gpt2_files[name].read_bytes()
            self.send_response(state["status"])
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    real_get, real = requests.get, gpt2_vocabulary._GPT2_VOCABULARY
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        here = f"http://127.0.0.1:{server.server_address[1]}/"

        def get(address: str, timeout: object = None) -> requests.Response:
            assert timeout, "tiktoken downloads by itself, and may wait for ever"
            return real_get(address.replace(real, here), timeout=timeout)

        monkeypatch.setattr(requests, "get", get)
        yield state
        server.shutdown()


def refused() -> str:
    with pytest.raises(ConnectionError) as error:
        SubWordTokenizer("gpt2")
    return str(error.value)


def test_without_a_network_one_line_says_what_was_not_reached_and_the_ways_out(empty_cache, monkeypatch):
    monkeypatch.setattr(gpt2_vocabulary, "_GPT2_VOCABULARY", "http://127.0.0.1:9/gpt-2/")
    message = refused()
    assert len(message.splitlines()) == 1
    for part in (
        "GPT-2's vocabulary",
        "http://127.0.0.1:9/gpt-2/",
        "online",
        str(empty_cache),
        "SubWordTokenizer.train",
    ):
        assert part in message
    assert not empty_cache.exists()


def test_the_files_are_fetched_once_and_used(empty_cache, mirror, gpt2_files):
    tokenizer = SubWordTokenizer("gpt2")
    assert tokenizer.encode("Hello, world!") == [15496, 11, 995, 0]
    assert sorted(mirror["asked"]) == ["encoder.json", "vocab.bpe"]
    assert sorted(file.name for file in empty_cache.iterdir()) == sorted(file.name for file in gpt2_files.values())
    tiktoken.registry.ENCODINGS.clear()
    assert SubWordTokenizer("gpt2").fingerprint == tokenizer.fingerprint
    assert len(mirror["asked"]) == 2


def test_without_a_cache_of_its_own_tiktoken_gets_ours(tmp_path, empty_cache, mirror, monkeypatch):
    monkeypatch.setenv("TINYLLM_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", "")
    assert SubWordTokenizer("gpt2").vocab_size == 50_257
    assert len(list((tmp_path / "home" / "tiktoken").iterdir())) == 2


def test_a_torn_file_in_the_cache_is_fetched_again(empty_cache, mirror, gpt2_files):
    SubWordTokenizer("gpt2")
    torn = empty_cache / gpt2_files["vocab.bpe"].name
    torn.write_bytes(torn.read_bytes()[:1000])
    tiktoken.registry.ENCODINGS.clear()
    mirror["asked"].clear()
    assert SubWordTokenizer("gpt2").encode("Hello, world!") == [15496, 11, 995, 0]
    assert mirror["asked"] == ["vocab.bpe"]


@pytest.mark.parametrize("trouble", [{"status": 503}, {"spoil": "vocab.bpe"}, {"spoil": "encoder.json"}], ids=str)
def test_a_bad_answer_is_refused_and_not_kept(trouble, empty_cache, mirror, gpt2_files):
    """A server in trouble, or the login page of a hotel's network."""
    mirror.update(trouble)
    message = refused()
    assert "GPT-2's vocabulary" in message
    assert len(message.splitlines()) == 1
    kept = [file.read_bytes() for file in empty_cache.iterdir()] if empty_cache.exists() else []
    assert all(content in [file.read_bytes() for file in gpt2_files.values()] for content in kept)
    mirror.update(status=200, spoil="")
    assert SubWordTokenizer("gpt2").vocab_size == 50_257


def test_a_cache_that_cannot_be_written_is_named_with_the_way_out(empty_cache, mirror):
    empty_cache.touch()  # a file where the folder should be
    with pytest.raises(OSError, match=r"tiktoken cannot be written \(.*set TINYLLM_HOME"):
        SubWordTokenizer("gpt2")


def test_a_disk_that_fills_up_leaves_nothing_half_written(empty_cache, mirror, monkeypatch):
    def fail(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", fail)
        with pytest.raises(OSError, match=r"No space left.*set TINYLLM_HOME"):
            SubWordTokenizer("gpt2")
    assert list(empty_cache.iterdir()) == []
    assert SubWordTokenizer("gpt2").vocab_size == 50_257


def test_the_tokens_come_in_the_order_of_their_ids(gpt2_files):
    tokens = gpt2_vocabulary.gpt2_tokens()
    assert len(tokens) == gpt2_vocabulary.GPT2_VOCAB_SIZE - 1  # all but <|endoftext|>
    encoding = tiktoken.get_encoding("gpt2")
    assert all(encoding.encode_single_token(tokens[rank]) == rank for rank in (0, 255, 256, 15_496, 50_255))
