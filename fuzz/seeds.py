#!/usr/bin/env python3
"""Writes the seeds of the fuzz targets: tiny real files, and tokenizers of every kind.

    pip install numpy gguf
    seeds.py        into corpus/ next to this file
"""

import json
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "spec"))
import reference  # noqa: E402

TINY = dict(vocab=8, d=8, layers=1, heads=2, kv_heads=2, ffn=6, chunk=2, window=1, inner=4, state=2, groups=1,
            ssm_heads=2, conv=2, context=16)
BLOCKS = dict(TINY, d=32, ffn=32, inner=32)
MODELS = {
    "attamba": TINY,
    "carried": dict(TINY, carry=1, bias=0, tied=1, conv=1),
    "projected": dict(TINY, projected=1, kv_heads=1, layers=2, groups=2, window=0),
    "llama": dict(TINY, arch="llama"),
    "half": dict(TINY, quant="F16", tied=1),
    **{kind: dict(BLOCKS, quant=kind, arch="llama", tied=1) for kind in ("Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1")},
    "blocks": dict(BLOCKS, quant="Q4_0", tied=1),
}

TEXTS = ["the three  thieves\n\n\tare <s>here</s> 123,456!", "naïve 漢字 \U0001f469\u200d\U0001f469 <|im_start|>x"]


def tokenizers():
    """Pairs of name and bytes, in the layout that fuzz_targets/tokenizer.rs reads."""
    words = ["t", "h", "e", "th", "the", "r", "re", "s", "x"]

    def switches(kind, last):
        return bytes([kind, 0, 1, 255, 2, 255, 0b10, last])

    def sections(*texts):
        return b"\xff".join(t.encode() for t in texts)

    def document(**parts):
        empty = dict(version="1.0", truncation=None, padding=None, added_tokens=[], normalizer=None,
                     pre_tokenizer=None, post_processor=None, decoder=None)
        return json.dumps(dict(empty, **parts))

    def bpe(vocab, merges, **more):
        empty = dict(type="BPE", dropout=None, unk_token=None, continuing_subword_prefix=None,
                     end_of_word_suffix=None, fuse_unk=False, byte_fallback=False)
        return dict(empty, vocab={t: i for i, t in enumerate(vocab)}, merges=merges, **more)

    level = dict(type="ByteLevel", add_prefix_space=False, trim_offsets=True, use_regex=True)
    special = dict(id=9, content="<s>", single_word=False, lstrip=False, rstrip=False, normalized=False, special=True)
    merges = ["t h", "th e", "r e"]
    documents = {
        "byte-level": document(model=bpe(words, merges), pre_tokenizer=level, decoder=level, added_tokens=[special]),
        "metaspace": document(
            model=bpe(["<unk>", "▁", *words], ["t h", "th e"]),
            normalizer=dict(type="Sequence", normalizers=[
                dict(type="Prepend", prepend="▁"),
                dict(type="Replace", pattern=dict(String=" "), content="▁")])),
        "split": document(model=bpe(words, merges), pre_tokenizer=dict(type="Sequence", pretokenizers=[
            dict(type="Digits", individual_digits=True), level])),
        "unigram": document(model=dict(type="Unigram", unk_id=0, vocab=[["<unk>", 0.0], ["▁the", -1.5], ["e", -2.0]])),
        "wordpiece": document(model=dict(type="WordPiece", unk_token="[UNK]", continuing_subword_prefix="##",
                                         max_input_chars_per_word=100, vocab={"[UNK]": 0, "the": 1, "##re": 2})),
    }
    for name, text in documents.items():
        for number, words_of in enumerate(TEXTS):
            yield f"json-{name}-{number}", switches(0, 0) + sections(text, words_of)
    llama = "\n".join(f"{kind}{score}{token}" for kind, score, token in [
        ("3", "A", "<s>"), ("3", "A", "</s>"), ("2", "A", "<unk>"), ("1", "B", "▁t"), ("1", "C", "he"), ("1", "D", "▁the"),
        ("1", "Z", "▁"), ("1", "Y", "t"), ("1", "X", "h"), ("1", "W", "e"), ("4", "A", "漢")])
    gpt2 = "\n".join(f"1A{token}" for token in ["th", "the", "Ġt", "Ġthe", "re", "he"]) + "\n3A<|im_start|>\n4A<s>"
    merge_lines = "t h\nth e\nr e\nh e\nĠ t\nĠt he"
    for number, words_of in enumerate(TEXTS):
        yield f"llama-{number}", switches(1, 0) + sections(llama, "", words_of)
        for pre in range(8):
            yield f"gpt2-{pre}-{number}", switches(2, pre) + sections(gpt2, merge_lines, words_of)
        yield f"gpt2-bare-{number}", switches(2, 0b111000) + sections(gpt2, merge_lines, words_of)


TEMPLATES = (
    "{% for m in messages %}{{ '<|' + m.role + '|>\n' + m['content'] | trim + eos_token }}{% endfor %}",
    "{% set ns = namespace(n=0, x=[]) %}{% for m in messages[1:] %}{% set ns.x = ns.x + [m] %}{% endfor %}{{ ns.x ~ '' }}",
    "{% macro m(a, b=[1, (2, 3)]) %}{{ a * 2 }}{{ b | tojson(indent=2) }}{% endmacro %}{{ m('x') if 1 == 1 else m(2) }}",
    "{%- if messages[0].role in ['system'] and not none -%}{{ raise_exception('no') }}{% elif {} %}{% endif %}",
)


def main():
    for target in ("gguf", "model", "tokenizer", "template"):
        (HERE / "corpus" / target).mkdir(parents=True, exist_ok=True)
    for seed, (name, sizes) in enumerate(MODELS.items()):
        path = HERE / "corpus" / "model" / f"{name}.gguf"
        reference.make(str(path), seed, sizes)
        (HERE / "corpus" / "gguf" / path.name).write_bytes(path.read_bytes())
    for number, source in enumerate(TEMPLATES):
        (HERE / "corpus" / "template" / str(number)).write_text(source)
    for name, data in tokenizers():
        (HERE / "corpus" / "tokenizer" / name).write_bytes(data)


if __name__ == "__main__":
    main()
