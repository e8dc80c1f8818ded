"""Small random models of public families: their files, and the logits that `transformers` computes for them.

    families.py write FOLDER         a GGUF file of each, with matrices in F32 and in F16; and FOLDER/families.json, with
                                     how far the logits of spec/reference.py are from those kept
    families.py judge [--write]      compares logits/ with what transformers computes now, or replaces it

The first needs numpy and gguf, the second also torch and transformers. Weights are drawn by the one generator of numpy
whose numbers never change and are rounded to half precision, so that both files hold the same model and its logits can be
kept. Names of tensors and keys are those of the package gguf, orders of rows and what is added to norms those of
llama.cpp's converter.
"""

import json
import math
import os
import sys

# The matrices are far too small for more threads.
os.environ.update(OPENBLAS_NUM_THREADS="1", OMP_NUM_THREADS="1")

import gguf  # noqa: E402
import numpy as np  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))
TOKENS = 48
COMMON = dict(vocab_size=61, hidden_size=60, intermediate_size=75, num_hidden_layers=3, num_attention_heads=6,
              num_key_value_heads=2, max_position_embeddings=128, rms_norm_eps=1e-5, tie_word_embeddings=False,
              pad_token_id=None, bos_token_id=None, eos_token_id=None)


def rope(theta=10000.0, rope_type="default", **more):
    return dict(rope_theta=theta, rope_type=rope_type, **more)


class Family:
    """A model: the class of its configuration in transformers with its arguments, and how it is written."""

    def __init__(self, transformers, arch, rope_parameters=None, *, permuted=False, biases="", keys=lambda w, c: None,
                 tensors=lambda c: {}, head_norms=False, norms=("input_layernorm", "post_attention_layernorm"),
                 gain=0.0, fused=False, **config):
        self.transformers, self.arch = transformers, arch
        self.config = dict(COMMON, rope_parameters=rope_parameters or rope(), **config)
        # Whether the converter reorders rows of queries and keys, so that a pair of values are neighbors.
        self.permuted = permuted
        # Which of q, k, v and o have biases; which norms a layer has; what the converter adds to their weights.
        self.biases, self.head_norms, self.norms, self.gain = biases, head_norms, norms, gain
        # Whether q, k and v are one matrix, and gate and up.
        self.fused = fused
        # What the family's file has beyond the keys and tensors of all.
        self.keys, self.tensors = keys, tensors

    def shapes(self):
        c = self.config
        d, ffn, layers = c["hidden_size"], c["intermediate_size"], c["num_hidden_layers"]
        head = c.get("head_dim", d // c["num_attention_heads"])
        q, kv = c["num_attention_heads"] * head, c["num_key_value_heads"] * head
        yield "model.embed_tokens.weight", (c["vocab_size"], d)
        for layer in range(layers):
            p = f"model.layers.{layer}."
            rows = dict(qkv=q + 2 * kv, o=d) if self.fused else dict(q=q, k=kv, v=kv, o=d)
            for side, n in rows.items():
                yield p + f"self_attn.{side}_proj.weight", (n, q if side == "o" else d)
                if side in self.biases:
                    yield p + f"self_attn.{side}_proj.bias", (n,)
            for side in "qk" if self.head_norms else "":
                yield p + f"self_attn.{side}_norm.weight", (head,)
            for side, n in dict(gate_up=2 * ffn).items() if self.fused else dict(gate=ffn, up=ffn).items():
                yield p + f"mlp.{side}_proj.weight", (n, d)
            yield p + "mlp.down_proj.weight", (d, ffn)
            for norm in self.norms:
                yield p + norm + ".weight", (d,)
        yield "model.norm.weight", (d,)
        if not c["tie_word_embeddings"]:
            yield "lm_head.weight", (c["vocab_size"], d)

    def weights(self):
        """Names and values as transformers has them."""
        rng = np.random.RandomState(20241125)
        out = {}
        for name, shape in self.shapes():
            x = rng.standard_normal(shape)
            if "norm" in name:
                x = 0.2 * x + 1 - self.gain
            elif name.endswith("bias"):
                x = 0.5 * x
            elif "embed" not in name:
                # Attention that looks at some tokens more than at others.
                x *= (2 if any(s in name for s in ("q_proj", "k_proj", "qkv", "lm_head")) else 1) / math.sqrt(shape[-1])
            out[name] = x.astype(np.float16).astype(np.float32)
        return out

    def tokens(self):
        return [int(t) for t in np.random.RandomState(17).randint(self.config["vocab_size"], size=TOKENS)]

    def write(self, path, dtype):
        c = self.config
        w = gguf.GGUFWriter(path, self.arch)
        arch = next(key for key, name in gguf.MODEL_ARCH_NAMES.items() if name == self.arch)
        names = gguf.get_tensor_name_map(arch, c["num_hidden_layers"])
        w.add_name(self.transformers)
        w.add_vocab_size(c["vocab_size"])
        w.add_tokenizer_model("no_vocab")
        w.add_block_count(c["num_hidden_layers"])
        w.add_context_length(c["max_position_embeddings"])
        w.add_embedding_length(c["hidden_size"])
        w.add_feed_forward_length(c["intermediate_size"])
        w.add_head_count(c["num_attention_heads"])
        w.add_head_count_kv(c["num_key_value_heads"])
        w.add_layer_norm_rms_eps(c["rms_norm_eps"])
        rope = c["rope_parameters"].get("full_attention", c["rope_parameters"])
        w.add_rope_freq_base(rope["rope_theta"])
        if "head_dim" in c:
            w.add_key_length(c["head_dim"])
            w.add_value_length(c["head_dim"])
        self.keys(w, c)
        for name, x in list(self.weights().items()) + list(self.tensors(c).items()):
            if "norm" in name:
                x = x + np.float32(self.gain)
            if self.permuted and any(f"{side}_proj" in name for side in "qk"):
                heads = c["num_attention_heads" if "q_proj" in name else "num_key_value_heads"]
                x = x.reshape(heads, 2, len(x) // heads // 2, *x.shape[1:]).swapaxes(1, 2).reshape(x.shape)
            name = names.get_name(name, try_suffixes=(".weight", ".bias")) or name
            w.add_tensor(name, x.astype(dtype if x.ndim == 2 else np.float32))
        w.write_header_to_file()
        w.write_kv_data_to_file()
        w.write_tensors_to_file()
        w.close()

    def logits(self):
        """What transformers computes."""
        import torch
        import transformers

        config = getattr(transformers, self.transformers + "Config")(**self.config)
        name = self.transformers.removesuffix("Text") + "ForCausalLM"
        model = getattr(transformers, name)._from_config(config, attn_implementation="eager").eval()
        weights = {name: torch.from_numpy(x) for name, x in self.weights().items()}
        if self.config["tie_word_embeddings"]:
            weights["lm_head.weight"] = weights["model.embed_tokens.weight"]
        model.load_state_dict(weights)
        with torch.no_grad():
            return model(torch.tensor([self.tokens()]), use_cache=False).logits[0].numpy()


def head_width(c):
    return c.get("head_dim", c["hidden_size"] // c["num_attention_heads"])


def rotated(w, c):
    w.add_rope_dimension_count(int(head_width(c) * c["rope_parameters"].get("partial_rotary_factor", 1)))


def linear(w, c):
    w.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
    w.add_rope_scaling_factor(c["rope_parameters"]["factor"])


def yarn(w, c):
    w.add_rope_scaling_type(gguf.RopeScalingType.YARN)
    w.add_rope_scaling_factor(c["rope_parameters"]["factor"])
    w.add_rope_scaling_orig_ctx_len(c["rope_parameters"]["original_max_position_embeddings"])


def windows(w, c):
    w.add_sliding_window(c["sliding_window"])


def granite(w, c):
    rotated(w, c)
    w.add_embedding_scale(c["embedding_multiplier"])
    w.add_residual_scale(c["residual_multiplier"])
    w.add_attention_scale(c["attention_multiplier"])
    w.add_logit_scale(c["logits_scaling"])


def phi3(w, c):
    rotated(w, c)
    w.add_sliding_window(c.get("sliding_window") or 0)
    original = c["original_max_position_embeddings"]
    w.add_rope_scaling_orig_ctx_len(original)
    longer = c["max_position_embeddings"] / original
    if longer > 1:
        w.add_rope_scaling_attn_factors(math.sqrt(1 + math.log(longer) / math.log(original)))


def phi3_factors(c):
    rope = c["rope_parameters"]
    return {f"rope_factors_{length}.weight": np.array(rope[f"{length}_factor"], np.float32) for length in ("long", "short")}


LLAMA3 = rope(rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=32)


def llama3_factors(c):
    """Divisors of the frequencies: none of those that turn often in the first training's context, `factor` of those that
    turn less than once, a blend in between."""
    rope, width = c["rope_parameters"], head_width(c)
    factor, low, high = rope["factor"], rope["low_freq_factor"], rope["high_freq_factor"]
    turns = rope["original_max_position_embeddings"] / (2 * math.pi * rope["rope_theta"] ** (np.arange(0, width, 2) / width))
    smooth = np.clip((turns - low) / (high - low), 0, 1)
    return {"rope_freqs.weight": (1 / ((1 - smooth) / factor + smooth)).astype(np.float32)}


GEMMA_NORMS = ("input_layernorm", "post_attention_layernorm", "pre_feedforward_layernorm", "post_feedforward_layernorm")
EXAONE_NORMS = ("post_attention_layernorm", "post_feedforward_layernorm")
LLAMA = dict(permuted=True, keys=rotated)

FAMILIES = {
    "llama": Family("Llama", "llama", **LLAMA),
    "llama_biases": Family("Llama", "llama", rope(rope_type="linear", factor=3.0), biases="qkvo", attention_bias=True,
                           permuted=True, keys=linear),
    "llama_yarn": Family("Llama", "llama", rope(rope_type="yarn", factor=4.0, original_max_position_embeddings=16),
                         permuted=True, keys=yarn, tie_word_embeddings=True),
    "llama_factors": Family("Llama", "llama", LLAMA3, permuted=True, keys=rotated, tensors=llama3_factors, head_dim=14),
    "mistral": Family("Mistral", "llama", permuted=True, keys=windows, sliding_window=9),
    "gemma3": Family("Gemma3Text", "gemma3", dict(full_attention=rope(1e6), sliding_attention=rope(1e4)), gain=1.0,
                     keys=windows, norms=GEMMA_NORMS, head_norms=True, head_dim=14, num_hidden_layers=7, sliding_window=9,
                     query_pre_attn_scalar=14, tie_word_embeddings=True),
    "gemma3_linear": Family("Gemma3Text", "gemma3", dict(full_attention=rope(1e6, "linear", factor=8.0),
                                                         sliding_attention=rope(1e4)), gain=1.0,
                            keys=lambda w, c: (windows(w, c), linear(w, dict(c, rope_parameters=c["rope_parameters"]
                                                                             ["full_attention"]))),
                            norms=GEMMA_NORMS, head_norms=True, head_dim=8, num_hidden_layers=6, sliding_window=20,
                            query_pre_attn_scalar=8, num_key_value_heads=1, tie_word_embeddings=True),
    "granite": Family("Granite", "granite", permuted=True, keys=granite, embedding_multiplier=12.0, residual_multiplier=0.22,
                      attention_multiplier=0.2, logits_scaling=6.0, tie_word_embeddings=True),
    "phi3": Family("Phi3", "phi3", keys=phi3, fused=True, sliding_window=11, original_max_position_embeddings=128),
    "phi3_long": Family("Phi3", "phi3", rope(rope_type="longrope", original_max_position_embeddings=32, partial_rotary_factor=1.0,
                                             long_factor=[1.0, 1.4, 3.0, 9.0, 30.0], short_factor=[1.0, 1.1, 1.2, 1.5, 2.0]),
                        keys=phi3, tensors=phi3_factors, fused=True, original_max_position_embeddings=32),
    "phi4_mini": Family("Phi3", "phi3", rope(rope_type="longrope", original_max_position_embeddings=32,
                                             partial_rotary_factor=0.6, long_factor=[1.0, 2.5, 14.0], short_factor=[1.0, 1.3, 2.0]),
                        keys=phi3, tensors=phi3_factors, fused=True, original_max_position_embeddings=32,
                        tie_word_embeddings=True),
    "qwen2": Family("Qwen2", "qwen2", rope(1e6), biases="qkv", tie_word_embeddings=True),
    "qwen3": Family("Qwen3", "qwen3", rope(1e6), head_dim=14, head_norms=True),
    "smollm3": Family("SmolLM3", "smollm3", rope(2e6), permuted=True, keys=rotated, num_hidden_layers=5),
    "exaone4": Family("Exaone4", "exaone4", norms=EXAONE_NORMS, head_norms=True, head_dim=10, sliding_window=None,
                      layer_types=["full_attention"] * 3),
    "exaone4_windows": Family("Exaone4", "exaone4", keys=windows, norms=EXAONE_NORMS, head_norms=True, head_dim=10,
                              num_hidden_layers=4, sliding_window=9, sliding_window_pattern=4),
}


def kept(name):
    return os.path.join(HERE, "logits", name + ".f32")


def relative_error(got, want):
    return float(np.linalg.norm(got - want) / np.linalg.norm(want))


def write(folder):
    sys.path.insert(0, os.path.join(HERE, "../../spec"))
    import reference

    cases = []
    for name, family in FAMILIES.items():
        files = [os.path.join(folder, f"{name}-{dtype}.gguf") for dtype in ("F32", "F16")]
        for file, dtype in zip(files, (np.float32, np.float16)):
            family.write(file, dtype)
        got = reference.logits(files[0], family.tokens())
        error = relative_error(got, np.fromfile(kept(name), "<f4").reshape(got.shape))
        cases.append(dict(name=name, tokens=family.tokens(), logits=kept(name), reference=error))
    part = os.path.join(folder, "families.json.part")
    with open(part, "w") as out:
        json.dump(cases, out)
    os.replace(part, os.path.join(folder, "families.json"))


def judge(replace):
    bad = 0
    for name, family in FAMILIES.items():
        want = family.logits().astype("<f4")
        if replace:
            want.tofile(kept(name))
        got = np.fromfile(kept(name), "<f4").reshape(want.shape)
        error = relative_error(got, want)
        bad += not error < 1e-5
        print(f"{name:12} relative error {error:.1e}, spread {want.std():.2f}")
    sys.exit(bad > 0)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["write", folder]:
            write(folder)
        case ["judge", *rest]:
            judge(rest == ["--write"])
        case _:
            sys.exit(__doc__)
