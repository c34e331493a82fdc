"""Random masks pass whatever is drawn; those that only look so do not."""

import pytest
import torch

from tinyllm.course.checking.random_masks import mask_findings

SHAPE = (40, 20, 50)


@pytest.mark.parametrize("p", [0.07, 0.31, 0.5, 0.93])
def test_independent_draws_pass_each_time(p):
    for _ in range(25):
        findings = mask_findings(torch.rand(SHAPE) < p, p)
        assert all(findings.values()), findings


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
