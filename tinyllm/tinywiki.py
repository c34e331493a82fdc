"""TinyWiki: an encyclopedia of people who never lived, whose entropy is known exactly.

Each article is a short biography in WikiText's format. A grammar says how it is written: fixed words, and
fields in braces. The first mention of a field *draws* it from a known distribution, a later mention *recalls*
it, and a few fields follow from another one by a rule of this *world* (a town lies on its river). So every
draw can be read back from the text, and the surprise -log p of an article is known to the last digit: no
model can have a lower loss on average. That is the floor.

Source of the idea of a known floor: Shannon, "Prediction and Entropy of Printed English" (1951).
"""

import math
import random
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache

LABELS = ("grammar", "choice", "recall", "world")
VERSION = 1  # goes up when the same seed gives other articles
SPLITS = {"train": 16_000, "validation": 200, "test": 200}  # number of articles


@dataclass(frozen=True)
class Draw:
    """A distribution over whole words. Without `weights` it is uniform.

    With `shift` the options are numbers to add to that earlier field (death = birth + span). With `unlike`
    they exclude what those earlier fields drew: a draw without replacement.
    """

    options: tuple[str, ...]
    weights: tuple[float, ...] = ()
    shift: str = ""
    unlike: tuple[str, ...] = ()

    def possible(self, facts: dict[str, str]) -> list[str]:
        """The words that may be drawn, given the facts drawn so far."""
        if self.shift:
            return [str(int(facts[self.shift]) + int(span)) for span in self.options]
        taken = {facts[name] for name in self.unlike}
        return [option for option in self.options if option not in taken]

    def probabilities(self) -> list[float]:
        """One probability for each word of `possible`."""
        if self.weights:
            return [weight / sum(self.weights) for weight in self.weights]
        left = len(self.options) - len(self.unlike)
        return [1 / left] * left

    def entropy(self) -> float:
        """-sum p log p, in nats."""
        return -sum(p * math.log(p) for p in self.probabilities())


@dataclass(frozen=True)
class Branch:
    """A fork: the opening words are drawn uniformly, and each leads into its own continuation."""

    name: str
    continuations: dict[str, str]

    def draw(self) -> Draw:
        return Draw(tuple(self.continuations))


@dataclass(frozen=True)
class Span:
    """A piece of an article.

    `nats` is what a writer who knows everything still pays for it: -log p of the draw in a `choice`, 0
    elsewhere. `forgotten` is what a `recall` costs a writer who forgets and draws again.
    """

    text: str
    label: str
    nats: float = 0.0
    forgotten: float = 0.0


@dataclass(frozen=True)
class Article:
    """An article, what was drawn for it (`choices`), and its labelled spans."""

    choices: dict[str, str]
    spans: tuple[Span, ...]

    @property
    def text(self) -> str:
        return "".join(span.text for span in self.spans)

    @property
    def nats(self) -> float:
        """-log p of this article: its exact surprise, in nats."""
        return sum(span.nats for span in self.spans)

    @property
    def forgetful_nats(self) -> float:
        """The same for the forgetful writer, who draws every recalled fact again."""
        return sum(span.nats + span.forgotten for span in self.spans)


def _zipf(*options: str) -> Draw:
    """The k-th option is drawn with a probability proportional to 1/k (Zipf's law)."""
    return Draw(options, tuple(1 / rank for rank in range(1, len(options) + 1)))


_SURNAME_STARTS = (
    "Bramble Quill Thistle Marl Ember Gorse Pepper Candle Wren Otter Plum Hazel Copper Fennel Marsh Crumb "
    "Drizzle Nettle Rook Saffron Tinder Umber Velvet Yarrow Anchor Button Clover Dapple Elder Flint Larch Mossy"
).split()
_SURNAME_ENDS = (
    "wick worth bottom feather snap thorpe mere gate hurst croft combe stead well dale field shaw "
    "brook ford bury kettle whistle pocket bell spoon"
).split()

# Given names with the pronoun they take, most common first.
_PRONOUNS = {
    "Agatha": "She", "Barnaby": "He", "Clementine": "She", "Ebenezer": "He", "Dorcas": "She", "Gideon": "He",
    "Fenella": "She", "Ignatius": "He", "Hester": "She", "Leopold": "He", "Jemima": "She", "Percival": "He",
    "Octavia": "She", "Septimus": "He", "Tabitha": "She", "Zebedee": "He",
}  # fmt: skip

# The world: which river a town lies on, and what one studies for a profession. Most common first.
_RIVERS = {
    "Port Marrow": "Ossel", "Upper Tumble": "Wend", "Nether Wallow": "Slake", "Saint Osric": "Thrum",
    "Gullhaven": "Brackle", "Mudwick": "Lull", "Cold Pudding": "Ebbie", "Larkstone": "Yarn",
    "Dunmoping": "Grizzle", "Pinchbeck": "Fidget", "Old Sallow": "Merle", "Turnip Cross": "Dawdle",
    "Hagsworth": "Quaver", "Fogbury": "Tarn", "Little Doubt": "Murk", "Kettlemouth": "Splutter",
}  # fmt: skip
_SUBJECTS = {
    "a lighthouse keeper": "the theory of fog", "a clockmaker": "applied punctuality",
    "a botanist": "the grammar of moss", "a cartographer": "imaginary coasts",
    "a bell ringer": "practical thunder", "a cheesemonger": "the ethics of mould",
    "a diver": "holding the breath", "a poet": "rhymes for orange",
    "an astronomer": "the dark side of things", "a beekeeper": "polite conversation",
    "an engineer": "bridges without rivers", "a hatter": "the geometry of heads",
    "a dentist": "the courage of others", "a ghost hunter": "draughty corridors",
}  # fmt: skip

FIELDS: dict[str, Draw] = {
    "given": _zipf(*_PRONOUNS),
    "surname": Draw(tuple(start + end for start in _SURNAME_STARTS for end in _SURNAME_ENDS)),
    "birth": Draw(tuple(str(year) for year in range(1800, 1880))),
    "death": Draw(tuple(str(span) for span in range(40, 80)), shift="birth"),
    "profession": _zipf(*_SUBJECTS),
    "town": _zipf(*_RIVERS),
    "deed": _zipf(
        "inventing the silent trumpet", "losing the same umbrella twice", "teaching geese to march",
        "insuring the moon", "mapping every puddle", "refusing a statue", "outliving four doctors",
        "painting only Tuesdays", "apologising to a whale", "selling fog by the yard",
        "winning a duel by letter", "knitting a bridge",
    ),
    "parent": _zipf(
        "a miller", "a retired pirate", "a piano tuner", "two rival bakers", "a disgraced bishop",
        "a ferryman", "a travelling optician", "a maker of stilts", "a judge", "nobody in particular",
    ),
    "siblings": _zipf("three", "five", "seven", "nine", "eleven", "thirteen"),
    "temper": Draw(("melancholy", "vain", "one-eyed", "philosophical", "seasick", "jealous", "musical", "deaf")),
    "animal": Draw(("goat", "heron", "pug", "tortoise", "parrot", "badger", "mule", "eel", "goose", "cat")),
    "pet": Draw(("Duchess", "Admiral", "Crumpet", "Socrates", "Biscuit", "Thunder", "Regret", "Professor")),
    "dread": Draw(("soup", "ladders", "Mondays", "harps", "custard", "relatives", "applause", "the sea")),
    "object": Draw((
        "a ladder", "a borrowed spoon", "a wheel of cheese", "the price of eels", "a waltz", "a hedge",
        "an unpaid bill", "the shape of the earth",
    )),
    "cause": _zipf(
        "of surprise", "in mid-sentence", "of a chill caught at a wedding", "while dancing",
        "of too much marmalade", "under a falling sign", "at cards", "of old age and spite",
    ),
    "first_work": Draw(()), "second_work": Draw(()), "third_work": Draw(()),  # filled in below
    "first_year": Draw(tuple(str(span) for span in range(20, 40)), shift="birth"),
    "critic": _zipf("The Marrow Gazette", "The Weekly Sneer", "The Lantern", "The Owl", "The Plain Truth"),
    "verdict": Draw(("harmless", "too long", "a public danger", "nearly good", "upside down", "well bound")),
    "honour": _zipf("a pond", "a species of moth", "a small biscuit", "a steep lane", "a ferry", "a minor comet"),
    "day": Draw(("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")),
}  # fmt: skip

_WORKS = tuple(
    f"The {quality} {thing}"
    for quality in ("Reluctant", "Second", "Invisible", "Damp", "Honest", "Borrowed", "Crooked", "Last")
    for thing in ("Teapot", "Bishop", "Sea", "Window", "Orchard", "Uncle", "Violin", "Winter")
)
FIELDS["first_work"] = Draw(_WORKS)
FIELDS["second_work"] = Draw(_WORKS, unlike=("first_work",))
FIELDS["third_work"] = Draw(_WORKS, unlike=("first_work", "second_work"))

# Fields that follow from another one: the field they follow from, and the rule.
WORLD: dict[str, tuple[str, dict[str, str]]] = {
    "river": ("town", _RIVERS),
    "subject": ("profession", _SUBJECTS),
    "He": ("given", _PRONOUNS),
    "he": ("given", {given: pronoun.lower() for given, pronoun in _PRONOUNS.items()}),
}

_SHORT: tuple[str | Branch, ...] = (
    " = {given} {surname} = \n\n",
    " {given} {surname} ( {birth} – {death} ) was {profession} from {town} , known for {deed} . \n\n",
    " = = Life = = \n\n",
    " {surname} was born in {birth} in {town} on the River {river} , the youngest of {siblings} children of {parent} . ",
    "{He} studied {subject} and became {profession} . \n ",
    Branch("habit", {
        "Most evenings": " {he} walked out with a {temper} {animal} called {pet} . ",
        "For company": " {he} kept a {temper} {animal} called {pet} . ",
        "All the while": " {he} lived in dread of {dread} . ",
        "Late in life": " {he} quarrelled with {town} over {object} . ",
    }),
    "{surname} died {cause} in {death} , still famous for {deed} . \n\n",
)  # fmt: skip
_WORKS_AND_LEGACY: tuple[str | Branch, ...] = (
    " = = Works = = \n\n",
    " In {first_year} {surname} wrote {first_work} , which {critic} called {verdict} . ",
    "{second_work} and {third_work} followed . \n ",
    Branch("fate", {
        "Today": " only {first_work} is still read in {town} . ",
        "By mistake": " {second_work} was printed without its ending . ",
        "To this day": " no copy of {third_work} has been found . ",
    }),
    "\n\n = = Legacy = = \n\n",
    " {town} named {honour} after {given} {surname} , and on the last {day} of the year {critic} prints a poem "
    "about {profession} . \n\n",
)  # fmt: skip


def _grammar(full: bool) -> tuple[str | Branch, ...]:
    return _SHORT + _WORKS_AND_LEGACY if full else _SHORT


@cache
def _pieces(template: str) -> list[str]:
    """Split a template: fixed words at even places, field names at odd ones."""
    return re.split(r"\{(\w+)\}", template)


def _derived_probability(name: str, value: str) -> float:
    """How likely the rule `name` is to give `value` when the field it follows from is drawn again."""
    source, rule = WORLD[name]
    draw = FIELDS[source]
    return sum(p for option, p in zip(draw.options, draw.probabilities(), strict=True) if rule[option] == value)


def _write(choose: Callable[[str, Sequence[str], Sequence[float]], int], full: bool) -> Article:
    """Walk the grammar once; `choose(field, options, probabilities)` picks an option at each draw."""
    choices: dict[str, str] = {}
    costs: dict[str, float] = {}  # -log p of each fact set so far
    spans: list[Span] = []

    def draw(name: str, distribution: Draw) -> None:
        options, probabilities = distribution.possible(choices), distribution.probabilities()
        picked = choose(name, options, probabilities)
        choices[name], costs[name] = options[picked], -math.log(probabilities[picked])
        spans.append(Span(options[picked], "choice", costs[name]))

    def mention(name: str) -> None:
        if name in WORLD:
            source, rule = WORLD[name]
            value = rule[choices[source]]
            if name in costs:
                spans.append(Span(value, "recall", forgotten=costs[name]))
            else:
                costs[name] = -math.log(_derived_probability(name, value))
                spans.append(Span(value, "world"))
        elif name in choices:
            spans.append(Span(choices[name], "recall", forgotten=costs[name]))
        else:
            draw(name, FIELDS[name])

    def expand(template: str) -> None:
        for place, piece in enumerate(_pieces(template)):
            if place % 2:
                mention(piece)
            elif piece:
                spans.append(Span(piece, "grammar"))

    for part in _grammar(full):
        if isinstance(part, Branch):
            draw(part.name, part.draw())
            expand(part.continuations[choices[part.name]])
        else:
            expand(part)
    return Article(choices, tuple(spans))


def generate(number: int, seed: int | str = 0, full: bool = False) -> Iterator[Article]:
    """Yield `number` articles; the same seed gives the same ones.

    Short articles have a lead and a life; `full` ones also have works and a legacy.
    """
    source = random.Random(f"tinywiki {seed}")

    def choose(name: str, options: Sequence[str], probabilities: Sequence[float]) -> int:
        return source.choices(range(len(options)), probabilities)[0]

    for _ in range(number):
        yield _write(choose, full)


@cache
def articles(split: str, full: bool = False) -> tuple[Article, ...]:
    """The articles of the split "train", "validation" or "test". No text stands in two of them (tested)."""
    return tuple(generate(SPLITS[split], split, full))


def render(choices: dict[str, str], full: bool = False) -> Article:
    """Write the article in which these choices were drawn. Raises ValueError for a choice that cannot be."""

    def choose(name: str, options: Sequence[str], probabilities: Sequence[float]) -> int:
        if choices.get(name) not in options:
            raise ValueError(f"{choices.get(name)!r} cannot be drawn for {name!r}; one of {list(options)[:5]} ... can")
        return options.index(choices[name])

    return _write(choose, full)


@cache
def _form(full: bool) -> tuple[re.Pattern[str], list[str]]:
    """A regular expression for the form of an article, and the name behind each of its groups."""
    names: list[str] = []

    def words(name: str) -> list[str]:
        if name in WORLD:
            return sorted(set(WORLD[name][1].values()))
        return [r"\d{4}"] if FIELDS[name].shift else [re.escape(option) for option in FIELDS[name].options]

    def pattern(template: str) -> str:
        result = ""
        for place, piece in enumerate(_pieces(template)):
            if place % 2:
                names.append(piece)
                result += f"({'|'.join(words(piece))})"
            else:
                result += re.escape(piece)
        return result

    def fork(branch: Branch) -> str:
        ways = []
        for opening, continuation in branch.continuations.items():
            names.append(branch.name)
            ways.append(f"({re.escape(opening)})" + pattern(continuation))
        return f"(?:{'|'.join(ways)})"

    parts = [fork(part) if isinstance(part, Branch) else pattern(part) for part in _grammar(full)]
    return re.compile("".join(parts)), names


def read(text: str, full: bool = False) -> list[tuple[str, str]]:
    """Read every mention of every field, in order, as (field, words), whether or not they agree.

    This asks only for the form of an article; `parse` also asks that recalled and world facts are right.
    Raises ValueError where the text has another form.
    """
    form, names = _form(full)
    found = form.fullmatch(text)
    if found is None:
        raise ValueError(f"not the form of a TinyWiki article: {text[:60]!r} ...")
    return [(name, words) for name, words in zip(names, found.groups(), strict=True) if words is not None]


def parse(text: str, full: bool = False) -> Article:
    """Read an article back from its text alone: `parse(article.text) == article`.

    Raises ValueError where the text could not have been generated.
    """
    choices: dict[str, str] = {}
    for name, words in read(text, full):
        if name not in WORLD:
            choices.setdefault(name, words)
    article = render(choices, full)
    if article.text != text:
        wrong = next(place for place, (a, b) in enumerate(zip(article.text, text, strict=False)) if a != b)
        raise ValueError(f"expected {article.text[wrong : wrong + 30]!r}, got {text[wrong : wrong + 30]!r}")
    return article


FIRST_SENTENCE = ("given", "surname", "birth", "death", "profession", "town", "deed")


def recalled_facts(text: str, full: bool = False) -> tuple[int, int]:
    """Count how often a fact of the first sentence is mentioned again, and how often it is unchanged.

    Returns (unchanged, mentioned again). Raises ValueError where the text has another form.
    """
    first: dict[str, str] = {}
    unchanged = mentioned = 0
    for name, words in read(text, full):
        if name in FIRST_SENTENCE and name in first:
            mentioned += 1
            unchanged += words == first[name]
        first.setdefault(name, words)
    return unchanged, mentioned


def entropy(full: bool = False) -> float:
    """The entropy of an article in nats, in closed form.

    Draws that follow each other add up; a fork adds the entropy of its opening and the mean over its ways. It
    equals the mean of `Article.nats` (Shannon, "A Mathematical Theory of Communication", 1948, section 6).
    """
    drawn: set[str] = set()

    def new_fields(template: str) -> set[str]:
        return set(_pieces(template)[1::2]) - set(WORLD) - drawn

    total = 0.0
    for part in _grammar(full):
        if isinstance(part, Branch):
            ways = [new_fields(way) for way in part.continuations.values()]  # mentioned nowhere after the fork
            total += part.draw().entropy()
            total += sum(FIELDS[name].entropy() for way in ways for name in way) / len(ways)
        else:
            new = new_fields(part)
            drawn |= new
            total += sum(FIELDS[name].entropy() for name in new)
    return total
