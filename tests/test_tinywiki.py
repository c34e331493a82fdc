"""TinyWiki: its entropy by three roads, its draws against their probabilities, parse-back, labels, and what it takes
to learn it.
"""

import itertools
import math
import re
from collections import Counter

import numpy as np
import pytest
import torch
from scipy import stats

from tinyllm import GPT, ModelConfig, SubWordTokenizer
from tinyllm.evaluation import surprises
from tinyllm.text import tinywiki
from tinyllm.text.articles import LABELS
from tinyllm.text.documents import split_articles
from tinyllm.text.tinywiki import Article, entropy, generate, parse, read, recalled_facts, render
from tinyllm.text.tinywiki_grammar import FIELDS, SHORT, WORKS_AND_LEGACY, WORLD, Branch

BOTH = pytest.mark.parametrize("full", [False, True], ids=["short", "full"])
LOOKS_BACK = 4  # tokens before the predicted one that the longest n-gram (n = 5) sees
FORKS = {part.name: part for part in SHORT + WORKS_AND_LEGACY if isinstance(part, Branch)}
UNLIKELY = 1e-4  # a test of frequencies fails below this p-value; the draws are seeded, so it fails always or never


@pytest.fixture(scope="module")
def full_articles() -> tuple[Article, ...]:
    return tuple(generate(4000, "statistics", full=True))


@pytest.fixture(scope="module")
def some(full_articles) -> dict[bool, tuple[Article, ...]]:
    """A few thousand articles, short (False) and full (True)."""
    return {False: tinywiki.articles("train")[:6000], True: full_articles}


@pytest.fixture(scope="module")
def tokenizer() -> SubWordTokenizer:
    """Its own vocabulary, as in the quickstart."""
    return SubWordTokenizer.train([article.text for article in tinywiki.articles("train")], 1024)


@pytest.fixture(scope="module")
def streams(tokenizer) -> dict[str, list[np.ndarray]]:
    """Each split's articles as ids, with both separators."""
    end = tokenizer.end_of_text_id
    return {
        split: [
            np.array([end, *ids, end])
            for ids in tokenizer.encode_batch([article.text for article in tinywiki.articles(split)])
        ]
        for split in tinywiki.SPLITS
    }


# -log p, worked out here from the text and the tables of the grammar alone


def weights_of(name: str) -> dict[str, float]:
    """What may be drawn for a field, each with its weight."""
    options = tuple(FORKS[name].continuations) if name in FORKS else FIELDS[name].options
    weights = () if name in FORKS else FIELDS[name].weights
    return dict(zip(options, weights or [1.0] * len(options), strict=True))


def draw_nats(name: str, words: str, facts: dict[str, str]) -> float:
    """-log p of drawing these words, given the facts before."""
    weights = weights_of(name)
    if name in FIELDS and FIELDS[name].shift:
        words = str(int(words) - int(facts[FIELDS[name].shift]))
    for other in FIELDS[name].unlike if name in FIELDS else ():
        del weights[facts[other]]
    return math.log(sum(weights.values())) - math.log(weights[words])


def nats_of_text(text: str, full: bool) -> tuple[float, float]:
    """What a text costs a writer who remembers, and what each further mention costs one who forgets."""
    facts: dict[str, str] = {}
    cost: dict[str, float] = {}
    total = forgotten = 0.0
    for name, words in read(text, full):
        if name in facts:
            forgotten += cost[name]
            continue
        facts[name] = words
        if name in WORLD:
            source, rule = WORLD[name]
            weights = weights_of(source)
            same = sum(weight for option, weight in weights.items() if rule[option] == words)
            cost[name] = math.log(sum(weights.values())) - math.log(same)
        else:
            cost[name] = draw_nats(name, words, facts)
            total += cost[name]
    return total, forgotten


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


@BOTH
def test_entropy_agrees_with_the_mean_surprise_of_articles(full, some):
    nats = np.array([article.nats for article in some[full]])
    standard_error = nats.std(ddof=1) / math.sqrt(len(nats))
    assert standard_error < 0.06
    assert abs(nats.mean() - entropy(full)) < 4 * standard_error


def test_entropy_agrees_with_the_sum_written_out():
    def zipf(n: int) -> float:
        p = 1 / np.arange(1, n + 1)
        return stats.entropy(p / p.sum())

    always = sum(map(zipf, (16, 14, 16, 12, 10, 6, 8))) + math.log(32 * 24) + math.log(80) + math.log(40)
    fork = math.log(4) + (2 * (math.log(8) + math.log(10) + math.log(8)) + math.log(8) + math.log(8)) / 4
    assert entropy() == pytest.approx(always + fork, abs=1e-9)
    works = math.log(20) + math.log(64) + math.log(63) + math.log(62) + math.log(6) + math.log(3)
    assert entropy(full=True) == pytest.approx(always + fork + works + zipf(5) + zipf(6) + math.log(7), abs=1e-9)


# The draws


def drawn(name: str, articles: tuple[Article, ...]) -> Counter:
    shift = FIELDS[name].shift if name in FIELDS else ""
    chosen = [article.choices for article in articles if name in article.choices]
    return Counter(str(int(c[name]) - int(c[shift])) if shift else c[name] for c in chosen)


@pytest.mark.parametrize("name", [*FIELDS, *FORKS])
def test_draws_come_as_often_as_their_probability_says(name, some):
    """Draws without replacement too: by symmetry, each of the three works is uniform over all titles."""
    short = {piece for part in SHORT for piece in re.findall(r"\{(\w+)\}", _text_of(part))} | {"habit"}
    counts = drawn(name, some[name not in short])
    weights = weights_of(name)
    assert set(counts) <= set(weights)
    observed = [counts[option] for option in weights]
    expected = np.array(list(weights.values())) / sum(weights.values()) * sum(observed)
    assert sum(observed) > 1000
    assert expected.min() >= 5
    assert stats.chisquare(observed, expected).pvalue > UNLIKELY


def _text_of(part: str | Branch) -> str:
    return part if isinstance(part, str) else "".join(part.continuations.values())


@pytest.mark.parametrize(
    "one, other", [("given", "town"), ("town", "profession"), ("deed", "cause"), ("habit", "parent")]
)
def test_draws_do_not_depend_on_each_other(one, other, some):
    pairs = Counter((article.choices[one], article.choices[other]) for article in some[False])
    table = [[pairs[a, b] for b in weights_of(other)] for a in weights_of(one)]
    assert stats.chi2_contingency(table).pvalue > UNLIKELY


def test_death_follows_birth_by_a_lifespan_that_does_not_depend_on_it(some):
    births = np.array([int(article.choices["birth"]) for article in some[False]])
    spans = np.array([int(article.choices["death"]) for article in some[False]]) - births
    assert (spans.min(), spans.max()) == (40, 79)
    assert stats.pearsonr(births, spans).pvalue > UNLIKELY


def test_works_are_drawn_without_replacement_and_counted_as_such(full_articles):
    titles = FIELDS["first_work"].options
    assert len(set(titles)) == 64
    distances = Counter()
    for article in full_articles:
        works = [article.choices[name] for name in ("first_work", "second_work", "third_work")]
        assert len(set(works)) == 3
        distances[(titles.index(works[1]) - titles.index(works[0])) % 64] += 1
        costs = [
            next(span.nats for span in article.spans if span.text == work and span.label == "choice") for work in works
        ]
        assert costs == pytest.approx([math.log(64), math.log(63), math.log(62)])
    assert stats.chisquare([distances[d] for d in range(1, 64)]).pvalue > UNLIKELY


def test_a_work_that_was_drawn_cannot_be_drawn_again(full_articles):
    choices = full_articles[0].choices
    with pytest.raises(ValueError, match="second_work"):
        render({**choices, "second_work": choices["first_work"]}, full=True)


# Reading back


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
        places = [place for place, span in enumerate(article.spans) if span.label != "grammar"]
        assert len(fields) == len(places)
        for name, place in zip(fields, places, strict=True):
            span = article.spans[place]
            if span.label == "choice":
                continue
            possible = set(WORLD[name][1].values()) if name in WORLD else set(weights_of(name))
            possible = {"1900", "2024"} if name in ("death", "first_year") else possible
            other = min(possible - {span.text})
            texts = [s.text for s in article.spans]
            texts[place] = other
            text = "".join(texts)
            assert read(text, full) == [
                (field, other if spot == place else words)
                for spot, (field, words) in zip(places, read(article.text, full), strict=True)
            ]
            with pytest.raises(ValueError, match="expected"):
                parse(text, full)
            unchanged, mentioned = recalled_facts(text, full)
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
            assert recalled_facts(article.text, full) == (mentions - len(facts), mentions - len(facts))
    quarrel = next(a for a in some[False] if a.choices["habit"] == "Late in life")
    evening = next(a for a in some[False] if a.choices["habit"] == "Most evenings")
    # given name 1, surname 3, birth 1, death 1, profession 1, town 1 (2 in a quarrel), deed 1
    assert recalled_facts(quarrel.text)[1] == 10
    assert recalled_facts(evening.text)[1] == 9


# Labels


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
    monkeypatch.setattr(tinywiki, "SHORT", (*SHORT, "{He} missed the River {river} . \n\n"))
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
    """White space stands on one side or the other of every border between two spans."""
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
            owners = [place for place, span in enumerate(article.spans) for _ in span.text.encode()]
            start = 0
            for token in tokenizer.encode(article.text):
                content = tokenizer.decode_bytes([token])
                inside = {owners[start + i] for i, byte in enumerate(content) if byte not in b" \n"}
                assert len(inside) <= 1, content
                start += len(content)
            assert start == len(owners)


# The corpus


def test_no_text_stands_in_two_splits():
    texts = {split: {article.text for article in tinywiki.articles(split)} for split in tinywiki.SPLITS}
    for one, other in itertools.combinations(texts, 2):
        assert not texts[one] & texts[other]
    for split, number in tinywiki.SPLITS.items():
        assert len(tinywiki.articles(split)) == number
        assert len(texts[split]) > 0.999 * number


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


def test_the_longest_article_fits_its_context(tokenizer, streams, full_articles):
    assert max(len(ids) for split in streams.values() for ids in split) <= 160 + 1
    assert max(len(ids) for ids in tokenizer.encode_batch([a.text for a in full_articles])) < 512


# It takes a real model


class NGrams:
    """N-grams of orders 1 to 5, each smoothed by the one below it (absolute discounting, interpolated).

    The discount of each order is the one that does best on a split of its own.
    """

    def __init__(self, training: list[np.ndarray], tuning: list[np.ndarray], vocab_size: int):
        self.vocab_size = vocab_size
        self.tables = []
        windows = self.windows(training)
        for order in range(1, LOOKS_BACK + 2):
            grams, counts = np.unique(self.code(windows, order), return_counts=True)
            contexts, starts = np.unique(grams // vocab_size, return_index=True)
            totals = np.add.reduceat(counts, starts)
            kinds = np.diff([*starts, len(grams)])  # how many different tokens follow this context
            self.tables.append((grams, counts, contexts, totals, kinds))
        self.discounts: list[float] = []
        scored = self.windows(tuning)
        for _ in self.tables:
            options = [[*self.discounts, d] for d in (0.02, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.97)]
            self.discounts = max(options, key=lambda ds: np.log(self.probabilities(scored, ds)[-1]).sum())

    @staticmethod
    def windows(sequences: list[np.ndarray]) -> np.ndarray:
        """Each token but the separator in front, behind the tokens before it: (tokens, LOOKS_BACK + 1).

        Every article starts afresh, behind separators.
        """
        padded = [np.concatenate([ids[:1]] * (LOOKS_BACK - 1) + [ids]) for ids in sequences]
        return np.concatenate([np.lib.stride_tricks.sliding_window_view(ids, LOOKS_BACK + 1) for ids in padded])

    def code(self, windows: np.ndarray, order: int) -> np.ndarray:
        """The last `order` tokens of each window as one number."""
        code = np.zeros(len(windows), np.int64)
        for column in windows.T[-order:]:
            code = code * self.vocab_size + column
        return code

    def probabilities(self, windows: np.ndarray, discounts: list[float] | None = None) -> list[np.ndarray]:
        """p of the last token of each window, for each order."""
        results = [np.full(len(windows), 1 / self.vocab_size)]
        for order, (table, discount) in enumerate(
            zip(self.tables, self.discounts if discounts is None else discounts, strict=False), start=1
        ):
            grams, counts, contexts, totals, kinds = table
            code = self.code(windows, order)
            count = self.look_up(code, grams, counts)
            total, different = (self.look_up(code // self.vocab_size, contexts, values) for values in (totals, kinds))
            smoothed = np.maximum(count - discount, 0) + discount * different * results[-1]
            results.append(np.where(total > 0, smoothed / np.maximum(total, 1), results[-1]))
        return results[1:]

    @staticmethod
    def look_up(codes: np.ndarray, keys: np.ndarray, values: np.ndarray) -> np.ndarray:
        places = np.minimum(np.searchsorted(keys, codes), len(keys) - 1)
        return np.where(keys[places] == codes, values[places], 0)


@pytest.fixture(scope="module")
def floor() -> float:
    return sum(article.nats for article in tinywiki.articles("test"))


@pytest.fixture(scope="module")
def n_grams(streams, tokenizer) -> NGrams:
    return NGrams(streams["train"], streams["validation"], tokenizer.vocab_size)


def test_the_n_grams_are_distributions(n_grams, streams):
    """Or the comparison below would be with something else."""
    windows = n_grams.windows(streams["test"][:1])[[0, 5, 40, 90]]
    for window in windows:
        every = np.repeat(window[None], n_grams.vocab_size, axis=0)
        every[:, -1] = np.arange(n_grams.vocab_size)
        assert [p.sum() for p in n_grams.probabilities(every)] == pytest.approx([1] * 5)


def test_every_n_gram_stays_far_above_the_floor(n_grams, streams, floor):
    """Trained on all 16,000 articles, scored on held-out ones from their own start, separators included."""
    windows = n_grams.windows(streams["test"])
    assert len(windows) == sum(len(ids) - 1 for ids in streams["test"])
    nats = [-np.log(p).sum() for p in n_grams.probabilities(windows)]
    assert all(order > 1.25 * floor for order in nats)
    assert nats == sorted(nats, reverse=True), "each order is better than the one below it"


def test_a_transformer_that_sees_eight_tokens_stays_far_above_the_floor(n_grams, streams, floor, tokenizer):
    torch.manual_seed(0)
    config = ModelConfig(
        vocab_size=tokenizer.vocab_size, context_length=8, embedding_dim=96, num_layers=2, num_heads=4,
        feedforward_dim=384, dropout=0.0,
    )  # fmt: skip
    model = GPT(config)
    optimizer = torch.optim.AdamW(model.parameters(), betas=(0.9, 0.95), weight_decay=0.1)
    stream = torch.from_numpy(np.concatenate([ids[:-1] for ids in streams["train"]]))
    steps, excess = 180, []
    for step in range(1, steps + 1):
        optimizer.param_groups[0]["lr"] = 5e-3 * min(1, step / 10) * (0.51 + 0.49 * math.cos(math.pi * step / steps))
        blocks = stream[torch.randint(len(stream) - 8, (192, 1)) + torch.arange(9)]
        optimizer.zero_grad()
        model(blocks[:, :-1], blocks[:, 1:]).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if step in (steps * 4 // 5, steps):
            scored = streams["test"][:80]  # a window that moves by one token: each is predicted from the 8 before it
            nats = sum(float(losses.sum()) for losses in surprises(model, scored, stride=1))
            excess.append(nats / sum(article.nats for article in tinywiki.articles("test")[:80]))
    five_gram = -np.log(n_grams.probabilities(n_grams.windows(streams["test"]))[-1]).sum() / floor
    assert excess[1] > 1.25
    assert excess[1] < 1.05 * five_gram, "it learned what four tokens can tell"
    assert excess[1] > 0.95 * excess[0], "and is near its plateau"
