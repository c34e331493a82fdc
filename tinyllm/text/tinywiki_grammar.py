"""TinyWiki's grammar: the words, how likely each is, and the sentences they appear in."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property


@dataclass(frozen=True)
class Draw:
    """A distribution over whole words. Without `weights` it is uniform.

    With `shift` the options are numbers to add to that earlier field (death = birth + span). With `unlike`
    they exclude what those earlier fields drew: a draw without replacement, from equally likely options.
    """

    options: tuple[str, ...]
    weights: tuple[float, ...] = ()
    shift: str = ""
    unlike: tuple[str, ...] = ()

    def possible(self, facts: dict[str, str]) -> Sequence[str]:
        """The words that can be drawn, given the facts drawn so far."""
        if self.shift:
            return [str(int(facts[self.shift]) + int(span)) for span in self.options]
        if self.unlike:
            taken = {facts[name] for name in self.unlike}
            return [option for option in self.options if option not in taken]
        return self.options

    def probabilities(self) -> tuple[float, ...]:
        """One probability for each word of `possible`."""
        return self._probabilities

    @cached_property  # 16,000 articles ask for them 200,000 times
    def _probabilities(self) -> tuple[float, ...]:
        if self.weights:
            total = sum(self.weights)
            return tuple(weight / total for weight in self.weights)
        remaining = len(self.options) - len(self.unlike)
        return (1 / remaining,) * remaining

    def entropy(self) -> float:
        """-sum p log p, in nats."""
        return -sum(p * math.log(p) for p in self.probabilities())


@dataclass(frozen=True)
class Branch:
    """A fork: the opening words are drawn uniformly, and each leads to its own continuation."""

    name: str
    continuations: dict[str, str]

    def draw(self) -> Draw:
        """The distribution of the opening words."""
        return Draw(tuple(self.continuations))


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

_WORKS = tuple(
    f"The {quality} {thing}"
    for quality in ("Reluctant", "Second", "Invisible", "Damp", "Honest", "Borrowed", "Crooked", "Last")
    for thing in ("Teapot", "Bishop", "Sea", "Window", "Orchard", "Uncle", "Violin", "Winter")
)

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
    "first_work": Draw(_WORKS),
    "second_work": Draw(_WORKS, unlike=("first_work",)),
    "third_work": Draw(_WORKS, unlike=("first_work", "second_work")),
    "first_year": Draw(tuple(str(span) for span in range(20, 40)), shift="birth"),
    "critic": _zipf("The Marrow Gazette", "The Weekly Sneer", "The Lantern", "The Owl", "The Plain Truth"),
    "verdict": Draw(("harmless", "too long", "a public danger", "nearly good", "upside down", "well bound")),
    "honour": _zipf("a pond", "a species of moth", "a small biscuit", "a steep lane", "a ferry", "a minor comet"),
    "day": Draw(("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")),
}  # fmt: skip

# Fields that follow from another field: which one, and the rule.
WORLD: dict[str, tuple[str, dict[str, str]]] = {
    "river": ("town", _RIVERS),
    "subject": ("profession", _SUBJECTS),
    "He": ("given", _PRONOUNS),
    "he": ("given", {given: pronoun.lower() for given, pronoun in _PRONOUNS.items()}),
}

SHORT: tuple[str | Branch, ...] = (
    " = {given} {surname} = \n\n",
    " {given} {surname} ( {birth} – {death} ) was {profession} from {town} , known for {deed} . \n\n",
    " = = Life = = \n\n",
    " {surname} was born in {birth} in {town} on the River {river} , ",
    "the youngest of {siblings} children of {parent} . ",
    "{He} studied {subject} and became {profession} . \n ",
    Branch("habit", {
        "Most evenings": " {he} walked out with a {temper} {animal} called {pet} . ",
        "For company": " {he} kept a {temper} {animal} called {pet} . ",
        "All the while": " {he} lived in dread of {dread} . ",
        "Late in life": " {he} quarrelled with {town} over {object} . ",
    }),
    "{surname} died {cause} in {death} , still famous for {deed} . \n\n",
)  # fmt: skip
WORKS_AND_LEGACY: tuple[str | Branch, ...] = (
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


def sentences(full: bool) -> tuple[str | Branch, ...]:
    """The templates of a short or a full article, in order."""
    return SHORT + WORKS_AND_LEGACY if full else SHORT


@cache
def split_template(template: str) -> list[str]:
    """Split a template: fixed words at even indices, field names at odd ones."""
    return re.split(r"\{(\w+)\}", template)
