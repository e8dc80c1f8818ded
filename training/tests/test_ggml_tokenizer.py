"""A tokenizer stored as arrays equals the tokenizer that it was made from."""

import json

import pytest

from attamba_train import ggml_tokenizer, tokenizer
from attamba_train.errors import KitError

TEXT = "Where is cat 12? By door 12, I think.<|endoftext|>  It's there\n"


@pytest.fixture(scope="module")
def whole():
    return tokenizer.train(["Where is the cat? The cat is by the door 12 12 12, I think. It's there."] * 3, 290)


@pytest.fixture(scope="module")
def arrays(whole):
    model = json.loads(whole.to_str())["model"]
    entries = sorted(model["vocab"], key=model["vocab"].get)
    return {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.tokens": entries,
        "tokenizer.ggml.merges": [" ".join(merge) for merge in model["merges"]],
        "tokenizer.ggml.token_type": [3 if entry in tokenizer.SPECIAL else 1 for entry in entries],
    }


def test_encodes_as_the_original(whole, arrays):
    built = ggml_tokenizer.build(arrays)
    assert built.encode(TEXT).ids == whole.encode(TEXT).ids
    assert built.decode(built.encode(TEXT).ids, skip_special_tokens=False) == TEXT


def test_smollm_keeps_digits_apart(arrays):
    built = ggml_tokenizer.build(arrays | {"tokenizer.ggml.pre": "smollm"})
    assert [built.decode([i]) for i in built.encode("12 12").ids] == ["1", "2", " ", "1", "2"]


@pytest.mark.parametrize("change", [{"tokenizer.ggml.model": "llama"}, {"tokenizer.ggml.pre": "other"}])
def test_other_kinds_are_refused(arrays, change):
    with pytest.raises(KitError, match="cannot be read"):
        ggml_tokenizer.build(arrays | change)
