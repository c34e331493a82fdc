"""tinyllm: a small language model, and a course that builds it."""

from importlib.metadata import PackageNotFoundError, version

from tinyllm.attention import CausalSelfAttention, KVCache
from tinyllm.bpe import learn_merges
from tinyllm.checkpoint import load_model, save_model
from tinyllm.config import DataConfig, GenerationConfig, ModelConfig, RunConfig, TrainingConfig
from tinyllm.corpus import load_corpus
from tinyllm.estimate import estimate
from tinyllm.evaluation import evaluate, evaluate_articles
from tinyllm.feedforward import FeedForward
from tinyllm.generation import generate, generate_text, generate_texts, stream_text
from tinyllm.model import GPT, TransformerBlock
from tinyllm.presets import PRESETS
from tinyllm.run import Run, load_run
from tinyllm.tokenizer import CharacterTokenizer, SubWordTokenizer, WordTokenizer, load_tokenizer
from tinyllm.training import train

try:
    __version__ = version("tinyllm-course")
except PackageNotFoundError:  # imported from a checkout that was not installed
    __version__ = "0+unknown"

__all__ = [
    "GPT",
    "PRESETS",
    "CausalSelfAttention",
    "CharacterTokenizer",
    "DataConfig",
    "FeedForward",
    "GenerationConfig",
    "KVCache",
    "ModelConfig",
    "Run",
    "RunConfig",
    "SubWordTokenizer",
    "TrainingConfig",
    "TransformerBlock",
    "WordTokenizer",
    "estimate",
    "evaluate",
    "evaluate_articles",
    "generate",
    "generate_text",
    "generate_texts",
    "learn_merges",
    "load_corpus",
    "load_model",
    "load_run",
    "load_tokenizer",
    "save_model",
    "stream_text",
    "train",
]
