"""What learners usually get wrong in notebook 13. Do not read on if you want to find out for yourself.

A mistake has the parameters of its reference, so their types are not repeated.
"""

# mypy: allow-untyped-defs, allow-untyped-calls
# torch gives `backward` no types.

import math
import statistics
from itertools import pairwise

import torch
import torch.nn.functional as F

from tinyllm.config import IGNORED
from tinyllm.course.checking.registry import mistake
from tinyllm.course.exercises.ch13_finetuning import (
    SHARES,
    calibration,
    learned_targets,
    lora_forward,
    masked_loss,
    measure_forgetting,
    measure_share,
    mend_masked_step,
    merge,
)

# learned_targets


def _targets(speaks=None, is_learned=None):
    """The reference with another state, or another choice.

    Args:
        speaks: who speaks, or None for nobody, after a token, given who spoke before it.
        is_learned: of the token that is asked for, given who speaks before it and whether it is a special one.
    """

    def run(ids, roles, end_of_text_id):
        names = {mark: role for role, mark in roles.items()} | {end_of_text_id: "end"}
        speaker, targets = "end", []
        for token, following in pairwise(ids):
            named = names.get(token)
            speaker = speaks(speaker, named) if speaks else named or speaker
            learned = (is_learned or _right)(speaker, names.get(following))
            targets.append(following if learned else IGNORED)
        return targets

    return run


def _right(speaker, following):
    return speaker == "assistant" or (speaker == "end" and following in (None, "end"))


mistake(
    learned_targets,
    "Everything is learned, the questions too. Only answers are, with what ends them.",
    lambda ids, roles, end_of_text_id: ids[1:],
)

mistake(
    learned_targets,
    "Your mask is that of the tokens that are read: one place off. What counts is whether the target is part of an "
    "answer.",
    lambda ids, *rest: [
        # What counts at a place is what should count one place before it.
        following if kept != IGNORED else IGNORED
        for following, kept in zip(ids[1:], [_first(ids, *rest), *learned_targets(ids, *rest)], strict=False)
    ],
)


def _first(ids, roles, end_of_text_id):
    """The first token as a target: learned in a document without roles."""
    return IGNORED if ids[:1] and ids[0] in roles.values() else 0


mistake(
    learned_targets,
    "Your targets are the tokens themselves, not the next ones.",
    lambda ids, *rest: [
        token if target != IGNORED else IGNORED for token, target in zip(ids, learned_targets(ids, *rest), strict=False)
    ],
)

mistake(
    learned_targets,
    "What ends an answer is not learned: such a model would never stop. It counts as a part of the answer.",
    _targets(is_learned=lambda speaker, following: _right(speaker, following) and not _ends(speaker, following)),
)


def _ends(speaker, following):
    return speaker == "assistant" and following is not None


mistake(
    learned_targets,
    "An answer that the next role's token ends is learned without that token. It ends the answer as the end of text "
    "does.",
    _targets(
        is_learned=lambda speaker, following: (
            _right(speaker, following) and not (_ends(speaker, following) and following != "end")
        )
    ),
)

mistake(
    learned_targets,
    "An answer that the end of text ends is learned without it, so the model would never stop. It belongs to the "
    "answer.",
    _targets(
        is_learned=lambda speaker, following: (
            _right(speaker, following) and (speaker, following) != ("assistant", "end")
        )
    ),
)

mistake(
    learned_targets,
    "The mark that begins an answer is learned too. Whoever writes the prompt sets it; the model learns what follows.",
    _targets(is_learned=lambda speaker, following: _right(speaker, following) or following == "assistant"),
)

mistake(
    learned_targets,
    "The mark that begins an answer is learned, and what ends it is not: your mask is one place early.",
    _targets(
        is_learned=lambda speaker, following: (
            following == "assistant" or (_right(speaker, following) and not _ends(speaker, following))
        )
    ),
)

mistake(
    learned_targets,
    "You ask whose message the target belongs to: a mark begins one, so an answer's own is learned, and the next "
    "role's is not. Ask who was speaking before it.",
    _targets(
        is_learned=lambda speaker, following: (
            following in ("assistant", "end") or (following is None and speaker in ("assistant", "end"))
        )
    ),
)

mistake(
    learned_targets,
    "The system's mark changes nothing here: what it says is learned where an answer or a document came before.",
    _targets(lambda speaker, token: speaker if token in (None, "system") else token),
)

mistake(
    learned_targets,
    "You ask whether the stream has roles. Ask it of each document: both kinds may follow each other.",
    lambda ids, roles, end_of_text_id: (
        _targets(is_learned=lambda speaker, following: speaker == "assistant")(ids, roles, end_of_text_id)
        if {*ids} & {*roles.values()}
        else ids[1:]
    ),
)

mistake(
    learned_targets,
    "All special tokens are learned. Those before a question are not: the model is to end an answer, not to ask.",
    _targets(is_learned=lambda speaker, following: _right(speaker, following) or following is not None),
)

mistake(
    learned_targets,
    "Documents without roles are left out. They are learned whole, so that ordinary text can be mixed in.",
    _targets(is_learned=lambda speaker, following: speaker == "assistant"),
)

mistake(
    learned_targets,
    "The end of a document without roles is not learned. It belongs to the document.",
    _targets(
        is_learned=lambda speaker, following: _right(speaker, following) and (speaker, following) != ("end", "end")
    ),
)

mistake(
    learned_targets,
    "The first role after the end of text is learned. It belongs to a dialogue, and only answers of those are.",
    _targets(is_learned=lambda speaker, following: speaker in ("assistant", "end")),
)

mistake(
    learned_targets,
    "Once an answer has begun you learn all that follows in its dialogue, later questions too.",
    _targets(
        lambda speaker, token: speaker if speaker == "assistant" and token in ("user", "system") else token or speaker
    ),
)

mistake(
    learned_targets,
    "Only the last answer of a dialogue is learned. All of them count.",
    lambda ids, roles, end_of_text_id: [
        target if target == IGNORED or not _answered_again(ids[index:], roles, end_of_text_id, ids[:index]) else IGNORED
        for index, target in enumerate(learned_targets(ids, roles, end_of_text_id))
    ],
)


def _answered_again(rest, roles, end_of_text_id, before):
    """Whether after the answer that goes on here, or begins, its dialogue has another one."""
    if before and _speaker([*before, rest[0]], roles, end_of_text_id) != roles["assistant"]:
        return False
    document = rest[1 : rest.index(end_of_text_id, 1)] if end_of_text_id in rest[1:] else rest[1:]
    return roles["assistant"] in document


def _speaker(ids, roles, end_of_text_id):
    return next((token for token in reversed(ids) if token in (end_of_text_id, *roles.values())), end_of_text_id)


@mistake(
    learned_targets,
    "Only the first answer of a dialogue is learned. All of them count.",
)
def first_answer_only(ids, roles, end_of_text_id):
    answers, targets = 0, []
    for token, target in zip(ids, learned_targets(ids, roles, end_of_text_id), strict=False):
        answers = 0 if token == end_of_text_id else answers + (token == roles["assistant"])
        targets.append(target if answers < 2 else IGNORED)
    return targets


mistake(
    learned_targets,
    "The end of text does not end a question here: what follows is still the user's. After it comes a new document.",
    _targets(lambda speaker, token: speaker if token == "end" and speaker in ("user", "system") else token or speaker),
)

mistake(
    learned_targets,
    "The end of text does not end an answer here: what follows counts as answered. After it comes a new document.",
    _targets(lambda speaker, token: speaker if token == "end" and speaker == "assistant" else token or speaker),
)

mistake(
    learned_targets,
    "You start as if somebody were speaking. Before the first mark there is a document without roles.",
    lambda ids, roles, end_of_text_id: [
        IGNORED if not {end_of_text_id, *roles.values()} & {*ids[: index + 1]} else target
        for index, target in enumerate(learned_targets(ids, roles, end_of_text_id))
    ],
)

mistake(
    learned_targets,
    "The questions are learned, and the answers are not: it is the other way round.",
    _targets(is_learned=lambda speaker, following: speaker in ("user", "system") or _in_document(speaker, following)),
)


def _in_document(speaker, following):
    return speaker == "end" and following in (None, "end")


mistake(
    learned_targets,
    "What the system says is learned too. Only the assistant's messages are.",
    _targets(is_learned=lambda speaker, following: _right(speaker, following) or speaker == "system"),
)

for wrong, name in ((0, "0"), (-1, "-1"), (None, "None")):
    mistake(
        learned_targets,
        f"Where nothing is learned you return {name}. The loss skips IGNORED, which is -100.",
        lambda *arguments, wrong=wrong: [wrong if one == IGNORED else one for one in learned_targets(*arguments)],
    )

mistake(
    learned_targets,
    "Where nothing is learned you return the end of text. The loss skips IGNORED, which is -100.",
    lambda ids, roles, end_of_text_id: [
        end_of_text_id if one == IGNORED else one for one in learned_targets(ids, roles, end_of_text_id)
    ],
)

mistake(
    learned_targets,
    "What is not learned is left out. Each place keeps its target: IGNORED where nothing is learned.",
    lambda *arguments: [target for target in learned_targets(*arguments) if target != IGNORED],
)

mistake(
    learned_targets,
    "Your list is as long as ids. The last token has no next one, so there is one target fewer.",
    lambda *arguments: [*learned_targets(*arguments), IGNORED][: len(arguments[0])],
)

mistake(
    learned_targets,
    "You ask for one target too many at the front: the first token is never a target.",
    lambda *arguments: [IGNORED, *learned_targets(*arguments)][: len(arguments[0])],
)

mistake(
    learned_targets,
    "The answers are ignored, and the rest is learned: the mask is upside down.",
    lambda ids, *rest: [
        following if target == IGNORED else IGNORED
        for following, target in zip(ids[1:], learned_targets(ids, *rest), strict=True)
    ],
)


# masked_loss


def _losses(logits, targets):
    """Of each position, 0 where it is ignored."""
    return F.cross_entropy(logits.transpose(1, 2), targets, ignore_index=IGNORED, reduction="none")


mistake(
    masked_loss,
    "You divide by all positions. The ignored ones add no loss, so they must not be counted.",
    lambda logits, targets: _losses(logits, targets).mean(),
)

mistake(
    masked_loss,
    "Where nothing counts your result is 0 / 0. F.cross_entropy's own mean does that: divide by at least 1.",
    lambda logits, targets: F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=IGNORED),
)

mistake(
    masked_loss,
    "That is the sum. Divide by the number of targets that count.",
    lambda logits, targets: _losses(logits, targets).sum(),
)

mistake(
    masked_loss,
    "That is the mean of the rows' means: a target in a row with few of them counts more.",
    lambda logits, targets: (_losses(logits, targets).sum(1) / (targets != IGNORED).sum(1).clamp(min=1)).mean(),
)

mistake(
    masked_loss,
    "That is the mean of the means of the rows that have targets: one in a row with few of them counts more.",
    lambda logits, targets: (
        (_losses(logits, targets).sum(1) / (targets != IGNORED).sum(1).clamp(min=1)).sum()
        / (targets != IGNORED).any(1).sum().clamp(min=1)
    ),
)

mistake(
    masked_loss,
    "You divide by the number of rows. Divide by the number of targets that count.",
    lambda logits, targets: _losses(logits, targets).sum() / len(targets),
)

mistake(
    masked_loss,
    "You shift once more. The targets are the next tokens already: position t of the logits goes with position t.",
    lambda logits, targets: masked_loss(logits[:, :-1], targets[:, 1:]) if targets.shape[1] > 1 else logits.sum() * 0,
)

mistake(
    masked_loss,
    "You reshape the logits to (B, V, T): the numbers stay in their order, and get under wrong targets. Transpose, or "
    "flatten B and T.",
    lambda logits, targets: (
        F.cross_entropy(logits.reshape(len(logits), logits.shape[2], -1), targets, reduction="sum")
        / (targets != IGNORED).sum().clamp(min=1)
    ),
)

mistake(
    masked_loss,
    "Ignored targets have become token 0, and are learned.",
    lambda logits, targets: F.cross_entropy(logits.flatten(0, 1), targets.flatten().clamp(min=0)),
)

mistake(
    masked_loss,
    "You set the logits of ignored positions to 0. That is a uniform guess, and costs ln V each: leave them out.",
    lambda logits, targets: F.cross_entropy(
        (logits * (targets != IGNORED)[..., None]).flatten(0, 1), targets.flatten().clamp(min=0)
    ),
)

mistake(
    masked_loss,
    "Token 0 is ignored too. It is a token like any other; only IGNORED does not count.",
    lambda logits, targets: masked_loss(logits, targets.masked_fill(targets == 0, IGNORED)),
)

mistake(
    masked_loss,
    "F.cross_entropy takes the softmax itself. Give it the logits as they are.",
    lambda logits, targets: masked_loss(logits.softmax(dim=-1), targets),
)

mistake(
    masked_loss,
    "A probability too small for a float becomes 0, and its logarithm -inf. Take log_softmax, which never leaves the "
    "logarithms.",
    lambda logits, targets: (
        -(logits.softmax(dim=-1).log().gather(-1, targets.clamp(min=0)[..., None])[..., 0])
        .masked_fill(targets == IGNORED, 0)
        .sum()
        / (targets != IGNORED).sum().clamp(min=1)
    ),
)

mistake(
    masked_loss,
    "A probability too small for a float becomes 0, and its logarithm -inf: times 0 that is NaN. Take log_softmax, "
    "which never leaves the logarithms.",
    lambda logits, targets: (
        -(logits.softmax(dim=-1).log().gather(-1, targets.clamp(min=0)[..., None])[..., 0] * (targets != IGNORED)).sum()
        / (targets != IGNORED).sum().clamp(min=1)
    ),
)

mistake(
    masked_loss,
    "The softmax is along the tokens. It belongs along the vocabulary, the last dimension.",
    lambda logits, targets: (
        -(
            (logits.log_softmax(dim=1).gather(2, targets.clamp(min=0)[..., None])[..., 0] * (targets != IGNORED)).sum()
            / (targets != IGNORED).sum().clamp(min=1)
        )
    ),
)

mistake(
    masked_loss,
    "The sign is missing: a loss is minus the logarithm of the probability.",
    lambda logits, targets: -masked_loss(logits, targets),
)

mistake(
    masked_loss,
    "That is the perplexity. The loss is in nats: no exp.",
    lambda logits, targets: masked_loss(logits, targets).exp(),
)

mistake(
    masked_loss,
    "That is in bits. The loss is in nats: the natural logarithm.",
    lambda logits, targets: masked_loss(logits, targets) / math.log(2),
)

mistake(
    masked_loss,
    "That is a loss for each position. Return the mean of those that count.",
    _losses,
)


# lora_forward


def _corrected(x, A, B):
    return x @ A.T @ B.T


mistake(
    lora_forward,
    "alpha is not divided by the rank, the number of rows of A.",
    lambda x, weight, A, B, alpha: x @ weight.T + alpha * _corrected(x, A, B),
)

mistake(
    lora_forward,
    "The correction is not scaled. It counts alpha / R times.",
    lambda x, weight, A, B, alpha: x @ weight.T + _corrected(x, A, B),
)

mistake(
    lora_forward,
    "You divide by the number of outputs. The rank is the number of rows of A, or of columns of B.",
    lambda x, weight, A, B, alpha: x @ weight.T + alpha / len(B) * _corrected(x, A, B),
)

mistake(
    lora_forward,
    "You divide by the number of inputs. The rank is the number of rows of A, or of columns of B.",
    lambda x, weight, A, B, alpha: x @ weight.T + alpha / A.shape[1] * _corrected(x, A, B),
)

mistake(
    lora_forward,
    "You divide by the root of the rank. That is a variant; here it is the rank itself.",
    lambda x, weight, A, B, alpha: x @ weight.T + alpha / math.sqrt(len(A)) * _corrected(x, A, B),
)

mistake(
    lora_forward,
    "alpha // R is rounded down to a whole number. Divide with /.",
    lambda x, weight, A, B, alpha: x @ weight.T + alpha // len(A) * _corrected(x, A, B),
)

mistake(
    lora_forward,
    "You divide by alpha and multiply by the rank. It is alpha / R.",
    lambda x, weight, A, B, alpha: x @ weight.T + len(A) / alpha * _corrected(x, A, B),
)

mistake(
    lora_forward,
    "You multiply by the rank, which divides: alpha / R.",
    lambda x, weight, A, B, alpha: x @ weight.T + alpha * len(A) * _corrected(x, A, B),
)

mistake(
    lora_forward,
    "That is the correction alone. The frozen weight's product is added to it.",
    lambda x, weight, A, B, alpha: alpha / len(A) * _corrected(x, A, B),
)

mistake(
    lora_forward,
    "That is the frozen layer alone. Add what the two thin matrices make of x.",
    lambda x, weight, A, B, alpha: x @ weight.T,
)

mistake(
    lora_forward,
    "The frozen weight's product is scaled too. Only the correction is.",
    lambda x, weight, A, B, alpha: alpha / len(A) * (x @ weight.T + _corrected(x, A, B)),
)

mistake(
    lora_forward,
    "The correction is subtracted. It is added.",
    lambda x, weight, A, B, alpha: x @ weight.T - alpha / len(A) * _corrected(x, A, B),
)

mistake(
    lora_forward,
    "The correction reads the output of the frozen layer. Both read x, side by side.",
    lambda x, weight, A, B, alpha: x @ weight.T + alpha / len(A) * _corrected(x @ weight.T, A, B),
)

mistake(
    lora_forward,
    "There is a ReLU between the two thin matrices. LoRA has none, so that they can be merged into one.",
    lambda x, weight, A, B, alpha: x @ weight.T + alpha / len(A) * ((x @ A.T).relu() @ B.T),
)

mistake(
    lora_forward,
    "A and B are not transposed. Their shapes are (R, in) and (out, R), as nn.Linear has them.",
    lambda x, weight, A, B, alpha: x @ weight.T + alpha / len(A) * (x @ A @ B),
)

mistake(
    lora_forward,
    "A and B are exchanged: x goes through A first, which makes R numbers of it.",
    lambda x, weight, A, B, alpha: x @ weight.T + alpha / len(A) * (x @ B.T @ A.T),
)

mistake(
    lora_forward,
    "x goes through B first. It goes through A.T, which makes R numbers of it, and then through B.T.",
    lambda x, weight, A, B, alpha: x @ weight.T + alpha / len(A) * (x @ B @ A),
)

mistake(
    lora_forward,
    "The weight is not transposed. nn.Linear has it as (out, in).",
    lambda x, weight, A, B, alpha: x @ weight + alpha / len(A) * _corrected(x, A, B),
)

mistake(
    lora_forward,
    "No matrix is transposed. All three are stored as nn.Linear has them: (out, in).",
    lambda x, weight, A, B, alpha: x @ weight + alpha / len(A) * (x @ A @ B),
)

mistake(
    lora_forward,
    "You multiply x by B A. x stands on the left, so it is (B A).T, or A.T first and then B.T.",
    lambda x, weight, A, B, alpha: x @ weight.T + alpha / len(A) * (x @ (B @ A)),
)


# merge

mistake(
    merge,
    "alpha is not divided by the rank, the number of rows of A.",
    lambda weight, A, B, alpha: weight + alpha * B @ A,
)

mistake(
    merge,
    "The correction is not scaled. It counts alpha / R times.",
    lambda weight, A, B, alpha: weight + B @ A,
)

mistake(
    merge,
    "You divide by the number of inputs. The rank is the number of rows of A, or of columns of B.",
    lambda weight, A, B, alpha: weight + alpha / A.shape[1] * B @ A,
)

mistake(
    merge,
    "You divide by the number of outputs. The rank is the number of rows of A, or of columns of B.",
    lambda weight, A, B, alpha: weight + alpha / len(B) * B @ A,
)

mistake(
    merge,
    "You divide by the root of the rank. That is a variant; here it is the rank itself.",
    lambda weight, A, B, alpha: weight + alpha / math.sqrt(len(A)) * B @ A,
)

mistake(
    merge,
    "alpha // R is rounded down to a whole number. Divide with /.",
    lambda weight, A, B, alpha: weight + alpha // len(A) * B @ A,
)

mistake(
    merge,
    "You multiply by the rank, which divides: alpha / R.",
    lambda weight, A, B, alpha: weight + alpha * len(A) * B @ A,
)

mistake(
    merge,
    "The frozen weight is scaled too. Only the correction is.",
    lambda weight, A, B, alpha: alpha / len(A) * (weight + B @ A),
)

mistake(
    merge,
    "The correction is transposed. The weight is (out, in), and so is B A.",
    lambda weight, A, B, alpha: weight + alpha / len(A) * (B @ A).T,
)

mistake(
    merge,
    "That is A B. The product with the shape of the weight, (out, in), is B A.",
    lambda weight, A, B, alpha: weight + alpha / len(A) * A @ B,
)

mistake(
    merge,
    "Your result is (in, out): the merged matrix transposed. It takes the weight's place, so it needs its shape.",
    lambda *arguments: merge(*arguments).T,
)

mistake(
    merge,
    "That is the correction alone. Add the weight.",
    lambda weight, A, B, alpha: alpha / len(A) * B @ A,
)

mistake(
    merge,
    "That is the weight as it was. Add what the thin matrices have learned.",
    lambda weight, A, B, alpha: weight.clone(),
)

mistake(
    merge,
    "The correction is subtracted: that takes it out of a merged matrix again.",
    lambda weight, A, B, alpha: weight - alpha / len(A) * B @ A,
)

mistake(
    merge,
    "You multiply weight and correction. They are added: W x + s B A x.",
    lambda weight, A, B, alpha: weight * (alpha / len(A) * B @ A),
)


@mistake(
    merge,
    "You change the weight in place: merging twice would add the correction twice. Return a new matrix.",
)
def merges_in_place(weight, A, B, alpha):
    weight += alpha / len(A) * B @ A
    return weight


@mistake(
    merge,
    "You change B in place. Someone may merge again, or go on training: return a new matrix and leave the rest.",
)
def scales_in_place(weight, A, B, alpha):
    B *= alpha / len(A)
    return weight + B @ A


# calibration


def _binned(inside, summed=None):
    """The bins with other members, or with other numbers."""

    def run(confidences, right, edges):
        bins = []
        for low, high in pairwise(edges):
            pairs = zip(confidences, right, strict=True)
            members = [pair for pair in pairs if inside(pair[0], low, high, edges)]
            if members:
                sure, correct = ([pair[part] for pair in members] for part in (0, 1))
                bins.append((summed or _summed)(sure, correct, low, high))
        return bins

    return run


def _summed(sure, correct, low, high):
    return sum(sure) / len(sure), sum(correct) / len(correct), len(sure)


def _inside(confidence, low, high, edges):
    return low <= confidence < high or confidence == high == edges[-1]


mistake(
    calibration,
    "An answer at the last edge is in no bin. The last bin includes its upper edge.",
    _binned(lambda confidence, low, high, edges: low <= confidence < high),
)

mistake(
    calibration,
    "Your bins include their upper edge and not their lower one. It is the other way round, but for the last edge.",
    _binned(lambda confidence, low, high, edges: low < confidence <= high),
)

mistake(
    calibration,
    "Your bins include their upper edge, and the first one its lower too. It is the other way round: only the last "
    "edge belongs to the bin below.",
    _binned(lambda confidence, low, high, edges: low < confidence <= high or confidence == low == edges[0]),
)

mistake(
    calibration,
    "An answer at an edge is in both bins. It belongs to the upper one, and only at the last edge to the lower.",
    _binned(lambda confidence, low, high, edges: low <= confidence <= high),
)

mistake(
    calibration,
    "An answer at an edge is in no bin. It belongs to the upper one, and at the last edge to the last.",
    _binned(lambda confidence, low, high, edges: low < confidence < high),
)

mistake(
    calibration,
    "You return the middle of each bin. Return the mean confidence of the answers in it.",
    _binned(_inside, lambda sure, correct, low, high: ((low + high) / 2, *_summed(sure, correct, low, high)[1:])),
)

mistake(
    calibration,
    "You return the lower edge of each bin. Return the mean confidence of the answers in it.",
    _binned(_inside, lambda sure, correct, low, high: (low, *_summed(sure, correct, low, high)[1:])),
)

mistake(
    calibration,
    "The first two are exchanged: the confidence comes first, then the share that is right.",
    _binned(_inside, lambda *bin: (_summed(*bin)[1], _summed(*bin)[0], len(bin[0]))),
)

mistake(
    calibration,
    "You return how many are right. Return their share of the answers in the bin.",
    _binned(_inside, lambda sure, correct, *_: (statistics.mean(sure), sum(correct), len(sure))),
)

mistake(
    calibration,
    "The number is that of the right answers. Return how many answers the bin has, right or wrong.",
    _binned(_inside, lambda sure, correct, *edges: (*_summed(sure, correct, *edges)[:2], sum(correct))),
)

mistake(
    calibration,
    "That is the share that is wrong.",
    _binned(_inside, lambda sure, correct, *_: (statistics.mean(sure), 1 - sum(correct) / len(sure), len(sure))),
)

mistake(
    calibration,
    "The mean confidence is that of the right answers alone. All answers of the bin count.",
    _binned(
        _inside,
        lambda sure, correct, *edges: (
            sum(one for one, is_right in zip(sure, correct, strict=True) if is_right) / max(1, sum(correct)),
            *_summed(sure, correct, *edges)[1:],
        ),
    ),
)

mistake(
    calibration,
    "That is the sum of the confidences. Divide it by the number of answers in the bin.",
    _binned(_inside, lambda sure, correct, *edges: (sum(sure), *_summed(sure, correct, *edges)[1:])),
)

mistake(
    calibration,
    "You divide by the number of all answers. Each bin has a share of its own: divide by its number of answers.",
    lambda confidences, right, edges: [
        (sure, correct * count / len(right), count) for sure, correct, count in calibration(confidences, right, edges)
    ],
)

mistake(
    calibration,
    "The last number is a share of all answers. Return how many answers the bin has.",
    lambda confidences, right, edges: [
        (sure, correct, count / len(right)) for sure, correct, count in calibration(confidences, right, edges)
    ],
)


@mistake(
    calibration,
    "Empty bins are kept, as zeros. Leave them out: no answer is no share of 0.",
)
def keeps_empty_bins(confidences, right, edges):
    bins = []
    for low, high in pairwise(edges):
        pairs = zip(confidences, right, strict=True)
        members = [pair for pair in pairs if _inside(pair[0], low, high, edges)]
        count = max(1, len(members))
        bins.append((sum(one for one, _ in members) / count, sum(one for _, one in members) / count, len(members)))
    return bins


@mistake(
    calibration,
    "Your bins have equal widths. Take the edges that are given.",
)
def equal_widths(confidences, right, edges):
    count = len(edges) - 1
    steps = [edges[0] + (edges[-1] - edges[0]) * step / count for step in range(count)]
    return calibration(confidences, right, [*steps, edges[-1]])


# mend_masked_step


def _step(share):
    """A step in which each micro-batch's mean is multiplied by a share; skips nothing."""

    def run(model, micro_batches):
        counts = [(targets != IGNORED).sum().item() for _, targets in micro_batches]
        mean = 0.0
        for index, (token_ids, targets) in enumerate(micro_batches):
            loss = model(token_ids, targets) * share(counts, [one.numel() for _, one in micro_batches], index)
            loss.backward()
            mean += loss.item()
        return mean

    return run


mistake(
    mend_masked_step,
    "That is still the mean of the micro-batches' means: a target in one with few counts more.",
    _step(lambda counts, sizes, index: 1 / len(counts)),
)

mistake(
    mend_masked_step,
    "Micro-batches without targets are left out, and the rest is still a mean of means.",
    _step(lambda counts, sizes, index: 1 / sum(count > 0 for count in counts)),
)

mistake(
    mend_masked_step,
    "The micro-batches' means are added up. Each must come in with its share of all targets that count.",
    _step(lambda counts, sizes, index: 1),
)

mistake(
    mend_masked_step,
    "That is the sum over all targets. Divide it by the number that counts, in all micro-batches together.",
    _step(lambda counts, sizes, index: counts[index]),
)

mistake(
    mend_masked_step,
    "You weigh each micro-batch by all its positions. Only the targets that are not IGNORED count.",
    _step(lambda counts, sizes, index: sizes[index] / sum(sizes)),
)

mistake(
    mend_masked_step,
    "You divide by all positions. Divide by the number of targets that count.",
    _step(lambda counts, sizes, index: counts[index] / sum(sizes)),
)

mistake(
    mend_masked_step,
    "You divide by the targets counted so far. Count those of all micro-batches before the first step.",
    _step(lambda counts, sizes, index: counts[index] / max(1, sum(counts[: index + 1]))),
)

mistake(
    mend_masked_step,
    "You divide by this micro-batch's own count twice: `model(token_ids, targets)` has done it already.",
    _step(lambda counts, sizes, index: 1 / max(1, counts[index]) / len(counts)),
)

mistake(
    mend_masked_step,
    "Each micro-batch has its share, and is divided by their number besides. The shares add up to 1 already.",
    _step(lambda counts, sizes, index: counts[index] / sum(counts) / len(counts)),
)

mistake(
    mend_masked_step,
    "The share is upside down: the more targets a micro-batch has, the more it must count.",
    _step(lambda counts, sizes, index: sum(counts) / max(1, counts[index])),
)


@mistake(
    mend_masked_step,
    "The gradients are right, and the number that is returned is not: it is still the mean of means.",
)
def returns_the_mean_of_means(model, micro_batches):
    mend_masked_step(model, micro_batches)
    with torch.no_grad():
        return statistics.mean(model(*one).item() for one in micro_batches)


@mistake(
    mend_masked_step,
    "The number that is returned is right, and the gradients are not: they are still those of the mean of means.",
)
def gradient_of_the_mean_of_means(model, micro_batches):
    mean = mend_masked_step(model, micro_batches)
    model.zero_grad()
    for one in micro_batches:
        (model(*one) / len(micro_batches)).backward()
    return mean


@mistake(
    mend_masked_step,
    "The gradients are emptied for each micro-batch, so only the last one's are left.",
)
def empties_each_time(model, micro_batches):
    mean = mend_masked_step(model, micro_batches)
    model.zero_grad()
    token_ids, targets = micro_batches[-1]
    count = sum((one != IGNORED).sum() for _, one in micro_batches)
    (model(token_ids, targets) * (targets != IGNORED).sum() / count).backward()
    return mean


@mistake(
    mend_masked_step,
    "You divide the returned mean by the number of micro-batches once more. The gradients are right.",
)
def divides_what_is_returned(model, micro_batches):
    return mend_masked_step(model, micro_batches) / len(micro_batches)


@mistake(
    mend_masked_step,
    "What is returned is the last micro-batch's part. Add them all up.",
)
def returns_the_last(model, micro_batches):
    mend_masked_step(model, micro_batches)
    token_ids, targets = micro_batches[-1]
    count = sum((one != IGNORED).sum().item() for _, one in micro_batches)
    return model(token_ids, targets).item() * (targets != IGNORED).sum().item() / count


# measure_forgetting


def _worst(measure, value=None):
    """The kind for which a measure of before and after is largest, and a value of the two."""

    def run(before, after):
        worst = max(before, key=lambda kind: measure(before[kind], after[kind]))
        return worst, (value or (lambda old, new: new - old))(before[worst], after[worst])

    return run


def _rise(old, new):
    return new - old


mistake(
    measure_forgetting,
    "You take the largest change, a fall too. Only what rose was forgotten.",
    _worst(lambda old, new: abs(new - old)),
)

mistake(
    measure_forgetting,
    "You take the largest change, and without its sign. A fall is no forgetting.",
    _worst(lambda old, new: abs(new - old), lambda old, new: abs(new - old)),
)

mistake(
    measure_forgetting,
    "You subtract the wrong way round: that is what fell most. What was lost is after minus before.",
    _worst(lambda old, new: old - new, lambda old, new: old - new),
)

mistake(
    measure_forgetting,
    "That is the kind whose loss fell most: forgotten is what rose.",
    _worst(lambda old, new: old - new),
)

mistake(
    measure_forgetting,
    "The kind is right, and its number has the wrong sign: positive where the loss rose.",
    _worst(_rise, lambda old, new: old - new),
)

mistake(
    measure_forgetting,
    "That is the kind with the largest loss afterwards. It may have been as large before.",
    _worst(lambda old, new: new),
)

mistake(
    measure_forgetting,
    "That is the kind with the largest loss afterwards, and that loss. Ask how far each rose.",
    _worst(lambda old, new: new, lambda old, new: new),
)

mistake(
    measure_forgetting,
    "The kind is right. Return how far its loss rose, not where it ended.",
    _worst(_rise, lambda old, new: new),
)

mistake(
    measure_forgetting,
    "You compare ratios, in which a small loss weighs much. The rise is a difference, in nats.",
    _worst(lambda old, new: new / old),
)

mistake(
    measure_forgetting,
    "You return a ratio. The rise is a difference, in nats.",
    _worst(lambda old, new: new / old, lambda old, new: new / old),
)

mistake(
    measure_forgetting,
    "You return the rise as a share of the loss before. Return the difference itself, in nats.",
    _worst(lambda old, new: new / old, lambda old, new: new / old - 1),
)

mistake(
    measure_forgetting,
    "The kind is right. Return the rise in nats, not as a share of the loss before.",
    _worst(_rise, lambda old, new: (new - old) / old),
)

mistake(
    measure_forgetting,
    "Where all fell you return 0. The one that fell least is asked for, with a number below 0.",
    _worst(_rise, lambda old, new: max(0, new - old)),
)

mistake(
    measure_forgetting,
    "The two are exchanged: the kind first, then the nats.",
    lambda before, after: measure_forgetting(before, after)[::-1],
)

mistake(
    measure_forgetting,
    "You take both dictionaries in their order. They need not have the same: look each kind up by name.",
    lambda before, after: max(
        ((kind, new - old) for (kind, old), new in zip(before.items(), after.values(), strict=True)),
        key=lambda one: one[1],
    ),
)

mistake(
    measure_forgetting,
    "The nats are the mean over all kinds. Return those of the kind that rose most.",
    lambda before, after: (
        measure_forgetting(before, after)[0],
        statistics.mean(after[kind] - before[kind] for kind in before),
    ),
)

mistake(
    measure_forgetting,
    "That is all kinds with their rises. Return only the one that rose most.",
    lambda before, after: {kind: after[kind] - before[kind] for kind in before},
)

mistake(
    measure_forgetting,
    "That is the kind alone. Return a pair: the kind, and by how many nats it rose.",
    lambda before, after: measure_forgetting(before, after)[0],
)

mistake(
    measure_forgetting,
    "Those are the nats alone. Return a pair: the kind, and by how many nats it rose.",
    lambda before, after: measure_forgetting(before, after)[1],
)


# measure_share

mistake(
    measure_share,
    "That is in per cent. A share is between 0 and 1.",
    lambda rank: 100 * measure_share(rank),
)

mistake(
    measure_share,
    "That is the share that is frozen. What is trained is the rest.",
    lambda rank: 1 - measure_share(rank),
)

mistake(
    measure_share,
    "It is upside down: how many weights there are for each that is trained.",
    lambda rank: 1 / measure_share(rank),
)

mistake(
    measure_share,
    "That is how many weights are trained. Divide by how many the model has.",
    lambda rank: float(rank * 2 * 16 * 192),
)

mistake(
    measure_share,
    "You count attention's matrices alone. Those of the feed-forward networks have corrections too.",
    lambda rank: SHARES["attention alone"] * measure_share(rank),
)

mistake(
    measure_share,
    "You count the corrections of queries, keys and values alone. Every matrix in a block has one.",
    lambda rank: SHARES["queries, keys and values alone"] * measure_share(rank),
)

mistake(
    measure_share,
    "You count A (`down`) alone. B (`up`) is trained too.",
    lambda rank: SHARES["A alone"] * measure_share(rank),
)

mistake(
    measure_share,
    "You count B (`up`) alone. A (`down`) is trained too.",
    lambda rank: SHARES["B alone"] * measure_share(rank),
)

mistake(
    measure_share,
    "You divide by the weights of the blocks. The embeddings are frozen weights too: divide by all.",
    lambda rank: SHARES["beside the blocks"] * measure_share(rank),
)

mistake(
    measure_share,
    "Everything is trained in your model: its configuration has no `lora`, or you count all weights as trained.",
    lambda rank: 1.0,
)
