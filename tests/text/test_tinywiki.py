"""TinyWiki: the surprise of its articles, parse-back, labels, and the corpus."""

import itertools
import math
import re
from collections import Counter

import pytest
from tinywiki_by_hand import BOTH, draw_nats, nats_of_text, weights_of

from tinyllm import SubWordTokenizer
from tinyllm.text import tinywiki, tinywiki_grammar
from tinyllm.text.articles import LABELS
from tinyllm.text.documents import split_articles
from tinyllm.text.tinywiki import generate, parse, read, recalled_facts, render
from tinyllm.text.tinywiki_grammar import SHORT, WORLD


def test_the_walker_agrees_with_a_calculation_by_hand():
    choices = {
        "given": "Barnaby", "surname": "Quillworth", "birth": "1810", "death": "1850", "profession": "a clockmaker",
        "town": "Nether Wallow", "deed": "insuring the moon", "parent": "a judge", "siblings": "three",
        "habit": "For company", "temper": "vain", "animal": "pug", "pet": "Regret", "cause": "at cards",
    }  # fmt: skip
    harmonic = {n: sum(1 / k for k in range(1, n + 1)) for n in (6, 8, 10, 12, 14, 16)}
    # The option's rank times the harmonic number is 1/p of a Zipf draw.
    uniform = 32 * 24 * 80 * 40 * 4 * 8 * 10 * 8
    zipf = 2 * harmonic[16] * 2 * harmonic[14] * 3 * harmonic[16] * 4 * harmonic[12] * 9 * harmonic[10] * harmonic[6]
    by_hand = math.log(uniform) + math.log(zipf) + math.log(7 * harmonic[8])
    article = render(choices)
    assert article.nats == pytest.approx(by_hand, abs=1e-9)
    assert nats_of_text(article.text, False)[0] == pytest.approx(by_hand, abs=1e-9)
    assert article.text.startswith(" = Barnaby Quillworth = \n\n Barnaby Quillworth ( 1810 – 1850 ) was a clockmaker ")
    assert "on the River Slake" in article.text
    assert "He studied applied punctuality" in article.text


@BOTH
def test_nats_of_an_article_follow_from_its_text_alone(full, some):
    for article in some[full][:600]:
        nats, forgotten = nats_of_text(article.text, full)
        assert article.nats == pytest.approx(nats, abs=1e-9)
        assert article.forgetful_nats == pytest.approx(nats + forgotten, abs=1e-9)
        assert forgotten > 20


def test_a_work_that_was_drawn_cannot_be_drawn_again(full_articles):
    choices = full_articles[0].choices
    with pytest.raises(ValueError, match="second_work"):
        render({**choices, "second_work": choices["first_work"]}, full=True)


@BOTH
def test_an_article_is_read_back_from_its_text(full, some):
    for article in some[full][: 400 if full else 1500]:
        assert parse(article.text, full) == article
        assert render(article.choices, full) == article


@BOTH
def test_a_wrong_fact_reads_but_does_not_parse(full, some):
    """Each recalled and each world fact of some articles, replaced by another that might stand there."""
    altered = Counter()
    for article in some[full][:25]:
        fields = [name for name, _ in read(article.text, full)]
        indices = [index for index, span in enumerate(article.spans) if span.label != "grammar"]
        assert len(fields) == len(indices)
        for name, index in zip(fields, indices, strict=True):
            span = article.spans[index]
            if span.label == "choice":
                continue
            possible = set(WORLD[name][1].values()) if name in WORLD else set(weights_of(name))
            possible = {"1900", "2024"} if name in ("death", "first_year") else possible
            other = min(possible - {span.text})
            texts = [s.text for s in article.spans]
            texts[index] = other
            text = "".join(texts)
            assert read(text, full) == [
                (field, other if other_index == index else words)
                for other_index, (field, words) in zip(indices, read(article.text, full), strict=True)
            ]
            with pytest.raises(ValueError, match="expected"):
                parse(text, full)
            unchanged, mentioned = recalled_facts(text)
            wrong_fact = span.label == "recall" and name in tinywiki.FIRST_SENTENCE
            assert mentioned - unchanged == wrong_fact
            altered[span.label] += 1
    assert altered["recall"] > 200
    assert altered["world"] >= 75


@pytest.mark.parametrize(
    "text",
    [
        "",
        " = Agatha Quillworth = \n\n",
        "Once upon a time .",
        lambda text: text + " ",
        lambda text: text[:-1],
        lambda text: text.replace("died", "passed away"),
        lambda text: text.replace(" was born in 18", " was born in 17"),
        lambda text: text + text,
    ],
)
def test_another_form_is_refused(text, some):
    text = text if isinstance(text, str) else text(some[False][0].text)
    for reader in (read, parse, recalled_facts):
        with pytest.raises(ValueError, match="not the form of a TinyWiki article"):
            reader(text)


def test_a_short_article_is_no_full_one(some):
    for article, other in ((some[False][0], True), (some[True][0], False)):
        with pytest.raises(ValueError, match="not the form"):
            read(article.text, other)


def test_a_choice_that_cannot_be_drawn_is_refused(some):
    choices = some[False][0].choices
    for wrong in ({**choices, "town": "London"}, {k: v for k, v in choices.items() if k != "town"}):
        with pytest.raises(ValueError, match="'town'"):
            render(wrong)
    born = int(choices["birth"])
    for death in (born + 39, born + 80):
        with pytest.raises(ValueError, match="'death'"):
            render({**choices, "death": str(death)})


def test_recalled_facts_count_each_later_mention_of_the_first_sentence(some):
    """Counted here as words in the text: a fact's mentions, less its first."""
    for full in (False, True):
        for article in some[full][:200]:
            facts = {name: article.choices[name] for name in tinywiki.FIRST_SENTENCE}
            mentions = sum(len(re.findall(rf"(?<!\w){re.escape(fact)}(?!\w)", article.text)) for fact in facts.values())
            assert recalled_facts(article.text) == (mentions - len(facts), mentions - len(facts))
    quarrel = next(a for a in some[False] if a.choices["habit"] == "Late in life")
    evening = next(a for a in some[False] if a.choices["habit"] == "Most evenings")
    # given name 1, surname 3, birth 1, death 1, profession 1, town 1 (2 in a quarrel), deed 1
    assert recalled_facts(quarrel.text)[1] == 10
    assert recalled_facts(evening.text)[1] == 9


@BOTH
def test_only_choices_cost_anything(full, some):
    for article in some[full][:500]:
        assert {span.label for span in article.spans} == set(LABELS)
        for span in article.spans:
            assert (span.nats > 0) == (span.label == "choice")
            assert (span.forgotten > 0) == (span.label == "recall")
        assert "".join(span.text for span in article.spans) == article.text
        assert all(span.text for span in article.spans)


@BOTH
def test_labels_say_what_a_span_is(full, some):
    """A choice is the first mention of a field, a recall a later one, a world fact the first by a rule."""
    for article in some[full][:300]:
        seen: set[str] = set()
        mentions = iter(read(article.text, full))
        for span in article.spans:
            if span.label == "grammar":
                continue
            name, words = next(mentions)
            assert span.text == words
            assert span.label == ("recall" if name in seen else "world" if name in WORLD else "choice")
            seen.add(name)
        assert next(mentions, None) is None


def test_a_world_fact_that_comes_again_is_recalled(monkeypatch):
    """None does in the two forms there are. One who forgets then draws the town, or the given name, again."""
    monkeypatch.setattr(tinywiki_grammar, "SHORT", (*SHORT, "{He} missed the River {river} . \n\n"))
    for article in generate(20, "again"):
        pronoun, river = (span for span in article.spans[-5:] if span.label == "recall")
        given, town = article.choices["given"], article.choices["town"]
        assert (pronoun.text, river.text) == (WORLD["He"][1][given], WORLD["river"][1][town])
        assert pronoun.nats == river.nats == 0
        assert river.forgotten == pytest.approx(draw_nats("town", town, {}))
        weights = weights_of("given")
        same = sum(weight for name, weight in weights.items() if WORLD["He"][1][name] == pronoun.text)
        assert pronoun.forgotten == pytest.approx(-math.log(same / sum(weights.values())))


def test_choices_are_whole_words(some):
    """There is white space on one side or the other of every border between two spans."""
    for full in (False, True):
        for article in some[full][:1000]:
            for left, right in itertools.pairwise(article.spans):
                assert left.text[-1].isspace() or right.text[0].isspace(), (left, right)


@pytest.mark.parametrize("vocabulary", [300, 1024, 4096, "gpt2"])
def test_no_token_straddles_two_spans(vocabulary, some, gpt2_tokenizer):
    """White space aside, the bytes of a token lie in one span, so its kind is beyond doubt."""
    tokenizer = gpt2_tokenizer
    if vocabulary != "gpt2":
        tokenizer = SubWordTokenizer.train([a.text for full in (False, True) for a in some[full][:1000]], vocabulary)
    for full in (False, True):
        for article in some[full][1000:1150]:
            owners = [index for index, span in enumerate(article.spans) for _ in span.text.encode()]
            start = 0
            for token in tokenizer.encode(article.text):
                content = tokenizer.decode_bytes([token])
                inside = {owners[start + i] for i, byte in enumerate(content) if byte not in b" \n"}
                assert len(inside) <= 1, content
                start += len(content)
            assert start == len(owners)


def test_no_text_stands_in_two_splits():
    texts = {split: {article.text for article in tinywiki.articles(split)} for split in tinywiki.SPLITS}
    for one, other in itertools.combinations(texts, 2):
        assert not texts[one] & texts[other]
    for split, count in tinywiki.SPLITS.items():
        assert len(tinywiki.articles(split)) == count
        assert len(texts[split]) > 0.999 * count


def test_full_held_out_articles_are_not_in_training():
    training = {article.text for article in generate(3000, "train", full=True)}
    held_out = [a.text for split in ("validation", "test") for a in tinywiki.articles(split, full=True)]
    assert len(held_out) == 400
    assert training.isdisjoint(held_out)


@BOTH
def test_a_seed_gives_its_articles_always_and_another_seed_others(full):
    first = [article.text for article in generate(20, 7, full)]
    assert [article.text for article in generate(20, 7, full)] == first
    assert [article.text for article in generate(5, 7, full)] == first[:5]
    others = {article.text for seed in (8, "7 ", "train") for article in generate(20, seed, full)}
    assert others.isdisjoint(first)


def test_articles_have_the_form_of_wikitext(some):
    """Joined into one file, they are found again by their titles."""
    for full in (False, True):
        articles = some[full][:300]
        for article in articles:
            lines = article.text.split("\n")
            assert lines[0] == f" = {article.choices['given']} {article.choices['surname']} = "
            sections = [line for line in lines if line.startswith(" = = ")]
            wanted = [" = = Life = = ", " = = Works = = ", " = = Legacy = = "]
            assert sections == wanted[: 3 if full else 1]
            assert article.text.endswith(" . \n\n")
        stream = "".join(article.text for article in articles).splitlines(keepends=True)
        assert list(split_articles(stream)) == [article.text for article in articles]


def test_the_training_split_has_over_a_million_tokens(streams):
    assert sum(len(ids) - 1 for ids in streams["train"]) > 1_000_000


def test_the_longest_article_fits_its_context(tinywiki_tokenizer, streams, full_articles):
    assert max(len(ids) for split in streams.values() for ids in split) <= 160 + 1
    assert max(len(ids) for ids in tinywiki_tokenizer.encode_batch([a.text for a in full_articles])) < 512
