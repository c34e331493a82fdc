"""How text is sampled: what may be given in another form."""

from tinyllm import GenerationConfig, TrainingConfig


def test_stop_tokens_may_come_as_any_sequence_and_betas_as_a_list():
    assert GenerationConfig(stop_tokens=[1, 2]).stop_tokens == (1, 2)
    assert GenerationConfig(stop_tokens=iter(range(3))).stop_tokens == (0, 1, 2)
    assert TrainingConfig(betas=[0.5, 0.6]).betas == (0.5, 0.6)


def test_stop_may_be_one_string_or_a_list():
    assert GenerationConfig(stop="\n").stop == ("\n",)
    assert GenerationConfig(stop=["a", "b"]).stop == ("a", "b")
