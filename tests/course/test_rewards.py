"""The choice of a profession and a town: all its outcomes, and what each is worth."""

import itertools

import pytest
import torch

from tinyllm import GPT, BytePairTokenizer
