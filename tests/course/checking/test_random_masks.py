"""Random masks pass whatever is drawn; those that only look so do not."""

import pytest
import torch

from tinyllm.course.checking.random_masks import _counts_vary, mask_findings

SHAPE = (40, 20, 50)


@pytest.mark.parametrize("p", [0.07, 0.31, 0.5, 0.93])
def test_independent_draws_pass_each_time(p):
    draws = torch.Generator().manual_seed(0)
    for _ in range(25):
        findings = mask_findings(torch.rand(SHAPE, generator=draws) < p, p)
        assert all(findings.values()), findings


def test_how_much_counts_vary_refuses_one_right_mask_in_a_million_by_their_exact_distribution():
    ratios = torch.linspace(0.01, 4, 400, dtype=torch.double)
    accepted = torch.tensor([_counts_vary((ratio * 1000 / 4).sqrt().repeat(40), 0.5, 1000) for ratio in ratios])
    least, most = ratios[accepted].min(), ratios[accepted].max()
    below = torch.special.gammainc(torch.tensor(20.0).double(), 20 * least)
    above = torch.special.gammaincc(torch.tensor(20.0).double(), 20 * most)
    assert 1e-10 < below + above < 1e-6


def exact_count(p):
    ranks = torch.rand(SHAPE).flatten(1).argsort(1).argsort(1)
    return (ranks < p * SHAPE[1] * SHAPE[2]).view(SHAPE)


@pytest.mark.parametrize(
    ("draw", "finding"),
    [
        (lambda p: torch.rand(40, 1, 50).expand(SHAPE) < p, "rows differ"),
        (lambda p: torch.rand(40, 20, 1).expand(SHAPE) < p, "columns differ"),
        (lambda p: torch.rand(1, 20, 50).expand(SHAPE) < p, "each call draws anew"),
        (lambda p: torch.rand(SHAPE) < p + 0.05, "about 34% of the values are zero"),
        (lambda p: torch.rand(SHAPE) < round(p, 1), "about 34% of the values are zero"),
        (exact_count, "how many are dropped varies from call to call"),
    ],
)
def test_each_way_of_not_being_random_has_its_finding(draw, finding):
    p = 0.34
    assert mask_findings(draw(p), p)[finding] is False
