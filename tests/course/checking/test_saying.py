"""`say`: what a learner reads fits a notebook beside a file browser."""

from tinyllm.course.checking.saying import WIDTH, say


def test_long_lines_are_wrapped_between_words_and_nothing_is_lost(capsys):
    text = "name.of_it: " + "some words and a well-known one " * 9 + "\n\n    expected  " + "[1.5, 2.25] " * 20
    say(text)
    printed = capsys.readouterr().out
    assert printed.split() == text.split()  # also "well-known" is whole
    lines = printed.splitlines()
    assert 70 < max(map(len, lines)) <= WIDTH
    blank = lines.index("")
    assert all(line.startswith("    ") for line in lines[blank + 1 :])
    assert lines[blank + 1].startswith("    expected  [1.5,")


def test_a_word_longer_than_a_line_is_not_broken(capsys):
    say("see " + "x" * 100 + " here")
    assert capsys.readouterr().out == "see\n" + "x" * 100 + "\nhere\n"


def test_short_lines_stay_as_they_are(capsys):
    say("one\n  two   three\n\nfour")
    assert capsys.readouterr().out == "one\n  two   three\n\nfour\n"
