"""A corpus: documents by split, and the articles where their surprise is known."""

import pytest
from local_texts import read, write

from tinyllm.text.articles import Article, Span
from tinyllm.text.corpus import Corpus, Reading
from tinyllm.text.sources import load_corpus


def test_a_split_that_is_not_there_is_refused_with_those_that_are(tmp_path):
    write(tmp_path / "wiki.valid.raw", "text\n")
    with pytest.raises(ValueError, match="no train split, only validation"):
        read(tmp_path)


ARTICLE = Article({"name": "Ada"}, (Span("Ada", "choice", 1.5), Span(" wrote .", "grammar")))


def test_documents_are_read_anew_at_each_call():
    corpus = Corpus("two", {"train": lambda: iter(["one", "two"])})
    assert list(corpus.documents("train")) == list(corpus.documents("train")) == ["one", "two"]


def test_articles_are_those_of_the_splits_whose_surprise_is_known():
    splits = {split: lambda: iter([ARTICLE.text]) for split in ("train", "test")}
    corpus = Corpus("half known", splits, {"test": lambda: (ARTICLE,)})
    assert corpus.articles("test") == (ARTICLE,)
    assert not corpus.articles("train")
    assert not corpus.articles("validation")
    assert not Corpus("unknown", splits).articles("test")


@pytest.mark.parametrize("name", ["tinywiki", "tinywiki-full"])
@pytest.mark.parametrize("split", ["validation", "test"])
def test_tinywikis_articles_are_its_documents(name, split):
    corpus = load_corpus(name)
    assert [article.text for article in corpus.articles(split)] == list(corpus.documents(split))
    assert len(corpus.articles(split)) == 200


def test_files_have_no_articles(sample_text):
    corpus = load_corpus(str(sample_text))
    assert len(list(corpus.documents("train"))) == 4
    assert not corpus.articles("train")


def test_what_was_read_and_passed_over_is_one_line():
    assert str(Reading()) == "0 files read"
    assert str(Reading({"train": ["a.txt"]})) == "1 file read"
    reading = Reading({"train": ["a", "b"], "test": ["c"]}, {f"{n}.pdf": "a PDF" for n in range(5)})
    assert (
        str(reading)
        == "3 files read (train 2, test 1); passed over: 0.pdf (a PDF), 1.pdf (a PDF), 2.pdf (a PDF) and 2 more"
    )
    assert Corpus("generated", {}).reading == Reading()
