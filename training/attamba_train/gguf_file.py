"""Reads and writes a model as a GGUF file, with keys and tensors named as in the specification."""

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import gguf
import numpy as np
import torch
from gguf.quants import dequantize, quantize

from . import families, ggml_tokenizer
from .errors import KitError
from .model import Chunks, Decoder, Mixer, ModelConfig

TYPES = {
    "F32": gguf.GGMLQuantizationType.F32,
    "F16": gguf.GGMLQuantizationType.F16,
    "Q8_0": gguf.GGMLQuantizationType.Q8_0,
}
ARCHITECTURES = {"attamba": "attamba", "transformer": "llama"}
MIXER_NAMES = {
    "in_proj.weight": "in.weight",
    "conv": "conv1d.weight",
    "conv_bias": "conv1d.bias",
    "dt_bias": "dt.bias",
    "a_log": "a",
    "d": "d",
    "norm": "norm.weight",
    "out_proj.weight": "out.weight",
}
EMBEDDING = "token_embd.weight"
OPTIONAL = {"conv1d.bias", "dt.bias"}


@dataclass(frozen=True)
class Text:
    """What a file says about text: the tokenizer and the chat template."""

    tokenizer_json: str
    end_of_text: int | None = None
    """The token that begins and ends documents, and ends an answer."""
    chat_template: str | None = None


def tensor_name(parameter: str) -> str:
    """The GGUF name of a parameter of the `Decoder`."""
    match = re.fullmatch(r"(blk\.\d+\.ssm_[kv])\.(.+)", parameter)
    return f"{match[1]}_{MIXER_NAMES[match[2]]}" if match else parameter


def save(path: Path, model: Decoder, name: str, kind: str, text: Text, temperature: float | None = None):
    """Write `model` as GGUF with its matrices in `kind` (a key of `TYPES`), vectors in F32.

    Runtimes that read recommended sampling parameters use `temperature` by default.
    """
    config = model.config
    if kind not in TYPES:
        raise KitError(f"The type {kind!r} is not one of {', '.join(TYPES)}; `attamba quantize` makes the others.")
    check_expressible(config)
    if config.family:
        raise KitError("This model has a family of its own; `convert` and `merge` make files of it, from its base.")
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(path.name + ".part")
    writer = gguf.GGUFWriter(str(unfinished), ARCHITECTURES[config.architecture])
    writer.add_name(name)
    write_keys(writer, config)
    _write_text(writer, text)
    if temperature is not None:
        writer.add_float32("general.sampling.temp", temperature)
    write_tensors(writer, model.state_dict().items(), kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    os.replace(unfinished, path)


def write_tensors(writer: gguf.GGUFWriter, parameters: Iterable[tuple[str, torch.Tensor]], kind: str):
    """Add `parameters` of a `Decoder`, by name, with their matrices in `kind` and vectors in F32."""
    for parameter, value in parameters:
        value = value.detach().float().cpu().numpy()
        if parameter.endswith("a_log"):
            value = -np.exp(value)
        _write_tensor(writer, tensor_name(parameter), value, TYPES[kind])


def open_reader(path: Path) -> gguf.GGUFReader:
    try:
        return gguf.GGUFReader(str(path))
    except (OSError, ValueError, IndexError) as error:
        raise KitError(f"{path} cannot be read as GGUF: {error}.") from error


def read_config(path: Path) -> ModelConfig:
    """The shape of the model in a GGUF file."""
    return _read_config(open_reader(path), path)


def load(path: Path) -> Decoder:
    """The model in a GGUF file, in float32, its matrices dequantized."""
    reader = open_reader(path)
    config = _read_config(reader, path)
    model = Decoder(config)
    model.load_state_dict(read_parameters(reader, path, model.state_dict()))
    known = families.DIVISORS | {tensor_name(parameter) for parameter in model.state_dict()}
    known |= {f"blk.{layer}.{fused}.weight" for layer in range(config.layers) for fused in families.FUSED}
    unknown = next((tensor.name for tensor in reader.tensors if tensor.name not in known), None)
    if unknown:
        raise KitError(f"{path} has the tensor {unknown}, which this kit has no use for.")
    return model


def read_parameters(reader: gguf.GGUFReader, path: Path, wanted: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The parameters named in `wanted`, in float32, each in the shape given there."""
    tensors = {tensor.name: tensor for tensor in reader.tensors}
    state = {}
    for parameter, expected in wanted.items():
        name = tensor_name(parameter)
        fused = _fused(name, tensors)
        if fused:
            sizes = [wanted[part].shape for part in fused[1]]
            whole = _value(path, tensors[fused[0]], (sum(rows for rows, _ in sizes), sizes[0][1]))
            state[parameter] = whole.split([rows for rows, _ in sizes])[fused[1].index(name)].clone()
            continue
        if name not in tensors:
            if not any(name.endswith(optional) for optional in OPTIONAL):
                raise KitError(f"{path} lacks the tensor {name}.")
            state[parameter] = torch.zeros_like(expected)
            continue
        value = _value(path, tensors[name], tuple(expected.shape))
        state[parameter] = (-value).log() if parameter.endswith("a_log") else value
    return state


def fuse(changed: Mapping[str, torch.Tensor], names: Iterable[str]) -> dict[str, torch.Tensor]:
    """`changed`, by parameter, with those joined that a file whose tensors have these `names` has in one.

    For those that it has in one, `changed` has either all or none.
    """
    names, joined = set(names), dict(changed)
    for parameter in changed:
        fused = _fused(parameter, names)
        if fused and parameter in joined:
            whole = torch.cat([joined.pop(part) for part in fused[1]])
            joined[fused[0]] = whole
    return joined


def _fused(name: str, tensors: Iterable[str]) -> tuple[str, list[str]] | None:
    """The tensor among `tensors` that the matrix `name` is a part of, and the names of all of its parts in order."""
    match = re.fullmatch(r"(blk\.\d+\.)(\w+)\.weight", name)
    for whole, parts in families.FUSED.items() if match else ():
        names = [f"{match[1]}{part}.weight" for part in parts]
        # What has its first part in a tensor of its own has them all so.
        if match[2] in parts and f"{match[1]}{whole}.weight" in tensors and names[0] not in tensors:
            return f"{match[1]}{whole}.weight", names
    return None


def _value(path: Path, tensor: gguf.ReaderTensor, expected: tuple[int, ...]) -> torch.Tensor:
    shape = tuple(int(size) for size in reversed(tensor.shape))
    if shape != expected:
        raise KitError(f"The tensor {tensor.name} of {path} has shape {shape}, not {expected}.")
    return torch.from_numpy(dequantize(tensor.data, tensor.tensor_type).astype(np.float32).reshape(shape))


def load_text(path: Path) -> Text:
    """The tokenizer and the chat template of a GGUF file."""
    reader = open_reader(path)
    read = {key: field.contents() for key, field in reader.fields.items() if key.startswith("tokenizer.")}
    whole = "tokenizer.huggingface.json"
    return Text(
        read[whole] if whole in read else ggml_tokenizer.build(read).to_str(),
        read.get("tokenizer.ggml.eos_token_id"),
        read.get("tokenizer.chat_template"),
    )


def check_expressible(config: ModelConfig):
    """Refuse what no file of the specification can express."""
    if config.architecture not in ARCHITECTURES:
        raise KitError(f"A model of the kind '{config.architecture}' has no GGUF form; attamba and transformer have.")
    if config.mixer and config.mixer.scan == "strided":
        raise KitError("The strided scan is not part of the specification, so no GGUF file can express it.")
    if config.chunks and not config.chunks.sink:
        raise KitError("The specification always keeps position 0 visible, so a model without a sink has no GGUF form.")


def write_keys(writer: gguf.GGUFWriter, config: ModelConfig):
    """The keys that express `config`."""
    writer.add_block_count(config.layers)
    writer.add_context_length(config.context)
    writer.add_embedding_length(config.width)
    writer.add_feed_forward_length(config.feed_forward)
    writer.add_vocab_size(config.vocab_size)
    writer.add_head_count(config.heads)
    writer.add_head_count_kv(config.kv_heads)
    writer.add_key_length(config.head_dim)
    writer.add_value_length(config.head_dim)
    writer.add_layer_norm_rms_eps(config.norm_eps)
    writer.add_rope_freq_base(config.rope_base)
    writer.add_rope_dimension_count(config.head_dim)
    if config.architecture == "attamba":
        write_mixer_keys(writer, config)
        write_far_heads(writer, config)


def write_mixer_keys(writer: gguf.GGUFWriter, config: ModelConfig):
    """Those that express its chunks and its mixers."""
    chunks, mixer, name = config.chunks, config.mixer, writer.arch
    offsets = [chunks.offset(i, config.layers, chunks.length) for i in range(config.layers)]
    writer.add_bool(f"{name}.attention.projected_kv", config.projected_kv)
    writer.add_uint32(f"{name}.chunk.length", chunks.length)
    writer.add_uint32(f"{name}.chunk.window", chunks.window)
    _write_u32s(writer, f"{name}.chunk.offsets", offsets)
    writer.add_bool(f"{name}.chunk.carry_state", mixer.scan == "carried")
    if chunks.trained_lengths:
        _write_u32s(writer, f"{name}.chunk.trained_lengths", chunks.trained_lengths)
    writer.add_ssm_inner_size(mixer.inner)
    writer.add_ssm_state_size(mixer.state)
    writer.add_ssm_group_count(mixer.groups)
    writer.add_ssm_time_step_rank(mixer.heads)
    writer.add_ssm_conv_kernel(mixer.conv)


def write_far_heads(writer: gguf.GGUFWriter, config: ModelConfig):
    """Those that name the KV heads that see everything, if it has any."""
    heads = config.chunks.far_heads
    if heads:
        _write_u32s(writer, f"{writer.arch}.memory.far_heads", [of * config.kv_heads + head for of, head in heads])


def _write_u32s(writer: gguf.GGUFWriter, key: str, values):
    writer.add_key_value(key, list(values), gguf.GGUFValueType.ARRAY, sub_type=gguf.GGUFValueType.UINT32)


def _write_text(writer: gguf.GGUFWriter, text: Text):
    writer.add_string("tokenizer.huggingface.json", text.tokenizer_json)
    if text.end_of_text is not None:
        writer.add_bos_token_id(text.end_of_text)
        writer.add_eos_token_id(text.end_of_text)
        writer.add_eot_token_id(text.end_of_text)
    if text.chat_template:
        writer.add_chat_template(text.chat_template)


def _write_tensor(writer: gguf.GGUFWriter, name: str, value: np.ndarray, kind: gguf.GGMLQuantizationType):
    block = gguf.GGML_QUANT_SIZES[kind][0]
    # The taps of a convolution are treated as vectors: a handful of numbers per row.
    if value.ndim < 2 or "conv1d" in name or value.shape[-1] % block:
        kind = TYPES["F32"]
    writer.add_tensor(name, quantize(value, kind), raw_dtype=kind)


def _read_config(reader: gguf.GGUFReader, path: Path) -> ModelConfig:
    meta = {key: field.contents() for key, field in reader.fields.items() if not key.startswith("tokenizer.")}
    name = meta.get("general.architecture")
    if name not in families.NAMES:
        raise KitError(f"{path} has the architecture {name!r}; this kit reads {', '.join(families.NAMES)}.")
    keys = families.Keys(meta, name)
    get, size = keys.get, keys.size
    width, heads, layers = size("embedding_length"), size("attention.head_count"), size("block_count")
    kv_heads = size("attention.head_count_kv", heads)
    chunks = mixer = None
    if f"{name}.chunk.length" in meta or name == "attamba":
        chunks = Chunks(
            length=get("chunk.length"),
            window=get("chunk.window"),
            offsets=list(get("chunk.offsets", [0] * layers)),
            far_heads=tuple(divmod(int(number), kv_heads) for number in get("memory.far_heads", ())),
        )
        mixer = Mixer(
            inner=get("ssm.inner_size"),
            state=get("ssm.state_size"),
            heads=get("ssm.time_step_rank"),
            groups=get("ssm.group_count", 1),
            conv=get("ssm.conv_kernel"),
            scan="carried" if get("chunk.carry_state", False) else "reset",
        )
    tensors = {tensor.name: tensor.data for tensor in reader.tensors}
    return ModelConfig(
        vocab_size=get("vocab_size", next((int(t.shape[-1]) for t in reader.tensors if t.name == EMBEDDING), None)),
        context=get("context_length", 1024),
        width=width,
        layers=layers,
        heads=heads,
        kv_heads=kv_heads,
        head_dim=get("attention.key_length", width // heads),
        feed_forward=size("feed_forward_length"),
        projected_kv=get("attention.projected_kv", mixer is None),
        tied="output.weight" not in tensors,
        rope_base=get("rope.freq_base", 10000.0),
        norm_eps=get("attention.layer_norm_rms_epsilon", 1e-5),
        chunks=chunks,
        mixer=mixer,
        family=families.read(keys, tensors),
    )
