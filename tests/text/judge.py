"""The real tokenizers, as references for ours.

Reads a request (JSON) from the file that is the first argument and writes the answer (JSON) to
standard output. A request has the texts and one of

- "huggingface": a whole tokenizer.json;
- "byte_level": tokens, types, merges and the name of a pre-tokenizer, as a GGUF file has them;
- "sentencepiece": settings to train a small model with, and the text to train it on;
- "pieces": tokens, types and scores of a sentencepiece model, as a GGUF file has them.

The answer has the ids of each text, with the text of special tokens read as tokens ("special")
and as text ("plain"), and for sentencepiece the model.
"""

import io
import json
import struct
import sys

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers
from tokenizers import pre_tokenizers as pre

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = range(1, 7)

GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
QWEN2 = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
UPPER, LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
REST = r"| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
SHORT = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
LEAD = r"[^\r\n\p{L}\p{N}]?"
GPT4O = f"{LEAD}{UPPER}*{LOWER}+{SHORT}|{LEAD}{UPPER}+{LOWER}*{SHORT}|" + r"\p{N}{1,3}" + REST
TEKKEN = f"{LEAD}{UPPER}*{LOWER}+|{LEAD}{UPPER}+{LOWER}*|" + r"\p{N}" + REST


def split(expression):
    return pre.Split(Regex(expression), "isolated")


BYTES = pre.ByteLevel(add_prefix_space=False, use_regex=False)
PRETOKENIZERS = {
    "gpt-2": pre.ByteLevel(add_prefix_space=False, use_regex=True),
    "smollm": pre.Sequence(
        [pre.Digits(individual_digits=True), pre.ByteLevel(add_prefix_space=False, use_regex=True)]
    ),
    "llama-bpe": pre.Sequence([split(LLAMA3), BYTES]),
    "qwen2": pre.Sequence([split(QWEN2), BYTES]),
    "deepseek-r1-qwen": pre.Sequence([split(QWEN2), BYTES]),
    "gpt-4o": pre.Sequence([split(GPT4O), BYTES]),
    "tekken": pre.Sequence([split(TEKKEN), BYTES]),
    "default": pre.Sequence(
        [split(r"[\p{P}\$\+<=>\^~\|]+"), split(GPT2), split(r"\p{N}+"), split(r"[0-9][0-9][0-9]"), BYTES]
    ),
}


def both_ways(tokenizer, texts):
    """Ids of all texts, with and without finding special tokens."""
    out = {}
    for name, as_text in (("special", False), ("plain", True)):
        tokenizer.encode_special_tokens = as_text
        out[name] = [tokenizer.encode(t, add_special_tokens=False).ids for t in texts]
    return out


def add(tokenizer, tokens, types, strip=False):
    """Adds all that are not plain text; as Phi-3 has them, with the whitespace after most of them."""
    without = ("<unk>", "<s>", "<|endoftext|>")
    added = [
        # A piece of spaces is found where the normalizer has written them as the piece does.
        AddedToken(
            t,
            special=k in (CONTROL, UNKNOWN),
            normalized="\u2581" in t,
            rstrip=strip and k == CONTROL and t not in without,
        )
        for t, k in zip(tokens, types)
        if k in (CONTROL, UNKNOWN, USER_DEFINED)
    ]
    tokenizer.add_tokens([t for t in added if not t.special])
    tokenizer.add_special_tokens([t for t in added if t.special])


def huggingface(request):
    return both_ways(Tokenizer.from_str(request["huggingface"]), request["texts"])


def byte_level(request):
    file = request["byte_level"]
    tokenizer = Tokenizer(
        models.BPE(
            vocab={t: i for i, t in enumerate(file["tokens"])},
            merges=[tuple(m.split(" ")) for m in file["merges"]],
            ignore_merges=file["pre"] in ("llama-bpe", "tekken"),
        )
    )
    if file["pre"] == "qwen2":
        tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = PRETOKENIZERS[file["pre"]]
    tokenizer.decoder = decoders.ByteLevel()
    add(tokenizer, file["tokens"], file["types"])
    return both_ways(tokenizer, request["texts"])


def sentencepiece(request):
    import sentencepiece as spm

    settings, texts = request["sentencepiece"], request["texts"]
    model = io.BytesIO()
    spm.SentencePieceTrainer.train(
        sentence_iterator=iter(request["train"].splitlines()),
        model_writer=model,
        model_type="bpe",
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        hard_vocab_limit=False,
        minloglevel=2,
        **settings,
    )
    sp = spm.SentencePieceProcessor(model_proto=model.getvalue())
    if "unused" in request:
        normal = [kind(sp, settings, i) == NORMAL for i in range(sp.vocab_size())]
        proto = with_unused(model.getvalue(), normal, request["unused"])
        sp = spm.SentencePieceProcessor(model_proto=proto)

    ids = range(sp.vocab_size())
    answer = {
        "tokens": [sp.id_to_piece(i) for i in ids],
        "scores": [sp.get_score(i) for i in ids],
        "types": [kind(sp, settings, i) for i in ids],
        "unknown": sp.unk_id(),
        "plain": [sp.encode(t) for t in texts],
        "decoded": [sp.decode(sp.encode(t)) for t in texts],
    }
    # With special tokens, what counts is the tokenizer.json that such a model is published with.
    if settings.get("byte_fallback") and "unused" not in request:
        tokenizer = published(answer, settings, request.get("strip", False))
        answer["special"] = both_ways(tokenizer, texts)["special"]
    return answer


def pieces(request):
    import sentencepiece as spm

    file, texts = request["pieces"], request["texts"]
    sp = spm.SentencePieceProcessor(model_proto=proto_of(file))
    answer = {"plain": [sp.encode(t) for t in texts]}
    settings = {"add_dummy_prefix": file["prefix"]}
    answer["special"] = both_ways(published(file, settings), texts)["special"]
    return answer


def proto_of(file):
    """The sentencepiece model of these arrays: BPE with byte fallback, nothing normalized."""

    def varint(number):
        out = bytearray()
        while number >= 0x80:
            out.append(number & 0x7F | 0x80)
            number >>= 7
        return bytes(out) + bytes([number])

    def number(field, value):
        return varint(field << 3) + varint(value)

    def message(field, body):
        return varint(field << 3 | 2) + varint(len(body)) + body

    out = bytearray()
    for token, kind, score in zip(file["tokens"], file["types"], file["scores"]):
        token = token.replace(" ", "\u2581") if kind != CONTROL else token
        piece = message(1, token.encode()) + b"\x15" + struct.pack("<f", score) + number(3, kind)
        out += message(1, piece)
    bpe, flag = 2, lambda field, value: number(field, int(value))
    out += message(2, number(3, bpe) + flag(35, True))
    out += message(3, message(1, b"identity") + flag(3, file["prefix"]) + flag(4, False) + flag(5, True))
    return bytes(out)


def kind(sp, settings, i):
    if sp.is_byte(i):
        return BYTE
    if sp.is_unknown(i):
        return UNKNOWN
    if sp.is_control(i):
        return CONTROL
    if sp.is_unused(i):
        return UNUSED
    return USER_DEFINED if sp.id_to_piece(i) in settings.get("user_defined_symbols", []) else NORMAL


def with_unused(proto, normal, every):
    """The model with one in every so many normal pieces marked as unused.

    All fields of a sentencepiece model are messages, and the first is the repeated piece, whose
    field 3 is its type. Of a field that is there twice the last counts.
    """

    def varint(at):
        value = shift = 0
        while True:
            byte = proto[at]
            value |= (byte & 0x7F) << shift
            at, shift = at + 1, shift + 7
            if byte < 0x80:
                return value, at

    out, at, piece = bytearray(), 0, 0
    while at < len(proto):
        tag = proto[at]
        length, start = varint(at + 1)
        body = proto[start : start + length]
        at = start + length
        if tag == 1 << 3 | 2:
            if normal[piece] and piece % every == 0:
                body += bytes([3 << 3, UNUSED])
            piece += 1
        out.append(tag)
        length = len(body)
        while length >= 0x80:
            out.append(length & 0x7F | 0x80)
            length >>= 7
        out.append(length)
        out += body
    return bytes(out)


def published(model, settings, strip=False):
    """The model as converted by the `transformers` package."""
    tokens, scores, types = model["tokens"], model["scores"], model["types"]
    vocab = {t: i for i, t in enumerate(tokens)}
    merges = []
    for token, score, kind in zip(tokens, scores, types):
        if kind == NORMAL:
            pairs = [(token[:i], token[i:]) for i in range(1, len(token))]
            pairs = [p for p in pairs if p[0] in vocab and p[1] in vocab]
            merges += [(score, p) for p in sorted(pairs, key=lambda p: (vocab[p[0]], vocab[p[1]]))]
    merges = [p for _, p in sorted(merges, key=lambda m: -m[0])]
    tokenizer = Tokenizer(
        models.BPE(vocab=vocab, merges=merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True)
    )
    steps = [normalizers.Replace(" ", "\u2581")]
    if settings.get("add_dummy_prefix", True):
        steps.insert(0, normalizers.Prepend("\u2581"))
    tokenizer.normalizer = normalizers.Sequence(steps)
    add(tokenizer, tokens, types, strip)
    return tokenizer


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        request = json.load(file)
    kind = next(k for k in (huggingface, byte_level, sentencepiece, pieces) if k.__name__ in request)
    sys.stdout.write(json.dumps(kind(request)))


main()
