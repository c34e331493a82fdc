"""Which text: the defaults, and that a name is judged where it is read, not here."""

from tinyllm import DataConfig


def test_any_words_may_name_a_text():
    assert DataConfig(data="no such file").data == "no such file"
    assert DataConfig().data == "wikitext-103-raw-v1"
