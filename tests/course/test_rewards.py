"""The choice of a profession and a town, all its outcomes and what each is worth; and facts that are repeated."""

import dataclasses

import pytest
import torch

from tinyllm import GPT, SubWordTokenizer
from tinyllm.course import rewards
from tinyllm.course.rewards import Lead, births, by_the_sea, facts_kept, with_a_slip
from tinyllm.text import tinywiki
from tinyllm.text.tinywiki_grammar import FIELDS


@pytest.fixture(scope="module")
def tokenizer():
    return SubWordTokenizer.train([article.text for article in tinywiki.articles("validation")], 400)


@pytest.fixture
def model(tiny_config, tokenizer):
    torch.manual_seed(0)
    config = dataclasses.replace(tiny_config, vocab_size=tokenizer.vocab_size, context_length=96)
    return GPT(config).eval()


def test_every_outcome_begins_an_article_and_all_are_there(tokenizer):
    lead = Lead(tokenizer)
    assert len(set(lead.texts)) == len(FIELDS["profession"].options) * len(FIELDS["town"].options) == 224
    choices = tinywiki.articles("test")[0].choices | {
        "given": "Agatha", "surname": "Bramblewick", "birth": "1843", "death": "1901",
    }  # fmt: skip
    for text, (profession, town) in zip(lead.texts, lead.pairs, strict=True):
        article = tinywiki.render(choices | {"profession": profession, "town": town})
        assert article.text.startswith(rewards.PROMPT + text)
    whole = tokenizer.encode(rewards.PROMPT + lead.texts[17])
    assert [*lead.prompt, *lead.samples.continuations()[17]] == [tokenizer.end_of_text_id, *whole]
    assert {ids[-1] for ids in lead.samples.continuations()} == set(lead.stop_tokens)


def test_with_anything_else_the_probabilities_are_all(tokenizer, model):
    lead = Lead(tokenizer)
    log_p = lead.log_probs(model)
    assert log_p.exp().sum().item() == pytest.approx(1)
    ids = [*lead.prompt, *lead.samples.continuations()[40]]
    steps = model(torch.tensor([ids]))[0].log_softmax(-1)
    known = sum(steps[place - 1, ids[place]].item() for place in range(len(lead.prompt), len(ids)))
    assert log_p[40].item() == pytest.approx(known, abs=1e-3)


def test_half_a_point_for_each_thing_by_the_sea(tokenizer):
    lead = Lead(tokenizer)
    worth = dict(zip(lead.pairs, lead.rewards(by_the_sea)[:-1].tolist(), strict=True))
    assert worth["a diver", "Gullhaven"] == 1
    assert worth["a diver", "Mudwick"] == worth["a poet", "Gullhaven"] == 0.5
    assert worth["a poet", "Mudwick"] == 0
    assert sum(worth.values()) == 0.5 * (4 * 14 + 3 * 16)
    assert lead.rewards(by_the_sea)[-1] == 0
    judge = lead.judge(by_the_sea)
    assert [judge("", text) for text in lead.texts] == list(worth.values())
    assert judge("", " a diver from Gullhaven and Mudwick ,") == 0


def test_the_judge_slips_over_engineers_alone(tokenizer):
    lead = Lead(tokenizer)
    wrong = {job for job, town in lead.pairs if with_a_slip(job, town) != by_the_sea(job, town)}
    assert wrong == {"an engineer"}
    assert lead.rewards(with_a_slip).max() > 1


def test_a_birth_is_the_next_sentence_of_its_article():
    articles = tinywiki.articles("test")[:20]
    for article, (lead, birth) in zip(articles, births(articles).items(), strict=True):
        assert article.text.startswith(lead + birth)
        facts = article.choices
        assert birth.startswith(f" {facts['surname']} was born in {facts['birth']} in {facts['town']} on")


def test_facts_are_kept_whatever_the_year():
    birth = " Marlshaw was born in 1855 in Port Marrow on the River Ossel ,"
    assert facts_kept(birth, birth) == facts_kept(birth, birth.replace("1855", "1812")) == 1
    for old, new in (("Marl", "Pearl"), ("Port Marrow", "Larkstone"), ("Ossel", "Yarn"), (" ,", ""), ("1855", "185")):
        assert facts_kept(birth, birth.replace(old, new)) == 0
