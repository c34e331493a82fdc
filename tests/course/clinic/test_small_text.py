"""The clinic's text: which articles, in which rows, with which targets."""

from tinyllm.course.clinic import small_text
from tinyllm.course.clinic.small_gpt import CONTEXT, VOCABULARY
from tinyllm.course.clinic.small_text import honest_split, one_piece, pad, rows, tokenizer, two_pieces
from tinyllm.probes.report import IGNORED


def test_each_row_is_an_article_between_separators_and_fits_the_model():
    assert tokenizer().vocab_size == VOCABULARY
    end = tokenizer().end_of_text_id
    assert len(rows()) == len(small_text.articles()) == small_text.ARTICLES + small_text.HELD_OUT_ARTICLES
    for row, article in list(zip(rows(), small_text.articles(), strict=True))[::100]:
        assert (row[0], row[-1]) == (end, end)
        assert tokenizer().decode(row[1:-1]) == article.text
    assert max(map(len, rows())) <= CONTEXT


def test_no_article_is_on_both_sides_of_the_honest_split():
    train, held_out = honest_split()
    assert sorted([*train, *held_out]) == list(range(len(rows())))
    texts = [article.text for article in small_text.articles()]
    assert not {texts[article] for article in train} & {texts[article] for article in held_out}


def test_targets_are_the_ids_one_position_later_and_padding_is_ignored():
    ids, targets = pad([[9, 1, 2, 9], [9, 3]])
    assert ids.tolist() == [[9, 1, 2, 9], [9, 3, 9, 9]]
    assert targets.tolist() == [[1, 2, 9, IGNORED], [3, IGNORED, IGNORED, IGNORED]]


def test_a_batch_in_one_piece_and_in_two():
    batch = [[9, *range(20)], [9, 1, 2, 9], [9, 3, 9]]
    assert [ids.shape for ids, _ in one_piece(batch)] == [(3, 21)]
    first, second = two_pieces(batch)
    assert first[0].tolist() == [[9, 1, 2, 9], [9, 3, 9, 9]]
    assert second[0].tolist() == [[9, *range(11)]]
