"""The tokenizer that a llama GGUF file stores as arrays, as one of the `tokenizers` library."""

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

from .errors import KitError

CONTROL = 3  # the type of special tokens in `tokenizer.ggml.token_type`
BYTE_LEVEL = pre_tokenizers.ByteLevel(add_prefix_space=False)
SPLITS = {
    "gpt-2": BYTE_LEVEL,
    "smollm": pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), BYTE_LEVEL]),
}


def build(keys: dict) -> Tokenizer:
    """From a file's `tokenizer.ggml.*` values, by key."""
    kind, split = keys.get("tokenizer.ggml.model"), keys.get("tokenizer.ggml.pre", "gpt-2")
    if kind != "gpt2" or split not in SPLITS:
        raise KitError(
            f"The tokenizer kind {kind!r} with split {split!r} is not supported; byte-level BPE (gpt2) with the "
            f"splits {', '.join(SPLITS)} is, so this file cannot be read."
        )
    entries = keys["tokenizer.ggml.tokens"]
    merges = [tuple(merge.split(" ")) for merge in keys["tokenizer.ggml.merges"]]
    tokenizer = Tokenizer(models.BPE({entry: i for i, entry in enumerate(entries)}, merges))
    tokenizer.pre_tokenizer = SPLITS[split]
    tokenizer.decoder = decoders.ByteLevel()
    types = keys.get("tokenizer.ggml.token_type", [])
    special = [entry for entry, kind in zip(entries, types, strict=False) if kind == CONTROL]
    tokenizer.add_special_tokens([AddedToken(entry, special=True, normalized=False) for entry in special])
    return tokenizer
