"""tinyllm: a small language model, and a course that builds it."""

from importlib.metadata import PackageNotFoundError, version

from tinyllm.config import DataConfig, GenerationConfig, ModelConfig, RunConfig, TrainingConfig
from tinyllm.estimation import estimate
from tinyllm.evaluation import evaluate, evaluate_articles
from tinyllm.generation.writing import generate, generate_text, generate_texts, stream_text
from tinyllm.model.attention import CausalSelfAttention
from tinyllm.model.feedforward import FeedForward
from tinyllm.model.gpt import GPT, TransformerBlock
from tinyllm.model.kv_cache import KVCache
from tinyllm.model.weights import save_model
from tinyllm.presets import PRESETS
from tinyllm.pretrained import load_pretrained
from tinyllm.run import Run, load_run, train
from tinyllm.text.bpe import learn_merges
from tinyllm.text.sources import load_corpus
from tinyllm.text.subword_tokenizer import SubWordTokenizer
from tinyllm.text.tokenizer import CharacterTokenizer, WordTokenizer, load_tokenizer
from tinyllm.training.checkpoint import load_model

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
    "load_pretrained",
    "load_run",
    "load_tokenizer",
    "save_model",
    "stream_text",
    "train",
]
