"""Models that others have trained, from a folder in Hugging Face's layout or from the Hub."""

from pathlib import Path

from safetensors import SafetensorError

from tinyllm.huggingface.conversion import from_huggingface
from tinyllm.huggingface.hub_models import fetch_model
from tinyllm.huggingface.model_files import read_files
from tinyllm.model.gpt import GPT
from tinyllm.system.device import pick_device
from tinyllm.text.gpt2_vocabulary import GPT2_VOCAB_SIZE
from tinyllm.text.subword_tokenizer import SubWordTokenizer
from tinyllm.text.tokenizer import Tokenizer


def load_gpt2(name: str = "gpt2", device: str = "auto") -> GPT:
    """Load OpenAI's GPT-2 from the Hub ("gpt2", "gpt2-medium" ...: 0.5 GB and more), or from a folder with its files.

    Its tokenizer is `SubWordTokenizer("gpt2")`. A Llama of the kind that `from_huggingface` knows is loaded too.
    Raises ConnectionError if the Hub cannot be reached, ValueError for what is no such model.
    """
    chosen = pick_device(device)
    folder = Path(name) if Path(name).is_dir() else fetch_model(name, tokenizer=False)
    return read_model_folder(folder, name).to(chosen)


def read_model_folder(folder: Path, source: object) -> GPT:
    """The model in a folder, on the CPU, in evaluation mode. Raises ValueError, in one line that names `source`."""
    try:
        return from_huggingface(*read_files(folder))
    except (OSError, SafetensorError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"{str(source)!r} is not a GPT-2 or Llama that can be loaded: {error}") from None


def read_tokenizer_folder(folder: Path, model: GPT, source: object) -> Tokenizer:
    """The tokenizer of the model in a folder: byte-level BPE.

    GPT-2's own vocabulary needs no file, as its first release had none. Raises ValueError, in one line that names
    `source`, for any other kind, or if there is none.
    """
    try:
        if any((folder / name).exists() for name in ("tokenizer.json", "vocab.json")):
            return SubWordTokenizer.from_huggingface(folder)
        if (folder / "tokenizer.model").exists():
            raise ValueError("its tokenizer.model is SentencePiece's; only byte-level BPE, as GPT-2's, is read")
        if model.config.vocab_size == GPT2_VOCAB_SIZE and model.config.positions == "learned":
            return SubWordTokenizer("gpt2")
        raise ValueError("it has no tokenizer.json, and no vocab.json with merges.txt")
    except ValueError as error:
        raise ValueError(f"the tokenizer of {str(source)!r} cannot be used: {error}") from None
