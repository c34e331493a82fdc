"""From text to ids to blocks: 01 Tokenization and 02 Data."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from style import ATTENTION, FEEDFORWARD, LINE, PLAIN, arrow, card, cell, heading

from tinyllm import WordTokenizer, learn_merges
from tinyllm.plots import BLUE, GREEN, GREY, ORANGE
from tinyllm.text import tinywiki
from tinyllm.text.batches import Blocks
from tinyllm.text.bpe import count_words
from tinyllm.text.tokenized import tokenize

WORDS = ("low", "low", "low", "lower", "lower", "lowest", "newer", "newer", "widest")
MERGES = 9  # so that "lower" is one token, and "newest" is not


# How byte-pair encoding builds a word


@dataclass(frozen=True)
class Piece:
    """A token with what it was joined from; a byte has no parts, and rank 0."""

    token: bytes
    rank: int = 0
    parts: tuple["Piece", ...] = ()

    @property
    def height(self) -> int:
        return 1 + max(part.height for part in self.parts) if self.parts else 0


def build(word: bytes, merges: Sequence[tuple[bytes, bytes]]) -> list[Piece]:
    """Join neighbours until no learned pair is left, always the pair that was learned first."""
    ranks = {pair: rank for rank, pair in enumerate(merges, start=1)}
    pieces = [Piece(bytes([byte])) for byte in word]
    while True:
        found = [ranks.get((left.token, right.token), len(ranks) + 1) for left, right in pairwise(pieces)]
        if not found or min(found) > len(ranks):
            return pieces
        first = found.index(min(found))
        left, right = pieces[first : first + 2]
        pieces[first : first + 2] = [Piece(left.token + right.token, found[first], (left, right))]


def merge_tree(words: Sequence[str] = WORDS, num_merges: int = MERGES) -> Figure:
    """Learn merges from a few words, then build one word that was in the text and one that was not."""
    counts = count_words("\n".join(words))  # a line each, so that no word begins with a space
    merges = learn_merges(counts, num_merges)
    figure, axes = card(406)
    text = ", ".join(f"{word} × {words.count(word)}" for word in dict.fromkeys(words))
    heading(axes, "Byte-pair encoding: join the most frequent pair, again and again", f"learned from:  {text}")

    axes.text(28, 316, f"{num_merges} merges, in this order", weight="bold")
    for rank, pair in enumerate(merges, start=1):
        y = 316 - 30 * rank
        circle(axes, 38, y + 4, rank)
        left, right = (token.decode() for token in pair)
        axes.text(60, y, f"{left} + {right}")
        axes.text(126, y, f"→  {left + right}")
        axes.text(250, y, f"{times(pair, counts, merges[: rank - 1])} times", fontsize=11, color=GREY, ha="right")
    tree(axes, build(b"lower", merges), 274, "lower", "in the text")
    tree(axes, build(b"newest", merges), 514, "newest", "not in the text")
    return figure


def times(pair: tuple[bytes, bytes], counts: Mapping[bytes, int], merges: Sequence[tuple[bytes, bytes]]) -> int:
    """How often a pair occurs side by side in the text after these merges."""
    pairs = {word: [(left.token, right.token) for left, right in pairwise(build(word, merges))] for word in counts}
    return sum(count * pairs[word].count(pair) for word, count in counts.items())


def tree(axes: Axes, pieces: Sequence[Piece], left: float, word: str, note: str) -> None:
    """The tokens of a word, above the bytes that they were joined from."""
    middle = left + len(word) * 21.5
    tokens = "1 token" if len(pieces) == 1 else f"{len(pieces)} tokens"
    axes.text(middle, 316, f"{word}: {tokens}", weight="bold", ha="center")
    axes.text(middle, 298, note, color=GREY, ha="center")
    for piece in pieces:
        grow(axes, piece, left, top=True)
        left += 43 * len(piece.token)


def grow(axes: Axes, piece: Piece, left: float, top: bool = False) -> tuple[float, float]:
    """Draw a piece and its parts; returns the middle of its upper edge."""
    width = 43 * len(piece.token)
    middle, bottom = left + width / 2, 36 + 72 * piece.height
    for part in piece.parts:
        axes.plot([grow(axes, part, left)[0], middle], [36 + 72 * part.height + 28, bottom], color=LINE, zorder=1)
        left += 43 * len(part.token)
    wide = max(34, 12 * len(piece.token) + 14)
    cell(axes, middle - wide / 2, bottom, wide, 28, piece.token.decode(), ATTENTION if top else "white")
    if piece.rank:
        circle(axes, middle, bottom - 13, piece.rank)
    return middle, bottom + 28


def circle(axes: Axes, x: float, y: float, rank: int) -> None:
    axes.plot(x, y, "o", markersize=18, color="white", markeredgecolor=ORANGE, markeredgewidth=1.5, zorder=4)
    axes.text(x, y - 4, str(rank), fontsize=11, color=ORANGE, ha="center", zorder=5)


# How a stream becomes blocks, and what each position predicts

LENGTH = 6  # tokens in a block


def shifted_blocks(num_articles: int = 3) -> Figure:
    """Documents in one stream, the stream cut into blocks, and one block with its targets."""
    articles = [article.text for article in tinywiki.generate(num_articles)]
    tokenizer = WordTokenizer.train("".join(articles))
    split = tokenize(articles, tokenizer)
    starts = Blocks(split, LENGTH).starts
    figure, axes = card(420)
    heading(
        axes,
        "The targets are the same tokens, one place on",
        f"{num_articles} TinyWiki articles, {len(split.tokens)} tokens, {len(starts)} blocks of {LENGTH} "
        "(real ones are longer); in grey each token's id",
    )

    # The stream: each document as wide as it is long, and a separator before each.
    scale = 744 / len(split.tokens)
    ends = [*split.starts[1:], len(split.tokens)]
    for number, (start, end) in enumerate(zip(split.starts, ends, strict=True), start=1):
        left, width = 28 + start * scale, (end - start) * scale
        axes.add_patch(Rectangle((left, 292), width, 28, facecolor=PLAIN, edgecolor="none"))
        axes.plot([left + 1.5] * 2, [292, 320], color=ORANGE, linewidth=3, solid_capstyle="butt")
        axes.text(left + width / 2, 302, f"article {number}", ha="center")
    separator = tokenizer.decode([tokenizer.end_of_text_id])
    axes.text(28, 327, f"{separator} begins each article", fontsize=11, color=ORANGE)

    # The block that runs from one document into the next, and the token after it.
    chosen = int(split.starts[1]) // LENGTH * LENGTH
    for start in starts:
        colour = BLUE if start == chosen else "white"
        cell(axes, 28 + start * scale, 262, LENGTH * scale, 22, colour=colour)
    for near, far in ((chosen, 156), (chosen + LENGTH, 156 + 88 * LENGTH)):
        axes.plot([28 + near * scale, far], [262, 206], "--", color=BLUE, linewidth=1)
    tokens = [(tokenizer.decode([token]).replace("\n", "\\n"), token) for token in split.tokens[chosen:][: LENGTH + 1]]
    for row, name, what in ((160, "sees", "inputs"), (72, "predicts", "targets")):
        axes.text(28, row + 24, name, weight="bold", color=BLUE if what == "inputs" else GREEN)
        axes.text(28, row + 8, what, color=GREY)
    for position in range(LENGTH):
        left = 156 + 88 * position
        word(axes, left, 160, *tokens[position], ATTENTION)
        arrow(axes, (left + 52, 160), (left + 124, 118))
        word(axes, left + 88, 72, *tokens[position + 1], FEEDFORWARD)
    example = " ".join(text for text, _ in tokens[:-2])
    axes.text(28, 32, f"A token also sees those to its left:  after  {example}  comes  {tokens[-2][0]}")
    return figure


def word(axes: Axes, left: float, bottom: float, text: str, token: int, colour: str) -> None:
    """A token, and its id below it."""
    cell(axes, left, bottom, 88, 46, colour=colour)
    axes.text(left + 44, bottom + 27, text, fontsize=11, ha="center")
    axes.text(left + 44, bottom + 9, str(token), fontsize=11, color=GREY, ha="center")
