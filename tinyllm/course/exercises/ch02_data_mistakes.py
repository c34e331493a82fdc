"""What learners usually get wrong in notebook 02. Do not read on if you want to find out for yourself.

A mistake has the parameters of its reference, so their types are not repeated.
"""

# mypy: allow-untyped-defs, allow-untyped-calls

import math
import random
from collections import Counter
from itertools import pairwise

import torch
import torch.nn.functional as F

from tinyllm.course.checking.registry import mistake
from tinyllm.course.exercises.ch02_data import (
    bigram_probabilities,
    cross_entropy,
    floor_per_token,
    measure_steps,
    mend_batches,
    next_token_pairs,
    split_articles,
    unigram_loss,
)

# next_token_pairs


@mistake(
    next_token_pairs,
    "The targets are the block itself, not shifted. A model could copy its input: the target is the next token.",
)
def does_not_shift(tokens, start, context_length):
    block = tokens[start : start + context_length]
    return block, block


@mistake(
    next_token_pairs,
    "The targets are shifted backwards: each is the previous token. The model should guess the next one.",
)
def shifts_backwards(tokens, start, context_length):
    end = start + context_length
    return tokens[start:end], tokens[start - 1 : end - 1]


@mistake(
    next_token_pairs,
    "Your targets stop at the end of the block, so the last position has none. They reach one token beyond it.",
)
def leaves_the_last_without_a_target(tokens, start, context_length):
    end = start + context_length
    return tokens[start:end], tokens[start + 1 : end]


@mistake(
    next_token_pairs,
    "Both lists are one token short. Inputs and targets together need one token more than context_length.",
)
def shifts_inside_the_block(tokens, start, context_length):
    block = tokens[start : start + context_length]
    return block[:-1], block[1:]


@mistake(
    next_token_pairs,
    "Your targets are the next block. They are the same block, moved on by one token.",
)
def takes_the_next_block(tokens, start, context_length):
    end = start + context_length
    return tokens[start:end], tokens[end : end + context_length]


@mistake(
    next_token_pairs,
    "There is one target here, the token after the block. Each position of the block needs its own.",
)
def takes_one_target_for_all(tokens, start, context_length):
    end = start + context_length
    return tokens[start:end], tokens[end]


mistake(
    next_token_pairs,
    "The block begins at the first token. It should begin at `start`.",
    lambda tokens, start, context_length: (tokens[:context_length], tokens[1 : context_length + 1]),
)

mistake(
    next_token_pairs,
    "The block ends at the index context_length. That is a length: count it from `start`.",
    lambda tokens, start, context_length: (tokens[start:context_length], tokens[start + 1 : context_length + 1]),
)


@mistake(
    next_token_pairs,
    "The two lists are swapped: the block comes first, then its targets.",
)
def swaps_block_and_targets(tokens, start, context_length):
    end = start + context_length
    return tokens[start + 1 : end + 1], tokens[start:end]


mistake(
    next_token_pairs,
    "You count `start` in blocks. It is the index of a token.",
    lambda tokens, start, context_length: next_token_pairs(tokens, start * context_length, context_length),
)

mistake(
    next_token_pairs,
    "The targets are shifted by two. Each target is the very next token.",
    lambda tokens, start, context_length: (
        tokens[start : start + context_length],
        tokens[start + 2 : start + context_length + 2],
    ),
)


# split_articles


@mistake(
    split_articles,
    "Articles are cut into lines, and parts of one land on both sides. Leave them whole.",
)
def splits_lines(articles, fraction, seed):
    lines = [line for article in articles for line in article.splitlines()]
    random.Random(seed).shuffle(lines)
    count = max(1, round(fraction * len(lines)))
    return lines[count:], lines[:count]


@mistake(
    split_articles,
    "Articles are cut at their line ends, so none stays whole. The list contains whole articles: shuffle those.",
)
def splits_at_line_ends(articles, fraction, seed):
    lines = [line for article in articles for line in article.split("\n")]
    random.Random(seed).shuffle(lines)
    count = max(1, round(fraction * len(lines)))
    return lines[count:], lines[:count]


@mistake(
    split_articles,
    "Articles are cut into their non-empty lines. Lines of one article are alike: keep it whole, on one side.",
)
def splits_lines_with_text(articles, fraction, seed):
    lines = [line for article in articles for line in article.splitlines() if line.strip()]
    random.Random(seed).shuffle(lines)
    count = max(1, round(fraction * len(lines)))
    return lines[count:], lines[:count]


@mistake(
    split_articles,
    "The seed does not reach what shuffles, so a second run gives another split. Seed the generator that you use.",
)
def shuffles_unseeded(articles, fraction, seed):
    random.shuffle(articles)
    count = max(1, round(fraction * len(articles)))
    return articles[count:], articles[:count]


@mistake(
    split_articles,
    "Each call gives another split, whatever the seed. What shuffles must be made from `seed`, at each call.",
)
def makes_an_unseeded_generator(articles, fraction, seed):
    random.Random().shuffle(articles)
    count = max(1, round(fraction * len(articles)))
    return articles[count:], articles[:count]


@mistake(
    split_articles,
    "Every seed gives the same split: either nothing is shuffled, or a fixed number is used in place of `seed`.",
)
def ignores_the_seed(articles, fraction, seed):
    count = max(1, round(fraction * len(articles)))
    return articles[count:], articles[:count]


@mistake(
    split_articles,
    "The two lists are swapped. `fraction` is the held-out share, and the training articles come first.",
)
def swaps_the_two_lists(articles, fraction, seed):
    random.Random(seed).shuffle(articles)
    count = max(1, round(fraction * len(articles)))
    return articles[:count], articles[count:]


@mistake(
    split_articles,
    "A small share of few articles rounds to 0, and nothing is held out. At least one article must be.",
)
def holds_out_none(articles, fraction, seed):
    random.Random(seed).shuffle(articles)
    count = round(fraction * len(articles))
    return articles[count:], articles[:count]


@mistake(
    split_articles,
    "A share that rounds to 0 breaks your slice: [-0:] is the whole list. At least one article is held out.",
)
def holds_out_all_instead_of_none(articles, fraction, seed):
    random.Random(seed).shuffle(articles)
    count = round(fraction * len(articles))
    return articles[:-count], articles[-count:]


@mistake(
    split_articles,
    "1.8 articles become 1: the decimals are cut off. Use round(), which gives 2.",
)
def cuts_off_instead_of_rounding(articles, fraction, seed):
    random.Random(seed).shuffle(articles)
    count = max(1, int(fraction * len(articles)))
    return articles[count:], articles[:count]


@mistake(
    split_articles,
    "The held-out articles are in the training list too, so the model may memorise them. Remove them there.",
)
def trains_on_what_is_held_out(articles, fraction, seed):
    count = max(1, round(fraction * len(articles)))
    return articles, random.Random(seed).sample(articles, count)


# unigram_loss

mistake(
    unigram_loss,
    "You score the training text. Count on train_ids, but take the mean loss over test_ids.",
    lambda train, test, V: unigram_loss(train, train, V),
)

mistake(
    unigram_loss,
    "You count the test text itself, which a model cannot know. The counts come from train_ids.",
    lambda train, test, V: unigram_loss(test, test, V),
)

mistake(
    unigram_loss,
    "The two texts are swapped: you count test_ids and score train_ids.",
    lambda train, test, V: unigram_loss(test, train, V),
)


@mistake(
    unigram_loss,
    "That is in bits: your logarithm has base 2. Nats come from the natural one, math.log.",
)
def takes_the_logarithm_to_base_2(train_ids, test_ids, vocab_size):
    counts = Counter(train_ids)
    total = len(train_ids) + vocab_size
    return sum(-math.log2((counts[token] + 1) / total) for token in test_ids) / len(test_ids)


@mistake(
    unigram_loss,
    "A token that training never saw gets p = 0, and the logarithm of 0 does not exist. Add 1 to every count.",
)
def adds_no_count(train_ids, test_ids, vocab_size):
    counts = Counter(train_ids)
    return sum(-math.log(counts[token] / len(train_ids)) for token in test_ids) / len(test_ids)


@mistake(
    unigram_loss,
    "A token that training never saw gets p = 0 and an infinite loss. Every token needs a count of its own, added.",
)
def adds_no_count_to_a_tensor(train_ids, test_ids, vocab_size):
    p = torch.bincount(torch.tensor(train_ids), minlength=vocab_size) / len(train_ids)
    return -p[test_ids].log().mean().item()


@mistake(
    unigram_loss,
    "You add 1 to each count but divide by N alone, so the probabilities sum to more than 1. V counts were added: "
    "divide by N + V.",
)
def does_not_enlarge_the_total(train_ids, test_ids, vocab_size):
    counts = Counter(train_ids)
    return sum(-math.log((counts[token] + 1) / len(train_ids)) for token in test_ids) / len(test_ids)


@mistake(
    unigram_loss,
    "You divide by N + 1. Each of the V tokens got one count more, so the total grows by V.",
)
def enlarges_the_total_by_one(train_ids, test_ids, vocab_size):
    counts = Counter(train_ids)
    total = len(train_ids) + 1
    return sum(-math.log((counts[token] + 1) / total) for token in test_ids) / len(test_ids)


mistake(
    unigram_loss,
    "This is the sum over the test text. A loss per token is its mean: divide by len(test_ids).",
    lambda train, test, V: unigram_loss(train, test, V) * len(test),
)

mistake(
    unigram_loss,
    "The sum runs over the test text, but you divide by the length of the training text. Divide by len(test_ids).",
    lambda train, test, V: unigram_loss(train, test, V) * len(test) / len(train),
)

mistake(
    unigram_loss,
    "Your loss is negative: log p is below 0, as p is below 1. The loss is -log p.",
    lambda *arguments: -unigram_loss(*arguments),
)

mistake(
    unigram_loss,
    "That is the perplexity, exp of the loss. Return the loss itself, in nats.",
    lambda *arguments: math.exp(unigram_loss(*arguments)),
)


@mistake(
    unigram_loss,
    "You take the logarithm of the mean probability. Take the mean of the logarithms.",
)
def logarithm_of_a_mean(train_ids, test_ids, vocab_size):
    counts, total = Counter(train_ids), len(train_ids) + vocab_size
    return -math.log(sum((counts[token] + 1) / total for token in test_ids) / len(test_ids))


@mistake(
    unigram_loss,
    "You count both texts. A model cannot know the test text: count train_ids alone.",
)
def counts_both(train_ids, test_ids, vocab_size):
    counts = Counter([*train_ids, *test_ids])
    total = len(train_ids) + len(test_ids) + vocab_size
    return sum(-math.log((counts[token] + 1) / total) for token in test_ids) / len(test_ids)


@mistake(
    unigram_loss,
    "That is the entropy of the training text's own distribution. Score the tokens of the test text.",
)
def entropy_of_training(train_ids, test_ids, vocab_size):
    counts, total = Counter(train_ids), len(train_ids) + vocab_size
    shares = [(counts[token] + 1) / total for token in range(vocab_size)]
    return -sum(share * math.log(share) for share in shares)


# bigram_probabilities


@mistake(
    bigram_probabilities,
    "Your columns add up to 1. A row says what may follow one token, so each row must add up to 1: dim=1.",
)
def normalises_columns(ids, vocab_size):
    counts = torch.ones(vocab_size, vocab_size)
    for current, following in pairwise(ids):
        counts[current, following] += 1
    return counts / counts.sum(dim=0)


@mistake(
    bigram_probabilities,
    "Column j is divided by the sum of row j. With keepdim=True the sums are a column, (V, 1), and fit the rows.",
)
def divides_by_sums_in_a_row(ids, vocab_size):
    counts = torch.ones(vocab_size, vocab_size)
    for current, following in pairwise(ids):
        counts[current, following] += 1
    return counts / counts.sum(dim=1)


@mistake(
    bigram_probabilities,
    "A token that was never seen has a row of zeros, and 0 / 0 is NaN. Begin with a count of one in every cell.",
)
def divides_rows_of_zeros(ids, vocab_size):
    counts = torch.zeros(vocab_size, vocab_size)
    for current, following in pairwise(ids):
        counts[current, following] += 1
    return counts / counts.sum(dim=1, keepdim=True)


@mistake(
    bigram_probabilities,
    "Pairs that were never seen get 0, and a whole row may be 0. Begin with a count of one in every cell.",
)
def leaves_rows_of_zeros(ids, vocab_size):
    counts = torch.zeros(vocab_size, vocab_size)
    for current, following in pairwise(ids):
        counts[current, following] += 1
    return counts / counts.sum(dim=1, keepdim=True).clamp(min=1)


@mistake(
    bigram_probabilities,
    "Rows and columns are swapped: row i must say what follows token i, not what came before it.",
)
def swaps_current_and_next(ids, vocab_size):
    counts = torch.ones(vocab_size, vocab_size)
    for current, following in pairwise(ids):
        counts[following, current] += 1
    return counts / counts.sum(dim=1, keepdim=True)


@mistake(
    bigram_probabilities,
    "You divide by the sum of the whole table. Each row is a distribution of its own and needs its own sum.",
)
def divides_by_the_whole_sum(ids, vocab_size):
    counts = torch.ones(vocab_size, vocab_size)
    for current, following in pairwise(ids):
        counts[current, following] += 1
    return counts / counts.sum()


@mistake(
    bigram_probabilities,
    "These are counts, not probabilities yet. Divide each row by its sum.",
)
def returns_the_counts(ids, vocab_size):
    counts = torch.ones(vocab_size, vocab_size)
    for current, following in pairwise(ids):
        counts[current, following] += 1
    return counts


@mistake(
    bigram_probabilities,
    "A pair that occurs twice counts once. With += on lists of indices that happens; a loop adds each time.",
)
def counts_repeated_pairs_once(ids, vocab_size):
    counts = torch.ones(vocab_size, vocab_size)
    counts[ids[:-1], ids[1:]] += 1
    return counts / counts.sum(dim=1, keepdim=True)


@mistake(
    bigram_probabilities,
    "Every second pair is missed. Pairs overlap: each token but the last begins one.",
)
def steps_by_two(ids, vocab_size):
    counts = torch.ones(vocab_size, vocab_size)
    for index in range(0, len(ids) - 1, 2):
        counts[ids[index], ids[index + 1]] += 1
    return counts / counts.sum(dim=1, keepdim=True)


mistake(
    bigram_probabilities,
    "The last pair is missing. n ids have n - 1 pairs.",
    lambda ids, vocab_size: bigram_probabilities(ids[:-1], vocab_size),
)


@mistake(
    bigram_probabilities,
    "You take the softmax of the counts. Divide each row by its sum.",
)
def softmax_of_counts(ids, vocab_size):
    counts = torch.ones(vocab_size, vocab_size)
    for pair in pairwise(ids):
        counts[pair] += 1
    return counts.softmax(dim=1)


@mistake(
    bigram_probabilities,
    "The last token is paired with the first. Nothing follows the last one.",
)
def goes_round(ids, vocab_size):
    counts = torch.ones(vocab_size, vocab_size)
    for pair in pairwise([*ids, *ids[:1]]):
        counts[pair] += 1
    return counts / counts.sum(dim=1, keepdim=True)


# cross_entropy


@mistake(
    cross_entropy,
    "exp of a large logit overflows to inf, and inf / inf is NaN. Subtract the largest logit of each row first.",
)
def overflows(logits, targets):
    p = logits.exp() / logits.exp().sum(dim=1, keepdim=True)
    return -p[torch.arange(len(targets)), targets].log().mean()


@mistake(
    cross_entropy,
    "The sum of exp overflows to inf, and so does the loss. Subtract the largest logit of each row first.",
)
def overflows_in_the_sum(logits, targets):
    log_p = logits - logits.exp().sum(dim=1, keepdim=True).log()
    return -log_p[torch.arange(len(targets)), targets].mean()


@mistake(
    cross_entropy,
    "A p too small for 32 bits becomes 0, and -log of it inf. Compute log p without p: a logit, less the log of a sum.",
)
def underflows(logits, targets):
    p = logits.softmax(dim=1)
    return -p[torch.arange(len(targets)), targets].log().mean()


@mistake(
    cross_entropy,
    "exp(1000) is too large even for 64 bits. More bits only move the limit: subtract the largest logit of each row.",
)
def overflows_in_64_bits(logits, targets):
    log_p = logits - logits.double().exp().sum(dim=1, keepdim=True).log()
    return -log_p[torch.arange(len(targets)), targets].mean()


mistake(
    cross_entropy,
    "Your loss is too small by each row's largest logit: it was subtracted in one place and is missing in another.",
    lambda logits, targets: cross_entropy(logits, targets) - logits.amax(dim=1).mean(),
)

mistake(
    cross_entropy,
    "A hopeless guess costs no more than about 20 nats: something is added to p, or p is cut off. Compute log p "
    "without p.",
    lambda logits, targets: -(logits.softmax(dim=1)[torch.arange(len(targets)), targets] + 1e-9).log().mean(),
)

mistake(
    cross_entropy,
    "You add up the losses of the rows. Take their mean: divide by N.",
    lambda logits, targets: -logits.log_softmax(dim=1)[torch.arange(len(targets)), targets].sum(),
)

mistake(
    cross_entropy,
    "Every row is scored on the targets of all rows. Row i has one: index rows and columns together.",
    lambda logits, targets: -logits.log_softmax(dim=1)[:, targets].mean(),
)

mistake(
    cross_entropy,
    "The softmax runs over the rows of the batch. Each row is one guess among V tokens: dim=1.",
    lambda logits, targets: -logits.log_softmax(dim=0)[torch.arange(len(targets)), targets].mean(),
)

mistake(
    cross_entropy,
    "The mean runs over all V tokens. Only the log p of each row's target counts.",
    lambda logits, targets: -logits.log_softmax(dim=1).mean(),
)

mistake(
    cross_entropy,
    "Your loss is negative. log p is below 0: negate it.",
    lambda logits, targets: logits.log_softmax(dim=1)[torch.arange(len(targets)), targets].mean(),
)

mistake(
    cross_entropy,
    "The softmax is taken twice. Probabilities are not logits.",
    lambda logits, targets: -logits.softmax(dim=1).log_softmax(dim=1)[torch.arange(len(targets)), targets].mean(),
)

mistake(
    cross_entropy,
    "This is the mean of the raw logits, not of log p. Subtract the log of the row's sum of exp first.",
    lambda logits, targets: -logits[torch.arange(len(targets)), targets].mean(),
)

mistake(
    cross_entropy,
    "You score the likeliest token of each row. Score the target, however unlikely it is.",
    lambda logits, targets: -logits.log_softmax(dim=1).max(dim=1).values.mean(),
)

mistake(
    cross_entropy,
    "You take the logarithm of the mean probability. Take the mean of the logarithms.",
    lambda logits, targets: (
        -logits.log_softmax(dim=1)[torch.arange(len(targets)), targets].logsumexp(0) + math.log(len(targets))
    ),
)

mistake(
    cross_entropy,
    "You subtract the largest logit of the whole table. A row far below it then has nothing left: take each row's own.",
    lambda logits, targets: (
        -(logits - logits.max() - (logits - logits.max()).exp().sum(dim=1, keepdim=True).log())[
            torch.arange(len(targets)), targets
        ].mean()
    ),
)


# floor_per_token

mistake(
    floor_per_token,
    "You take the mean of the articles' own ratios, so short ones weigh as much as long ones. Divide the two totals.",
    lambda articles: sum(floor_per_token([article]) for article in articles) / len(articles),
)


@mistake(
    floor_per_token,
    "All choices of a draw count as equally likely. They have weights: use the probability of the one drawn.",
)
def treats_draws_as_uniform(articles):
    nats = sum(math.log(len(probabilities)) for draws, _ in articles for probabilities, _ in draws)
    return nats / sum(tokens for _, tokens in articles)


@mistake(
    floor_per_token,
    "That is the expected surprise, the entropy of each draw. Here the index drawn is known: use its p only.",
)
def takes_the_entropy(articles):
    nats = sum(-p * math.log(p) for draws, _ in articles for probabilities, _ in draws for p in probabilities)
    return nats / sum(tokens for _, tokens in articles)


@mistake(
    floor_per_token,
    "You divide by the number of draws. A loss is counted per token, so divide by the token count.",
)
def divides_by_the_draws(articles):
    surprises = [-math.log(probabilities[drawn]) for draws, _ in articles for probabilities, drawn in draws]
    return sum(surprises) / len(surprises)


@mistake(
    floor_per_token,
    "This is the surprise per article. Divide by the token count of all articles instead.",
)
def divides_by_the_articles(articles):
    nats = sum(-math.log(probabilities[drawn]) for draws, _ in articles for probabilities, drawn in draws)
    return nats / len(articles)


mistake(
    floor_per_token,
    "You add up the ratios of the articles. Add up nats and tokens separately, and divide once.",
    lambda articles: sum(floor_per_token([article]) for article in articles),
)


@mistake(
    floor_per_token,
    "That is in bits: your logarithm has base 2. For nats take the natural one, math.log.",
)
def measures_in_bits(articles):
    bits = sum(-math.log2(probabilities[drawn]) for draws, _ in articles for probabilities, drawn in draws)
    return bits / sum(tokens for _, tokens in articles)


mistake(
    floor_per_token,
    "Surprise is negative here. The log of a probability is below 0, so it takes a minus.",
    lambda articles: -floor_per_token(articles),
)

mistake(
    floor_per_token,
    "You take the likeliest option of each draw. Take the one that was drawn: its index is given.",
    lambda articles: (
        sum(-math.log(max(probabilities)) for draws, _ in articles for probabilities, _ in draws)
        / sum(length for _, length in articles)
    ),
)

mistake(
    floor_per_token,
    "An article without a draw is skipped. It costs nothing, but its tokens count too.",
    lambda articles: (
        sum(-math.log(probabilities[drawn]) for draws, _ in articles for probabilities, drawn in draws)
        / sum(length for draws, length in articles if draws)
    ),
)

mistake(
    floor_per_token,
    "You take the first option of each draw. Take the one that was drawn: its index is given.",
    lambda articles: (
        sum(-math.log(probabilities[0]) for draws, _ in articles for probabilities, _ in draws)
        / sum(length for _, length in articles)
    ),
)

mistake(
    floor_per_token,
    "You add up probabilities. Surprise is -log p, and surprises add up.",
    lambda articles: (
        sum(probabilities[drawn] for draws, _ in articles for probabilities, drawn in draws)
        / sum(length for _, length in articles)
    ),
)


# mend_batches


def _rows(stream, context_length):
    return [next_token_pairs(stream, s, context_length) for s in range(0, len(stream) - context_length, context_length)]


def _in_batches(rows, batch_size):
    some = [rows[first : first + batch_size] for first in range(0, len(rows), batch_size)]
    return [([inputs for inputs, _ in part], [targets for _, targets in part]) for part in some]


@mistake(
    mend_batches,
    "Inputs and targets still come in two different orders. Print a small batch and compare its rows.",
)
def shuffles_one_after_the_other(stream, context_length, batch_size, seed):
    inputs, targets = map(list, zip(*_rows(stream, context_length), strict=True))
    shuffler = random.Random(seed)
    shuffler.shuffle(inputs)
    shuffler.shuffle(targets)
    return _in_batches(list(zip(inputs, targets, strict=True)), batch_size)


mistake(
    mend_batches,
    "The targets are the inputs themselves. At each place the target is the next token: one further on in the stream.",
    lambda stream, T, batch_size, seed: [(inputs, inputs) for inputs, _ in mend_batches(stream, T, batch_size, seed)],
)

mistake(
    mend_batches,
    "Nothing is shuffled any more: every seed gives the order of the stream.",
    lambda stream, T, batch_size, seed: _in_batches(_rows(stream, T), batch_size),
)

mistake(
    mend_batches,
    "A last batch that is not full is missing. Each block should be read once: let the last batch be smaller.",
    lambda stream, T, batch_size, seed: [
        batch for batch in mend_batches(stream, T, batch_size, seed) if len(batch[0]) == batch_size
    ],
)

mistake(
    mend_batches,
    "The same seed gives another order each time. What shuffles must be made from `seed`, at each call.",
    lambda stream, T, batch_size, seed: mend_batches(stream, T, batch_size, random.randrange(10**9)),
)


@mistake(
    mend_batches,
    "Two blocks that are neighbours in the stream always share a batch. Shuffle the rows, before they are batched.",
)
def shuffles_inside_batches(stream, context_length, batch_size, seed):
    batches = [_rows(stream, context_length)[i : i + batch_size] for i in range(0, len(stream), batch_size)]
    for part in batches:
        random.Random(seed).shuffle(part)
    return [batch for part in batches if part for batch in _in_batches(part, batch_size)]


# measure_steps


def _steps(ids, vocab_size, goal, change):
    """Steps of a table of zeros until the goal; `change` gives each step from the gradient and the step before it."""
    table = step = torch.zeros(vocab_size, vocab_size)
    known, wanted = torch.tensor(ids[:-1]), torch.tensor(ids[1:])
    for count in range(200):
        if F.cross_entropy(table[known], wanted) < goal:
            return count
        wrong = (table[known].softmax(dim=1) - F.one_hot(wanted, vocab_size)) / len(known)
        step = change(torch.zeros_like(table).index_add_(0, known, wrong), step)
        table = table + step
    return 200


mistake(
    measure_steps,
    "Each step also contains the gradients of those before. `backward` adds to what is there: clear it with zero_grad.",
    lambda ids, V, rate, goal: _steps(ids, V, goal, lambda gradient, step: step - rate * gradient),
)

mistake(
    measure_steps,
    "The goal is never reached: your number is the limit, 200. Do the numbers move, and against their gradient?",
    lambda ids, V, rate, goal: 200,
)

mistake(
    measure_steps,
    "Your number would fit a learning rate of 5, whatever rate is given. Hand the given one to the optimizer.",
    lambda ids, V, rate, goal: _steps(ids, V, goal, lambda gradient, step: -5.0 * gradient),
)

mistake(
    measure_steps,
    "No step is taken: your number is 0. The loss of a table of zeros is the uniform one, which is above the goal.",
    lambda ids, V, rate, goal: 0,
)
