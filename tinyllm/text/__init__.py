"""From text to batches of token ids, and back.

Where text comes from:

- `sources`: from a name to a corpus; `corpus`: what a corpus is
- `local_files`, `hub_datasets`, `wikitext`, `tinywiki`: the kinds of corpus, from your files, the Hub, or generated
- `folders`, `file_formats`, `table_files`: which files of a folder are read, what can be read, and the rows of tables
- `documents`, `rows`: where a document begins, and table rows as documents or lines
- `dialogues`: documents in which several speak
- `tinywiki_grammar`, `articles`, `entropy`: TinyWiki's words and their probabilities, its articles with the exact
  surprise of each, and the entropy floor

From text to ids:

- `tokenizer`: what all tokenizers share, and the two simplest, characters and words
- `bpe`: learning byte-pair merges; `subword_tokenizer`: encoding with them; `gpt2_vocabulary`: GPT-2's own ids
- `byte_level_files`: the files in which Hugging Face keeps such a vocabulary
- `tokenized`: documents to ids, on all cores

From ids to batches:

- `prepared`: a corpus tokenised once and kept on the disk; `preparing`: how it is written
- `holdout`: which part of the text is never trained on
- `batches`: which blocks make up each batch; `turns`: which of their tokens are learned, where several speak

No model and no loss is here: what a model makes of a batch is in `model` and `training`, and scoring is in
`evaluation`.
"""
