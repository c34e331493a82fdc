"""Texts that are hard for tokenizers, and one small tokenizer of each kind."""

from functools import cache

from hypothesis import settings
from hypothesis import strategies as st

from tinyllm import CharacterTokenizer, SubWordTokenizer, WordTokenizer

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
