"""The judge of the claims: its statistics, its table, and that every claim has a sentence and a test."""

import ast
import math
import re
import subprocess
import sys
from pathlib import Path

import evidence as evidence_module
import nbformat
import pytest
from evidence import (
    FAILS,
    HOLDS,
    NOTHING,
    RESULTS,
    TIMES,
    Effect,
    Evidence,
    effect_of,
    judge_with,
    lengths_of,
    name_of,
    rows,
    tuned,
    verdict_of,
)

FOLDER = Path(__file__).parent
ROOT = FOLDER.parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def test_an_effect_is_the_mean_and_its_standard_error():
    effect = Effect.of([1.0, 2.0, 3.0, 4.0, 5.0])
    assert effect.mean == 3.0
    assert effect.error == pytest.approx(math.sqrt(2.5 / 5))  # the variance of the mean of five


@pytest.mark.parametrize(
    ("mean", "error", "shown"),
    [(0.3149, 0.0213, "0.31 ± 0.02"), (12.4, 3.2, "12 ± 3"), (0.00042, 0.00013, "0.0004 ± 0.0001"),
     (0.5, 0.0, "0.500 ± 0.000"), (math.inf, math.nan, "inf ± nan"), (1500.0, 0.4, "1500.0 ± 0.4")],
)  # fmt: skip
def test_an_effect_is_shown_with_one_digit_of_its_error(mean, error, shown):
    assert str(Effect(mean, error)) == shown


CLEAR, NOISE = [0.30, 0.28, 0.33, 0.31, 0.29], [0.3, -0.2, 0.1, -0.3, 0.15]


def test_a_difference_must_be_larger_than_two_errors_at_every_length():
    evidence = Evidence("01.a")
    evidence.larger("a minus b", {"400 steps": CLEAR, "800 steps": CLEAR})
    assert verdict_of(evidence.rows[0]) == HOLDS
    for bad in (NOISE, [-value for value in CLEAR], [math.nan] * 5):
        with pytest.raises(AssertionError, match=r"^01\.a: a minus b: "):
            evidence.larger("a minus b", {"400 steps": CLEAR, "800 steps": bad})
        assert verdict_of(evidence.rows[-1]) == FAILS


def test_no_difference_is_a_finding_too():
    evidence = Evidence("01.a")
    evidence.alike("a minus b", {"400 steps": NOISE})
    assert verdict_of(evidence.rows[0]) == NOTHING
    with pytest.raises(AssertionError):
        evidence.alike("a minus b", {"400 steps": NOISE, "800 steps": CLEAR})


def test_a_number_must_lie_between_its_bounds_with_its_errors():
    evidence = Evidence("01.a")
    evidence.between("share", {"400 steps": CLEAR}, 0.2, 0.4)
    with pytest.raises(AssertionError):
        evidence.between("share", {"400 steps": CLEAR}, 0.2, 0.305)


def test_four_seeds_are_too_few():
    with pytest.raises(AssertionError, match="too few"):
        Evidence("01.a").larger("a minus b", {"400 steps": CLEAR, "800 steps": CLEAR[:4]})


@pytest.fixture
def seeds_put_back(monkeypatch):
    """Whatever a test sets, the course's seeds judge afterwards."""
    monkeypatch.setattr(evidence_module, "SEEDS", evidence_module.SEEDS)


@pytest.mark.usefixtures("seeds_put_back")
def test_whoever_judges_with_seeds_of_one_s_own_writes_nothing(tmp_path):
    judge_with([21, 22, 23, 24, 25, 26])
    evidence = Evidence("01.a")
    with pytest.raises(AssertionError, match="too few"):
        evidence.larger("a minus b", {"400 steps": CLEAR})
    evidence.larger("a minus b", {"400 steps": [*CLEAR, 0.3]})
    evidence.write(tmp_path / "results.md")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("seeds_put_back")
@pytest.mark.parametrize(
    ("seeds", "message"),
    [([21, 22, 23, 24], "5 different seeds"), ([21, 22, 23, 24, 24], "5 different seeds"),
     ([21, 22, 23, 24, 6], "were tuned on these"), ([21, 22, 23, 24, -1], "above 0")],
)  # fmt: skip
def test_seeds_that_cannot_judge(seeds, message):
    with pytest.raises(ValueError, match=message):
        judge_with(seeds)


def claims_with(seeds: str) -> subprocess.CompletedProcess:
    """`pytest --claims --seeds` on the quickest claim, by its name."""
    call = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--claims", "--seeds", seeds]
    claim = ["-k", "04.adding_lets_the_gradient_through", "tests/claims/test_04_block.py"]
    return subprocess.run([*call, *claim], cwd=ROOT, capture_output=True, text=True)


def test_seeds_of_one_s_own_on_the_command_line():
    before, told = RESULTS.read_text(encoding="utf-8"), claims_with("21,22,23,24,25")
    [row] = rows(told.stdout)
    assert told.returncode == 0
    assert (name_of(row), verdict_of(row)) == ("04.adding_lets_the_gradient_through", HOLDS)
    assert row not in before
    assert RESULTS.read_text(encoding="utf-8") == before


def test_seeds_that_are_none_end_the_call():
    told = claims_with("1,2,3,4,six")
    assert told.returncode == pytest.ExitCode.USAGE_ERROR
    assert "--seeds 1,2,3,4,six: " in told.stderr


def test_the_lengths_that_a_row_tells_of():
    evidence = Evidence("01.a")
    evidence.larger("a minus b", {"400 steps": CLEAR, "for 16 wide, 1,600 tokens": CLEAR})
    evidence.larger("a, 400 minus 800 steps", {"400 steps": CLEAR})
    assert lengths_of(evidence.rows[0]) == {"400 steps", "for 16 wide, 1,600 tokens"}
    assert lengths_of(evidence.rows[1]) == {"400 steps", "800 steps"}


def test_the_table_keeps_the_rows_of_other_claims_and_their_order(tmp_path):
    path = tmp_path / "results.md"
    for name in ("02.b", "01.a", "02.b"):
        evidence = Evidence(name)
        evidence.larger("a minus b", {"400 steps": CLEAR})
        evidence.write(path)
    table = rows(path.read_text(encoding="utf-8"))
    assert [name_of(row) for row in table] == ["01.a", "02.b"]
    assert [effect_of(row) for row in table] == ["0.302 ± 0.009"] * 2
    assert "| 01.a | [01 Tokenization](../../notebooks/01_tokenization.ipynb) | a minus b | 5 |" in table[0]


def test_a_tuned_rate_has_worse_neighbours_on_both_sides():
    tried = []

    def score(rate: float) -> float:
        tried.append(rate)
        return math.nan if rate > 0.1 else (math.log(rate) - math.log(0.03)) ** 2

    assert tuned(score, 0.001) == 0.032
    assert tuned(score, 0.2) == 0.025
    assert len(tried) == len(set(tried[:8])) + len(set(tried[8:]))  # no rate is tried twice in one search


# Every claim has a sentence and a test


def names_of_tests() -> list[str]:
    """The names in `@pytest.mark.claim("...")`."""
    names = []
    for path in sorted(FOLDER.glob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef):
                marks = [mark for mark in node.decorator_list if ".claim(" in ast.unparse(mark)]
                names += [mark.args[0].value for mark in marks]
    return names


def sentences() -> dict[str, str]:
    """The text of the cell that has a claim's name in its metadata."""
    found: dict[str, str] = {}
    for path in NOTEBOOKS:
        for cell in nbformat.read(path, as_version=4).cells:
            for name in cell.metadata.get("claims", ()):
                assert name[:2] == path.name[:2], f"{name} stands in {path.name}"
                assert name not in found, f"{name} stands in two cells"
                assert cell.cell_type == "markdown", f"{name}: the sentence stands in a cell of text"
                found[name] = cell.source
    return found


def test_no_claim_without_a_test_and_none_without_a_sentence():
    tests = names_of_tests()
    assert len(tests) == len(set(tests))
    assert set(tests) == set(sentences())
    assert all(re.fullmatch(r"(\d\d|A\d)\.[a-z0-9_]+", name) for name in tests)


def test_each_claim_was_tried_at_two_lengths():
    lengths: dict[str, set[str]] = {}
    for row in rows(RESULTS.read_text(encoding="utf-8")):
        lengths.setdefault(name_of(row), set()).update(lengths_of(row))
    assert [name for name, found in lengths.items() if len(found) < len(TIMES)] == []


def test_each_sentence_says_what_was_measured():
    """As results.md has it, so that a claim that is measured again is also said again."""
    table, cells = rows(RESULTS.read_text(encoding="utf-8")), sentences()
    assert {name_of(row) for row in table} == set(cells)
    for row in table:
        assert verdict_of(row) in (HOLDS, NOTHING), row
        assert effect_of(row) in cells[name_of(row)], row
        assert (verdict_of(row) == NOTHING) <= ("no difference" in cells[name_of(row)].lower()), row
