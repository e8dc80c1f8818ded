"""The `attamba` command, called the way a user calls it."""

import contextlib
import json
import subprocess
import tempfile
from pathlib import Path

import numpy as np

import paths


@contextlib.contextmanager
def token_file(tokens):
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "tokens.txt")
        file.write_text(",".join(map(str, tokens)))
        yield file


class Attamba:
    def __init__(self, binary=paths.ATTAMBA, threads=2, activations="int14"):
        self.binary, self.threads, self.activations = Path(binary), threads, activations
        if not self.binary.is_file():
            raise SystemExit(f"{self.binary} does not exist; run cargo build --release or pass its path with --attamba.")

    def run(self, *arguments):
        """What `attamba ARGUMENTS` prints on stdout."""
        command = [str(self.binary), *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise SystemExit(f"{' '.join(command)} exited with status {done.returncode}:\n{done.stderr.strip()}")
        return done.stdout

    def json(self, *arguments):
        text = self.run(*arguments)
        try:
            return json.loads(text)
        except ValueError as error:
            shown = f"({error}):\n{text[:400]}"
            raise SystemExit(f"attamba {arguments[0]} --json printed invalid JSON {shown}") from None

    def version(self):
        return self.run("--version").strip()

    def generate(self, model, tokens, count):
        """The greedy continuation of `tokens`: at most `count` ids, up to and including a stop token."""
        with token_file(tokens) as file:
            answer = self.json("generate", "-m", model, "--threads", self.threads, "--tokens", f"@{file}",
                               "--greedy", "-n", count, "--json")
        return answer["tokens"]

    def logits(self, model, tokens):
        """Logits after each of `tokens`, [T, V], with K and V in f16 as in a session."""
        with token_file(tokens) as file:
            out = file.with_suffix(".f32")
            self.run("logits", model, "--threads", self.threads, "--activations", self.activations,
                     "--tokens", f"@{file}", "--out", out, "--kv", "f16")
            return np.fromfile(out, "<f4").reshape(len(tokens), -1)

    def perplexity(self, model, text_file, context):
        return self.json("perplexity", text_file, "-m", model, "--threads", self.threads, "-c", context, "--json")

    def bench(self, model, prompt, decode, depth, repetitions, memory=()):
        """Tokens per second, `{"pp512": [..], "tg64": [..]}`; a test of 0 tokens is left out. `memory`: its options."""
        rows = self.json("bench", "-m", model, "--threads", self.threads, "--activations", self.activations,
                         "-p", prompt, "-n", decode, "-d", depth, "-r", repetitions, *memory, "--json")
        return {row["test"]: row["samples"] for row in rows if row["depth"] == depth}
