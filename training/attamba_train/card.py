"""The model card: what a file is, what it was trained on, how well it predicts."""

from pathlib import Path

from .evaluate import perplexity
from .run_folder import Run


def write(run: Run, file_name: str, kind: str, size: int) -> str:
    """Markdown for a file of `size` bytes whose matrices are of type `kind`."""
    config, model = run.config, run.config.model
    trained, parameters = run.step * config.step_tokens / 1e6, run.model.parameter_count() / 1e6
    lines = [
        f"# {config.name}",
        "",
        f"`{file_name}` ({size / 1e6:.1f} MB, {kind}) is {_kind(run)} of {parameters:.2f} million",
        f"parameters, trained on {trained:.1f} million tokens with a context of {model.context} tokens.",
        "",
        *([f"It began with the weights of `{Path(config.init).name}`.", ""] if config.init else []),
        f"    attamba chat -m {file_name}",
        "",
        "## Shape",
        "",
        *_table(["setting", "value"], _shape(run)),
        "",
        "## Held-out perplexity",
        "",
        f"Over a vocabulary of {model.vocab_size} entries, windows of {model.context} tokens:",
        "",
        *_table(["source", "chunk length", "tokens scored", "perplexity"], _validation(run)),
        "",
        "## Training data",
        "",
        *_table(["source", "tokens", "passes per epoch"], _data(run)),
        "",
        *[f"- {line}" for source in run.sources.values() for line in source["attribution"]],
        "",
        "## Limits",
        "",
        "A model of this size has learned how sentences are formed, not facts: do not take anything it says as true.",
        "It was trained only on English, and repeats what its sources say, including the dated views of old books.",
    ]
    return "\n".join(lines) + "\n"


def _kind(run: Run) -> str:
    return {"attamba": "an Attamba decoder", "transformer": "a transformer"}[run.config.model.architecture]


def _shape(run: Run) -> list[tuple]:
    model = run.config.model
    rows = [
        ("layers", model.layers),
        ("width", model.width),
        ("heads / key-value heads / head size", f"{model.heads} / {model.kv_heads} / {model.head_dim}"),
        ("feed-forward width", model.feed_forward),
    ]
    if model.chunks:
        chunks, mixer = model.chunks, model.mixer
        rows += [
            ("chunk length (trained with)", f"{chunks.length} ({', '.join(map(str, chunks.lengths))})"),
            ("window", chunks.window),
            ("chunk offsets", chunks.offsets),
            ("scan", mixer.scan),
            (
                "scan channels / state / heads / taps",
                f"{mixer.inner} / {mixer.state} / {mixer.heads} / {mixer.conv}",
            ),
            ("separate W_k and W_v", "yes" if model.projected_kv else "no"),
        ]
    return [
        *rows,
        (f"keys and values of {model.context} tokens (16 bits)", f"{model.kv_bytes(model.context)} bytes"),
    ]


def _validation(run: Run) -> list[tuple]:
    return [
        (row["source"], row["chunk"] or "-", row["scored_tokens"], f"{perplexity(float(row['loss'])):.2f}")
        for row in run.validation
    ]


def _data(run: Run) -> list[tuple]:
    passes = run.config.data.sources
    return [(name, run.sources[name]["splits"]["train"]["tokens"], passes[name]) for name in passes]


def _table(head: list[str], rows: list[tuple]) -> list[str]:
    lines = [head, ["---"] * len(head), *rows]
    return ["| " + " | ".join(map(str, line)) + " |" for line in lines]
