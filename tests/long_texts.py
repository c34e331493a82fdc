"""Long runs of one thing: a program that is quadratic in any of these would run for hours, not for seconds."""

import random

MILLION = 1_000_000


# A program that is quadratic in any of these would run for hours, not for seconds.
LONG = {
    "one letter": "a" * MILLION,
    "two letters in turn": "ab" * MILLION,
    "spaces": " " * MILLION,
    "spaces between letters": ("a" + " " * 1000) * 5000,
    "newlines": "\n" * MILLION,
    "spaces and newlines in turn": " \n" * MILLION,
    "signs": "=" * MILLION,
    "apostrophes": "'" * MILLION,
    "digits": "7" * MILLION,
    "letters without a space": "".join(random.Random(0).choices("acgt", k=MILLION)),
    "Chinese": "".join(map(chr, random.Random(0).choices(range(0x4E00, 0x9FA5), k=MILLION))),
    "separators": "<|endoftext|>" * 100_000,
    "pieces of separators": "<|endoftext" * 100_000,
    "NUL": "\0" * MILLION,
}
