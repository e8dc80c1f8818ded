"""Train, evaluate, convert and export Attamba language models."""

import argparse
import sys
from pathlib import Path

import torch

from .errors import KitError
from .gguf_file import TYPES


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="attamba-train", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for add in (
        _add_tokenizer,
        _add_extract_tokenizer,
        _add_pack,
        _add_train,
        _add_distill,
        _add_plot,
        _add_perplexity,
        _add_export,
        _add_check,
        _add_convert,
        _add_merge,
        _add_convert_lingua,
        _add_bench,
    ):
        add(commands)
    chosen = parser.parse_args(arguments)
    if getattr(chosen, "threads", None) is not None:
        if not 1 <= chosen.threads <= 1024:
            parser.error(f"--threads is {chosen.threads}; it must be between 1 and 1024")
        torch.set_num_threads(chosen.threads)
    try:
        chosen.run(chosen)
    except KitError as error:
        print(f"attamba-train: {error}", file=sys.stderr)
        return 1
    return 0


def _command(commands, name: str, run, text: str) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=text, description=text)
    parser.set_defaults(run=run)
    return parser


def _add_tokenizer(commands):
    parser = _command(commands, "tokenizer", _tokenizer, "Train a byte-level BPE on text or JSON lines.")
    parser.add_argument("inputs", nargs="+", type=Path, help=".txt or .jsonl, also .xz or .gz")
    parser.add_argument("--vocab-size", type=int, default=4096)
    parser.add_argument("--megabytes", type=float, default=20.0, help="read about this much of each input")
    parser.add_argument("--out", type=Path, required=True, help="the tokenizer.json to write")


def _tokenizer(chosen):
    from . import corpus, tokenizer

    if not chosen.megabytes > 0:
        raise KitError(f"--megabytes is {chosen.megabytes}; it must be more than 0.")
    limit = int(chosen.megabytes * 1e6)
    texts = (text for path in chosen.inputs for text in corpus.beginning(corpus.documents(path), limit))
    made = tokenizer.train(texts, chosen.vocab_size)
    chosen.out.parent.mkdir(parents=True, exist_ok=True)
    made.save(str(chosen.out))
    print(f"{chosen.out}: {made.get_vocab_size()} entries")


def _add_extract_tokenizer(commands):
    text = "Write the tokenizer of a GGUF file, to pack data for a run that starts from its weights."
    parser = _command(commands, "extract-tokenizer", _extract_tokenizer, text)
    parser.add_argument("model", type=Path)
    parser.add_argument("--out", type=Path, required=True, help="the tokenizer.json to write")


def _extract_tokenizer(chosen):
    from . import gguf_file

    chosen.out.parent.mkdir(parents=True, exist_ok=True)
    chosen.out.write_text(gguf_file.load_text(chosen.model).tokenizer_json, encoding="utf-8")
    print(chosen.out)


def _add_pack(commands):
    parser = _command(commands, "pack", _pack, "Tokenize documents into a packed source of training tokens.")
    parser.add_argument("input", type=Path, help=".txt or .jsonl, also .xz or .gz")
    parser.add_argument("--tokenizer", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="the data folder")
    parser.add_argument("--name", required=True, help="name of the source in the YAML of a run")
    parser.add_argument("--sources", nargs="*", help="use only documents whose 'source' is one of these")
    parser.add_argument(
        "--chat", default="attamba", choices=["attamba", "chatml"], help="how conversations are written"
    )
    parser.add_argument("--held-out", type=float, default=0.02, help="share of documents for validation")
    parser.add_argument("--attribution", action="append", default=[], help="origin and license, for the model card")


def _pack(chosen):
    from . import corpus, token_file, tokenizer

    made = token_file.pack(
        chosen.name,
        corpus.documents(chosen.input, chosen.sources, chosen.chat),
        tokenizer.load(chosen.tokenizer),
        chosen.out,
        chosen.held_out,
        chosen.attribution,
    )
    for split, total in made.items():
        print(f"{chosen.name} {split}: {total.documents} documents, {total.tokens} tokens, {total.bytes} bytes")


def _add_train(commands):
    parser = _command(commands, "train", _train, "Train the model of a YAML file, or resume where it stopped.")
    parser.add_argument("config", type=Path)
    parser.add_argument("--data", type=Path, required=True, help="folder with the tokenizer and the packed sources")
    parser.add_argument("--out", type=Path, required=True, help="folder for the checkpoint, the logs and the plot")
    _add_time(parser)
    _add_machine(parser)


def _train(chosen):
    from . import run_config
    from .trainer import Trainer

    _run(chosen, run_config.load, Trainer)


def _run(chosen, load, kind):
    """Run a trainer of the class `kind`, whose settings `load` reads."""
    from .processes import Processes

    for name, minutes in (("--minutes", chosen.minutes), ("--within", chosen.within)):
        if minutes is not None and not minutes > 0:
            raise KitError(f"{name} is {minutes}; it must be more than 0.")
    config, processes = load(chosen.config), Processes(chosen.device)
    try:
        trainer = kind(config, chosen.data, chosen.out, processes)
        if processes.first:
            trained = sum(p.numel() for p in trainer.model.parameters() if p.requires_grad)
            print(f"{config.name}: {trained} parameters, {config.model.architecture}")
        complete = trainer.run(chosen.minutes, chosen.within)
        if processes.first:
            state = "complete" if complete else "stopped; run the same command to resume"
            print(f"{config.name}: step {trainer.step} of {trainer.config.steps}, {state}")
    finally:
        processes.close()


def _add_distill(commands):
    text = "Distill a pretrained transformer into Attamba, as a YAML file says, or resume where it stopped."
    parser = _command(commands, "distill", _distill, text)
    parser.add_argument("config", type=Path)
    parser.add_argument("--data", type=Path, required=True, help="folder with the tokenizer and the packed sources")
    parser.add_argument("--out", type=Path, required=True, help="folder for the checkpoint, the logs and the plot")
    _add_time(parser)
    _add_machine(parser)


def _distill(chosen):
    from . import distill_config
    from .distill import Distillation

    _run(chosen, distill_config.load, Distillation)


def _add_plot(commands):
    parser = _command(commands, "plot", _plot, "Draw the loss curves of a run into its loss.png, even while it runs.")
    parser.add_argument("run_folder", type=Path)


def _plot(chosen):
    from . import plot

    plot.losses(chosen.run_folder, chosen.run_folder.name)


def _add_perplexity(commands):
    parser = _command(commands, "perplexity", _perplexity, "Perplexity of a model on a text file.")
    parser.add_argument("model", type=Path, help="a .gguf file or the folder of a run")
    parser.add_argument("text", type=Path, help="UTF-8 text, split into windows that are evaluated independently")
    parser.add_argument("--context", type=int, help="tokens per window (default: as trained)")
    parser.add_argument("--chunk", type=int, help="tokens per chunk (default: as trained)")
    _add_machine(parser)


def _perplexity(chosen):
    from . import evaluate, run_folder
    from .processes import Processes

    model = run_folder.load_model(chosen.model)
    tokens = run_folder.encode(chosen.model, chosen.text)
    context = model.config.context if chosen.context is None else chosen.context
    loss, count = evaluate.text_loss(model, tokens, context, Processes(chosen.device).device, chosen.chunk)
    print(f"perplexity {evaluate.perplexity(loss):.4f} over {count} tokens, windows of {context}")


def _add_export(commands):
    parser = _command(
        commands, "export", _export, "Write a run's model as GGUF: with its card, or for a distillation the delta."
    )
    parser.add_argument("run_folder", type=Path)
    parser.add_argument("--out", type=Path, required=True, help="the .gguf to write; the card gets the extension .md")
    parser.add_argument("--type", default="F16", choices=list(TYPES), help="type of the matrices")
    parser.add_argument("--temperature", type=float, metavar="X", help="of the samples, recommended in the file")


def _export(chosen):
    from . import card, distill, gguf_file, run_folder

    if distill.is_run(chosen.run_folder):
        distill.export(chosen.run_folder, chosen.out, chosen.type)
        print(f"{chosen.out}: {chosen.out.stat().st_size} bytes; `attamba-train merge` combines it with its base")
        return
    run = run_folder.load(chosen.run_folder)
    gguf_file.save(chosen.out, run.model, run.config.name, chosen.type, run.text, chosen.temperature)
    size = chosen.out.stat().st_size
    chosen.out.with_suffix(".md").write_text(card.write(run, chosen.out.name, chosen.type, size))
    print(f"{chosen.out}: {size} bytes")


def _add_check(commands):
    parser = _command(commands, "check", _check, "Compare this kit's logits with a runtime's on a GGUF file.")
    parser.add_argument("model", type=Path)
    other = parser.add_mutually_exclusive_group(required=True)
    other.add_argument("--runtime", type=Path, help="the `attamba` command")
    other.add_argument("--reference", type=Path, help="the executable specification, spec/reference.py")
    parser.add_argument("--tokens", type=int, default=64, help="number of random tokens")
    parser.add_argument("--tolerance", type=float, default=1e-3, help="largest relative error that passes")


def _check(chosen):
    from . import check

    if not 1 <= chosen.tokens <= 1 << 20:
        raise KitError(f"--tokens is {chosen.tokens}; it must be between 1 and {1 << 20}.")
    tokens = check.random_tokens(chosen.model, chosen.tokens)
    if chosen.runtime:
        others = check.runtime_logits(chosen.runtime, chosen.model, tokens)
    else:
        others = check.reference_logits(chosen.reference, chosen.model, tokens)
    found = check.compare(chosen.model, tokens, others)
    print(f"relative error {found.relative_error:.2e}, same most likely token {found.same_argmax:.1%}")
    if not found.relative_error <= chosen.tolerance:
        raise KitError(f"The relative error {found.relative_error:.2e} is above {chosen.tolerance:.2e}.")


def _add_convert(commands):
    text = "Convert a pretrained GGUF file to Attamba: the base restricted to chunk boundaries and a window."
    parser = _command(commands, "convert", _convert, text)
    parser.add_argument("base", type=Path, help="a .gguf of a family that README.md lists")
    parser.add_argument("--out", type=Path, required=True, help="the .gguf to write")
    parser.add_argument("--chunk", type=int, default=8, help="tokens per chunk")
    parser.add_argument("--window", type=int, default=64, help="recent tokens that stay visible")
    parser.add_argument(
        "--far",
        type=_far,
        default=0,
        metavar="N|auto",
        help="KV heads that see every token: the first of the base's profile; auto: those that it calls far",
    )
    parser.add_argument("--inner", type=int, default=192, help="channels of a mixer's scan")
    parser.add_argument("--state", type=int, default=16, help="state elements per channel")
    parser.add_argument("--heads", type=int, default=6, help="scan heads")
    parser.add_argument("--scan", default="reset", choices=["reset", "carried"])
    parser.add_argument("--type", default="F16", choices=list(TYPES), help="type of the mixers; the rest is unchanged")


def _far(text: str) -> int | None:
    if text != "auto" and not text.isdecimal():
        raise argparse.ArgumentTypeError(f"'{text}' is neither a number of heads nor auto")
    return None if text == "auto" else int(text)


def _convert(chosen):
    from . import gguf_file, pretrained
    from .model import Chunks, Mixer

    mixer = Mixer(inner=chosen.inner, state=chosen.state, heads=chosen.heads, scan=chosen.scan)
    base = gguf_file.load(chosen.base)
    far = pretrained.first_far_heads(chosen.base, base.config, chosen.far)
    chunks = Chunks(length=chosen.chunk, window=chosen.window, far_heads=far)
    config = pretrained.config_of(base.config, chunks, mixer)
    model = pretrained.attach(base, config, seed=0)
    pretrained.write_whole(chosen.out, chosen.base, chosen.out.stem, config, pretrained.mixers(model), chosen.type)
    print(f"{chosen.out}: {chosen.out.stat().st_size} bytes")


def _add_merge(commands):
    parser = _command(commands, "merge", _merge, "Combine a base and a delta that `distill` trained into a full file.")
    parser.add_argument("base", type=Path)
    parser.add_argument("delta", type=Path)
    parser.add_argument("--out", type=Path, required=True, help="the .gguf to write")


def _merge(chosen):
    from . import pretrained

    pretrained.merge(chosen.base, chosen.delta, chosen.out)
    print(f"{chosen.out}: {chosen.out.stat().st_size} bytes")


def _add_convert_lingua(commands):
    parser = _command(commands, "convert-lingua", _convert_lingua, "Convert a checkpoint of the public training code.")
    parser.add_argument("checkpoint", type=Path, help="folder with params.json and the tensors")
    parser.add_argument("--tokenizer", type=Path, required=True, help="the tokenizer.json it was trained with")
    parser.add_argument("--out", type=Path, required=True, help="the .gguf to write")
    parser.add_argument("--type", default="F16", choices=list(TYPES), help="type of the matrices")


def _convert_lingua(chosen):
    from . import gguf_file, lingua, tokenizer

    model = lingua.convert(*lingua.read(chosen.checkpoint))
    text = gguf_file.Text(tokenizer.load(chosen.tokenizer).to_str())
    gguf_file.save(chosen.out, model, chosen.checkpoint.name, chosen.type, text)
    print(f"{chosen.out}: {chosen.out.stat().st_size} bytes")
    if model.config.mixer:
        print(f"Warning: {lingua.SCAN_WARNING}", file=sys.stderr)


def _add_bench(commands):
    parser = _command(commands, "bench", _bench, "Measure the training throughput of the model of a YAML file.")
    parser.add_argument("config", type=Path)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--plain", action="store_true", help="scan token by token, not compiled, for comparison")
    _add_machine(parser)


def _bench(chosen):
    from . import bench, run_config
    from .processes import Processes

    if not 1 <= chosen.steps <= 100_000:
        raise KitError(f"--steps is {chosen.steps}; it must be between 1 and 100000.")
    config = run_config.load(chosen.config)
    found = bench.measure(config, Processes(chosen.device).device, chosen.steps, chosen.plain)
    print(
        f"{config.name}: {found.tokens_per_second:.0f} tokens/s, {found.tokens_per_cpu_second:.0f} per second of "
        f"CPU time (first step {found.first_seconds:.1f} s)"
    )


def _add_time(parser: argparse.ArgumentParser):
    parser.add_argument("--minutes", type=float, help="stop after this many minutes; the run can be resumed later")
    parser.add_argument(
        "--within", type=float, metavar="MINUTES", help="choose 'train.tokens' so that the run is complete by then"
    )


def _add_machine(parser: argparse.ArgumentParser):
    parser.add_argument("--threads", type=int, help="CPU threads per process")
    parser.add_argument("--device", choices=["cpu", "cuda"], help="default: a GPU if there is one")


if __name__ == "__main__":
    sys.exit(main())
