"""The three tokenizers: GPT-2's ids against two other implementations, round trips, streams, files, refusals."""

import base64
import hashlib
import http.server
import json
import os
import threading
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import requests
import tiktoken
import tokenizers
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tinyllm import CharacterTokenizer, SubWordTokenizer, WordTokenizer
from tinyllm.system import hub as network
from tinyllm.text.tokenizer import Tokenizer, load_tokenizer

END = "<|endoftext|>"
PROPERTY = settings(max_examples=200, deadline=None, database=None, derandomize=True)
TEXTS = {
    "empty": "",
    "prose": "Hello, world! It's the keeper's 7 o'clock: they've SAID I'M 'twas we'd we'll.",
    "white space": " a  b   c\t\td\n\n e \r\n\u00a0f\u3000g\x0b\x0ch\u2028i \n ",
    "spaces at the end": "x" + " " * 33,
    "numbers": "1234567890 3.14 ² ½ Ⅷ ١٢٣ १२३",
    "code": "def f(x):\n        return {'a': x ** 2}  # ¯\\_(ツ)_/¯\n",
    "emoji": "👩🏽‍🚀👨‍👩‍👧‍👦 🇳🇴🏴󠁧󠁢󠁳󠁣󠁴󠁿 ☺️ 1️⃣ 🙂🙂🙂",
    "scripts": "Привет мир 東京タワー 안녕하세요 שלום مرحبا नमस्ते ไทย ᚠᚢᚦ 𐍈 𝔘𝔫𝔦",
    "mixed words": "naïveПриветhello東京42abcقلب-x_y",
    "combining": "e\u0301 n\u0303o Z̷̧̢͓a̶l̵g̶o̷",
    "control": "\x00\x01\x07\x1b[31m\x1c\x1d\x1e\x1f\x7f\x85\x9f\ufeff\ufffd\u200b\u202e",
    "edges": "\ud7ff\ue000\uffff\U00010000\U0010ffff",
    "special": f"{END} <|endoftext| > {END}{END}",
    "WikiText": " = Title = \n\n The @-@ sign , 1 @,@ 000 <unk> \n = = Part = = \n",
}
ANY_TEXT = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"])),
    st.text(st.sampled_from("aZ1 9'’\n\t\r\x00\x1f\u00a0\u3000éß東🙂\u200d\u0301أक<|>_-.,!sdvr")),
    st.lists(st.sampled_from([*TEXTS.values(), END, " ", "'s", "'LL", "🙂"]), max_size=4).map("".join),
)


@pytest.fixture(scope="session")
def gpt2_files() -> dict[str, Path]:
    """GPT-2's two vocabulary files, where conftest put them."""
    cache = Path(os.environ["TIKTOKEN_CACHE_DIR"])
    return {
        name: cache / hashlib.sha1((network._GPT2_VOCABULARY + name).encode()).hexdigest()
        for name in ("vocab.bpe", "encoder.json")
    }


@pytest.fixture(scope="session")
def hugging_face(gpt2_files) -> tokenizers.Tokenizer:
    """Another implementation of GPT-2's tokenizer, from the files themselves."""
    files = str(gpt2_files["encoder.json"]), str(gpt2_files["vocab.bpe"])
    return tokenizers.ByteLevelBPETokenizer.from_file(*files, add_prefix_space=False)


@cache
def character_tokenizer() -> CharacterTokenizer:
    return CharacterTokenizer.train("the cat sat on the mat 🙂\n")


@cache
def word_tokenizer() -> WordTokenizer:
    return WordTokenizer.train("the cat sat \n on the mat 🙂 \n")


@cache
def subword_tokenizer() -> SubWordTokenizer:
    return SubWordTokenizer.train("the cat sat on the mat, the cat's mat 🙂 " * 3, 270, [END, "<|user|>"])


KINDS = {
    "character": character_tokenizer,
    "word": word_tokenizer,
    "subword": subword_tokenizer,
}


@pytest.fixture(params=KINDS)
def each(request) -> Tokenizer:
    """Each of the three kinds, small."""
    return KINDS[request.param]()


# GPT-2's vocabulary


@pytest.mark.parametrize("name", TEXTS)
def test_gpt2_ids_are_those_of_tiktoken_and_of_hugging_face(name, gpt2_tokenizer, hugging_face):
    text = TEXTS[name]
    ids = gpt2_tokenizer.encode(text)
    assert ids == tiktoken.get_encoding("gpt2").encode_ordinary(text)
    assert ids == hugging_face.encode(text).ids
    assert gpt2_tokenizer.decode(ids) == text


@PROPERTY
@given(text=ANY_TEXT)
@example(text="\u0085\u180e \u2007 \u202f")
def test_gpt2_ids_are_tiktokens_for_any_text(text, gpt2_tokenizer, hugging_face):
    ids = gpt2_tokenizer.encode(text)
    assert ids == tiktoken.get_encoding("gpt2").encode_ordinary(text)
    assert ids == hugging_face.encode(text).ids
    assert gpt2_tokenizer.decode(ids) == text


def test_gpt2_ids_are_the_published_ones(gpt2_tokenizer):
    assert gpt2_tokenizer.encode("Hello, world!") == [15496, 11, 995, 0]
    assert gpt2_tokenizer.vocab_size == 50_257
    assert gpt2_tokenizer.end_of_text_id == 50_256


@pytest.mark.parametrize("run", [" ", "\n", "a", "!", "7", "東"])
def test_a_very_long_run_of_one_kind_of_character_is_encoded(run, gpt2_tokenizer):
    """A million spaces: more than a pattern that backtracks can hold in its stack."""
    text = run * 1_000_000
    ids = gpt2_tokenizer.encode(text)
    assert ids == tiktoken.get_encoding("gpt2").encode_ordinary(text)


def test_another_name_is_an_error_that_says_what_there_is():
    with pytest.raises(ValueError, match=r"gpt3.*'gpt2'.*train"):
        SubWordTokenizer("gpt3")


# What all tokenizers share


@pytest.mark.parametrize("surrogate", ["\ud800", "\udbff", "\udc00", "\udfff", "\ude42\ud83d"])
def test_lone_surrogates_are_refused_by_their_position(surrogate, each, gpt2_tokenizer):
    for tokenizer in (each, gpt2_tokenizer):
        text = "the cat 🙂" + surrogate + " the mat"
        for encode in (tokenizer.encode, lambda text, t=tokenizer: t.encode_batch(["the", text])):
            with pytest.raises(ValueError, match=rf"character 9 .*surrogate.*{ascii(surrogate[0])[2:-1]}"):
                encode(text)


@pytest.mark.parametrize("kind", [CharacterTokenizer, WordTokenizer])
def test_lone_surrogates_are_refused_in_training_too(kind):
    with pytest.raises(ValueError, match=r"character 3 .*surrogate"):
        kind.train("abc\udcff")


@PROPERTY
@given(text=st.text(st.characters(exclude_categories=["Cs"])))
def test_character_and_subword_tokenizers_lose_nothing(text):
    tokenizer = CharacterTokenizer.train(text)
    ids = tokenizer.encode(text)
    assert len(ids) == len(text)
    assert tokenizer.decode(ids) == text
    assert subword_tokenizer().decode(subword_tokenizer().encode(text)) == text


def test_end_of_text_written_in_a_text_is_ordinary_unless_allowed():
    text = f"{END} the{END}cat {END}"
    for tokenizer in (CharacterTokenizer.train(text), WordTokenizer.train(text), subword_tokenizer()):
        end = tokenizer.end_of_text_id
        assert end not in tokenizer.encode(text)
        assert end not in [token for ids in tokenizer.encode_batch([text, END]) for token in ids]
        allowed = tokenizer.encode(text, allowed_special=[END])
        assert Counter(allowed)[end] == 3
        assert allowed[0] == allowed[-1] == end
        wanted = [end, *tokenizer.encode(" the"), end, *tokenizer.encode("cat "), end]
        assert allowed == tokenizer.encode(text, allowed_special={END}) == wanted
        assert tokenizer.decode([end]) == END
        assert tokenizer.vocab_size == end + 1 or "<|user|>" in tokenizer.special_tokens


def test_gpt2_end_of_text_is_as_tiktoken_has_it(gpt2_tokenizer):
    text = TEXTS["special"]
    allowed = tiktoken.get_encoding("gpt2").encode(text, allowed_special={END})
    assert gpt2_tokenizer.encode(text, [END]) == allowed
    assert Counter(allowed)[50_256] == 3
    assert 50_256 not in gpt2_tokenizer.encode(text)


def test_each_special_token_is_allowed_by_itself():
    tokenizer = subword_tokenizer()
    end, user = tokenizer.special_tokens[END], tokenizer.special_tokens["<|user|>"]
    text = f"the{END}<|user|>"
    assert tokenizer.encode(text, ["<|user|>"]) == [*tokenizer.encode("the" + END), user]
    assert tokenizer.encode(text, ["<|user|>", END]) == [*tokenizer.encode("the"), end, user]


def test_an_unknown_allowed_special_token_is_an_error_that_names_the_known(each):
    with pytest.raises(ValueError, match=r"<\|system\|>.*not a special token.*<\|endoftext\|>"):
        each.encode("the cat", allowed_special=[END, "<|system|>"])


def test_ids_outside_the_vocabulary_are_an_error(each):
    last = each.vocab_size - 1
    assert each.decode([last]) in (END, "<|user|>")
    for bad in (each.vocab_size, -1, 10**12):
        with pytest.raises(ValueError, match=rf"id {bad} .*vocabulary of {each.vocab_size}"):
            each.decode([0, bad])
        with pytest.raises(ValueError, match=f"id {bad} "):
            list(each.decode_stream([0, bad], before=0))


def test_ids_may_come_from_numpy_and_torch(each):
    ids = each.encode("the cat sat")
    assert each.decode(np.array(ids, np.uint16)) == each.decode(torch.tensor(ids)) == each.decode(iter(ids))
    assert each.decode(ids) == "the cat sat"
    assert each.decode([]) == ""


def test_encode_batch_equals_encode(each, gpt2_tokenizer):
    texts = ["the cat", "", "sat on\nthe mat", "🙂"]
    assert each.encode_batch(texts) == [each.encode(text) for text in texts]
    many = [text for text in TEXTS.values() for _ in range(3)]
    assert gpt2_tokenizer.encode_batch(many) == [gpt2_tokenizer.encode(text) for text in many]
    assert each.encode_batch([]) == []


# Decoding as the ids come


@PROPERTY
@given(places=st.lists(st.floats(0, 1, exclude_max=True), max_size=30), first=st.floats(0, 1, exclude_max=True))
def test_decode_stream_gives_what_decode_gives(places, first):
    """For any ids at all, also where their bytes are not UTF-8. The id before may decide on a space."""
    for make in KINDS.values():
        tokenizer = make()
        ids = [int(place * tokenizer.vocab_size) for place in places]
        before = int(first * tokenizer.vocab_size)
        streamed = "".join(tokenizer.decode_stream(iter(ids), before))
        if isinstance(tokenizer, SubWordTokenizer):
            assert streamed == tokenizer.decode(ids)
        else:
            assert tokenizer.decode([before]) + streamed == tokenizer.decode([before, *ids])


@PROPERTY
@given(text=ANY_TEXT)
def test_decode_stream_never_yields_half_a_character(text, gpt2_tokenizer):
    pieces = list(gpt2_tokenizer.decode_stream(gpt2_tokenizer.encode(text), before=0))
    assert "".join(pieces) == text
    assert all("\ufffd" not in piece for piece in pieces) or "\ufffd" in text
    assert all(pieces)


def test_an_emoji_split_over_tokens_comes_at_once(gpt2_tokenizer):
    ids = gpt2_tokenizer.encode("a🦦b")
    assert len(ids) > 3
    assert any("\ufffd" in gpt2_tokenizer.decode([token]) for token in ids)
    assert list(gpt2_tokenizer.decode_stream(ids, before=0)) == ["a", "🦦", "b"]


def test_a_character_cut_short_at_the_end_is_shown_as_replaced(gpt2_tokenizer):
    ids = gpt2_tokenizer.encode("a🦦")[:-1]
    assert "".join(gpt2_tokenizer.decode_stream(ids, before=0)) == gpt2_tokenizer.decode(ids) == "a\ufffd"


def test_decode_stream_does_not_wait_for_the_last_id(each):
    ids = each.encode("the cat sat")
    given_out = []

    def slowly() -> Iterator[int]:
        for token in ids:
            given_out.append(token)
            yield token

    first = next(each.decode_stream(slowly(), before=each.end_of_text_id))
    assert first.strip()
    assert "the cat sat".startswith(first.strip())
    assert len(given_out) == 1


# Files


@pytest.mark.parametrize("kind", [*KINDS, "gpt2"])
def test_saved_and_loaded_it_is_the_same_tokenizer(kind, tmp_path, gpt2_tokenizer):
    tokenizer = gpt2_tokenizer if kind == "gpt2" else KINDS[kind]()
    tokenizer.save(tmp_path / "tokenizer.json")
    for load in (load_tokenizer, Tokenizer.load, type(tokenizer).load):
        loaded = load(str(tmp_path / "tokenizer.json"))
        assert type(loaded) is type(tokenizer)
        assert loaded.fingerprint == tokenizer.fingerprint
        assert loaded.vocab_size == tokenizer.vocab_size
        assert loaded.special_tokens == tokenizer.special_tokens
        text = "the cat sat on the mat 🙂"
        assert loaded.encode(text) == tokenizer.encode(text)
        assert loaded.encode(text + END, [END])[-1] == tokenizer.end_of_text_id
        every = range(tokenizer.vocab_size)
        assert loaded.decode(every) == tokenizer.decode(every)
    assert isinstance(json.loads((tmp_path / "tokenizer.json").read_text(encoding="utf-8")), dict)


def test_fingerprints_tell_vocabularies_apart(gpt2_tokenizer):
    different = [
        gpt2_tokenizer,
        *(make() for make in KINDS.values()),
        CharacterTokenizer.train("the cat sat on the mat 🙃\n"),
        WordTokenizer.train("the cat sat \n on a mat"),
        WordTokenizer(list(reversed(word_tokenizer().words))),
        SubWordTokenizer.train("the cat sat on the mat, the cat's mat 🙂 " * 3, 270),
        SubWordTokenizer.train("the cat sat on the mat, the cat's mat 🙂 " * 3, 269, [END, "<|user|>"]),
    ]
    assert len({tokenizer.fingerprint for tokenizer in different}) == len(different)
    assert subword_tokenizer.__wrapped__().fingerprint == subword_tokenizer().fingerprint


def test_loading_as_another_kind_names_both(each, tmp_path):
    each.save(tmp_path / "tokenizer.json")
    for kind in {CharacterTokenizer, WordTokenizer, SubWordTokenizer} - {type(each)}:
        with pytest.raises(ValueError, match=rf"tokenizer\.json.* {each.kind} tokenizer.*{kind.kind}"):
            kind.load(tmp_path / "tokenizer.json")


def bytes_as_json(*more: bytes, without: int = 0) -> list[str]:
    tokens = [bytes([byte]) for byte in range(256 - without)] + list(more)
    return [base64.b64encode(token).decode() for token in tokens]


NOT_TOKENIZERS = {
    "not JSON": b"the cat sat",
    "empty": b"",
    "not UTF-8": b'{"kind": "character", "characters": "\xff"}',
    "a list": b"[1, 2]",
    "a number": b"3",
    "no kind": {"characters": "abc"},
    "unknown kind": {"kind": "unigram", "words": []},
    "no content": {"kind": "subword"},
    "characters twice": {"kind": "character", "characters": "aab"},
    "characters unsorted": {"kind": "character", "characters": "ba"},
    "characters in a list": {"kind": "character", "characters": ["a", "b"]},
    "surrogate": {"kind": "character", "characters": "a\ud800"},
    "words twice": {"kind": "word", "words": ["a", "b", "a"]},
    "word with a space": {"kind": "word", "words": ["a b"]},
    "words not strings": {"kind": "word", "words": [1, 2]},
    "words in a string": {"kind": "word", "words": "abc"},
    "tokens twice": {"kind": "subword", "tokens": bytes_as_json(b"ab", b"ab"), "special_tokens": [END]},
    "byte missing": {"kind": "subword", "tokens": bytes_as_json(b"ab", without=1), "special_tokens": [END]},
    "not base64": {"kind": "subword", "tokens": [*bytes_as_json(), "?"], "special_tokens": [END]},
    "no end": {"kind": "subword", "tokens": bytes_as_json(), "special_tokens": ["<|user|>"]},
    "special twice": {"kind": "subword", "tokens": bytes_as_json(), "special_tokens": [END, END]},
    "special a string": {"kind": "subword", "tokens": bytes_as_json(), "special_tokens": END},
}


@pytest.mark.parametrize("name", NOT_TOKENIZERS)
def test_a_file_that_is_no_tokenizer_is_refused_by_its_name(name, tmp_path):
    content = NOT_TOKENIZERS[name]
    path = tmp_path / "other.json"
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    with pytest.raises(ValueError, match=r"other\.json is not a tokenizer file") as error:
        load_tokenizer(path)
    assert len(str(error.value).splitlines()) == 1


def test_the_same_files_unspoiled_are_tokenizers(tmp_path):
    """So that the refusals above are for the reason each is named after."""
    path = tmp_path / "tokenizer.json"
    for content in (
        {"kind": "character", "characters": "ab"},
        {"kind": "word", "words": ["a", "b"]},
        {"kind": "subword", "tokens": bytes_as_json(b"ab"), "special_tokens": [END, "<|user|>"]},
    ):
        path.write_text(json.dumps(content), encoding="utf-8")
        assert load_tokenizer(path).encode("a") in ([0], [97])


# Characters and words


def test_an_unknown_character_is_an_error_that_shows_it():
    with pytest.raises(ValueError, match=r"'東'.*not in the text"):
        CharacterTokenizer.train("abc").encode("ab東")


def test_character_ids_go_by_code_point():
    tokenizer = CharacterTokenizer.train("banana 🙂")
    assert tokenizer.characters == " abn🙂"
    assert tokenizer.encode("nab 🙂") == [3, 1, 2, 0, 4]
    assert (tokenizer.vocab_size, tokenizer.end_of_text_id) == (6, 5)


def test_words_are_ordered_by_how_often_they_come():
    tokenizer = WordTokenizer.train("b a c a c \n d <unk> <unk> <unk>", vocab_size=5)
    assert tokenizer.words == ["a", "c", "\n"], "ties by alphabet; the line end is a word, <unk> is none"
    assert tokenizer.vocab_size == 5
    assert tokenizer.encode("a d <unk> \n") == [0, 3, 3, 2]
    assert tokenizer.decode([0, 3, 2, 1]) == "a <unk>\nc"
    assert WordTokenizer.train("b a c", vocab_size=2).encode("a b") == [0, 0]
    assert WordTokenizer.train("b a c").vocab_size == 5
    with pytest.raises(ValueError, match="vocab_size must be at least 2"):
        WordTokenizer.train("a", vocab_size=1)


@PROPERTY
@given(text=ANY_TEXT)
def test_word_count_is_white_space_words_plus_line_ends(text):
    tokenizer = WordTokenizer.train(text)
    ids = tokenizer.encode(text)
    assert len(ids) == len(text.split()) + text.count("\n")
    assert tokenizer.decode(ids).split() == text.split()
    assert tokenizer.decode(ids).count("\n") == text.count("\n")


def test_known_words_with_single_spaces_come_back():
    text = "the cat sat\non the mat\n\nthe end"
    tokenizer = WordTokenizer.train(text)
    assert tokenizer.decode(tokenizer.encode(text)) == text


# Without a network


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

    real_get, real = requests.get, network._GPT2_VOCABULARY
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
    monkeypatch.setattr(network, "_GPT2_VOCABULARY", "http://127.0.0.1:9/gpt-2/")
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


def test_what_tiktoken_cannot_match_is_an_error_and_not_a_panic(gpt2_tokenizer):
    text = " " * 1_000_000 + "a"
    for encode in (gpt2_tokenizer.encode, lambda text: gpt2_tokenizer.encode_batch([text])):
        with pytest.raises(ValueError, match=r"[Ss]tack"):
            encode(text)
