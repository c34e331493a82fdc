"""A trained model as a folder that `transformers` reads, tokenizer and model card included."""

import shutil
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import save_file

from tinyllm.huggingface.conversion import to_huggingface
from tinyllm.huggingface.layouts import LAYOUTS
from tinyllm.huggingface.model_card import Facts, model_card
from tinyllm.huggingface.model_files import SETTINGS, WEIGHTS
from tinyllm.model.gpt import GPT
from tinyllm.system.files import new_folder, read_json, write_json
from tinyllm.text.subword_tokenizer import SubWordTokenizer
from tinyllm.text.tokenizer import END_OF_TEXT, Tokenizer

_ARCHITECTURES = {"gpt2": "GPT2LMHeadModel", "llama": "LlamaForCausalLM"}


def export_model(model: GPT, tokenizer: Tokenizer, target: Path, facts: Facts) -> Path:
    """Write a new folder for `transformers`' AutoModelForCausalLM and AutoTokenizer; it appears whole or not at all.

    Raises ValueError for a choice of the model's, or a tokenizer, that does not exist there, by name; OSError if
    `target` is there and not empty, or cannot be written.
    """
    if target.exists() and not (target.is_dir() and not any(target.iterdir())):
        raise FileExistsError(f"{target} is there already, and nothing is overwritten: name a new folder")
    above = next(folder for folder in target.parents if folder.exists())
    if not above.is_dir():
        raise NotADirectoryError(f"{above} is a file, so {target} cannot be made: name a folder elsewhere")
    if not isinstance(tokenizer, SubWordTokenizer):
        raise ValueError(f"tokenizer {tokenizer.kind!r} cannot be exported, only byte-level BPE ('gpt2', 'bpe')")
    tokenizer.check_vocabulary(model.config.vocab_size)
    settings, weights = to_huggingface(model)
    kind, end = settings["model_type"], tokenizer.end_of_text_id
    ends = {"bos_token_id": end, "eos_token_id": end}
    settings |= {"architectures": [_ARCHITECTURES[kind]], "dtype": "float32", **ends}
    weights = {LAYOUTS[kind].model + name: tensor.cpu() for name, tensor in weights.items()}
    try:
        with new_folder(target) as folder:
            write_json(folder / SETTINGS, settings)
            write_json(folder / "generation_config.json", ends | {"pad_token_id": end})
            save_file(weights, folder / WEIGHTS, {"format": "pt"})
            shutil.copymode(folder / SETTINGS, folder / WEIGHTS)  # `save_file` gives rights to the owner alone
            _write_tokenizer(tokenizer, folder, model.config.context_length)
            (folder / "README.md").write_text(model_card(target.resolve().name, model.config, facts), encoding="utf-8")
    except SafetensorError as error:  # how it reports a full disk
        raise OSError(f"{target} cannot be written: {error}") from error
    return target


def _write_tokenizer(tokenizer: SubWordTokenizer, folder: Path, context_length: int) -> None:
    """Its files, such that a text begins with the document separator, as the model has read it in training."""
    tokenizer.to_huggingface(folder)
    content: dict[str, Any] = read_json(folder / "tokenizer.json")
    separator = {"SpecialToken": {"id": END_OF_TEXT, "type_id": 0}}
    first, second = ({"Sequence": {"id": name, "type_id": 0}} for name in "AB")
    template = {
        "type": "TemplateProcessing",
        "single": [separator, first],
        "pair": [separator, first, separator, second],
        "special_tokens": {
            END_OF_TEXT: {"id": END_OF_TEXT, "ids": [tokenizer.end_of_text_id], "tokens": [END_OF_TEXT]},
        },
    }
    content["post_processor"] = {"type": "Sequence", "processors": [content["post_processor"], template]}
    write_json(folder / "tokenizer.json", content)
    settings = read_json(folder / "tokenizer_config.json")
    write_json(folder / "tokenizer_config.json", settings | {"model_max_length": context_length})
