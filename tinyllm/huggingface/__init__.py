"""GPT-2 and Llama as Hugging Face has them: their layouts, the conversion both ways, folders and the Hub, the export.

Nothing that is loaded can run code: weights come from .safetensors files only, and settings and tokenizers from JSON.
"""

from tinyllm.huggingface.conversion import from_huggingface, to_huggingface
from tinyllm.huggingface.loading import load_gpt2

__all__ = ["from_huggingface", "load_gpt2", "to_huggingface"]
