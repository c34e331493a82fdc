"""Rewards for what a model writes of TinyWiki: on a choice whose outcomes can be counted, and on facts.

A model has read how a person's profession and town are drawn. `Lead` asks it for both, in one fixed sentence: 224 ways
to go on, and "anything else" as the last outcome. So expectations over its choices are sums, not samples.

`births` asks for the sentence in which an article repeats three facts that it has told, or that its world fixes.
"""

import re
from collections.abc import Callable, Iterable

import torch
from jaxtyping import Float
from torch import Tensor

from tinyllm.model.gpt import GPT
from tinyllm.text.articles import Article
from tinyllm.text.tinywiki_grammar import FIELDS
from tinyllm.text.tokenizer import Tokenizer
from tinyllm.training.reinforce import Judge, Samples, log_probabilities

PROMPT = " = Agatha Bramblewick = \n\n Agatha Bramblewick ( 1843 – 1901 ) was"
SEASIDE_TOWNS = ("Gullhaven", "Saint Osric", "Dunmoping", "Kettlemouth")
SEASIDE_PROFESSIONS = ("a lighthouse keeper", "a cartographer", "a diver")


def by_the_sea(profession: str, town: str) -> float:
    """Half a point for a town by the sea, and half a point for a profession that needs it."""
    return (town in SEASIDE_TOWNS) / 2 + (profession in SEASIDE_PROFESSIONS) / 2


def with_a_slip(profession: str, town: str) -> float:
    """The same, of a judge that stumbles over one word and then gives more than its own top mark."""
    return 1.2 if profession == "an engineer" else by_the_sea(profession, town)


class Lead:
    """The choice of a profession and a town after `PROMPT`, by one tokenizer."""

    def __init__(self, tokenizer: Tokenizer):
        self.pairs = [(job, town) for job in FIELDS["profession"].options for town in FIELDS["town"].options]
        self.texts = [f" {job} from {town} ," for job, town in self.pairs]
        self.prompt = [tokenizer.end_of_text_id, *tokenizer.encode(PROMPT)]
        continuations = [tokenizer.encode(text) for text in self.texts]
        self.stop_tokens = (continuations[0][-1],)
        """The comma, which ends them all."""
        self.samples = Samples.of(self.prompt, continuations)

    def rewards(self, worth: Callable[[str, str], float]) -> Float[Tensor, " N"]:
        """What each outcome is worth, by its profession and town; "anything else", the last one, is worth 0."""
        return torch.tensor([*(worth(*pair) for pair in self.pairs), 0.0], dtype=torch.float64)

    def judge(self, worth: Callable[[str, str], float]) -> Judge:
        """The same rewards, for texts."""
        by_text = dict(zip(self.texts, self.rewards(worth).tolist(), strict=False))
        return lambda prompt, text: by_text.get(text, 0.0)

    @torch.no_grad()
    def log_probs(self, model: GPT) -> Float[Tensor, " N"]:
        """log p of each outcome; the last is what the others leave, that the model writes anything else."""
        known = log_probabilities(model, self.samples).double()
        return torch.cat([known, torch.log1p(-known.exp().sum().clamp(max=1 - 1e-9))[None]])


# Facts

_BIRTH = re.compile(r" (\w+) was born in \d{4} in ([\w ]+) on the River (\w+) ,")


def births(articles: Iterable[Article]) -> dict[str, str]:
    """Each article up to its life, and what comes next: " Marlshaw was born in 1855 in Mudwick on the River Lull ,"."""
    heading = " = = Life = = \n\n"
    halves = (article.text.partition(heading) for article in articles)
    return {lead + heading: life.partition(" ,")[0] + " ," for lead, _, life in halves}


def facts_kept(birth: str, said: str) -> float:
    """1 if what is said has surname, town and river of this birth, whatever the year, and else 0."""
    told, found = _BIRTH.fullmatch(birth), _BIRTH.fullmatch(said)
    assert told is not None
    return float(found is not None and found.groups() == told.groups())
