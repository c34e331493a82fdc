"""The entropy floor: the fewest nats per TinyWiki article that any model can reach on average, in closed form.

The floor of given articles is the sum of their `Article.nats`; this is its mean over all articles.
"""

from tinyllm.text.tinywiki_grammar import FIELDS, WORLD, Branch, sentences, split_template


def article_entropy(full: bool = False) -> float:
    """The entropy of an article, in nats.

    The entropies of successive draws add up; a branch adds the entropy of its opening and the mean over its
    continuations. It equals the mean of `Article.nats` (Shannon, "A Mathematical Theory of Communication", 1948,
    section 6).
    """
    drawn: set[str] = set()

    def new_fields(template: str) -> set[str]:
        return set(split_template(template)[1::2]) - set(WORLD) - drawn

    total = 0.0
    for part in sentences(full):
        if isinstance(part, Branch):
            # A continuation's new fields are mentioned nowhere after the branch.
            continuations = [new_fields(template) for template in part.continuations.values()]
            total += part.draw().entropy()
            total += sum(FIELDS[name].entropy() for names in continuations for name in names) / len(continuations)
        else:
            new = new_fields(part)
            drawn |= new
            total += sum(FIELDS[name].entropy() for name in new)
    return total
