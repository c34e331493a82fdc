"""The exercises: each reference beside an independent one, what `check` says to every kind of answer, and `predict`."""

import codecs
import copy
import inspect
import json
import math
import random
import re
import signal
import string
import sys
from collections import Counter
from contextlib import contextmanager
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
import scipy.sparse
import scipy.stats
import tokenizers
import torch
import torch.nn.functional as F
from mutation import mutants
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode
from transformers import LlamaConfig, TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper
from transformers.models.llama.modeling_llama import LlamaMLP

import tinyllm.course.clinic
import tinyllm.course.interpretability
from tinyllm import GPT, ModelConfig
from tinyllm import course as exercises
from tinyllm.course import check, hint, predict, progress, solution
from tinyllm.course.checking import checking, predictions
from tinyllm.course.checking.checking import CHAPTERS, EXERCISES, examine
from tinyllm.course.checking.comparing import difference
from tinyllm.course.exercises import ch01_tokenization as tokenization
from tinyllm.course.exercises import ch02_data as data
from tinyllm.course.exercises import ch03_attention as attention
from tinyllm.course.exercises import ch04_block as block
from tinyllm.course.exercises import ch05_gpt as gpt
from tinyllm.course.exercises import ch06_training as training
from tinyllm.course.exercises import ch07_sampling as sampling
from tinyllm.course.exercises import ch09_modern as modern
from tinyllm.course.exercises import ch10_inside as inside
from tinyllm.course.exercises import ch11_clinic as clinic
from tinyllm.course.exercises import ch12_scaling as scaling
from tinyllm.course.scaling_laws import fit_power_law
from tinyllm.estimation import flops_per_token
from tinyllm.text import tinywiki
from tinyllm.text.entropy import article_entropy

NAMES = sorted(EXERCISES)
SENTENCE_LIMIT = 200  # characters of a verdict's first line


@pytest.fixture(autouse=True)
def seeded():
    random.seed(0)
    torch.manual_seed(0)


# Each reference beside an independent one


def test_count_pairs_is_a_count_over_the_words_written_out():
    words = {tuple(random.choices("abc", k=random.randint(1, 6))): random.randint(1, 9) for _ in range(30)}
    text = [word for word, frequency in words.items() for _ in range(frequency)]
    expected = Counter(first + second for word in text for first, second in pairwise(word))
    assert {"".join(pair): count for pair, count in tokenization.count_pairs(words).items()} == expected


def test_merge_is_str_replace():
    for _ in range(200):
        text = "".join(random.choices("ab", k=random.randint(0, 12)))
        pair = "".join(random.choices("ab", k=2))
        expected = [ord(letter) for letter in text.replace(pair, "X")]
        assert tokenization.merge([ord(c) for c in text], (ord(pair[0]), ord(pair[1])), ord("X")) == expected


def test_encode_is_that_of_the_library_tokenizers():
    for _ in range(50):
        merges = [(left.decode(), right.decode()) for left, right in tokenization._merges(12)]
        vocabulary = ["a", "b", "c", *(left + right for left, right in merges)]
        model = tokenizers.models.BPE({token: place for place, token in enumerate(vocabulary)}, merges)
        word = "".join(random.choices("abc", k=12))
        expected = [token.value.encode() for token in model.tokenize(word)]
        assert tokenization.encode(word.encode(), [(a.encode(), b.encode()) for a, b in merges]) == expected


def test_decode_is_an_incremental_decoder(gpt2_tokenizer):
    tokens = gpt2_tokenizer.tokens
    ids = [*random.choices(range(256), k=200), *gpt2_tokenizer.encode("naïve € 語 🙂")]
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    expected = "".join(decoder.decode(tokens[token]) for token in ids) + decoder.decode(b"", final=True)
    assert tokenization.decode(ids, tokens) == expected
    assert expected.endswith("naïve € 語 🙂")


def test_next_token_pairs_are_windows():
    tokens = random.choices(range(50), k=40)
    inputs, targets = data.next_token_pairs(tokens, 7, 5)
    windows = np.lib.stride_tricks.sliding_window_view(tokens, 5)
    assert inputs == windows[7].tolist()
    assert targets == windows[8].tolist()


def test_split_articles_holds_out_a_seeded_share():
    articles = list(string.ascii_letters)
    train, held_out = data.split_articles(articles, 0.25, 3)
    assert len(held_out) == 13
    assert sorted(train + held_out) == sorted(articles)
    assert (train, held_out) == data.split_articles(articles, 0.25, 3) != data.split_articles(articles, 0.25, 4)
    assert len(data.split_articles(articles, 0.001, 0)[1]) == 1
    assert articles == list(string.ascii_letters)


def test_unigram_loss_is_a_categorical_distribution():
    train, test = torch.randint(9, (200,)), torch.randint(11, (50,))
    p = torch.distributions.Categorical(torch.bincount(train, minlength=11).double() + 1)
    expected = -p.log_prob(test).mean().item()
    assert data.unigram_loss(train.tolist(), test.tolist(), 11) == pytest.approx(expected, rel=1e-9)


def test_bigram_probabilities_are_a_normalised_sparse_count():
    ids = np.random.default_rng(0).integers(6, size=300)
    counts = scipy.sparse.coo_array((np.ones(299), (ids[:-1], ids[1:])), shape=(7, 7)).toarray() + 1
    expected = torch.tensor(counts / counts.sum(axis=1, keepdims=True), dtype=torch.float32)
    torch.testing.assert_close(data.bigram_probabilities(ids.tolist(), 7), expected)


@pytest.mark.parametrize("scale", [1, 1000])
def test_cross_entropy_is_torchs(scale):
    logits, targets = scale * torch.randn(20, 9), torch.randint(9, (20,))
    torch.testing.assert_close(data.cross_entropy(logits, targets), F.cross_entropy(logits, targets))


def test_floor_per_token_is_that_of_tinywiki():
    articles = tinywiki.articles("test")[:20]
    drawn = [[([math.exp(-span.nats)], 0) for span in article.spans if span.nats] for article in articles]
    expected = sum(article.nats for article in articles) / (20 * 100)
    assert data.floor_per_token([(draws, 100) for draws in drawn]) == pytest.approx(expected)
    assert data.floor_per_token([([([0.25] * 4, 2)] * 3, 2), ([([0.5, 0.5], 1)], 5)]) == pytest.approx(math.log(2))


def test_causal_average_is_attention_with_zero_queries():
    x = torch.randn(1, 7, 5)
    expected = F.scaled_dot_product_attention(torch.zeros_like(x), torch.randn_like(x), x, is_causal=True)
    torch.testing.assert_close(attention.causal_average(x[0]), expected[0])


def test_scores_mask_and_weights_together_are_torchs_attention():
    q, k, v = torch.randn(3, 2, 3, 6, 4)
    weights = attention.attention_weights(attention.scores(q, k), attention.causal_mask(6))
    torch.testing.assert_close(weights @ v, F.scaled_dot_product_attention(q, k, v, is_causal=True))


def test_causal_mask_is_where_torchs_mask_adds_nothing():
    assert torch.equal(attention.causal_mask(6), nn.Transformer.generate_square_subsequent_mask(6) == 0)


def test_heads_are_consecutive_parts_of_each_token():
    x = torch.randn(2, 5, 12)
    heads = attention.split_heads(x, 3)
    assert heads.shape == (2, 3, 5, 4)
    for head, part in enumerate(x.chunk(3, dim=-1)):
        assert torch.equal(heads[:, head], part)
    assert torch.equal(attention.merge_heads(heads), x)


def test_layer_norm_is_torchs():
    x, weight, bias = torch.randn(2, 5, 12), torch.randn(12), torch.randn(12)
    torch.testing.assert_close(block.layer_norm(x, weight, bias, 0.1), F.layer_norm(x, (12,), weight, bias, 0.1))
    torch.testing.assert_close(block.layer_norm(x, weight, bias), F.layer_norm(x, (12,), weight, bias))


def test_gelu_is_x_times_a_normal_distribution():
    x = torch.linspace(-6, 6, 200, dtype=torch.double)
    torch.testing.assert_close(block.gelu(x), x * torch.from_numpy(scipy.stats.norm.cdf(x)))


def test_dropout_drops_as_torchs_does():
    x = torch.ones(300, 300)
    y = block.dropout(x, 0.3, True)
    assert scipy.stats.binomtest(int((y == 0).sum()), x.numel(), 0.3).pvalue > 1e-4
    assert y.unique().tolist() == F.dropout(x, 0.3).unique().tolist()
    assert torch.equal(block.dropout(x, 0.3, False), x)
    assert torch.equal(block.dropout(x, 0.0, True), x)


def test_block_forward_is_torchs_encoder_layer():
    layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, activation="gelu", batch_first=True, norm_first=True)
    nn.init.normal_(layer.norm1.weight)
    x = torch.randn(2, 5, 8)
    y = block.block_forward(
        x,
        layer.norm1,
        lambda x: layer.self_attn(x, x, x)[0],
        layer.norm2,
        lambda x: layer.linear2(F.gelu(layer.linear1(x))),
    )
    torch.testing.assert_close(y, layer(x))


def test_rms_norm_is_torchs():
    x, weight = torch.randn(2, 5, 12), torch.randn(12)
    torch.testing.assert_close(modern.rms_norm(x, weight, 0.1), F.rms_norm(x, (12,), weight, 0.1))
    torch.testing.assert_close(modern.rms_norm(x, weight), F.rms_norm(x, (12,), weight, 1e-5))


def test_rotate_is_a_product_of_complex_numbers():
    x, frequencies = torch.randn(7, 8), torch.rand(4)
    turned = torch.complex(*x.chunk(2, dim=-1)) * torch.exp(1j * torch.arange(7)[:, None] * frequencies)
    torch.testing.assert_close(modern.rotate(x, frequencies), torch.cat([turned.real, turned.imag], dim=-1))


def test_swiglu_is_that_of_transformers_llama():
    layer = LlamaMLP(LlamaConfig(hidden_size=8, intermediate_size=20, num_attention_heads=2))
    x = torch.randn(2, 3, 8)
    weights = (part.weight.T for part in (layer.up_proj, layer.gate_proj, layer.down_proj))
    torch.testing.assert_close(modern.swiglu(x, *weights), layer(x))


def test_shared_heads_are_those_of_torchs_grouped_attention():
    q, k, v = torch.randn(2, 6, 5, 4), torch.randn(2, 2, 5, 4), torch.randn(2, 2, 5, 4)
    shared = F.scaled_dot_product_attention(q, modern.share_heads(k, 6), modern.share_heads(v, 6), is_causal=True)
    torch.testing.assert_close(shared, F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True))


@pytest.mark.parametrize("shape", [(4, 4), (3, 7), (7, 3)])
def test_newton_schulz_ends_at_the_svds_orthogonal_factor(shape):
    matrix = torch.randn(shape, dtype=torch.double)
    u, _, vh = torch.linalg.svd(matrix, full_matrices=False)
    torch.testing.assert_close(modern.newton_schulz(matrix, 60), u @ vh)


def test_stable_decay_is_warmup_constant_and_a_line():
    rates = [modern.stable_decay(iteration, 100, 10, 0.3, 2.0) for iteration in range(101)]
    assert rates == pytest.approx(np.interp(range(101), [0, 10, 70, 100], [2 / 11, 2, 2, 0]))


def test_a_head_switched_off_is_the_packages(tiny_config):
    model, ids, seen = GPT(tiny_config).eval(), torch.randint(tiny_config.vocab_size, (1, 7)), []
    projection = model.blocks[0].attention.projection
    projection.register_forward_hook(lambda _, given, output: seen.append(given[0]))
    model(ids)
    with tinyllm.course.interpretability.head_off(model, 0, 1):
        model(ids)
    torch.testing.assert_close(inside.switch_off(seen[0], 1, tiny_config.num_heads), seen[1])


def test_the_lens_is_the_packages(tiny_config):
    model, ids = GPT(tiny_config), torch.randint(tiny_config.vocab_size, (7,))
    torch.nn.init.normal_(model.final_norm.bias)
    norm, table = model.final_norm, model.token_embedding.weight
    streams, logits = (
        tinyllm.course.interpretability.residual_stream(model, ids),
        tinyllm.course.interpretability.logit_lens(model, ids),
    )
    for stream, expected in zip(streams, logits, strict=True):
        torch.testing.assert_close(inside.lens(stream, norm.weight, norm.bias, table), expected)


def test_patching_is_torch_where():
    stream, other = torch.randn(1, 6, 4), torch.randn(1, 6, 4)
    here = (torch.arange(6) == 2)[None, :, None]
    assert torch.equal(inside.patch(stream, other, 2), torch.where(here, other, stream))


def test_the_induction_score_is_a_diagonals_mean_and_the_packages():
    weights = torch.rand(10, 10).tril().softmax(-1)
    score = inside.induction_score(weights, 4)
    torch.testing.assert_close(score, weights.diagonal(-3)[1:].mean())
    ids = torch.arange(10) % 4  # each token once in a period: only one place to look at, in the first two periods
    twice = weights[:8, :8]
    torch.testing.assert_close(
        inside.induction_score(twice, 4),
        tinyllm.course.interpretability.induction_scores(twice[None, None], ids[:8])[0, 0],
    )


@pytest.mark.parametrize("name", ["inside.switch_off", "inside.patch"])
def test_an_answer_that_changes_its_input_is_told_so(name):
    def in_place(tensor, *more):
        result = EXERCISES[name].reference(tensor, *more)
        return tensor.copy_(result)

    assert "you change the tensor that was handed in" in examine(name, in_place).message


def test_embed_and_logits_are_the_models_ends(tiny_config):
    model = GPT(tiny_config)
    token_ids = torch.randint(tiny_config.vocab_size, (2, 7))
    seen = []
    model.blocks[0].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    model.blocks[-1].register_forward_hook(lambda _, inputs, output: seen.append(output))
    expected = model(token_ids)
    tables = model.token_embedding.weight, model.position_embedding.weight
    torch.testing.assert_close(gpt.embed(token_ids, *tables), seen[0])
    torch.testing.assert_close(gpt.logits(seen[1], model.final_norm, tables[0]), expected)


@pytest.mark.parametrize("sizes", [(97, 16, 24, 2, 48), (11, 3, 5, 1, 7), (50, 8, 6, 4, 24)])
def test_parameter_count_is_the_models(sizes):
    vocab_size, context_length, embedding_dim, num_layers, feedforward_dim = sizes
    config = ModelConfig(
        vocab_size=vocab_size, context_length=context_length, embedding_dim=embedding_dim, num_layers=num_layers,
        num_heads=1, feedforward_dim=feedforward_dim,
    )  # fmt: skip
    assert gpt.parameter_count(*sizes) == sum(parameter.numel() for parameter in GPT(config).parameters())


def test_init_std_is_the_spread_of_a_new_models_weights():
    config = ModelConfig(
        vocab_size=200, context_length=64, embedding_dim=96, num_layers=5, num_heads=2, feedforward_dim=96
    )
    matrices = {name: p for name, p in GPT(config).named_parameters() if p.dim() == 2}
    assert len(matrices) == 22
    for name, parameter in matrices.items():
        assert gpt.init_std(name, 5) == pytest.approx(parameter.std().item(), rel=0.05)


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


def test_accumulate_leaves_the_gradient_of_the_whole_batch():
    model = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 2))
    whole = copy.deepcopy(model)
    x, y = torch.randn(12, 4), torch.randn(12, 2)
    ((whole(x) - y) ** 2).mean().backward()
    training.accumulate(model, list(zip(x.split(3), y.split(3), strict=True)))
    for ours, theirs in zip(model.parameters(), whole.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad)


def test_parameter_groups_decay_weights_but_those_of_norms(tiny_config):
    model = GPT(tiny_config)
    model.head = nn.Linear(tiny_config.embedding_dim, tiny_config.vocab_size, bias=False)
    model.head.weight = model.token_embedding.weight
    decay, none = (group["params"] for group in training.parameter_groups(model, 0.3))
    names = {parameter: name for name, parameter in model.named_parameters()}
    wanted = {name for name in names.values() if name.endswith("weight") and "norm" not in name}
    assert {names[parameter] for parameter in decay} == wanted
    assert len(decay) + len(none) == len(names)
    torch.optim.AdamW(training.parameter_groups(model, 0.3))  # refuses a parameter that stands twice


def test_temperature_top_k_and_top_p_are_transformers():
    logits = 2 * torch.randn(1, 40)
    expected = TemperatureLogitsWarper(0.7)(None, logits.clone()).softmax(-1)
    torch.testing.assert_close(sampling.temperature(logits[0], 0.7), expected[0])
    assert torch.equal(sampling.top_k(logits[0], 9), TopKLogitsWarper(9)(None, logits)[0])
    for p in (0.1, 0.5, 0.9):
        assert torch.equal(sampling.top_p(logits[0], p), TopPLogitsWarper(p)(None, logits)[0])
    assert sampling.temperature(torch.tensor([1.0, 3.0, 2.0]), 0).tolist() == [0, 1, 0]


def test_cached_steps_are_attention_over_the_whole_text():
    token_table, position_table, (w_q, w_k, w_v) = torch.randn(9, 4), torch.randn(8, 4), torch.randn(3, 4, 4)
    ids = [3, 1, 4, 1, 5]
    keys = values = torch.empty(0, 4)
    outputs = []
    for token_id in ids:
        output, keys, values = sampling.cached_step(token_id, keys, values, token_table, position_table, w_q, w_k, w_v)
        outputs.append(output)
    x = (F.embedding(torch.tensor(ids), token_table) + position_table[:5])[None]
    expected = F.scaled_dot_product_attention(x @ w_q, x @ w_k, x @ w_v, is_causal=True)
    torch.testing.assert_close(torch.stack(outputs), expected[0])
    torch.testing.assert_close(keys, (x @ w_k)[0])


def test_generate_follows_the_likeliest_token():
    def next_is_one_more(ids: list[int]) -> Tensor:
        return torch.eye(10).roll(1, dims=1)[ids]

    assert sampling.generate(next_is_one_more, [4, 7], 5) == [4, 7, 8, 9, 0, 1, 2]


# What `check` says


def test_every_patient_of_the_clinic_is_named():
    wards = (clinic.too_good, clinic.hardly_learns, clinic.looks_healthy, clinic.odd_numbers)
    named = [
        ward(patient) for ward, first in zip(wards, (1, 4, 7, 10), strict=True) for patient in range(first, first + 3)
    ]
    assert named == list(tinyllm.course.clinic.BUGS) == list(clinic.SUSPECTS)


def test_a_wrong_name_is_answered_with_what_it_would_show_and_not_with_the_right_one():
    verdict = examine("clinic.too_good", lambda patient: "no zero_grad")
    assert verdict.message.startswith(
        f"clinic.too_good: patient 1 has no 'no zero_grad': {clinic.SUSPECTS['no zero_grad']}"
    )
    assert "leaky mask" not in verdict.message


def test_one_step_is_a_step_of_sgd():
    weights, batches = clinic._step_case()
    expected = torch.tensor(weights, requires_grad=True)
    for x, targets in batches:
        (gradient,) = torch.autograd.grad(F.cross_entropy(x @ expected.T, targets), expected)
        expected = (expected - 0.1 * gradient).detach().requires_grad_()
    torch.testing.assert_close(clinic._weights_after(clinic.one_step, weights, batches), expected.detach())


def test_mean_loss_is_that_of_all_tokens_together():
    (losses,) = clinic._losses_case()
    assert clinic.mean_loss(losses) == pytest.approx(np.mean(np.concatenate(losses)))


def test_training_flops_are_those_of_the_estimate_and_of_torch():
    shape = {"num_layers": 3, "embedding_dim": 24, "feedforward_dim": 72, "context_length": 10, "vocab_size": 50}
    by_hand = scaling.training_flops(*shape.values())
    assert by_hand == flops_per_token(ModelConfig(**shape, num_heads=2))
    model = GPT(ModelConfig(**shape, num_heads=2, dropout=0.0))
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        model(torch.zeros(2, 10, dtype=torch.long)).sum().backward()
    assert counter.get_total_flops() == 20 * by_hand


def test_intensity_is_what_torch_counts_over_what_the_tensors_hold():
    for dtype in (torch.float32, torch.float64):
        a, b = torch.ones(3, 50, dtype=dtype), torch.ones(50, 7, dtype=dtype)
        with FlopCounterMode(display=False) as counter:
            product = a @ b
        expected = counter.get_total_flops() / sum(tensor.nbytes for tensor in (a, b, product))
        assert scaling.intensity(3, 50, 7, dtype.itemsize) == pytest.approx(expected)
    assert scaling.intensity(3, 50, 7) == scaling.intensity(3, 50, 7, 4)


def test_a_line_through_losses_is_scipys_and_the_packages():
    sizes, losses, floor = scaling._runs(6, 0.1)
    line = scipy.stats.linregress(np.log(sizes), np.log(np.array(losses) - floor))
    scale, exponent = scaling.fit_line(sizes, losses, floor)
    assert (scale, exponent) == pytest.approx((math.exp(line.intercept), -line.slope))
    law = fit_power_law(sizes, losses, floor)
    assert (law.scale, law.exponent) == pytest.approx((scale, exponent))


def test_noise_scale_is_that_of_gradients_whose_noise_is_known():
    """Examples with gradients of unit noise in each of 50 directions, around a true gradient of squared length 5."""
    truth = math.sqrt(0.1) * torch.ones(50)
    batches = truth + torch.randn(4000, 64, 50)
    small, large = (batches[:, :size].mean(1).square().sum(1).mean().item() for size in (4, 64))
    assert scaling.noise_scale(small, large, 4, 64) == pytest.approx(50 / 5, rel=0.02)


def test_compute_optimal_spends_all_in_the_ratio_asked_for():
    """Chinchilla itself: 70 billion parameters and 1.4 trillion tokens."""
    assert scaling.compute_optimal(6 * 70e9 * 1.4e12) == pytest.approx((70e9, 1.4e12))
    parameters, tokens = scaling.compute_optimal(1e15, 7)
    assert (6 * parameters * tokens, tokens / parameters) == pytest.approx((1e15, 7))


def test_each_chapter_has_its_exercises():
    numbers = Counter(name.partition(".")[0] for name in EXERCISES)
    assert [numbers[chapter] for chapter in CHAPTERS] == [4, 6, 6, 4, 4, 5, 5, 6, 4, 6, 5]
    assert exercises.__all__ == ["check", "hint", "predict", "progress", "solution"]


@pytest.mark.parametrize("name", NAMES)
def test_the_reference_is_correct_each_time(name):
    for _ in range(5):
        verdict = examine(name, EXERCISES[name].reference)
        assert verdict.kind == "correct", verdict.message
    number = len(EXERCISES[name].cases())
    assert number >= 3
    assert verdict.message == f"{name}: correct, on {number} cases drawn just now."


def stub(*arguments):
    raise NotImplementedError


@pytest.mark.parametrize("name", NAMES)
def test_an_untouched_stub_is_not_attempted(name, capsys):
    assert check(name, stub) is None
    expected = f"{name}: not attempted yet. Replace `raise NotImplementedError` with your answer.\n"
    assert capsys.readouterr().out == expected


NONSENSE = {
    "None": lambda *arguments: None,
    "a string": lambda *arguments: "forty-two",
    "a float": lambda *arguments: -1.5,
    "NaN": lambda *arguments: math.nan,
    "a tensor of NaN": lambda *arguments: torch.full((2, 2), torch.nan),
    "a tensor of nothing": lambda *arguments: torch.empty(0),
    "a tensor that cannot be compared": lambda *arguments: torch.empty(2, 2, device="meta"),
    "an empty list": lambda *arguments: [],
    "a list of itself": lambda *arguments: endless,
    "a tuple of None": lambda *arguments: (None, None),
    "a function": lambda *arguments: print,
    "a type": lambda *arguments: list,
    "no arguments": lambda: 1,
    "the program's end": lambda *arguments: exit(),
    "endless recursion": lambda *arguments: NONSENSE["endless recursion"](*arguments),
}
endless = []
endless.append(endless)


@pytest.mark.parametrize("name", NAMES)
def test_no_nonsense_is_correct_or_raises(name, capsys):
    for belief, answer in NONSENSE.items():
        if belief == "None" and name == "training.accumulate":
            continue  # that is what it returns
        verdict = examine(name, answer)
        assert verdict.kind in ("wrong", "raised", "unusable"), belief
        sentence = verdict.message.partition("\n")[0]
        assert sentence.startswith(f"{name}: ")
        assert len(sentence) < SENTENCE_LIMIT + len(name), sentence
        assert len(verdict.message) < 3000, belief


@pytest.mark.parametrize("answer", [None, 3, "causal_mask", torch.ones(3, 3)], ids=repr)
def test_what_is_no_function_gets_one_sentence(answer, capsys):
    check("attention.causal_mask", answer)
    printed = capsys.readouterr().out
    assert printed.startswith("attention.causal_mask: give the function itself, causal_mask, not ")
    assert printed.count("\n") == 1


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (lambda length: None, "your result is None; a tensor of shape (1, 1) is wanted. Is a `return` missing?"),
        (lambda length: "mask", "your result is a str; a tensor of shape (1, 1) is wanted."),
        (lambda length: torch.ones(length, length + 1).bool(), "your result has shape (1, 2); (1, 1) is wanted."),
        (
            lambda length: torch.ones(length, length).tril(),
            "your result holds floating-point numbers; truth values (bool) are wanted.",
        ),
        (lambda length: torch.ones(length).int() / 0 * 0 + torch.zeros(1, 1), "your result holds floating-point"),
    ],
)
def test_an_unusable_result_is_named_in_one_sentence(answer, sentence):
    verdict = examine("attention.causal_mask", answer)
    assert verdict.kind == "unusable"
    assert verdict.message.startswith(f"attention.causal_mask: {sentence}")
    assert "length = 1" in verdict.message


def test_nan_is_named_with_its_place():
    verdict = examine("block.gelu", lambda x: torch.cat([x[:-1], x[-1:] * torch.nan]))
    assert verdict.message.startswith("block.gelu: your result[2] is NaN (not a number).")
    assert examine("gpt.init_std", lambda name, num_layers: math.nan).message.startswith(
        "gpt.init_std: your result is NaN"
    )


def test_a_wrong_answer_gets_the_first_failing_case():
    verdict = examine("attention.causal_mask", lambda length: torch.ones(length, length).triu().bool())
    assert verdict.kind == "wrong"
    assert verdict.message.splitlines() == [
        "attention.causal_mask: not right yet. It is upside down: row t looks at itself and at what comes later. "
        "The lower triangle is wanted, tril.",
        "Case 2 of 5:",
        "  length = 2",
        "  expected: tensor (2, 2) [[True, False], [True, True]]",
        "  got: tensor (2, 2) [[True, True], [False, True]]",
        "  first difference: result[0, 1]",
    ]


def test_an_answer_that_raises_gets_its_own_error_and_line():
    def own_step(x):
        return x @ x  # the shapes do not fit

    def answer(x):
        return own_step(x)

    verdict = examine("attention.merge_heads", answer)
    assert verdict.kind == "raised"
    first, second = verdict.message.splitlines()[:2]
    assert first.startswith("attention.merge_heads: your code raised RuntimeError: Expected size")
    assert second == f"  in line {inspect.getsourcelines(own_step)[1] + 1}: return x @ x  # the shapes do not fit"


def test_a_long_error_is_shortened():
    def answer(length):
        raise ValueError("much too long " * 1000)

    assert len(examine("attention.causal_mask", answer).message) < 500


def test_torchs_own_not_implemented_is_an_attempt():
    verdict = examine("attention.attention_weights", lambda scores, mask: mask.softmax(dim=-1))
    assert verdict.kind == "raised"
    assert "NotImplementedError" in verdict.message


def test_an_answer_that_stops_at_a_later_case_is_an_attempt():
    def answer(length):
        if length > 1:
            raise NotImplementedError
        return torch.ones(1, 1).bool()

    assert examine("attention.causal_mask", answer).kind == "raised"


def test_an_answer_may_change_its_arguments():
    def answer(x, num_heads):
        B, T, _ = x.shape
        result = x.clone().view(B, T, num_heads, -1).transpose(1, 2)
        x.zero_()
        return result

    assert examine("attention.split_heads", answer).kind == "correct"
    assert examine("tokenization.decode", lambda ids, tokens: tokens.clear()).kind == "unusable"
    assert examine("tokenization.decode", tokenization.decode).kind == "correct"  # no case was touched


def test_cases_are_new_each_time_and_leave_the_random_state_alone():
    seen = []

    def answer(x):
        seen.append(x)
        torch.manual_seed(1)
        random.seed(1)
        np.random.seed(1)
        return attention.causal_average(x)

    before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()
    assert examine("attention.causal_average", answer).kind == "correct"
    assert examine("attention.causal_average", answer).kind == "correct"
    assert torch.equal(before[0], torch.get_rng_state())
    assert before[1:] == (random.getstate(), np.random.get_state()[1].tolist())
    assert not torch.equal(seen[0], seen[len(seen) // 2])


@pytest.mark.parametrize("name", ["attention.casual_mask", "atention.causal_mask", "causal_mask"])
def test_an_unknown_name_is_an_error_with_near_names(name):
    with pytest.raises(ValueError, match=r"did you mean .*attention\.causal_mask"):
        check(name, stub)


@pytest.fixture
def nothing_imported(monkeypatch):
    monkeypatch.setattr(checking, "EXERCISES", {})
    for chapter in CHAPTERS:
        monkeypatch.setattr(exercises, chapter, getattr(exercises, chapter))  # put back afterwards
        monkeypatch.delitem(sys.modules, f"tinyllm.course.{chapter}")


def test_only_the_chapter_that_is_asked_for_is_imported(nothing_imported):
    assert examine("attention.causal_mask", stub).kind == "not attempted"
    assert {name.partition(".")[0] for name in checking.EXERCISES} == {"attention"}


def test_an_unknown_chapter_is_compared_with_all(nothing_imported):
    with pytest.raises(ValueError, match=r"did you mean attention\.causal_mask"):
        check("atention.causal_mask", stub)


def test_any_other_name_is_an_error_too():
    with pytest.raises(ValueError, match="unknown exercise"):
        check(stub, "attention.causal_mask")


def test_numbers_may_differ_by_rounding_and_other_values_may_not():
    assert difference(1e-4, 1.00001e-4) is None
    assert difference(1e-4, 1.01e-4) == "result"
    assert difference(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 2.00001], dtype=torch.double)) is None
    assert difference(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 2.001])) == "result[1]"
    assert difference(torch.tensor([-torch.inf, 0]), torch.tensor([-torch.inf, 0])) is None
    assert difference(torch.tensor([-torch.inf, 0]), torch.tensor([-1e9, 0])) == "result[0]"
    assert difference(5, np.int64(5)) is None
    assert difference({"a": [1, (b"x", "y")]}, {"a": [1, (b"x", "z")]}) == "result['a'][1][1]"
    assert difference([[1, 2]], [[1]]) == "the length of result[0]"
    assert difference({"a": 1}, {"b": 1}) == "result"
    for expected, got in [(1, True), (1.0, True), (1, 1.0), ("a", b"a"), ([1], (1,)), (True, 1)]:
        with pytest.raises(checking.Unusable):
            difference(expected, got)


# Known mistakes, and mutants

KNOWN = [(name, function) for name in NAMES for function, _ in EXERCISES[name].mistakes]
# Mutants that no test can tell from the reference, or that are right too: {(exercise, change): why}.
EQUIVALENT: dict[tuple[str, str], str] = {
    ("data.split_articles", "line 3: articles.copy() -> articles"): "shuffling the learner's own copy harms nobody",
    ("attention.scores", "line 3: -2 -> 2"): "the same of four dimensions",
    ("block.dropout", "line 8: torch.rand_like(x) >= p -> torch.rand_like(x) > p"): "a draw never is exactly p",
    ("training.learning_rate", "line 6: iteration < warmup -> iteration <= warmup"): "both lines meet at the peak",
    ("sampling.temperature", "line 5: 0 -> -1"): "the only dimension",
    ("sampling.top_p", "line 4: 0 -> -1"): "the only dimension",
    ("sampling.top_p", "line 5: 0 -> -1"): "the only dimension",
    ("sampling.top_p", "line 6: before < p -> before <= p"): "a sum never is exactly p",
    ("sampling.cached_step", "line 18: 0 -> -1"): "the only dimension",
    ("modern.rotate", "line 7: -1 -> 1"): "the last of two dimensions",
    ("inside.lens", "line 3: -1 -> 1"): "the last of two dimensions",
    ("modern.stable_decay", "line 7: iteration < warmup -> iteration <= warmup"): "the line ends where the rest begins",
}


@pytest.mark.parametrize(("name", "function"), KNOWN, ids=lambda value: getattr(value, "__name__", value))
def test_a_known_mistake_gets_its_own_diagnosis(name, function):
    diagnosis = dict(EXERCISES[name].mistakes)[function]
    for _ in range(5):
        verdict = examine(name, function)
        assert verdict.kind in ("wrong", "unusable", "raised"), verdict.message
        assert verdict.diagnosis == diagnosis
        assert diagnosis in verdict.message
        assert len(verdict.message) < 3000


@pytest.mark.parametrize("name", NAMES)
def test_each_exercise_knows_mistakes_and_has_help(name):
    exercise = EXERCISES[name]
    assert len(exercise.mistakes) >= 2
    diagnoses = [diagnosis for _, diagnosis in exercise.mistakes]
    assert len(set(diagnoses)) == len(diagnoses)
    for text in (exercise.hint, exercise.why, *diagnoses):
        assert 20 < len(text) < 300
        assert text.endswith((".", "?"))
        assert not re.search(r"\b(simply|obviously|just)\b", text)


class Endless(BaseException):
    """Not an Exception: the grader would take that for the answer's own."""


@contextmanager
def time_limit(seconds: float):
    """An answer that never ends is stopped: a mutant's loop may have lost its way out.

    Again and again, as an exception raised while memory is collected, in someone's callback, goes nowhere.
    """

    def stop(*_):
        raise Endless

    before = signal.signal(signal.SIGALRM, stop)
    outer = signal.setitimer(signal.ITIMER_REAL, seconds, 0.1)  # pytest's own limit
    try:
        yield
    finally:
        signal.signal(signal.SIGALRM, before)
        signal.setitimer(signal.ITIMER_REAL, *outer)


def survives(name: str, mutant) -> bool:
    """Whether the grader takes a mutant for right, five times in a row."""
    for _ in range(5):
        try:
            with time_limit(2):
                if examine(name, mutant).kind != "correct":
                    return False
        except Endless:
            return False
    return True


@pytest.mark.parametrize("name", NAMES)
def test_mutants_of_the_reference_are_found(name):
    changes = dict(mutants(EXERCISES[name].reference))
    assert changes
    left = {(name, change) for change, mutant in changes.items() if survives(name, mutant)}
    assert left == {key for key in EQUIVALENT if key[0] == name}


def test_at_least_nine_in_ten_mutants_are_found():
    number = sum(1 for name in NAMES for _ in mutants(EXERCISES[name].reference))
    assert len(EQUIVALENT) <= number / 10


# Hints, solutions, progress


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("TINYLLM_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def test_a_solution_is_shown_after_one_attempt(home, capsys):
    solution("attention.causal_mask")
    assert "try it once" in capsys.readouterr().out
    check("attention.causal_mask", stub)
    solution("attention.causal_mask")
    assert "try it once" in capsys.readouterr().out  # a stub is no attempt
    check("attention.causal_mask", lambda length: None)
    capsys.readouterr()
    solution("attention.causal_mask")
    assert ".tril()" in capsys.readouterr().out


@pytest.mark.parametrize("name", NAMES)
def test_a_solution_is_code_that_solves_it_and_says_why(name, home, capsys):
    solution(name, now=True)
    code, _, why = capsys.readouterr().out.rpartition("\n\nWhy: ")
    assert why.strip() == EXERCISES[name].why
    assert "@" not in code.split("\n")[0]
    names = dict(vars(sys.modules[EXERCISES[name].reference.__module__]))
    exec(code, names)
    assert examine(name, names[name.partition(".")[2]]).kind == "correct"


def test_a_hint_is_one_thing_to_think_of(capsys):
    hint("gpt.embed")
    assert capsys.readouterr().out == f"gpt.embed: {EXERCISES['gpt.embed'].hint}\n"
    for ask in (hint, solution):
        with pytest.raises(ValueError, match=r"did you mean gpt\.embed"):
            ask("gpt.embde")


def test_progress_survives_and_a_solved_exercise_stays_solved(home):
    reference = EXERCISES["gpt.embed"].reference
    for answer in (stub, lambda *_: None, reference, lambda *_: None):
        check("gpt.embed", answer)
    check("gpt.logits", lambda *_: None)
    known = json.loads((home / "exercises.json").read_text())  # what a new kernel reads
    assert known["gpt.embed"] == {"attempts": 3, "solved": True, "last": "unusable", "diagnosis": ""}
    assert not known["gpt.logits"]["solved"]
    picture = progress()
    assert picture.alt.startswith(f"1 of {len(EXERCISES)} exercises solved: tokenization 0 of 4,")
    assert "gpt 1 of 4" in picture.alt
    marks = [text.get_text() for text in picture.axes[0].texts]
    assert len(marks) == len(EXERCISES)
    assert [text for text in marks if text.endswith("✓")] == ["embed ✓"]
    assert [text for text in marks if text.endswith("…")] == ["logits …"]


@pytest.mark.parametrize("content", ["", "{", "[]", "\xff"])
def test_a_lost_record_stops_nothing(home, content, capsys):
    home.mkdir()
    (home / "exercises.json").write_bytes(content.encode("latin-1"))
    check("gpt.embed", EXERCISES["gpt.embed"].reference)
    assert "correct" in capsys.readouterr().out
    assert json.loads((home / "exercises.json").read_text())["gpt.embed"]["solved"]


def test_a_home_that_cannot_be_written_stops_nothing(home, capsys):
    home.write_text("a file where the folder should be")
    check("gpt.embed", EXERCISES["gpt.embed"].reference)
    assert "correct" in capsys.readouterr().out
    assert progress().alt.startswith(f"0 of {len(EXERCISES)} ")


# Predictions


@pytest.fixture(scope="module")
def prepared():
    return predictions._prepared()


def test_no_prediction_yet_prints_the_question_and_measures_nothing(capsys, monkeypatch):
    monkeypatch.setattr(predictions, "_prepared", None)
    assert len(predictions.PREDICTIONS) == 15
    for name, asked in predictions.PREDICTIONS.items():
        assert predict(name, None) is None
        first, second = capsys.readouterr().out.splitlines()
        assert first == f"{name}: no prediction yet. Put your number in place of None."
        assert second == f"{asked.question} ({asked.unit})"
        assert asked.question.endswith("?")


@pytest.mark.parametrize("guess", ["6.9", [1], math.nan, math.inf, 10**400, True, 1j, torch.ones(2), print], ids=repr)
def test_a_guess_that_is_no_number_gets_one_line(guess, capsys):
    predict("05.first_loss", guess)
    printed = capsys.readouterr().out
    assert printed.startswith("05.first_loss: a prediction is one number, such as 3 or 0.5, not ")
    assert printed.count("\n") == 1
    assert len(printed) < 150


def test_a_guess_is_compared_with_what_is_measured(capsys):
    predict("02.uniform_loss", 7)
    predict("04.feedforward_share", 0.5)
    predict("04.feedforward_share", np.float64(2))
    assert capsys.readouterr().out.splitlines() == [
        "02.uniform_loss: you said 7, and 6.931 was measured here (nats per token). "
        "Your guess is too high by 0.06853, or 0.989%.",
        "04.feedforward_share: you said 0.5, and 2 was measured here (times as many weights). "
        "Your guess is too low by 1.5, or 75%.",
        "04.feedforward_share: you said 2, and 2 was measured here (times as many weights). Exactly so.",
    ]


def test_measuring_leaves_the_random_state_alone():
    before = torch.get_rng_state()
    predict("05.first_loss", 1)
    assert torch.equal(before, torch.get_rng_state())


def test_an_unknown_prediction_is_an_error_with_near_names():
    with pytest.raises(ValueError, match=r"did you mean 05\.first_loss"):
        predict("5.first_loss", 7)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("02.uniform_loss", 10 * math.log(2)),
        ("03.zero_queries", 1 / 4),
        ("04.feedforward_share", 2),
        ("06.loss_times_1000", 1),
        ("07.commonest_town", 1 / sum(1 / rank**2 for rank in range(1, 17))),
        ("09.cache_factor", 4),
        ("10.perfect_copy", math.log(64) / 4),
        ("12.attention_share", 100 * 2 * 8 * 512 / (14 * 8 * 512 + 50_257)),
    ],
)
def test_what_has_a_closed_form_is_measured_so(name, expected):
    assert predictions.PREDICTIONS[name].measure() == pytest.approx(expected, rel=1e-4)


def test_the_first_loss_is_near_that_of_the_uniform_guess():
    assert predictions.first_loss() == pytest.approx(math.log(1024), rel=0.02)


def test_few_directions_hold_most_of_a_gradient():
    assert 1 <= predictions.strongest_directions() <= 24


def test_tokens_pass_a_matrix_faster_together():
    assert predictions.batched_speed() > 1


def test_the_bigram_loss_is_counted_on_training_and_scored_on_test_articles(prepared):
    tokenizer, stream = prepared.tokenizer, prepared.splits["train"].tokens.tolist()
    pairs, firsts = Counter(pairwise(stream)), Counter(stream[:-1])
    text = "<|endoftext|>".join(["", *(article.text for article in tinywiki.articles("test")), ""])
    ids = tokenizer.encode(text, allowed_special=["<|endoftext|>"])
    nats = [-math.log((pairs[pair] + 1) / (firsts[pair[0]] + 1024)) for pair in pairwise(ids)]
    assert predictions.bigram_loss() == pytest.approx(sum(nats) / len(nats), rel=1e-9)


def test_the_floor_is_the_articles_entropy_over_their_tokens(prepared):
    official = prepared.splits["test"].tokens
    assert predictions.floor() == pytest.approx(article_entropy() * 200 / len(official), rel=0.03)


def test_the_surname_that_is_asked_for_is_the_first_articles(prepared):
    title = tinywiki.articles("train")[0].text.split("=")[1]
    surname = title.split()[1]
    assert surname in predictions.PREDICTIONS["01.surname_tokens"].question
    ids = prepared.tokenizer.encode(title)
    pieces = [prepared.tokenizer.decode([token]) for token in ids]
    number = int(predictions.surname_tokens())
    assert "".join(pieces[-1 - number : -1]) == f" {surname}"


def test_the_hours_are_those_of_the_estimate(monkeypatch):
    monkeypatch.setattr(
        predictions, "estimate", lambda config: SimpleNamespace(seconds=7200 * config.training.batch_size)
    )
    assert predictions.hours() == 16
