"""Findings, and the report that shows them."""

from tinyllm.probes.report import Finding, Report

FINE = Finding("head", True, "no copy.", "Tie it.")
WRONG = Finding("leak", False, "64 of 64.", "Split again.")
NOTHING = Finding("floor", None, "not known.", "Look.")


def test_a_finding_gives_advice_only_where_something_is_wrong():
    assert str(FINE) == "ok       head: no copy."
    assert str(WRONG) == "PROBLEM  leak: 64 of 64. Split again."
    assert str(NOTHING) == "-        floor: not known."


def test_a_report_names_its_problems_and_ends_with_their_count():
    report = Report((FINE, WRONG, NOTHING))
    assert report.problems == ["leak"]
    assert str(report).splitlines() == [str(FINE), str(WRONG), str(NOTHING), "1 of 3 probes found one."]
    assert repr(report) == str(report)  # what Jupyter shows


def test_a_long_finding_is_wrapped_between_words():
    long = Finding("average", False, "the gradient has " + 20 * "a cosine of 1.000 ", "Divide by the tokens.")
    *lines, verdict = str(Report((long,))).splitlines()
    assert verdict == "1 of 1 probes found one."
    assert max(map(len, lines)) <= 88
    assert lines[0].startswith("PROBLEM  average: the")
    assert all(line.startswith(9 * " ") for line in lines[1:])
    assert " ".join(lines).split() == str(long).split()


def test_nothing_to_probe_is_no_problem():
    report = Report((FINE, NOTHING))
    assert report.problems == []
    assert str(report).endswith("\nNo probe found a problem.")
