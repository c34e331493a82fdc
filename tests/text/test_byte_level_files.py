"""GPT-2's files and `tokenizer.json`: read, written, and each refusal; `tokenizers` and transformers are the judges."""

import json
from pathlib import Path

import pytest
import tokenizers
import transformers
from hypothesis import example, given
from hypothesis import strategies as st
from slow_bpe import MIXED, PROSE
from tokenizer_samples import ANY_TEXT, END, PROPERTY, TEXTS
from tokenizers import decoders, models, pre_tokenizers, trainers

from tinyllm import SubWordTokenizer
from tinyllm.text.tokenizer import load_tokenizer

CORPUS = PROSE + MIXED + "".join(TEXTS.values()) + " aaaa aaaaa aaaaaa" * 20


@pytest.fixture(scope="module")
def theirs() -> tokenizers.Tokenizer:
    """A tokenizer of `tokenizers`, whose special tokens have the first ids, as there they do."""
    tokenizer = tokenizers.Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=600,
        special_tokens=[END, "<|user|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([CORPUS * 3], trainer)
    return tokenizer


@pytest.fixture(scope="module")
def ours(theirs, tmp_path_factory) -> SubWordTokenizer:
    path = tmp_path_factory.mktemp("theirs") / "tokenizer.json"
    theirs.save(str(path))
    return SubWordTokenizer.from_huggingface(str(path))


@PROPERTY
@given(st.lists(ANY_TEXT | st.sampled_from([END, "<|user|>"]), max_size=4).map("".join))
@example("".join(TEXTS.values()))
@example(" " + END + "  <|user|>\n aaaaaaa")
def test_their_tokenizer_gives_the_same_ids_here(theirs, ours, text):
    ids = theirs.encode(text).ids
    assert ours.encode(text, ours.special_tokens) == ids
    assert ours.decode(ids) == text
    assert ours.vocab_size == theirs.get_vocab_size()
    assert ours.special_tokens == {END: 0, "<|user|>": 1}


def test_a_second_merge_to_the_same_token_is_never_used_there_either(theirs, ours, tmp_path):
    content = json.loads(theirs.to_str())
    left, right = next(pair for pair in content["model"]["merges"] if len("".join(pair)) == 3)
    text = left + right
    content["model"]["merges"].append([text[:1], text[1:]] if len(left) == 2 else [text[:2], text[2:]])
    (tmp_path / "tokenizer.json").write_text(json.dumps(content), encoding="utf-8")
    assert SubWordTokenizer.from_huggingface(tmp_path).fingerprint == ours.fingerprint


def test_a_tokenizer_with_special_tokens_first_is_saved_and_loaded(ours, tmp_path):
    ours.save(tmp_path / "ours.json")
    loaded = load_tokenizer(tmp_path / "ours.json")
    assert loaded.fingerprint == ours.fingerprint
    assert loaded.special_tokens == ours.special_tokens
    assert loaded.encode(CORPUS) == ours.encode(CORPUS)
    assert loaded.encode_documents([CORPUS, ""])[0] == 0


def test_gpt2s_own_files_give_gpt2s_tokenizer(gpt2_files, gpt2_tokenizer, tmp_path):
    for name in ("encoder.json", "vocab.bpe"):
        (tmp_path / name).write_bytes(gpt2_files[name].read_bytes())
    assert SubWordTokenizer.from_huggingface(tmp_path).fingerprint == gpt2_tokenizer.fingerprint


def test_gpt2s_files_are_written_as_they_were_published(gpt2_files, gpt2_tokenizer, tmp_path):
    gpt2_tokenizer.to_huggingface(tmp_path / "new" / "folder")
    written = tmp_path / "new" / "folder"
    assert (written / "merges.txt").read_bytes() == gpt2_files["vocab.bpe"].read_bytes()
    assert json.loads((written / "vocab.json").read_bytes()) == json.loads(gpt2_files["encoder.json"].read_bytes())


def learned() -> SubWordTokenizer:
    return SubWordTokenizer.train(CORPUS, 500, ["<|user|>", END])


def test_what_is_written_encodes_alike_in_tokenizers_and_transformers(ours, tmp_path):
    for tokenizer in (learned(), ours):
        tokenizer.to_huggingface(tmp_path)
        fast = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
        auto = transformers.AutoTokenizer.from_pretrained(tmp_path)
        pair = tokenizers.ByteLevelBPETokenizer.from_file(str(tmp_path / "vocab.json"), str(tmp_path / "merges.txt"))
        assert (auto.bos_token, auto.eos_token, len(auto)) == (END, END, tokenizer.vocab_size)
        for text in [*TEXTS.values(), f"{END}a<|user|> b{END}", " aaaaaaa"]:
            ids = tokenizer.encode(text, tokenizer.special_tokens)
            assert fast.encode(text).ids == auto.encode(text) == ids
            assert auto.decode(ids) == text
            if "<|" not in text:
                assert pair.encode(text).ids == ids
        again = SubWordTokenizer.from_huggingface(tmp_path)
        assert again.fingerprint == tokenizer.fingerprint
        (tmp_path / "tokenizer.json").unlink()
        assert SubWordTokenizer.from_huggingface(tmp_path, list(tokenizer.special_tokens)).to_json() == again.to_json()


def test_a_vocabulary_that_no_merges_give_is_not_written(tmp_path):
    content = learned().to_json()
    odd = SubWordTokenizer.from_json({**content, "tokens": [*content["tokens"][:256], "cXh6"]})  # qxz
    with pytest.raises(ValueError, match=r"no merge gives the token b'qxz'"):
        odd.to_huggingface(tmp_path)
    alike = SubWordTokenizer.from_json({**content, "special_tokens": [END, "e"]})
    with pytest.raises(ValueError, match="'e' is a special token and also an ordinary one"):
        alike.to_huggingface(tmp_path)
    assert not list(tmp_path.iterdir())


def llama3(content: dict) -> None:
    split = {"type": "Split", "pattern": {"Regex": r"\p{N}{1,3}"}, "behavior": "Isolated", "invert": False}
    content["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": [split, content["pre_tokenizer"]]}


def swap_merges(content: dict) -> None:
    merges = content["model"]["merges"]
    merges[0], merges[1] = merges[1], merges[0]


def other_pair(content: dict) -> None:
    """A token of three bytes from the other two of its parts: tiktoken would not follow."""
    index, (left, right) = next(
        (index, pair) for index, pair in enumerate(content["model"]["merges"]) if len("".join(pair)) == 3
    )
    text = left + right
    content["model"]["merges"][index] = [text[:1], text[1:]] if len(left) == 2 else [text[:2], text[2:]]


REFUSED = {
    "WordPiece": (lambda c: c["model"].update(type="WordPiece"), "model is WordPiece"),
    "normalizer": (lambda c: c.update(normalizer={"type": "NFC"}), "NFC"),
    "Metaspace": (lambda c: c.update(pre_tokenizer={"type": "Metaspace"}), "another pattern"),
    "no pre_tokenizer": (lambda c: c.update(pre_tokenizer=None), r"\(none\) .*another pattern"),
    "Llama 3": (llama3, r"\(Split, ByteLevel\) .*another pattern"),
    "no regex": (lambda c: c["pre_tokenizer"].update(use_regex=False), "another pattern"),
    "prefix space": (lambda c: c["pre_tokenizer"].update(add_prefix_space=True), "add_prefix_space"),
    "dropout": (lambda c: c["model"].update(dropout=0.1), "dropout"),
    "word ends": (lambda c: c["model"].update(end_of_word_suffix="</w>"), "end_of_word_suffix"),
    "ordinary added": (lambda c: c["added_tokens"][1].update(special=False), r"<\|user\|>"),
    "strips": (lambda c: c["added_tokens"][1].update(lstrip=True), "white space"),
    "merges swapped": (swap_merges, "it merges"),
    "merges of another pair": (other_pair, "it merges"),
    "a merge missing": (lambda c: c["model"]["merges"].pop(), "it merges"),
    "an unreachable token": (lambda c: c["model"]["vocab"].update({"qxz": 600}), "no merge gives the token b'qxz'"),
    "a gap": (lambda c: c["model"]["vocab"].update({"qx": 700}), "not 0, 1, 2"),
    "ids twice": (lambda c: c["added_tokens"][1].update(id=5), "same id"),
    "no byte": (lambda c: c["model"]["vocab"].update({"qx": c["model"]["vocab"].pop("ÿ")}), "1 of the 256 bytes"),
    "no end of text": (lambda c: c["added_tokens"].pop(0), r"<\|endoftext\|>"),
    "not bytes": (lambda c: c["model"]["vocab"].update({"東": 600}), "東"),
    "no model": (lambda c: c.pop("model"), "KeyError 'model'"),
    "merges a number": (lambda c: c["model"].update(merges=3), "TypeError"),
    "a merge of three": (lambda c: c["model"]["merges"].append("a b c"), "unpack"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_another_kind_of_tokenizer_is_refused_in_one_line(name, theirs, tmp_path):
    content = json.loads(theirs.to_str())
    spoil, reason = REFUSED[name]
    spoil(content)
    if name == "no end of text":
        del content["model"]["vocab"][END]
        content["model"]["vocab"]["<|other|>"] = 0
        content["added_tokens"].append({**content["added_tokens"][0], "id": 0, "content": "<|other|>"})
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(ValueError, match=reason) as error:
        SubWordTokenizer.from_huggingface(path)
    assert len(str(error.value).splitlines()) == 1
    assert "tokenizer.json" in str(error.value)


def test_paths_that_hold_no_tokenizer(tmp_path):
    with pytest.raises(ValueError, match=r"no tokenizer\.json"):
        SubWordTokenizer.from_huggingface(tmp_path)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        SubWordTokenizer.from_huggingface(tmp_path / "nowhere")
    Path(tmp_path / "other.json").write_text("not JSON")
    with pytest.raises(ValueError, match=r"other\.json is not a byte-level"):
        SubWordTokenizer.from_huggingface(tmp_path / "other.json")
