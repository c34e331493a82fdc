"""The subword tokenizer: GPT-2's ids against two other implementations, and vocabularies learned from text."""

import base64
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import tiktoken
import tokenizers
from hypothesis import example, given
from hypothesis import strategies as st
from local_texts import SENTENCE, written
from long_texts import LONG, MILLION
from slow_bpe import MIXED, PROSE, gpt2_words, replaced, slow_merges
from tokenizer_samples import ANY_TEXT, END, PROPERTY, TEXTS, subword_tokenizer

from tinyllm import SubWordTokenizer
from tinyllm.__main__ import main
from tinyllm.text import bpe


@pytest.fixture(scope="session")
def hugging_face(gpt2_files) -> tokenizers.Tokenizer:
    """Another implementation of GPT-2's tokenizer, from the files themselves."""
    files = str(gpt2_files["encoder.json"]), str(gpt2_files["vocab.bpe"])
    return tokenizers.ByteLevelBPETokenizer.from_file(*files, add_prefix_space=False)


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


def test_what_tiktoken_cannot_match_is_an_error_and_not_a_panic(gpt2_tokenizer):
    text = " " * 1_000_000 + "a"
    batch, documents = gpt2_tokenizer.encode_batch, gpt2_tokenizer.encode_documents
    for encode in (gpt2_tokenizer.encode, lambda text: batch([text]), lambda text: documents([text])):
        with pytest.raises(ValueError, match=r"[Ss]tack"):
            encode(text)


@PROPERTY
@given(
    st.lists(ANY_TEXT | st.sampled_from([END, f"a{END}b", END[:5], END[5:], " \n ", "\n\n", "it's ", "'s", "<|user|>"]))
)
def test_documents_encoded_together_have_the_ids_each_has_alone(gpt2_tokenizer, texts):
    longer = [f"{END}<|user|>", END, f"<|user|>{END}", "<|user|>"]  # a match of the first would hide a separator
    for tokenizer in (gpt2_tokenizer, subword_tokenizer(), SubWordTokenizer.train("it is a cat\n\n", 270, longer)):
        wanted = [id for text in texts for id in (tokenizer.end_of_text_id, *tokenizer.encode(text))]
        assert tokenizer.encode_documents(texts).tolist() == wanted


@PROPERTY
@given(st.text(alphabet="abc d\n\u3000é", max_size=80))
def test_encoding_applies_the_merges_in_the_order_they_were_learned(text):
    tokenizer = SubWordTokenizer.train("abcab cabd dab abab\n\n é é cab", 285)
    merges, _ = slow_merges(gpt2_words("abcab cabd dab abab\n\n é é cab"), 28)
    wanted: list[bytes] = []
    for word in gpt2_words(text):
        part = [bytes([byte]) for byte in word]
        for pair in merges:
            part = replaced(part, pair)
        wanted += part
    assert [tokenizer.tokens[token] for token in tokenizer.encode(text)] == wanted


def test_tokens_are_the_bytes_then_the_merges_then_the_special_tokens():
    special = [END, "<|user|>", "<|model|>"]
    tokenizer = SubWordTokenizer.train(PROSE, 300, special)
    assert tokenizer.tokens[:256] == [bytes([byte]) for byte in range(256)]
    assert tokenizer.tokens[256:] == [left + right for left, right in slow_merges(gpt2_words(PROSE), 41)[0]]
    assert tokenizer.special_tokens == {END: 297, "<|user|>": 298, "<|model|>": 299}
    assert tokenizer.vocab_size == 300
    assert tokenizer.end_of_text_id == 297


def test_special_tokens_never_take_part_in_a_merge():
    text = f"{END}ab{END}ab<|user|>ab{END}" * 50
    tokenizer = SubWordTokenizer.train(text, 400, [END, "<|user|>"])
    assert tokenizer.tokens[256:] == [b"ab"], "only what is between the special tokens is learned from"
    assert tokenizer.vocab_size == 259
    assert tokenizer.encode("ab" + END, [END]) == [256, 257]
    ordinary = tokenizer.encode(END)
    assert ordinary == list(END.encode())
    assert tokenizer.decode(ordinary) == tokenizer.decode([257]) == END


def test_of_special_tokens_that_begin_alike_the_longest_is_meant(tmp_path):
    """Whatever their order; as in `tokenizers`. tiktoken takes whichever its hash table has first."""
    text = ("ab" + END + "qz") * 9
    for special in ([END, END + "qz"], [END + "qz", END]):
        tokenizer = SubWordTokenizer.train(text, 260, special)
        assert tokenizer.tokens[256:] == [b"ab"], "qz belongs to the longer special token"
        ids = tokenizer.encode(text, "all")
        assert ids == [256, tokenizer.special_tokens[END + "qz"]] * 9
        assert tokenizer.encode(text, [END])[:4] == [256, tokenizer.special_tokens[END], *b"qz"]
        assert END.encode() + b"qz" not in tokenizer.tokens
        tokenizer.to_huggingface(tmp_path)
        assert tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json")).encode(text).ids == ids
        assert tokenizer.encode_documents([text, "qz"]).tolist() == [
            id for part in (text, "qz") for id in (tokenizer.end_of_text_id, *tokenizer.encode(part))
        ]


def test_a_special_token_with_white_space_is_whole_where_a_file_is_read_in_chunks(tmp_path, monkeypatch):
    monkeypatch.setattr(bpe, "_CHUNK", 7)
    (tmp_path / "text.txt").write_text("ab < end of it >ab" * 30)
    special = [END, "< end of it >"]
    tokens = SubWordTokenizer.train(tmp_path / "text.txt", 300, special).tokens
    assert tokens == SubWordTokenizer.train("ab < end of it >ab" * 30, 300, special).tokens
    assert not any(b"nd" in token for token in tokens)


def test_text_file_list_and_generator_give_the_same_tokens(tmp_path):
    text, other = PROSE + "\r\nlast line", MIXED
    for name, content in (("one.txt", text), ("two.txt", other)):
        (tmp_path / name).write_bytes(content.encode())
    first, second = tmp_path / "one.txt", tmp_path / "two.txt"

    def pieces() -> Iterator[str | Path]:
        yield text
        yield second

    wanted = SubWordTokenizer.train([text, other], 320).tokens
    for source in ([first, second], [text, second], (first, other), pieces()):
        assert SubWordTokenizer.train(source, 320).tokens == wanted
    assert SubWordTokenizer.train(first, 320).tokens == SubWordTokenizer.train(text, 320).tokens
    assert SubWordTokenizer.train(text, 320).tokens != wanted


def test_too_small_a_vocabulary_is_an_error_that_says_how_large_it_must_be():
    with pytest.raises(ValueError, match=r"vocab_size.*257.*not 256"):
        SubWordTokenizer.train("some text", 256)
    with pytest.raises(ValueError, match=r"vocab_size.*259.*not 258"):
        SubWordTokenizer.train("some text", 258, [END, "<a>", "<b>"])
    assert SubWordTokenizer.train("some text", 257).vocab_size == 257


def test_text_with_too_few_pairs_gives_fewer_tokens():
    tokenizer = SubWordTokenizer.train("abc", 5000)
    assert tokenizer.vocab_size == 256 + 2 + 1
    assert tokenizer.end_of_text_id == 258
    assert tokenizer.encode("abc") == [257]


@pytest.mark.parametrize("source", ["", [], ["", ""], END, iter(())], ids=["none", "no texts", "empty", "END", "iter"])
def test_no_text_is_an_error(source):
    with pytest.raises(ValueError, match="no text"):
        SubWordTokenizer.train(source, 300)


def test_an_empty_file_is_an_error(tmp_path):
    (tmp_path / "empty.txt").touch()
    with pytest.raises(ValueError, match="no text"):
        SubWordTokenizer.train(tmp_path / "empty.txt", 300)


def test_text_with_a_lone_surrogate_is_refused_by_its_position():
    with pytest.raises(ValueError, match=r"character 5 .*surrogate.*ud83d"):
        SubWordTokenizer.train(["fine", "words\ud83d and more"], 300)


@pytest.mark.parametrize(
    "special", [[END, END], [END, ""], END, ["<|user|>"], []], ids=["twice", "empty", "string", "no end", "none"]
)
def test_special_tokens_that_cannot_be_are_refused(special):
    with pytest.raises(ValueError, match="special"):
        SubWordTokenizer.train("some text", 300, special)


def test_the_result_is_a_tiktoken_encoding():
    tokenizer = SubWordTokenizer.train(MIXED, 400)
    assert isinstance(tokenizer.encoding, tiktoken.Encoding)
    assert tokenizer.encoding.n_vocab == tokenizer.vocab_size
    assert base64.b64decode(tokenizer.to_json()["tokens"][256]) == tokenizer.encoding.decode_single_token_bytes(256)


@PROPERTY
@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_every_text_comes_back(text):
    tokenizer = SubWordTokenizer.train(PROSE, 320)
    assert tokenizer.decode(tokenizer.encode(text)) == text
    assert tokenizer.decode_bytes(tokenizer.encode(text)) == text.encode()


@pytest.mark.timeout(120)
@pytest.mark.parametrize("name", ["one letter", "spaces", "spaces and newlines in turn", "pieces of separators", "NUL"])
def test_learning_from_a_long_run_of_anything_takes_seconds(name, tmp_path):
    text = LONG[name][:MILLION]
    tokenizer = SubWordTokenizer.train(text, 300)
    assert tokenizer.decode(tokenizer.encode(text)) == text
    path = tmp_path / "text.txt"
    path.write_text(text, newline="")
    assert SubWordTokenizer.train(path, 300).fingerprint == tokenizer.fingerprint


@pytest.mark.parametrize("spaces", [MILLION, 3 * MILLION])
def test_more_spaces_before_a_letter_than_can_be_matched_are_refused_in_one_line(spaces, tmp_path, home, capsys):
    data = written(tmp_path, " " * spaces + "a\n" + SENTENCE * 10)
    assert main(["prepare", "wikitext103", "--data", data]) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert not list(tmp_path.rglob("*.bin"))
