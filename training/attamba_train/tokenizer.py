"""Byte-level BPE with the special tokens of the kit."""

from collections.abc import Iterable
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from .errors import KitError

END_OF_TEXT = "<|endoftext|>"
ROLES = ("user", "assistant", "system")
SPECIAL = [END_OF_TEXT, *(f"<|{role}|>" for role in ROLES)]
# A chat begins the way every document does in training: after the end of the one before it.
CHAT_TEMPLATE = (
    END_OF_TEXT + "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}"
    "{% if m.role == 'assistant' %}" + END_OF_TEXT + "{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
BYTES = 256


def train(texts: Iterable[str], vocab_size: int) -> Tokenizer:
    """A tokenizer of `vocab_size` entries: special tokens, the 256 bytes, then merges learned from `texts`."""
    smallest = BYTES + len(SPECIAL)
    if not smallest <= vocab_size <= 1 << 20:
        raise KitError(f"The vocabulary size is {vocab_size}; it must be between {smallest} and {1 << 20}.")
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def load(path: Path) -> Tokenizer:
    try:
        return Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises a bare Exception for every cause
        raise KitError(f"{path} is not a tokenizer: {error}.") from error
