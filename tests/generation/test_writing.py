"""Writing, against arg-max loops without a cache and distributions written out."""

import dataclasses
import inspect
from collections import Counter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare
from torch import Tensor

from tinyllm import (
    GPT,
    CharacterTokenizer,
    GenerationConfig,
    ModelConfig,
    SubWordTokenizer,
    generate,
    generate_text,
    generate_texts,
    stream_text,
)
from tinyllm.generation.writing import cut_at


def make_model(vocab_size: int, context_length: int = 16, seed: int = 0) -> GPT:
    """A model whose likeliest token changes from one position to the next."""
    torch.manual_seed(seed)
    model = GPT(
        ModelConfig(vocab_size, context_length, embedding_dim=24, num_layers=2, num_heads=3, feedforward_dim=48)
    )
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.3 * torch.randn_like(parameter)
    return model


@pytest.fixture
def model() -> GPT:
    return make_model(97)


@pytest.fixture(scope="module")
def characters() -> CharacterTokenizer:
    return CharacterTokenizer("abcdefghij ")


@pytest.fixture(scope="module")
def bytes_only() -> SubWordTokenizer:
    """Each token is one byte, so most draws are part of a character only."""
    return SubWordTokenizer.train("a", 257)


@torch.no_grad()
def slow_greedy(model: GPT, ids: list[int], count: int) -> list[int]:
    """The likeliest token again and again, without a cache.

    The documented window: the prompt's last context_length tokens, then each new one; when it would no longer fit, the
    last half of the context is kept.
    """
    length = model.config.context_length
    window, drawn = ids[-length:], []
    model.eval()
    for _ in range(count):
        if len(window) > length:
            window = window[-(length // 2 or 1) :]
        drawn.append(model(torch.tensor([window]))[0, -1].argmax().item())
        window = [*window, drawn[-1]]
    return drawn


def greedy(**options) -> GenerationConfig:
    return GenerationConfig(temperature=0, **options)


def rows(model: GPT, ids: Tensor, config: GenerationConfig) -> list[list[int]]:
    steps = list(generate(model, ids, config))
    return torch.stack(steps, dim=1).tolist() if steps else [[] for _ in ids]


# --- Which token ---


@pytest.mark.parametrize(("prompt", "count"), [(1, 15), (5, 11), (5, 40), (16, 20), (15, 2), (40, 25), (17, 1)])
def test_temperature_zero_is_the_arg_max_loop_also_past_the_context(model, prompt, count):
    ids = torch.randint(97, (1, prompt), generator=torch.Generator().manual_seed(1))
    found = rows(model, ids, greedy(maximum_length=count))[0]
    assert found == slow_greedy(model, ids[0].tolist(), count)
    assert len(set(found)) > 1 or count == 1


@pytest.mark.parametrize("context_length", [1, 2, 3])
def test_the_smallest_contexts_work(context_length):
    model = make_model(97, context_length)
    ids = torch.tensor([[5, 6, 7, 8]])
    assert rows(model, ids, greedy(maximum_length=9))[0] == slow_greedy(model, [5, 6, 7, 8], 9)


def test_a_batch_equals_its_rows(model):
    ids = torch.randint(97, (4, 7), generator=torch.Generator().manual_seed(2))
    together = rows(model, ids, greedy(maximum_length=30))
    assert together == [rows(model, row[None], greedy(maximum_length=30))[0] for row in ids]
    assert len({tuple(row) for row in together}) == 4


def test_whole_texts_are_drawn_from_the_models_distribution():
    """The first two tokens of many continuations, against p(a) p(b | a) without a cache."""
    model = make_model(5)
    count = 20_000
    config = GenerationConfig(maximum_length=2, temperature=1.3, seed=3, stop_tokens=())
    drawn = Counter(map(tuple, rows(model, torch.tensor([[1, 4]] * count), config)))
    with torch.no_grad():
        first = (model.eval()(torch.tensor([[1, 4]]))[0, -1] / 1.3).softmax(-1)
        second = [(model(torch.tensor([[1, 4, a]]))[0, -1] / 1.3).softmax(-1) for a in range(5)]
    expected = {(a, b): count * first[a].item() * second[a][b].item() for a in range(5) for b in range(5)}
    assert min(expected.values()) > 5, "chi-squared needs a few of each"
    total = count / sum(expected.values())
    assert chisquare([drawn[pair] for pair in expected], [total * e for e in expected.values()]).pvalue > 0.01


# --- How a text ends, and how it repeats ---


def test_maximum_length_counts_new_tokens(model):
    ids = torch.zeros(2, 3, dtype=torch.long)
    for count in (0, 1, 7):
        assert [len(row) for row in rows(model, ids, GenerationConfig(maximum_length=count))] == [count] * 2


def test_a_stop_token_is_the_last_step(model):
    ids = torch.tensor([[5, 6, 7]])
    free = rows(model, ids, greedy(maximum_length=30, stop_tokens=()))[0]
    assert len(free) == 30
    stop = free[4]
    first = free.index(stop)
    assert rows(model, ids, greedy(maximum_length=30, stop_tokens=(96, stop, 95)))[0] == free[: first + 1]


def test_a_batch_goes_on_until_every_row_has_stopped(model):
    ids = torch.zeros(3, 5, dtype=torch.long)
    config = GenerationConfig(maximum_length=30, temperature=50.0, seed=5, stop_tokens=())
    free = rows(model, ids, config)
    stops = (free[0][2], free[1][6], free[2][3])
    ends = [min(row.index(stop) for stop in stops if stop in row) for row in free]
    assert len(set(ends)) == 3, "the rows should stop one after the other"
    found = rows(model, ids, dataclasses.replace(config, stop_tokens=stops))
    assert found == [row[: max(ends) + 1] for row in free]


def test_the_same_seed_draws_the_same_and_another_another(model):
    ids = torch.zeros(3, 2, dtype=torch.long)
    config = GenerationConfig(maximum_length=20, seed=7)
    first = rows(model, ids, config)
    torch.rand(3)  # the global generator does not matter
    assert rows(model, ids, config) == first
    assert rows(model, ids, dataclasses.replace(config, seed=8)) != first
    assert len({tuple(row) for row in first}) == 3, "rows of a batch are drawn apart"


def test_a_seed_leaves_the_global_generator_alone(model):
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    rows(model, torch.zeros(1, 1, dtype=torch.long), GenerationConfig(maximum_length=5, seed=7))
    assert torch.equal(torch.rand(3), expected)


def test_without_a_seed_each_call_draws_anew(model):
    ids = torch.zeros(1, 2, dtype=torch.long)
    config = GenerationConfig(maximum_length=30)
    assert rows(model, ids, config) != rows(model, ids, config)


@pytest.mark.parametrize("training", [True, False])
def test_the_models_mode_is_put_back_and_dropout_is_off_meanwhile(model, training):
    model.train(training)
    ids = torch.zeros(1, 4, dtype=torch.long)
    rows(model, ids, greedy(maximum_length=3))
    assert model.training is training
    assert all(module.training is training for module in model.modules())
    steps = generate(model, ids, greedy(maximum_length=30))
    next(steps)
    assert not any(module.training for module in model.modules())
    steps.close()  # left half-way
    assert model.training is training
    with pytest.raises(IndexError):
        rows(model, torch.tensor([[97]]), greedy(maximum_length=3))  # an id that the model does not have
    assert model.training is training


def test_no_graph_is_kept(model):
    assert not next(generate(model, torch.zeros(1, 4, dtype=torch.long), greedy())).requires_grad
    assert torch.is_grad_enabled()


@pytest.mark.parametrize("shape", [(0,), (3,), (1, 0), (2, 0), (1, 2, 3)])
def test_ids_of_another_shape_are_refused(model, shape):
    """Also where shapes are not checked, as in production."""
    with pytest.raises(ValueError, match=r"\(B, T\)"):
        next(inspect.unwrap(generate)(model, torch.zeros(shape, dtype=torch.long), greedy()))


# --- Text ---


def test_generate_text_continues_the_prompt_after_the_separator(characters):
    model = make_model(characters.vocab_size)
    prompt = "a bad cab"
    ids = [characters.end_of_text_id, *characters.encode(prompt)]
    expected = prompt + characters.decode(slow_greedy(model, ids, 30))
    assert generate_text(model, characters, prompt, greedy(maximum_length=30, stop_tokens=())) == expected


def test_an_empty_prompt_starts_from_the_separator(characters):
    model = make_model(characters.vocab_size)
    expected = characters.decode(slow_greedy(model, [characters.end_of_text_id], 12))
    assert generate_text(model, characters, "", greedy(maximum_length=12, stop_tokens=())) == expected
    assert generate_text(model, characters, config=greedy(maximum_length=12, stop_tokens=())) == expected


def test_a_prompt_longer_than_the_context_works(characters):
    model = make_model(characters.vocab_size)
    prompt = "abcdefghij " * 9
    expected = prompt + characters.decode(slow_greedy(model, characters.encode(prompt), 20))
    assert generate_text(model, characters, prompt, greedy(maximum_length=20, stop_tokens=())) == expected


def test_a_maximum_length_of_zero_gives_the_prompt_back(characters):
    model = make_model(characters.vocab_size)
    config = GenerationConfig(maximum_length=0)
    assert generate_text(model, characters, "abc", config) == "abc"
    assert generate_text(model, characters, "", config) == ""
    assert list(stream_text(model, characters, "abc", config)) == []
    assert generate_texts(model, characters, "abc", config, number=3) == ["abc"] * 3


def favour(model: GPT, tokens: list[int]) -> GPT:
    """Make the model write `tokens` in turn, whatever came before: positions alone decide."""
    C = model.config.embedding_dim
    assert len(set(tokens)) + 1 <= C
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        model.final_norm.weight.fill_(1)
        for index, token in enumerate(dict.fromkeys(tokens)):
            model.token_embedding.weight[token, index] = 10
        for position, token in enumerate(tokens):
            model.position_embedding.weight[position] = 1000 * model.token_embedding.weight[token]
    return model


def test_the_separator_ends_a_text_by_default_and_is_not_in_it(characters):
    end = characters.end_of_text_id
    model = favour(make_model(characters.vocab_size), [*characters.encode("abca"), end, *characters.encode("jj")])
    config = greedy(maximum_length=7)
    assert generate_text(model, characters, "", config) == "abca"
    assert generate_texts(model, characters, "", config, number=2) == ["abca"] * 2
    assert "".join(stream_text(model, characters, "", config)) == "abca"
    unstopped = dataclasses.replace(config, stop_tokens=())
    assert generate_text(model, characters, "", unstopped) == "abca<|endoftext|>jj"
    at_c = dataclasses.replace(config, stop_tokens=(characters.encode("c")[0],))
    assert generate_text(model, characters, "", at_c) == "ab"


def test_each_of_several_texts_ends_at_its_own_stop(characters):
    model = make_model(characters.vocab_size)
    config = GenerationConfig(maximum_length=60, seed=1)
    texts = generate_texts(model, characters, "ab", config, number=8)
    ids = torch.tensor([[characters.end_of_text_id, *characters.encode("ab")]] * 8)
    drawn = rows(model, ids, dataclasses.replace(config, stop_tokens=(characters.end_of_text_id,)))
    cut = [row[: row.index(characters.end_of_text_id)] if characters.end_of_text_id in row else row for row in drawn]
    assert texts == ["ab" + characters.decode(row) for row in cut]
    assert len({len(text) for text in texts}) > 1


def test_generate_texts_draws_that_many_and_repeats_with_its_seed(characters):
    model = make_model(characters.vocab_size)
    config = GenerationConfig(maximum_length=20, seed=5)
    texts = generate_texts(model, characters, "ab", config, number=4)
    assert len(texts) == 4
    assert len(set(texts)) == 4
    assert all(text.startswith("ab") for text in texts)
    assert generate_texts(model, characters, "ab", config, number=4) == texts
    assert generate_texts(model, characters, "ab", config)[0] == generate_text(model, characters, "ab", config)


@pytest.mark.parametrize("seed", range(5))
def test_a_stream_is_the_text_piece_by_piece(characters, bytes_only, gpt2_tokenizer, seed):
    for tokenizer in (characters, bytes_only, gpt2_tokenizer):
        model = make_model(tokenizer.vocab_size)
        config = GenerationConfig(maximum_length=40, seed=seed)
        pieces = list(stream_text(model, tokenizer, "abc", config))
        assert "abc" + "".join(pieces) == generate_text(model, tokenizer, "abc", config)
        assert all(pieces)


def test_a_stream_never_yields_half_a_character(bytes_only):
    """The model writes the bytes of this text one by one; 'ß' has two, '語' three, '🙂' four."""
    text = "aß語🙂!"
    model = favour(make_model(bytes_only.vocab_size), bytes_only.encode(text))
    config = greedy(maximum_length=len(text.encode()))
    assert list(stream_text(model, bytes_only, "", config)) == list(text)
    assert generate_text(model, bytes_only, "", config) == text


def test_a_character_that_never_ends_is_shown_as_replaced(bytes_only):
    model = favour(make_model(bytes_only.vocab_size), bytes_only.encode("a🙂"))
    assert list(stream_text(model, bytes_only, "", greedy(maximum_length=3))) == ["a", "\N{REPLACEMENT CHARACTER}"]


def test_a_stream_comes_as_it_is_drawn(characters):
    """The first piece comes after one step, not after the whole text."""
    model = make_model(characters.vocab_size)
    calls = []
    model.register_forward_hook(lambda *_: calls.append(1))
    stream = stream_text(model, characters, "abc", greedy(maximum_length=10, stop_tokens=()))
    next(stream)
    assert len(calls) == 1
    assert len(list(stream)) == 9
    assert len(calls) == 10


def test_each_token_costs_one_step_of_one_token(model):
    lengths = []
    model.register_forward_pre_hook(lambda module, arguments: lengths.append(arguments[0].shape[1]))
    rows(model, torch.zeros(1, 5, dtype=torch.long), greedy(maximum_length=12))
    assert lengths == [5] + [1] * 11
    lengths.clear()
    rows(model, torch.zeros(1, 16, dtype=torch.long), greedy(maximum_length=12))
    assert lengths == [16, 8] + [1] * 8 + [8, 1]  # full at once: half is kept, which leaves room for eight tokens


@pytest.mark.parametrize("function", [generate_text, generate_texts, stream_text])
def test_another_vocabulary_is_refused_at_once(characters, function):
    with pytest.raises(ValueError, match=r"13 tokens .*tokenizer 12\b"):
        function(make_model(13), characters, "abc")


# --- Strings that end a text ---


def first_complete(text: str, stop: list[str]) -> str:
    """Character by character: the text before the stop string that is complete first; of two, the longer one."""
    for end in range(1, len(text) + 1):
        if ending := [string for string in stop if text[:end].endswith(string)]:
            return text[: end - max(map(len, ending))]
    return text


@settings(max_examples=300, deadline=None, database=None, derandomize=True)
@given(pieces=st.lists(st.text("ab日", max_size=4)), stop=st.lists(st.text("ab日", min_size=1, max_size=4), max_size=3))
def test_text_is_cut_at_the_first_stop_string_however_it_is_cut_into_pieces(pieces, stop):
    whole = first_complete("".join(pieces), stop)
    shown = ""
    for piece in cut_at(iter(pieces), stop):
        assert piece
        shown += piece
        assert whole.startswith(shown), "a part of a stop string was shown"
    assert shown == whole


def test_a_stop_string_may_lie_across_tokens_and_ends_the_drawing(characters, bytes_only, gpt2_tokenizer, monkeypatch):
    for tokenizer in (characters, bytes_only, gpt2_tokenizer):
        model = make_model(tokenizer.vocab_size)
        free = generate_text(model, tokenizer, "abc", greedy(maximum_length=30, stop_tokens=()))
        stop = free[8:13]
        at = free.index(stop, 3)
        config = greedy(maximum_length=30, stop_tokens=(), stop=("never", stop))
        assert generate_text(model, tokenizer, "abc", config) == free[:at]
        assert "".join(stream_text(model, tokenizer, "abc", config)) == free[3:at]
        assert generate_texts(model, tokenizer, "abc", config, 3) == [free[:at]] * 3
    drawn = []
    monkeypatch.setattr("tinyllm.generation.writing.next_tokens", lambda *_: drawn.append(1) or torch.tensor([0, 0]))
    model = make_model(characters.vocab_size)
    letter = characters.decode([0])
    assert generate_texts(model, characters, "abc", greedy(maximum_length=50, stop=letter * 3), 2) == ["abc"] * 2
    assert len(drawn) == 3
    assert model.training, "the model's mode is put back when the drawing ends early"


def test_a_stop_string_in_the_prompt_does_not_count(characters):
    model = make_model(characters.vocab_size)
    config = greedy(maximum_length=5, stop_tokens=())
    free = generate_text(model, characters, "aj", config)
    config = dataclasses.replace(config, stop=("aj" + free[2:3],))
    assert generate_text(model, characters, "aj", config).startswith("aj" + free[2:3])


def test_several_texts_with_stop_strings_each_end_at_their_own(characters):
    model = make_model(characters.vocab_size)
    config = GenerationConfig(maximum_length=40, temperature=3.0, seed=1, stop_tokens=())
    free = generate_texts(model, characters, "", config, 6)
    cut = generate_texts(model, characters, "", dataclasses.replace(config, stop=("ab", "cd", "b")), 6)
    assert cut == [first_complete(text, ["ab", "cd", "b"]) for text in free]
    assert len({len(text) for text in cut}) > 2
