"""A model that has learned from dialogues answers, and its answers are compared to the letter."""

import io
import json
import sys

import pytest
from small_runs import losses, quietly, small_run

from tinyllm import load_pretrained, load_run, train
from tinyllm.__main__ import main
from tinyllm.config import GenerationConfig
from tinyllm.generation.answering import exact_matches, stream_answer
from tinyllm.text.dialogues import Dialogue

ANSWERS = {"a cat": " sleeps", "the old dog": " sings", "my aunt": " runs home", "nobody": " eats fish"}


def dialogue(who: str, answer: str) -> Dialogue:
    return Dialogue([{"role": "user", "content": f"what of {who} ?"}, {"role": "assistant", "content": answer}])


@pytest.fixture(scope="module")
def answerer(tmp_path_factory):
    """A small model that has learned four answers by heart."""
    folder = tmp_path_factory.mktemp("answers")
    rows = [[m._asdict() for m in dialogue(who, answer).messages] for who, answer in ANSWERS.items()] * 30
    (folder / "talk.jsonl").write_text("".join(json.dumps({"messages": row}) + "\n" for row in rows))
    settings = {"dialogues": True, "context_length": 32, "vocab_size": 320, "evaluation_interval": 100}
    return quietly(small_run(folder / "talk.jsonl", folder / "run", max_iterations=100, dropout=0.0, **settings))


def test_it_answers_and_stops(answerer):
    for who, answer in ANSWERS.items():
        assert answerer.answer(f"what of {who} ?", temperature=0.0) == answer


def test_an_answer_comes_in_pieces_and_from_messages(answerer):
    messages = [{"role": "user", "content": "what of my aunt ?"}]
    assert "".join(answerer.stream_answer(messages, temperature=0.0)) == " runs home"
    assert load_run(answerer.folder).answer(messages, temperature=0.0) == " runs home"
    assert load_pretrained(answerer.folder).answer(messages, temperature=0.0) == " runs home"


def test_what_ends_an_answer_is_a_token_and_not_part_of_it(answerer):
    settings = GenerationConfig(temperature=0.0, stop_tokens=(), maximum_length=8)
    messages = Dialogue([{"role": "user", "content": "what of a cat ?"}]).messages
    endless = "".join(stream_answer(answerer.model, answerer.tokenizer, messages, settings))
    assert endless.startswith(" sleeps<|endoftext|>")


def test_write_answers_what_is_typed(answerer, monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdin", io.StringIO("what of nobody ?\nwhat of a cat ?\n"))
    assert main(["write", str(answerer.folder), "--temperature", "0", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"texts": [" eats fish", " sleeps"]}


def test_a_question_that_cannot_be_read_has_no_answer(answerer, monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdin", io.StringIO("caf\udce9 ?\nwhat of a cat ?\n"))
    assert main(["write", str(answerer.folder), "--temperature", "0", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"texts": ["", " sleeps"]}


def test_answers_are_right_to_the_letter_or_wrong(answerer):
    dialogues = [dialogue(who, answer) for who, answer in ANSWERS.items()]
    dialogues += [dialogue("a cat", " sleep"), dialogue("a cat", " sleeps "), dialogue("my aunt", " sings")]
    found = exact_matches(answerer.model, answerer.tokenizer, dialogues)
    assert found == [True] * 4 + [False] * 3
    assert exact_matches(answerer.model, answerer.tokenizer, dialogues[::-1]) == found[::-1]
    assert exact_matches(answerer.model, answerer.tokenizer, []) == []


def test_an_answer_that_goes_on_is_wrong_however_early_one_looks_away(answerer):
    ids = answerer.tokenizer.encode(ANSWERS["my aunt"])
    assert len(ids) > 1
    for length in range(len(ids) + 2):
        begun = dialogue("my aunt", answerer.tokenizer.decode(ids[:length]))
        found = exact_matches(answerer.model, answerer.tokenizer, [begun], maximum_length=length)
        assert found == [length >= len(ids)]


def test_what_has_no_answer_to_compare_with_is_refused(answerer):
    asked = Dialogue([{"role": "user", "content": "what of a cat ?"}])
    with pytest.raises(ValueError, match="dialogue 2 of 2 does not end with an answer"):
        exact_matches(answerer.model, answerer.tokenizer, [dialogue("a cat", " sleeps"), asked])


def test_what_is_answered_already_is_not_answered_again(answerer):
    """Also where a Dialogue is given, which is a string: it is asked as its messages, not as its template."""
    answered = dialogue("a cat", " sleeps")
    for question in ([message._asdict() for message in answered.messages], answered):
        with pytest.raises(ValueError, match="the last message is an answer already"):
            answerer.answer(question)


def test_a_model_without_roles_says_what_to_do(uninterrupted):
    with pytest.raises(ValueError, match="dialogues=True"):
        load_run(uninterrupted).answer("who ?")


@pytest.mark.parametrize("lora", [0, 4])
def test_a_run_with_dialogues_resumes_bit_for_bit(answerer, uninterrupted, tmp_path, lora):
    data = answerer.config.dataset.data
    settings = {"dialogues": True, "init_from": str(uninterrupted), "lora": lora, "evaluation_interval": 3}
    whole = quietly(small_run(data, tmp_path / "whole", max_iterations=6, **settings))
    stops = iter(range(100))
    config = small_run(data, tmp_path / "parts", max_iterations=6, **settings)
    train(config, progress=False, on_step=lambda point: next(stops) >= 3)
    parts = quietly(config)
    assert parts.iteration == whole.iteration == 6
    for name, weight in whole.model.state_dict().items():
        assert weight.equal(parts.model.state_dict()[name]), name
    frozen = [name for name, _ in whole.model.named_parameters() if not name.endswith((".down", ".up"))]
    before = load_run(uninterrupted, "best").model.state_dict()
    moved = [name for name in frozen if not whole.model.state_dict()[name][: len(before[name])].equal(before[name])]
    assert (not moved) if lora else (moved == frozen)


def test_without_weights_to_correct_there_is_no_lora(uninterrupted, tmp_path):
    with pytest.raises(ValueError, match="lora must be 0 without init_from"):
        small_run(tmp_path / "a.txt", tmp_path / "run", lora=4)


def test_text_in_which_nobody_answers_is_refused(uninterrupted, tmp_path):
    row = json.dumps({"messages": [{"role": "user", "content": "who sings and who sleeps ?"}]}) + "\n"
    (tmp_path / "talk.jsonl").write_text(row * 80)
    config = small_run(tmp_path / "talk.jsonl", tmp_path / "run", dialogues=True, init_from=str(uninterrupted))
    with pytest.raises(ValueError, match="has no answers"):
        quietly(config)


def test_muon_does_not_move_corrections(tmp_path):
    with pytest.raises(ValueError, match="optimizer must be 'adamw' with lora"):
        small_run(tmp_path / "a.txt", tmp_path / "run", lora=4, init_from="x", optimizer="muon")


def test_the_card_counts_no_corrections_and_says_whose_loss_it_gives(answerer, uninterrupted, tmp_path):
    settings = {"dialogues": True, "init_from": str(uninterrupted), "lora": 4, "max_iterations": 2}
    run = quietly(small_run(answerer.config.dataset.data, tmp_path / "run", **settings))
    card = (run.export(tmp_path / "theirs") / "README.md").read_text()
    parameters = sum(parameter.numel() for parameter in load_pretrained(tmp_path / "theirs").model.parameters())
    assert f"| parameters | {parameters:,} |" in card
    assert "| held-out loss of answers | " in card


def test_text_without_dialogues_is_no_text_with_dialogues(text, uninterrupted, tmp_path):
    with pytest.raises(ValueError, match=r"words\.txt has no answers to learn: .*'messages'"):
        quietly(small_run(text, tmp_path / "run", dialogues=True, init_from=str(uninterrupted)))


def test_only_the_text_that_watches_has_answers(uninterrupted, tmp_path):
    asked = {"role": "user", "content": "who sings ?"}
    for name, row in (("train", [asked]), ("valid", [asked, {"role": "assistant", "content": "my aunt ."}])):
        (tmp_path / f"{name}.jsonl").write_text((json.dumps({"messages": row}) + "\n") * 80)
    with pytest.raises(ValueError, match="has no answers to learn"):
        quietly(small_run(tmp_path, tmp_path / "run", dialogues=True, init_from=str(uninterrupted)))


def test_answers_that_are_rare_are_watched_all_the_same(uninterrupted, tmp_path):
    """Most blocks hold nothing but a question: among them, a step may have no answer to learn."""
    row = [{"role": "user", "content": "a cat sleeps " * 60}, {"role": "assistant", "content": "my aunt ."}]
    (tmp_path / "talk.jsonl").write_text((json.dumps({"messages": row}) + "\n") * 80)
    settings = {"dialogues": True, "init_from": str(uninterrupted), "batch_size": 1, "gradient_accumulation_steps": 1}
    run = quietly(small_run(tmp_path / "talk.jsonl", tmp_path / "run", **settings))
    assert all(point["validation_loss"] > 0 for point in run.history if "validation_loss" in point)
    assert 0 in losses(run)
