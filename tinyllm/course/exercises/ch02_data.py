"""Exercises of notebook 02: from articles to blocks, and how good a loss is."""

import math
import random
from collections import Counter
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from tinyllm.course.checking.checking import Unusable, exercise, mistake


@exercise(
    cases=lambda: [_stream_case(length) for length in (1, 2, 3, 5, 8)],
    hint="Write down six tokens and mark a block of three. Which token must be guessed at each of its places?",
    why="One block gives as many lessons as it has places. The targets are the same text, seen one token further on.",
)
def next_token_pairs(tokens: list[int], start: int, context_length: int) -> tuple[list[int], list[int]]:
    """The block that begins at `start`, and its targets: at each place the token that comes next."""
    end = start + context_length
    return tokens[start:end], tokens[start + 1 : end + 1]


@mistake(
    next_token_pairs,
    "The targets are the block itself, not shifted. A model could copy its input: the target is the next token.",
)
def does_not_shift(tokens: list[int], start: int, context_length: int) -> tuple[list[int], list[int]]:
    block = tokens[start : start + context_length]
    return block, block


@mistake(
    next_token_pairs,
    "The targets are shifted backwards: each is the token before. The model is to guess what comes after.",
)
def shifts_backwards(tokens: list[int], start: int, context_length: int) -> tuple[list[int], list[int]]:
    end = start + context_length
    return tokens[start:end], tokens[start - 1 : end - 1]


@mistake(
    next_token_pairs,
    "Your targets stop at the end of the block, so the last place has none. They reach one token beyond it.",
)
def leaves_the_last_without_a_target(tokens: list[int], start: int, context_length: int) -> tuple[list[int], list[int]]:
    end = start + context_length
    return tokens[start:end], tokens[start + 1 : end]


@mistake(
    next_token_pairs,
    "You shift inside one block, so both lists are one token short. Take one token more than context_length.",
)
def shifts_inside_the_block(tokens: list[int], start: int, context_length: int) -> tuple[list[int], list[int]]:
    block = tokens[start : start + context_length]
    return block[:-1], block[1:]


@mistake(next_token_pairs, "Your targets are the next block. They are the same block, moved on by one token.")
def takes_the_next_block(tokens: list[int], start: int, context_length: int) -> tuple[list[int], list[int]]:
    end = start + context_length
    return tokens[start:end], tokens[end : end + context_length]


@mistake(
    next_token_pairs,
    "There is one target here, the token after the block. Each place of the block wants its own.",
)
def takes_one_target_for_all(tokens: list[int], start: int, context_length: int) -> tuple[list[int], int]:
    end = start + context_length
    return tokens[start:end], tokens[end]


@mistake(next_token_pairs, "The block begins at the first token. It should begin at `start`.")
def ignores_the_start(tokens: list[int], start: int, context_length: int) -> tuple[list[int], list[int]]:
    return tokens[:context_length], tokens[1 : context_length + 1]


@mistake(
    next_token_pairs,
    "You use context_length as the place where the block ends. It is a length: count it from `start`.",
)
def ends_at_the_length(tokens: list[int], start: int, context_length: int) -> tuple[list[int], list[int]]:
    return tokens[start:context_length], tokens[start + 1 : context_length + 1]


@mistake(next_token_pairs, "The two lists have changed places: the block comes first, then its targets.")
def swaps_block_and_targets(tokens: list[int], start: int, context_length: int) -> tuple[list[int], list[int]]:
    end = start + context_length
    return tokens[start + 1 : end + 1], tokens[start:end]


def _stream_case(context_length: int) -> tuple[list[int], int, int]:
    tokens = random.sample(range(100), context_length + 4)
    return tokens, random.randint(1, 3), context_length


def _judge_split(function: Callable, articles: list[str], fraction: float, seed: int) -> dict[str, int | bool]:
    """What is true of any good split: which articles are held out is left to chance."""

    def split(seed: int, state: int) -> tuple[list[str], list[str]]:
        random.seed(state)
        np.random.seed(state)
        torch.default_generator.manual_seed(state)
        result = function(list(articles), fraction, seed)
        parts = isinstance(result, tuple | list) and len(result) == 2 and all(isinstance(p, list) for p in result)
        if not parts or not all(isinstance(text, str) for part in result for text in part):
            raise Unusable("your result must be two lists of articles: train, held out.")
        return result[0], result[1]

    train, held_out = split(seed, 1)
    return {
        "number of articles held out": len(held_out),
        "each article is whole, and in exactly one list": sorted(train + held_out) == sorted(articles),
        "the same seed gives the same split": split(seed, 2) == (train, held_out),
        "another seed gives another split": any(split(seed + more, 1) != (train, held_out) for more in range(1, 11)),
    }


@exercise(
    cases=lambda: [(_articles(number), fraction, random.randrange(1000)) for number, fraction in _SPLITS],
    hint="Give your shuffle a random generator of its own, made from the seed. What do you shuffle: lines or whole "
    "articles?",
    why="An article's lines resemble each other. If some of them were trained on, the held-out ones would look easier "
    "than new text is. The seed lets others make the same split.",
    observe=_judge_split,
)
def split_articles(articles: list[str], fraction: float, seed: int) -> tuple[list[str], list[str]]:
    """Training articles and held-out ones: max(1, round(fraction * n)) of the n articles, shuffled by `seed`."""
    shuffled = articles.copy()
    random.Random(seed).shuffle(shuffled)  # a generator of its own: the global one is left alone
    number = max(1, round(fraction * len(articles)))
    return shuffled[number:], shuffled[:number]


@mistake(
    split_articles,
    "You split lines, so parts of one article land on both sides. Shuffle whole articles, and leave them whole.",
)
def splits_lines(articles: list[str], fraction: float, seed: int) -> tuple[list[str], list[str]]:
    lines = [line for article in articles for line in article.splitlines()]
    random.Random(seed).shuffle(lines)
    number = max(1, round(fraction * len(lines)))
    return lines[number:], lines[:number]


@mistake(
    split_articles,
    "You cut each article at its line ends, so none stays whole. The list holds whole articles: shuffle those.",
)
def splits_at_line_ends(articles: list[str], fraction: float, seed: int) -> tuple[list[str], list[str]]:
    lines = [line for article in articles for line in article.split("\n")]
    random.Random(seed).shuffle(lines)
    number = max(1, round(fraction * len(lines)))
    return lines[number:], lines[:number]


@mistake(
    split_articles,
    "You split the lines that hold text. Lines of one article are alike, so keep each article whole, on one side.",
)
def splits_lines_with_text(articles: list[str], fraction: float, seed: int) -> tuple[list[str], list[str]]:
    lines = [line for article in articles for line in article.splitlines() if line.strip()]
    random.Random(seed).shuffle(lines)
    number = max(1, round(fraction * len(lines)))
    return lines[number:], lines[:number]


@mistake(
    split_articles,
    "The seed does not reach what shuffles, so a second run gives another split. Seed the very generator you use.",
)
def shuffles_unseeded(articles: list[str], fraction: float, seed: int) -> tuple[list[str], list[str]]:
    random.shuffle(articles)
    number = max(1, round(fraction * len(articles)))
    return articles[number:], articles[:number]


@mistake(
    split_articles,
    "Your generator is made without the seed, so each call gives another split. Hand the seed over when you make it.",
)
def makes_an_unseeded_generator(articles: list[str], fraction: float, seed: int) -> tuple[list[str], list[str]]:
    random.Random().shuffle(articles)
    number = max(1, round(fraction * len(articles)))
    return articles[number:], articles[:number]


@mistake(
    split_articles,
    "Every seed gives the same split: either nothing is shuffled, or a fixed number stands where `seed` should.",
)
def ignores_the_seed(articles: list[str], fraction: float, seed: int) -> tuple[list[str], list[str]]:
    number = max(1, round(fraction * len(articles)))
    return articles[number:], articles[:number]


@mistake(
    split_articles,
    "The two lists have changed places. `fraction` is the held-out share, and the training articles come first.",
)
def swaps_the_two_lists(articles: list[str], fraction: float, seed: int) -> tuple[list[str], list[str]]:
    random.Random(seed).shuffle(articles)
    number = max(1, round(fraction * len(articles)))
    return articles[:number], articles[number:]


@mistake(
    split_articles,
    "A small share of few articles rounds to 0, and nothing is held out. At least one article must be.",
)
def holds_out_none(articles: list[str], fraction: float, seed: int) -> tuple[list[str], list[str]]:
    random.Random(seed).shuffle(articles)
    number = round(fraction * len(articles))
    return articles[number:], articles[:number]


@mistake(
    split_articles,
    "A share that rounds to 0 turns your slice around: [-0:] is the whole list. At least one article is held out.",
)
def holds_out_all_instead_of_none(articles: list[str], fraction: float, seed: int) -> tuple[list[str], list[str]]:
    random.Random(seed).shuffle(articles)
    number = round(fraction * len(articles))
    return articles[:-number], articles[-number:]


@mistake(
    split_articles,
    "int() cuts off what stands behind the point: 1.8 articles become 1. Take round(), which gives 2.",
)
def cuts_off_instead_of_rounding(articles: list[str], fraction: float, seed: int) -> tuple[list[str], list[str]]:
    random.Random(seed).shuffle(articles)
    number = max(1, int(fraction * len(articles)))
    return articles[number:], articles[:number]


@mistake(
    split_articles,
    "The held-out articles are in the training list too, so the model may learn them by heart. Take them out there.",
)
def trains_on_what_is_held_out(articles: list[str], fraction: float, seed: int) -> tuple[list[str], list[str]]:
    number = max(1, round(fraction * len(articles)))
    return articles, random.Random(seed).sample(articles, number)


_SPLITS = ((12, 0.2), (18, 0.1), (15, 0.01), (30, 0.5))  # how many articles, and the share held out


def _articles(number: int) -> list[str]:
    return [f" = {name} = \n\n One .\n Two .\n" for name in random.sample(range(99), number)]


@exercise(
    cases=lambda: [(_skewed(12, V), [*_skewed(6, V)[::-1], V - 1], V) for V in (3, 4, 6, 8, 10)],
    hint="Two texts, two jobs: one is counted, the other is scored. What must be added below if every count "
    "gets 1 more?",
    why="The test text plays no part in the counting, or the loss would be too good. V tokens got one count each, so "
    "the total grows by V and all p add up to 1.",
)
def unigram_loss(train_ids: list[int], test_ids: list[int], vocab_size: int) -> float:
    """Nats per token of the test text, for a model that knows only how often each token occurs in training.

    p(token) = (count + 1) / (N + V), so that a token never seen costs much, but not infinitely much.
    """
    counts = Counter(train_ids)
    total = len(train_ids) + vocab_size
    return sum(-math.log((counts[token] + 1) / total) for token in test_ids) / len(test_ids)


@mistake(
    unigram_loss,
    "You score the training text. Count on train_ids, but take the mean loss over test_ids.",
)
def scores_the_training_text(train_ids: list[int], test_ids: list[int], vocab_size: int) -> float:
    return unigram_loss(train_ids, train_ids, vocab_size)


@mistake(
    unigram_loss,
    "You count the test text itself, which a model cannot know. The counts come from train_ids.",
)
def counts_the_test_text(train_ids: list[int], test_ids: list[int], vocab_size: int) -> float:
    return unigram_loss(test_ids, test_ids, vocab_size)


@mistake(unigram_loss, "The two texts have changed places: you count test_ids and score train_ids.")
def swaps_the_texts(train_ids: list[int], test_ids: list[int], vocab_size: int) -> float:
    return unigram_loss(test_ids, train_ids, vocab_size)


@mistake(unigram_loss, "That is in bits: your logarithm has base 2. Nats come from the natural one, math.log.")
def takes_the_logarithm_to_base_2(train_ids: list[int], test_ids: list[int], vocab_size: int) -> float:
    counts = Counter(train_ids)
    total = len(train_ids) + vocab_size
    return sum(-math.log2((counts[token] + 1) / total) for token in test_ids) / len(test_ids)


@mistake(
    unigram_loss,
    "A token that training never saw gets p = 0, and the logarithm of 0 does not exist. Add 1 to every count.",
)
def adds_no_count(train_ids: list[int], test_ids: list[int], vocab_size: int) -> float:
    counts = Counter(train_ids)
    return sum(-math.log(counts[token] / len(train_ids)) for token in test_ids) / len(test_ids)


@mistake(
    unigram_loss,
    "A token that training never saw gets p = 0 and an infinite loss. Every token needs a count of its own, added.",
)
def adds_no_count_to_a_tensor(train_ids: list[int], test_ids: list[int], vocab_size: int) -> float:
    p = torch.bincount(torch.tensor(train_ids), minlength=vocab_size) / len(train_ids)
    return -p[test_ids].log().mean().item()


@mistake(
    unigram_loss,
    "You add 1 above but divide by N alone, so all p together exceed 1. V counts were added: divide by N + V.",
)
def does_not_enlarge_the_total(train_ids: list[int], test_ids: list[int], vocab_size: int) -> float:
    counts = Counter(train_ids)
    return sum(-math.log((counts[token] + 1) / len(train_ids)) for token in test_ids) / len(test_ids)


@mistake(
    unigram_loss,
    "You divide by N + 1. Each of the V tokens got one count more, so the total grows by V.",
)
def enlarges_the_total_by_one(train_ids: list[int], test_ids: list[int], vocab_size: int) -> float:
    counts = Counter(train_ids)
    total = len(train_ids) + 1
    return sum(-math.log((counts[token] + 1) / total) for token in test_ids) / len(test_ids)


@mistake(unigram_loss, "This is the sum over the test text. A loss per token is its mean: divide by len(test_ids).")
def sums_over_the_test_text(train_ids: list[int], test_ids: list[int], vocab_size: int) -> float:
    return unigram_loss(train_ids, test_ids, vocab_size) * len(test_ids)


@mistake(
    unigram_loss,
    "The sum runs over the test text, but you divide by the length of the training text. Divide by len(test_ids).",
)
def divides_by_the_training_length(train_ids: list[int], test_ids: list[int], vocab_size: int) -> float:
    return unigram_loss(train_ids, test_ids, vocab_size) * len(test_ids) / len(train_ids)


@mistake(unigram_loss, "Your loss is negative: log p is below 0, as p is below 1. The loss is -log p.")
def forgets_the_minus(train_ids: list[int], test_ids: list[int], vocab_size: int) -> float:
    return -unigram_loss(train_ids, test_ids, vocab_size)


@mistake(unigram_loss, "That is the perplexity, exp of the loss. The loss itself is wanted, in nats.")
def returns_the_perplexity(train_ids: list[int], test_ids: list[int], vocab_size: int) -> float:
    return math.exp(unigram_loss(train_ids, test_ids, vocab_size))


@exercise(
    # Each begins with a 0 and ends in a 1, so the sums of the rows are never those of the columns.
    cases=lambda: [([*_skewed(length, V), 1], V) for length, V in ((6, 3), (10, 4), (30, 4), (50, 5))],
    hint="Begin with a table of ones and walk over the neighbours. What must add up to 1: a row or a column?",
    why="A row answers one question: after this token, what comes next? The added count gives pairs never "
    "seen a little chance, and a token never seen a uniform row.",
)
def bigram_probabilities(ids: list[int], vocab_size: int) -> Tensor:
    """How likely each token follows each other one: (V, V), row = current token, column = next, one count added."""
    counts = torch.ones(vocab_size, vocab_size)
    for current, following in pairwise(ids):
        counts[current, following] += 1
    return counts / counts.sum(dim=1, keepdim=True)


@mistake(
    bigram_probabilities,
    "Your columns add up to 1. A row holds what may follow one token, so each row must add up to 1: dim=1.",
)
def normalises_columns(ids: list[int], vocab_size: int) -> Tensor:
    counts = torch.ones(vocab_size, vocab_size)
    for current, following in pairwise(ids):
        counts[current, following] += 1
    return counts / counts.sum(dim=0)


@mistake(
    bigram_probabilities,
    "The sums have shape (V,), so column j is divided by the sum of row j. keepdim=True makes them a column, (V, 1).",
)
def divides_by_sums_in_a_row(ids: list[int], vocab_size: int) -> Tensor:
    counts = torch.ones(vocab_size, vocab_size)
    for current, following in pairwise(ids):
        counts[current, following] += 1
    return counts / counts.sum(dim=1)


@mistake(
    bigram_probabilities,
    "A token that was never seen has a row of zeros, and 0 / 0 is NaN. Begin with one count in every place.",
)
def divides_rows_of_zeros(ids: list[int], vocab_size: int) -> Tensor:
    counts = torch.zeros(vocab_size, vocab_size)
    for current, following in pairwise(ids):
        counts[current, following] += 1
    return counts / counts.sum(dim=1, keepdim=True)


@mistake(
    bigram_probabilities,
    "Pairs that were never seen get 0, and a whole row may be 0. Begin with one count in every place.",
)
def leaves_rows_of_zeros(ids: list[int], vocab_size: int) -> Tensor:
    counts = torch.zeros(vocab_size, vocab_size)
    for current, following in pairwise(ids):
        counts[current, following] += 1
    return counts / counts.sum(dim=1, keepdim=True).clamp(min=1)


@mistake(
    bigram_probabilities,
    "Rows and columns have changed places: row i must tell what follows token i, not what came before it.",
)
def swaps_current_and_next(ids: list[int], vocab_size: int) -> Tensor:
    counts = torch.ones(vocab_size, vocab_size)
    for current, following in pairwise(ids):
        counts[following, current] += 1
    return counts / counts.sum(dim=1, keepdim=True)


@mistake(
    bigram_probabilities,
    "You divide by the sum of the whole table. Each row is a distribution of its own and needs its own sum.",
)
def divides_by_the_whole_sum(ids: list[int], vocab_size: int) -> Tensor:
    counts = torch.ones(vocab_size, vocab_size)
    for current, following in pairwise(ids):
        counts[current, following] += 1
    return counts / counts.sum()


@mistake(
    bigram_probabilities,
    "These are counts, not probabilities yet. Divide each row by its sum.",
)
def returns_the_counts(ids: list[int], vocab_size: int) -> Tensor:
    counts = torch.ones(vocab_size, vocab_size)
    for current, following in pairwise(ids):
        counts[current, following] += 1
    return counts


@mistake(
    bigram_probabilities,
    "With += on a list of places, a pair that comes twice counts once. Add in a loop, or with accumulate=True.",
)
def counts_repeated_pairs_once(ids: list[int], vocab_size: int) -> Tensor:
    counts = torch.ones(vocab_size, vocab_size)
    counts[ids[:-1], ids[1:]] += 1
    return counts / counts.sum(dim=1, keepdim=True)


@mistake(
    bigram_probabilities,
    "The pairs do not overlap: you step by two tokens. Each token but the last begins a pair.",
)
def steps_by_two(ids: list[int], vocab_size: int) -> Tensor:
    counts = torch.ones(vocab_size, vocab_size)
    for place in range(0, len(ids) - 1, 2):
        counts[ids[place], ids[place + 1]] += 1
    return counts / counts.sum(dim=1, keepdim=True)


@mistake(bigram_probabilities, "The last pair is missing: n ids have n - 1 pairs, and your loop ends one early.")
def stops_one_pair_early(ids: list[int], vocab_size: int) -> Tensor:
    return bigram_probabilities(ids[:-1], vocab_size)


def _skewed(length: int, vocab_size: int) -> list[int]:
    """Ids of which low ones are common and the last never occurs."""
    return [0, 1, *random.choices(range(vocab_size - 1), [1 / 2**k for k in range(vocab_size - 1)], k=length - 2)]


@exercise(
    cases=lambda: [
        *(
            (scale * torch.randn(N, V), torch.randint(V, (N,)))
            for N, V, scale in ((2, 3, 1), (4, 5, 2), (8, 10, 3), (3, 4, 1000))
        ),
        (torch.tensor([[1000.0, 0.0], [0.0, 1000.0]]), torch.tensor([0, 0])),  # one target nearly sure, one hopeless
        (100 + torch.randn(2, 3), torch.randint(3, (2,))),  # exp overflows, but no probability is near 0
    ],
    hint="Work with log p = logit - log(sum of exp). Which number may be taken off a whole row beforehand, so that exp "
    "stays small?",
    why="exp of 100 is too large for float32; with the largest logit taken off, exp is at most 1. And "
    "without p itself, no tiny p can become 0 before its logarithm.",
)
def cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean of -log softmax(logits)[target]: logits (N, V), targets (N) -> scalar.

    The largest logit of a row is taken off first. That changes no probability, and exp cannot overflow.
    """
    logits = logits - logits.max(dim=1, keepdim=True).values
    log_p = logits - logits.exp().sum(dim=1, keepdim=True).log()  # (N, V)
    return -log_p[torch.arange(len(targets)), targets].mean()


@mistake(
    cross_entropy,
    "exp of a large logit overflows to inf, and inf / inf is NaN. Take the largest logit of each row off first.",
)
def overflows(logits: Tensor, targets: Tensor) -> Tensor:
    p = logits.exp() / logits.exp().sum(dim=1, keepdim=True)
    return -p[torch.arange(len(targets)), targets].log().mean()


@mistake(
    cross_entropy,
    "The sum of exp overflows to inf, and so does the loss. Take the largest logit of each row off first.",
)
def overflows_in_the_sum(logits: Tensor, targets: Tensor) -> Tensor:
    log_p = logits - logits.exp().sum(dim=1, keepdim=True).log()
    return -log_p[torch.arange(len(targets)), targets].mean()


@mistake(
    cross_entropy,
    "A tiny probability becomes 0 before you take its log, and the loss is inf. Compute log p without p.",
)
def underflows(logits: Tensor, targets: Tensor) -> Tensor:
    p = logits.softmax(dim=1)
    return -p[torch.arange(len(targets)), targets].log().mean()


@mistake(cross_entropy, "You add the losses of the rows up. The mean is wanted: divide by N.")
def sums_the_rows(logits: Tensor, targets: Tensor) -> Tensor:
    return -logits.log_softmax(dim=1)[torch.arange(len(targets)), targets].sum()


@mistake(
    cross_entropy,
    "log_p[:, targets] takes all targets from every row. Row i has one: index rows and columns together.",
)
def takes_all_targets_from_every_row(logits: Tensor, targets: Tensor) -> Tensor:
    return -logits.log_softmax(dim=1)[:, targets].mean()


@mistake(cross_entropy, "The softmax runs over the rows of the batch. Each row is one guess among V tokens: dim=1.")
def softmax_over_the_batch(logits: Tensor, targets: Tensor) -> Tensor:
    return -logits.log_softmax(dim=0)[torch.arange(len(targets)), targets].mean()


@mistake(cross_entropy, "The mean runs over all V tokens. Only the log p of each row's target counts.")
def averages_over_all_tokens(logits: Tensor, targets: Tensor) -> Tensor:
    return -logits.log_softmax(dim=1).mean()


@mistake(cross_entropy, "Your loss is negative. log p is below 0: put a minus before it.")
def forgets_the_minus_sign(logits: Tensor, targets: Tensor) -> Tensor:
    return logits.log_softmax(dim=1)[torch.arange(len(targets)), targets].mean()


@mistake(
    cross_entropy,
    "The softmax is taken twice: F.cross_entropy has one inside. Probabilities are no logits.",
)
def takes_the_softmax_twice(logits: Tensor, targets: Tensor) -> Tensor:
    return -logits.softmax(dim=1).log_softmax(dim=1)[torch.arange(len(targets)), targets].mean()


@mistake(
    cross_entropy,
    "This is the mean of the raw logits, not of log p. The log of the row's sum of exp must come off them.",
)
def takes_logits_for_log_p(logits: Tensor, targets: Tensor) -> Tensor:
    return -logits[torch.arange(len(targets)), targets].mean()


@exercise(
    cases=lambda: [([_drawn_article() for _ in range(number)],) for number in (1, 2, 3, 5, 5)],
    hint="How surprising was one draw, given its probability? Add up all surprise, add up all tokens, and divide at "
    "the end.",
    why="Only the draws are uncertain: the rest of the text follows from them at no cost. One sum over one sum "
    "lets each token count alike, in long articles and in short ones.",
)
def floor_per_token(articles: list[tuple[list[tuple[list[float], int]], int]]) -> float:
    """The generator's own surprise, in nats per token.

    Each article is its draws, as (probabilities, index drawn), and its number of tokens.
    """
    nats = sum(-math.log(probabilities[drawn]) for draws, _ in articles for probabilities, drawn in draws)
    tokens = sum(tokens for _, tokens in articles)
    return nats / tokens


@mistake(
    floor_per_token,
    "You take the mean of the articles' own ratios, so short ones weigh as much as long ones. Divide the two totals.",
)
def averages_the_ratios(articles: list[tuple[list[tuple[list[float], int]], int]]) -> float:
    return sum(floor_per_token([article]) for article in articles) / len(articles)


@mistake(
    floor_per_token,
    "You treat all choices of a draw as equally likely. They have weights: use the probability of the one drawn.",
)
def treats_draws_as_uniform(articles: list[tuple[list[tuple[list[float], int]], int]]) -> float:
    nats = sum(math.log(len(probabilities)) for draws, _ in articles for probabilities, _ in draws)
    return nats / sum(tokens for _, tokens in articles)


@mistake(
    floor_per_token,
    "That is the surprise to be expected, the entropy of each draw. Here the index drawn is known: use its p only.",
)
def takes_the_entropy(articles: list[tuple[list[tuple[list[float], int]], int]]) -> float:
    nats = sum(-p * math.log(p) for draws, _ in articles for probabilities, _ in draws for p in probabilities)
    return nats / sum(tokens for _, tokens in articles)


@mistake(
    floor_per_token,
    "You divide by the number of draws. A loss is counted per token, so divide by the number of tokens.",
)
def divides_by_the_draws(articles: list[tuple[list[tuple[list[float], int]], int]]) -> float:
    surprises = [-math.log(probabilities[drawn]) for draws, _ in articles for probabilities, drawn in draws]
    return sum(surprises) / len(surprises)


@mistake(floor_per_token, "This is the surprise per article. Divide by the number of tokens in all articles instead.")
def divides_by_the_articles(articles: list[tuple[list[tuple[list[float], int]], int]]) -> float:
    nats = sum(-math.log(probabilities[drawn]) for draws, _ in articles for probabilities, drawn in draws)
    return nats / len(articles)


@mistake(floor_per_token, "You add up the ratios of the articles. Add up nats and tokens apart, and divide once.")
def adds_the_ratios(articles: list[tuple[list[tuple[list[float], int]], int]]) -> float:
    return sum(floor_per_token([article]) for article in articles)


@mistake(floor_per_token, "That is in bits: your logarithm has base 2. For nats take the natural one, math.log.")
def measures_in_bits(articles: list[tuple[list[tuple[list[float], int]], int]]) -> float:
    bits = sum(-math.log2(probabilities[drawn]) for draws, _ in articles for probabilities, drawn in draws)
    return bits / sum(tokens for _, tokens in articles)


@mistake(floor_per_token, "Surprise is negative here. The log of a probability is below 0, so it takes a minus.")
def leaves_the_sign(articles: list[tuple[list[tuple[list[float], int]], int]]) -> float:
    return -floor_per_token(articles)


def _drawn_article() -> tuple[list[tuple[list[float], int]], int]:
    draws = []
    for _ in range(random.randint(1, 3)):
        weights = [random.choice([1, 2, 4, 8]) for _ in range(random.randint(2, 4))] + [16]  # never uniform
        probabilities = [weight / sum(weights) for weight in weights]
        draws.append((probabilities, random.choices(range(len(weights)), weights)[0]))
    return draws, random.randint(4, 40)
