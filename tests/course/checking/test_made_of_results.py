"""What a right result may become by one step more."""

import numpy as np
import pytest

from tinyllm.course.checking.made_of_results import made_of

RIGHT = np.array([[1.0, 3.0, -2.0], [0.5, 2.0, 4.0]])
MADE = {
    "It is 1 minus the right result.": 1 - RIGHT,
    "It is the right result, but 0 where that is negative.": [[1, 3, 0], [0.5, 2, 4]],
    "It is the right result, but at most 1.": [[1, 1, -2], [0.5, 1, 1]],
    "It is the right result rounded up.": [[1, 3, -2], [1, 2, 4]],
    "It is the right result, each row sorted, the largest first.": [[3, 1, -2], [4, 2, 0.5]],
    "It is the right result, each row divided by its sum.": [[0.5, 1.5, -1], [0.5 / 6.5, 2 / 6.5, 4 / 6.5]],
    "It is 1 at the largest of each row of the right result, and 0 elsewhere.": [[0, 1, 0], [0, 0, 1]],
    "Along dimension 0 each value is the sum of the right ones.": [[1.5, 5, 2], [1.5, 5, 2]],
    "Along dimension 1 each value is the last of the right ones.": [[-2, -2, -2], [4, 4, 4]],
    "Along dimension 1 the right values are summed up, one by one.": [[1, 4, 2], [0.5, 2.5, 6.5]],
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("sentence", MADE)
def test_a_sentence_says_what_is_made(sentence):
    found = {words: other for other, words in made_of(RIGHT)}
    np.testing.assert_allclose(found[sentence], MADE[sentence])


@pytest.mark.filterwarnings("ignore")
def test_a_number_has_no_rows():
    assert all("row" not in words and "dimension" not in words for _, words in made_of(np.array(3.0)))
