"""What all tokenizers share, and characters and words: round trips, streams, files, refusals."""

import base64
import json
import tracemalloc
from collections import Counter
from collections.abc import Iterator
from functools import cache
from itertools import islice, pairwise

import numpy as np
import pytest
import tiktoken
import torch
from hypothesis import given
from hypothesis import strategies as st
from long_texts import LONG
from tokenizer_samples import ANY_TEXT, END, KINDS, PROPERTY, TEXTS, subword_tokenizer, word_tokenizer

from tinyllm import CharacterTokenizer, SubWordTokenizer, WordTokenizer
from tinyllm.text.tokenizer import Tokenizer, load_tokenizer


@pytest.fixture(params=KINDS)
def each(request) -> Tokenizer:
    """Each of the three kinds, small."""
    return KINDS[request.param]()


@pytest.mark.parametrize("surrogate", ["\ud800", "\udbff", "\udc00", "\udfff", "\ude42\ud83d"])
def test_lone_surrogates_are_refused_by_their_position(surrogate, each, gpt2_tokenizer):
    for tokenizer in (each, gpt2_tokenizer):
        text = "the cat 🙂" + surrogate + " the mat"
        for encode in (
            tokenizer.encode,
            lambda text, t=tokenizer: t.encode_batch(["the", text]),
            lambda text, t=tokenizer: t.encode_documents(["the", text]),
        ):
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
    assert each.decode(torch.tensor(ids, dtype=torch.int32)) == each.decode([np.int64(i) for i in ids])
    assert each.decode(ids) == "the cat sat"
    assert each.decode([]) == ""


@pytest.mark.parametrize(
    "bad", [[1.5], [1.0], np.array([1.0, 2.0]), torch.tensor([1.5]), np.array([[1, 2]]), "12", ["1"], [None]], ids=repr
)
def test_what_is_no_whole_number_is_no_id(bad, each):
    with pytest.raises(ValueError, match=r"not an id: ids are whole numbers"):
        each.decode(bad)


def test_all_special_tokens_are_allowed_as_in_tiktoken(each, gpt2_tokenizer):
    text = f"{END}the<|user|> cat{END}"
    assert each.encode("the" + END, "all") == each.encode("the" + END, [END])
    assert gpt2_tokenizer.encode(text, "all") == tiktoken.get_encoding("gpt2").encode(text, allowed_special="all")
    tokenizer = subword_tokenizer()
    wanted = tokenizer.encoding.encode(text, allowed_special="all")
    assert tokenizer.encode(text, allowed_special="all") == wanted
    assert len(wanted) == 3 + len(tokenizer.encode("the")) + len(tokenizer.encode(" cat"))
    with pytest.raises(ValueError, match=r"'all' or a list"):
        each.encode("the", allowed_special=END)


UNCUT = st.lists(
    ANY_TEXT
    | st.sampled_from(
        [END, "<|user|>", END[:7], END[7:], "< a b >", "'s", "'", " ", "\n\n", "  x", "12", "一二。三", "a-b"]
    ),
    max_size=6,
).map("".join)


@cache
def streamed_tokenizers() -> list[Tokenizer]:
    """All kinds; one with special tokens that begin alike, or contain white space."""
    specials = [END, "<|user|>", END + "'s", "< a b >", "  "]
    subword = SubWordTokenizer.train("the cat's 12 一二。 \n\n it's < a b >a-b " * 3, 290, specials)
    return [subword, subword_tokenizer(), word_tokenizer()]


@PROPERTY
@given(text=UNCUT, cuts=st.lists(st.integers(0, 60)), every=st.booleans())
def test_encode_iterable_gives_the_ids_of_the_whole_however_it_is_cut(text, cuts, every):
    borders = list(range(len(text) + 1)) if every else sorted({0, len(text), *(min(cut, len(text)) for cut in cuts)})
    pieces = [text[start:end] for start, end in pairwise(borders)]
    for tokenizer in [*streamed_tokenizers(), CharacterTokenizer(text)]:
        for allowed in ((), "all"):
            assert list(tokenizer.encode_iterable(iter(pieces), allowed)) == tokenizer.encode(text, allowed)


@pytest.mark.parametrize(
    "line", ["the cat sat on the mat\n", "一二三、四五六。", "if(x==12)y;"], ids=["en", "zh", "code"]
)
def test_encode_iterable_reads_a_file_that_memory_cannot_hold(line, gpt2_tokenizer):
    """At bounded memory, and no further ahead than one piece."""
    asked = 0

    def endless() -> Iterator[str]:
        nonlocal asked
        while True:
            asked += 1
            yield line * 100

    ids = gpt2_tokenizer.encode_iterable(endless())
    assert [next(ids) for _ in range(10)] == gpt2_tokenizer.encode(line * 100)[:10]
    assert asked == 1
    tracemalloc.start()
    for _ in islice(ids, 100_000):
        pass
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert asked > 30
    assert peak < 1_000_000


def test_encode_iterable_of_one_endless_word_is_linear_and_of_an_open_file_lazy(tmp_path, gpt2_tokenizer):
    assert list(gpt2_tokenizer.encode_iterable("a" for _ in range(50_000))) == gpt2_tokenizer.encode("a" * 50_000)
    (tmp_path / "text.txt").write_text(TEXTS["prose"] * 50, encoding="utf-8")
    with (tmp_path / "text.txt").open(encoding="utf-8") as file:
        assert list(gpt2_tokenizer.encode_iterable(file)) == gpt2_tokenizer.encode(TEXTS["prose"] * 50)
    with pytest.raises(ValueError, match="surrogate"):
        list(gpt2_tokenizer.encode_iterable(["fine ", "not\ud800"]))


def test_what_is_no_string_is_told_to_be_opened_as_text(each, tmp_path):
    (tmp_path / "text.txt").write_text("two\nlines", encoding="utf-8")
    with (
        (tmp_path / "text.txt").open("rb") as file,
        pytest.raises(TypeError, match="bytes; of a file, open it in text"),
    ):
        list(each.encode_iterable(file))
    for wrong in (b"two", None, ["two"], 2):
        with pytest.raises(TypeError, match="a text is a string"):
            each.encode(wrong)


def test_encode_batch_equals_encode(each, gpt2_tokenizer):
    texts = ["the cat", "", "sat on\nthe mat", "🙂"]
    assert each.encode_batch(texts) == [each.encode(text) for text in texts]
    many = [text for text in TEXTS.values() for _ in range(3)]
    assert gpt2_tokenizer.encode_batch(many) == [gpt2_tokenizer.encode(text) for text in many]
    assert each.encode_batch([]) == []


def test_encode_documents_puts_the_separator_before_each_text(each, gpt2_tokenizer):
    for tokenizer in (each, gpt2_tokenizer):
        for texts in ([], [""], ["the cat"], ["", "the cat", "", "sat on\nthe mat \n ", "\n", "cat ", " ", " the"]):
            ids = tokenizer.encode_documents(texts)
            assert ids.dtype == np.uint32
            assert ids.tolist() == [id for text in texts for id in (tokenizer.end_of_text_id, *tokenizer.encode(text))]


@PROPERTY
@given(fractions=st.lists(st.floats(0, 1, exclude_max=True), max_size=30), first=st.floats(0, 1, exclude_max=True))
def test_decode_stream_gives_what_decode_gives(fractions, first):
    """For any ids at all, also where their bytes are not UTF-8. The id before may decide on a space."""
    for make in KINDS.values():
        tokenizer = make()
        ids = [int(fraction * tokenizer.vocab_size) for fraction in fractions]
        before = int(first * tokenizer.vocab_size)
        streamed = "".join(tokenizer.decode_stream(iter(ids), before))
        if isinstance(tokenizer, SubWordTokenizer):
            assert streamed == tokenizer.decode(ids)
        else:
            assert tokenizer.decode([before]) + streamed == tokenizer.decode([before, *ids])


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


def test_an_unknown_character_is_an_error_that_shows_it():
    with pytest.raises(ValueError, match=r"'東'.*not in this tokenizer's training text"):
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


@pytest.mark.timeout(60)
@pytest.mark.parametrize("name", LONG)
def test_encoding_a_long_run_of_anything_takes_seconds(name, gpt2_tokenizer):
    text = LONG[name]
    ids = gpt2_tokenizer.encode(text)
    assert gpt2_tokenizer.decode(ids) == text
    assert gpt2_tokenizer.encode_batch([text])[0] == ids
    assert tiktoken.get_encoding("gpt2").decode(ids) == text
    characters = CharacterTokenizer(text)
    assert len(characters.encode(text)) == len(text)
    words = WordTokenizer.train(text)
    assert len(words.encode(text)) == len(text.split()) + text.count("\n")
