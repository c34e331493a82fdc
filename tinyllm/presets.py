"""Named runs."""

from tinyllm.config import DataConfig, ModelConfig, RunConfig, TrainingConfig
from tinyllm.system.validation import near_names

PRESETS = {
    # Two minutes on two CPU cores, on TinyWiki; README says how close to the floor it ends.
    "quickstart": RunConfig(
        model=ModelConfig(
            vocab_size=1024, context_length=160, embedding_dim=192, num_layers=2, num_heads=6, feedforward_dim=768,
            dropout=0.0,
        ),
        dataset=DataConfig(data="tinywiki", tokenizer="bpe", block_begin="document"),
        training=TrainingConfig(
            max_iterations=800, batch_size=8, gradient_accumulation_steps=1, max_learning_rate=4e-3,
            min_learning_rate=1e-4, evaluation_interval=50, evaluation_blocks=64, checkpoint_interval=400,
        ),
        run_folder="models/quickstart",
    ),
    # An hour on two CPU cores, on WikiText-2 or the user's own text.
    "laptop": RunConfig(
        model=ModelConfig(
            vocab_size=4096, context_length=256, embedding_dim=256, num_layers=5, num_heads=8, feedforward_dim=1024,
            dropout=0.1,
        ),
        dataset=DataConfig(data="wikitext-2-raw-v1", tokenizer="bpe"),
        training=TrainingConfig(
            max_iterations=3000, batch_size=8, gradient_accumulation_steps=2, max_learning_rate=1.5e-3,
            min_learning_rate=1.5e-4, evaluation_interval=250, checkpoint_interval=500,
        ),
        run_folder="models/laptop",
    ),
    # The full run, for a GPU: all defaults.
    "wikitext103": RunConfig(),
    # The same data and size, with what has changed since GPT-2. In small CPU runs (chapter 09) Muon's best rate was
    # twice that of AdamW with one rate for all. So it is here; at this size no rate has been tuned.
    "wikitext103-modern": RunConfig(
        model=ModelConfig(
            norm="rmsnorm", positions="rotary", qk_norm=True, bias=False, zero_init=True,
            logit_softcap=30.0,
        ),
        training=TrainingConfig(
            optimizer="muon", schedule="warmup_stable_decay", decay_fraction=0.5, max_learning_rate=1.2e-3,
            min_learning_rate=0.0,
        ),
        run_folder="models/modern",
    ),
}  # fmt: skip


def get_preset(name: str) -> RunConfig:
    """The preset called `name`. Raises ValueError with near names if there is none."""
    if name not in PRESETS:
        raise ValueError(f"unknown preset {name!r}{near_names(name, PRESETS)}")
    return PRESETS[name]
