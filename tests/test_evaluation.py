"""The surprise of every token, against a reference that scores one token at a time."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tinyllm import GPT, CharacterTokenizer, ModelConfig, SubWordTokenizer, evaluate, evaluate_articles, evaluation
from tinyllm.evaluation import Evaluation, evaluate_split, label_tokens, surprises
from tinyllm.text import tinywiki
from tinyllm.text.articles import LABELS
from tinyllm.text.corpus import Corpus
from tinyllm.text.tokenized import tokenize


def make_model(vocab_size: int, context_length: int, dropout: float = 0.5) -> GPT:
    torch.manual_seed(0)
    config = ModelConfig(vocab_size, context_length, 16, num_layers=1, num_heads=2, feedforward_dim=32, dropout=dropout)
    model = GPT(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.3 * torch.randn_like(parameter)
    return model


@torch.no_grad()
def slow_surprises(model: GPT, sequence: list[int], stride: int | None = None) -> list[float]:
    """One token at a time: the first window holds context_length targets, each later one `stride` new ones."""
    context_length = model.config.context_length
    stride = stride or context_length // 2 or 1
    model.eval()
    found = []
    for target in range(1, len(sequence)):
        begin = 0
        while target > begin + context_length:
            begin += stride
        logits = model(torch.tensor([sequence[begin:target]]))[0, -1].double()
        found.append((logits.exp().sum().log() - logits[sequence[target]]).item())
    return found


@pytest.fixture(scope="module")
def model() -> GPT:
    return make_model(31, 8)


def random_sequence(length: int, seed: int = 0, vocab_size: int = 31) -> np.ndarray:
    return np.random.default_rng(seed).integers(vocab_size, size=length).astype(np.uint16)


@pytest.mark.parametrize("stride", [None, 1, 3, 7, 8])
@pytest.mark.parametrize("length", [2, 8, 9, 10, 13, 16, 17, 40])
def test_surprises_equal_those_of_one_token_at_a_time(model, length, stride):
    sequence = random_sequence(length)
    found = surprises(model, [sequence], stride)[0]
    assert found.tolist() == pytest.approx(slow_surprises(model, sequence.tolist(), stride), rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("context_length", [1, 2, 3])
def test_the_smallest_contexts_work(context_length):
    model = make_model(31, context_length)
    sequence = random_sequence(9)
    found = surprises(model, [sequence])[0]
    assert found.tolist() == pytest.approx(slow_surprises(model, sequence.tolist()), rel=1e-4, abs=1e-5)


def test_soft_capped_logits_are_scored_as_the_model_gives_them(model):
    capped = GPT(dataclasses.replace(model.config, logit_softcap=1.5)).eval()
    capped.load_state_dict(model.state_dict())
    sequence = random_sequence(17)
    found = surprises(capped, [sequence])[0].tolist()
    assert found == pytest.approx(slow_surprises(capped, sequence.tolist()), rel=1e-4, abs=1e-5)
    assert found != pytest.approx(surprises(model, [sequence])[0].tolist(), rel=1e-2)


class Counting(GPT):
    """The surprise of a token is its own id, plus a thousandth of the number of tokens in view."""

    def __init__(self, context_length: int):
        super().__init__(ModelConfig(1, context_length, 1, num_layers=1, num_heads=1, feedforward_dim=1))
        self.calls: list[int] = []

    def hidden(self, token_ids: torch.Tensor, cache: None = None) -> torch.Tensor:
        assert token_ids.shape[1] <= self.config.context_length
        in_view = torch.arange(1.0, token_ids.shape[1] + 1)
        return in_view.expand(len(token_ids), -1)[..., None]

    def token_losses(self, hidden: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        self.calls.append(len(targets))
        return targets + hidden[:, 0] / 1000


@settings(deadline=None, max_examples=200)
@given(
    st.lists(st.integers(0, 70), min_size=1, max_size=4), st.integers(1, 20), st.none() | st.integers(1, 20),
    st.integers(1, 60),
)  # fmt: skip
def test_each_token_is_scored_once_and_with_enough_in_view(lengths, context_length, stride, batch_tokens):
    """For many lengths, contexts, strides and batch sizes. Each id is its position, so a wrong target shows."""
    if stride is not None and stride > context_length:
        stride = context_length
    model = Counting(context_length)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluation, "_BATCH_TOKENS", {"cpu": batch_tokens})
        results = surprises(model, [1 + np.arange(n) for n in lengths], stride)
    assert max(model.calls, default=0) <= max(batch_tokens, context_length)
    least = context_length - (stride or context_length // 2 or 1) + 1  # in view: not the token, but the one before it
    for length, result in zip(lengths, results, strict=True):
        assert len(result) == max(0, length - 1)
        for index, value in enumerate(result, start=1):
            target, in_view = divmod(round(float(value) * 1000), 1000)
            assert target == index + 1
            assert min(index, least) <= in_view <= min(index, context_length)


def test_sequences_are_scored_each_by_itself_in_any_batch(model, monkeypatch):
    sequences = [random_sequence(length, seed=length) for length in (0, 1, 2, 30, 5, 9, 17)]
    alone = [surprises(model, [sequence])[0] for sequence in sequences]
    for batch_tokens in (1, 24, 1 << 20):
        monkeypatch.setattr(evaluation, "_BATCH_TOKENS", {"cpu": batch_tokens})
        for one, together in zip(alone, surprises(model, sequences), strict=True):
            np.testing.assert_allclose(together, one, rtol=1e-5)
    assert [len(one) for one in alone] == [0, 0, 1, 29, 4, 8, 16]
    assert surprises(model, []) == []


def test_a_smaller_stride_sees_more_and_scores_the_same_tokens(model):
    sequence = random_sequence(50)
    wide, narrow = surprises(model, [sequence], 8)[0], surprises(model, [sequence], 1)[0]
    assert len(wide) == len(narrow) == 49
    np.testing.assert_allclose(wide[:8], narrow[:8], rtol=1e-6)  # the first window is the same
    assert not np.allclose(wide[8:], narrow[8:])


@pytest.mark.parametrize("stride", [0, -1, 9])
def test_a_stride_that_does_not_fit_is_refused(model, stride):
    with pytest.raises(ValueError, match=rf"stride .*8.* not {stride}"):
        surprises(model, [random_sequence(20)], stride)


@pytest.mark.parametrize("training", [True, False])
def test_dropout_is_off_and_the_models_mode_is_put_back(model, training):
    sequence = random_sequence(20)
    model.train(training)
    first, second = (surprises(model, [sequence])[0] for _ in range(2))
    assert np.array_equal(first, second)
    assert all(module.training is training for module in model.modules())
    with pytest.raises(IndexError):
        surprises(model, [np.array([1, 99, 2])])  # an id that the model does not have
    assert model.training is training


# --- What follows from the sum ---


def test_units_follow_from_the_sum():
    result = Evaluation(nats=60.0, tokens=20, words=12, bytes=100)
    assert result.nats_per_token == 3
    assert result.perplexity_per_token == pytest.approx(math.e**3)
    assert result.perplexity_per_word == pytest.approx(math.e**5)
    assert result.bits_per_byte == pytest.approx(60 / 0.6931471805599453 / 100)


@pytest.mark.parametrize("words", [1, 0])
def test_a_text_that_is_one_long_word_has_no_finite_perplexity_per_word(words):
    """Chinese without line ends, or white space only: infinity, not an error."""
    result = Evaluation(nats=5000.0, tokens=1000, words=words, bytes=3000)
    assert result.perplexity_per_word == math.inf
    assert result.perplexity_per_token == pytest.approx(math.e**5)


@pytest.fixture(scope="module")
def tokenizer() -> SubWordTokenizer:
    text = "".join(article.text for article in tinywiki.generate(60, seed="tokenizer"))
    return SubWordTokenizer.train(text, 400)


DOCUMENTS = {
    "validation": ["\n = Ada = \n\n Ada lived in Löbau .\n", "\n = Bo = \n\n Bo had 3 cats .\n\n"],
    "test": ["\n = Cy = \n\n Cy slept .\n"],
}


def test_evaluate_scores_a_split_once_and_counts_words_and_bytes(tokenizer):
    model = make_model(tokenizer.vocab_size, 16)
    corpus = Corpus("two splits", {split: lambda texts=texts: iter(texts) for split, texts in DOCUMENTS.items()})
    # Words by hand: of the title, of the sentence, and one per line end. "ö" has two bytes.
    for split, words, size in (("validation", 3 + 5 + 4 + 3 + 5 + 5, 35 + 29), ("test", 3 + 3 + 4, 23)):
        texts = DOCUMENTS[split]
        stream = [token for text in texts for token in [tokenizer.end_of_text_id, *tokenizer.encode(text)]]
        result = evaluate(model, tokenizer, corpus, split)
        assert result.tokens == len(stream) - 1
        assert result.nats == pytest.approx(sum(slow_surprises(model, stream)), rel=1e-5)
        assert result.words == words
        assert result.bytes == size
        assert evaluate_split(model, tokenize(texts, tokenizer)) == result
    assert evaluate(model, tokenizer, corpus) == evaluate(model, tokenizer, corpus, "validation")


def _count_words(texts: list[str]) -> int:
    return sum(len(text.replace("\n", " <eos> ").split()) for text in texts)


def test_evaluate_names_a_split_that_does_not_exist(tokenizer):
    corpus = Corpus("one split", {"train": lambda: iter(["text"])})
    with pytest.raises(ValueError, match=r"no .*validation.* split.*train"):
        evaluate(make_model(tokenizer.vocab_size, 16), tokenizer, corpus)


# --- TinyWiki ---


@pytest.fixture(scope="module")
def articles() -> list[tinywiki.Article]:
    return list(tinywiki.generate(5, seed="evaluation"))


def test_a_token_has_the_label_of_its_last_byte(tokenizer, articles):
    for article in articles:
        ids = tokenizer.encode(article.text)
        edges, end = [], 0
        for span in article.spans:
            end += len(span.text.encode())
            edges.append((end, span.label))
        expected = []
        for index in range(len(ids)):
            last = len(tokenizer.decode_bytes(ids[: index + 1])) - 1
            expected.append(next(label for edge, label in edges if last < edge))
        assert label_tokens(article, tokenizer, ids) == expected
        assert set(expected) == set(LABELS)


def test_labels_count_bytes_not_characters(tokenizer):
    spans = (tinywiki.Span("Zoë ", "grammar"), tinywiki.Span("語語", "choice", 2.0), tinywiki.Span(" .", "recall"))
    article = tinywiki.Article({}, spans)
    every_byte = SubWordTokenizer.train("a", 257)
    ids = every_byte.encode(article.text)
    assert label_tokens(article, every_byte, ids) == ["grammar"] * 5 + ["choice"] * 6 + ["recall"] * 2


def test_articles_are_scored_from_their_start_with_both_separators(tokenizer, articles):
    model = make_model(tokenizer.vocab_size, 200)
    end = tokenizer.end_of_text_id
    result = evaluate_articles(model, tokenizer, articles)
    nats, excess, by_label = 0.0, [], {label: [0, 0.0] for label in LABELS}
    for article in articles:
        ids = tokenizer.encode(article.text)
        scores = slow_surprises(model, [end, *ids, end])
        nats += sum(scores)
        excess.append(sum(scores) - article.nats)
        for label, score in zip([*label_tokens(article, tokenizer, ids), "grammar"], scores, strict=True):
            by_label[label][0] += 1
            by_label[label][1] += score
    assert result.nats == pytest.approx(nats, rel=1e-5)
    assert result.tokens == sum(len(tokenizer.encode(article.text)) + 1 for article in articles)
    assert result.words == _count_words([article.text for article in articles])
    assert result.bytes == sum(len(article.text.encode()) for article in articles)
    for label, (tokens, label_nats) in by_label.items():
        assert result.by_label[label]["tokens"] == tokens
        assert result.by_label[label]["nats"] == pytest.approx(label_nats, rel=1e-4)
    mean = sum(excess) / 5
    spread = math.sqrt(sum((value - mean) ** 2 for value in excess) / 4)
    assert result.standard_error == pytest.approx(spread / math.sqrt(5) / (result.tokens / 5), rel=1e-3)


def test_the_floor_is_the_sum_of_what_the_draws_cost(tokenizer, articles):
    result = evaluate_articles(make_model(tokenizer.vocab_size, 200), tokenizer, articles)
    floors = dict.fromkeys(LABELS, 0.0)
    forgotten = 0.0
    for article in articles:
        for span in article.spans:
            floors[span.label] += span.nats
            forgotten += span.forgotten
    assert {label: row["floor_nats"] for label, row in result.by_label.items()} == pytest.approx(floors)
    assert floors["grammar"] == floors["recall"] == floors["world"] == 0
    assert result.floor_nats == pytest.approx(floors["choice"])
    assert result.forgetful_nats == pytest.approx(floors["choice"] + forgotten)
    assert forgotten > 0
    assert result.floor == pytest.approx(result.floor_nats / result.tokens)
    assert result.above_floor == pytest.approx((result.nats - result.floor_nats) / result.floor_nats)
    assert sum(row["nats"] for row in result.by_label.values()) == pytest.approx(result.nats, rel=1e-5)
    assert sum(row["tokens"] for row in result.by_label.values()) == result.tokens


def test_one_article_has_no_standard_error(tokenizer, articles):
    model = make_model(tokenizer.vocab_size, 200)
    assert evaluate_articles(model, tokenizer, articles[:1]).standard_error == math.inf


def test_evaluate_gives_the_floor_where_the_corpus_and_the_tokenizer_allow_it(tokenizer, articles):
    """A character tokenizer has no bytes to label: the split is scored without its floor."""
    corpus = Corpus(
        "known entropy", {"test": lambda: (article.text for article in articles)}, {"test": lambda: articles}
    )
    model = make_model(tokenizer.vocab_size, 200)
    assert evaluate(model, tokenizer, corpus, "test") == evaluate_articles(model, tokenizer, articles)
    characters = CharacterTokenizer("".join(article.text for article in articles))
    result = evaluate(make_model(characters.vocab_size, 16), characters, corpus, "test")
    assert type(result) is Evaluation
    assert result.tokens == sum(len(article.text) for article in articles) + len(articles) - 1


def test_a_tokenizer_that_is_not_the_models_is_refused(tiny_config):
    tokenizer = SubWordTokenizer.train("some words to learn from", 300)
    model = GPT(tiny_config)
    with pytest.raises(ValueError, match=f"{tiny_config.vocab_size} tokens.*{tokenizer.vocab_size}"):
        evaluate_articles(model, tokenizer, list(tinywiki.generate(1)))
    with pytest.raises(ValueError, match="saved with the model"):
        evaluate(model, tokenizer, Corpus("words", {"validation": lambda: iter(["some words"])}))
