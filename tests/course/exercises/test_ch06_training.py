"""Each reference of notebook 06 beside an independent one."""

import copy

import pytest
import torch
from torch import nn

from tinyllm import GPT
from tinyllm.course.checking.judging import examine
from tinyllm.course.exercises import ch06_training as training
from tinyllm.training.gradient_step import train_step


@pytest.mark.parametrize("warmup", [1, 7])
def test_learning_rate_is_that_of_torchs_schedulers(warmup):
    n, most, least = 50, 0.3, 0.02
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=most)
    up = torch.optim.lr_scheduler.LinearLR(optimizer, start_factor=1 / (warmup + 1), total_iters=warmup)
    down = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=n - warmup, eta_min=least)
    schedule = torch.optim.lr_scheduler.SequentialLR(optimizer, [up, down], milestones=[warmup])
    for iteration in range(n + 1):
        expected = optimizer.param_groups[0]["lr"]
        assert training.learning_rate(iteration, n, warmup, most, least) == pytest.approx(expected, rel=1e-9)
        optimizer.step()
        schedule.step()


def test_adamw_step_is_torchs():
    parameter = torch.randn(4, 3)
    theirs = nn.Parameter(parameter.clone())
    optimizer = torch.optim.AdamW([theirs], lr=0.01, betas=(0.9, 0.95), eps=0.01, weight_decay=0.1)
    m = v = torch.zeros(4, 3)
    for step in range(1, 6):
        theirs.grad = torch.randn(4, 3)
        parameter, m, v = training.adamw_step(parameter, theirs.grad, m, v, step, 0.01, 0.9, 0.95, 0.01, 0.1)
        optimizer.step()
        torch.testing.assert_close(parameter, theirs.data)


@pytest.mark.parametrize("max_norm", [0.5, 100.0])
def test_clip_is_torchs(max_norm):
    parameters = [nn.Parameter(torch.zeros(3)), nn.Parameter(torch.zeros(2, 5))]
    gradients = [torch.randn_like(parameter) for parameter in parameters]
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = gradient.clone()
    torch.nn.utils.clip_grad_norm_(parameters, max_norm)
    torch.testing.assert_close(training.clip(gradients, max_norm), [parameter.grad for parameter in parameters])


def test_accumulate_leaves_the_gradient_of_the_whole_batch_and_returns_its_loss():
    model = training.Regression(4, 2)
    whole = copy.deepcopy(model)
    x, y = torch.randn(12, 4), torch.randn(12, 2)
    loss = ((whole.linear(x) - y) ** 2).mean()
    loss.backward()
    assert training.accumulate(model, list(zip(x.split(3), y.split(3), strict=True))) == pytest.approx(loss.item())
    for ours, theirs in zip(model.parameters(), whole.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad)


def test_the_mended_loop_takes_the_packages_steps(tiny_config):
    model = GPT(tiny_config)
    twin = copy.deepcopy(model)
    mine, theirs = (torch.optim.AdamW(training.parameter_groups(each, 0.1), lr=1.0) for each in (model, twin))
    batches = [tuple(torch.randint(tiny_config.vocab_size, (2, 2, 7))) for _ in range(5)]
    rates = [0.01, 0.03, 0.02, 0.01, 0.005]
    losses = training.mend_loop(model, mine, batches, rates, 0.3)
    for batch, rate, loss in zip(batches, rates, losses, strict=True):
        for group in theirs.param_groups:
            group["lr"] = rate
        expected, _ = train_step(twin, [batch], theirs, torch.amp.GradScaler(enabled=False), 0.3)
        assert loss == pytest.approx(expected.item())
    for one, other in zip(model.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("count", [4, 16])
def test_noise_left_is_what_a_mean_of_random_vectors_has(count):
    ones = torch.randn(100 * count, 50)
    measured = ones.unflatten(0, (100, count)).mean(dim=1).std() / ones.std()
    assert training.noise_left(count) == pytest.approx(measured.item(), rel=0.05)


def test_parameter_groups_decay_weights_but_those_of_norms(tiny_config):
    model = GPT(tiny_config)
    model.output = nn.Linear(tiny_config.embedding_dim, tiny_config.vocab_size, bias=False)
    model.output.weight = model.token_embedding.weight
    decay, none = (group["params"] for group in training.parameter_groups(model, 0.3))
    names = {parameter: name for name, parameter in model.named_parameters()}
    wanted = {name for name in names.values() if name.endswith("weight") and "norm" not in name}
    assert {names[parameter] for parameter in decay} == wanted
    assert len(decay) + len(none) == len(names)
    torch.optim.AdamW(training.parameter_groups(model, 0.3))  # refuses a parameter that appears twice


def test_clipping_with_torchs_epsilon_is_right():
    def clip(gradients, max_norm):
        copies = [nn.Parameter(gradient) for gradient in gradients]
        for copy_, gradient in zip(copies, gradients, strict=True):
            copy_.grad = gradient.clone()
        nn.utils.clip_grad_norm_(copies, max_norm)
        return [copy_.grad for copy_ in copies]

    for _ in range(5):
        verdict = examine("training.clip", clip)
        assert verdict.kind == "correct", verdict.message
