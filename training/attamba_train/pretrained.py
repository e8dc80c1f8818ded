"""A pretrained transformer converted to Attamba: its tensors unchanged, and mixers that at first add nothing.

The resulting file computes the base restricted to chunk boundaries and a window, exactly: what the base does
to every token, it does to those that are still visible. Only files are handled here; training is in `distill`.
"""

import hashlib
import os
from dataclasses import replace
from pathlib import Path

import gguf
import torch

from . import gguf_file
from .errors import KitError
from .model import Chunks, Decoder, Mixer, ModelConfig

REPLACED = ("general.architecture", "general.name", "general.file_type")
BASE_NAME, BASE_SHA256 = "attamba.delta.base_name", "attamba.delta.base_sha256"


def config_of(base: ModelConfig, chunks: Chunks, mixer: Mixer | None) -> ModelConfig:
    """The base with mixers and chunks, or with neither and windows that a session chooses."""
    if base.architecture != "transformer":
        raise KitError(f"The base must be a transformer with full attention, not of the kind '{base.architecture}'.")
    if None not in (base.traits.windows or [None]):
        raise KitError(
            f"Each layer of the base has a sliding window of its own (attention.sliding_window = "
            f"{base.traits.windows[0]}), so none can have chunks."
        )
    return replace(base, chunks=chunks, mixer=mixer, projected_kv=True)


def far_heads_of(path: Path, base: ModelConfig) -> tuple[tuple[int, int], ...]:
    """Layer and index of the KV heads that the profile in the file of `base` lists, if any, the best first."""
    reader = gguf_file.open_reader(path)
    field = reader.fields.get(f"{_family(reader)}.memory.far_heads")
    return tuple(divmod(int(number), base.kv_heads) for number in field.contents()) if field else ()


def first_far_heads(path: Path, base: ModelConfig, count: int | None) -> tuple[tuple[int, int], ...]:
    """The first `count` KV heads that the profile in the file of `base` lists; if `None`, those that it calls far."""
    listed = far_heads_of(path, base)
    if count is None:
        reader = gguf_file.open_reader(path)
        field = reader.fields.get(f"{_family(reader)}.memory.far_count")
        count = int(field.contents()) if field else len(listed) or 1
    if count > len(listed):
        raise KitError(
            f"{count} KV heads are to see everything; the profile of {path} lists {len(listed)} "
            "(`attamba profile` makes one)."
        )
    return listed[:count]


def attach(base: Decoder, config: ModelConfig, seed: int) -> Decoder:
    """`base` as a model of `config`, sharing its parameters; new mixers, whose output projection is zero."""
    model = Decoder(config).init_weights(seed)
    for name, parameter in base.named_parameters():
        parent, _, last = name.rpartition(".")
        setattr(model.get_submodule(parent), last, parameter)
    for layer in (layer for layer in model.blk if layer.mixes):
        for mixer in (layer.ssm_k, layer.ssm_v):
            torch.nn.init.zeros_(mixer.out_proj.weight)
    return model


def write_whole(path: Path, base: Path, name: str, config: ModelConfig, changed: dict, kind: str):
    """The file `base` with the tensors `changed` (by parameter) replaced or added, in the type `kind`.

    All other tensors are copied byte by byte, quantized or not; so are the tokenizer and the chat template.
    """
    reader = gguf_file.open_reader(base)
    writer = _begin(path, reader, name, config)
    _copy_rest(writer, reader)
    changed = gguf_file.fuse(changed, (tensor.name for tensor in reader.tensors))
    new = {gguf_file.tensor_name(parameter): value for parameter, value in changed.items()}
    for tensor in reader.tensors:
        if tensor.name not in new:
            writer.add_tensor(tensor.name, tensor.data, raw_dtype=tensor.tensor_type)
    gguf_file.write_tensors(writer, changed.items(), kind)
    _finish(writer, path)


def write_delta(path: Path, base: Path, name: str, config: ModelConfig, changed: dict, kind: str):
    """Only the tensors `changed`, and which file they belong to."""
    reader = gguf_file.open_reader(base)
    writer = _begin(path, reader, name, config)
    writer.add_string(BASE_NAME, base.name)
    writer.add_string(BASE_SHA256, sha256(base))
    changed = gguf_file.fuse(changed, (tensor.name for tensor in reader.tensors))
    gguf_file.write_tensors(writer, changed.items(), kind)
    _finish(writer, path)


def open_delta(delta: Path, base: Path) -> gguf.GGUFReader:
    """`delta`, after checking that it belongs to `base`."""
    reader = gguf_file.open_reader(delta)
    keys = {key: field.contents() for key, field in reader.fields.items() if key in (BASE_NAME, BASE_SHA256)}
    if BASE_SHA256 not in keys:
        raise KitError(f"{delta} is not a delta: it lacks the key {BASE_SHA256}.")
    if keys[BASE_SHA256] != sha256(base):
        raise KitError(f"{delta} belongs to {keys[BASE_NAME]}, and {base} is a different file.")
    return reader


def merge(base: Path, delta: Path, out: Path):
    """Combine a base and its delta into a full file."""
    of_base, of_delta = gguf_file.open_reader(base), open_delta(delta, base)
    out.parent.mkdir(parents=True, exist_ok=True)
    writer = gguf.GGUFWriter(str(_unfinished(out)), _family(of_delta))
    for key, field in of_delta.fields.items():
        if not key.startswith(("GGUF.", "attamba.delta.")) and key != "general.architecture":
            _copy_key(writer, key, field)
    _copy_rest(writer, of_base)
    new = {tensor.name for tensor in of_delta.tensors}
    for tensor in [*(t for t in of_base.tensors if t.name not in new), *of_delta.tensors]:
        writer.add_tensor(tensor.name, tensor.data, raw_dtype=tensor.tensor_type)
    _finish(writer, out)


def mixers(model: Decoder) -> dict[str, torch.Tensor]:
    """The parameters that the base does not have."""
    return {name: value for name, value in model.state_dict().items() if ".ssm_" in name}


def sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _begin(path: Path, base: gguf.GGUFReader, name: str, config: ModelConfig) -> gguf.GGUFWriter:
    """A file of the model `config` made of `base`, whose own description it has too.

    Without mixers it remains a transformer: what its heads see is a session's choice, and no key.
    """
    if config.mixer:
        gguf_file.check_expressible(config)
    path.parent.mkdir(parents=True, exist_ok=True)
    family = _family(base)
    # What a llama with mixers is called; another family keeps its name, which says what its tensors mean.
    writer = gguf.GGUFWriter(str(_unfinished(path)), "attamba" if family == "llama" and config.mixer else family)
    writer.add_name(name)
    for key, field in base.fields.items():
        # Which heads see far was measured in the base; of the student, its training says it.
        if key.startswith(f"{family}.") and not key.startswith(f"{family}.memory."):
            _copy_key(writer, writer.arch + key.removeprefix(family), field)
    gguf_file.write_far_heads(writer, config)
    if config.mixer:
        gguf_file.write_mixer_keys(writer, config)
    return writer


def _family(reader: gguf.GGUFReader) -> str:
    return reader.fields["general.architecture"].contents()


def _copy_rest(writer: gguf.GGUFWriter, base: gguf.GGUFReader):
    """The keys of `base` that do not describe its network."""
    for key, field in base.fields.items():
        if not key.startswith((f"{_family(base)}.", "GGUF.")) and key not in REPLACED:
            _copy_key(writer, key, field)


def _finish(writer: gguf.GGUFWriter, path: Path):
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    os.replace(_unfinished(path), path)


def _unfinished(path: Path) -> Path:
    return path.with_name(path.name + ".part")


def _copy_key(writer: gguf.GGUFWriter, key: str, field):
    kinds = field.types
    writer.add_key_value(key, field.contents(), kinds[0], kinds[1] if len(kinds) > 1 else None)
