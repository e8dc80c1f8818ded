"""Conversations through the program of the runtime."""

import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path


def converse(
    attamba: Path, model: Path, messages: Iterable[str], options: list[str], system: str | None = None
) -> Iterator[str]:
    """What `model` answers to each of `messages`, one after the other in one conversation.

    A line break within a message becomes a space: the program takes a line for a message. `options` are those of
    `attamba chat`; `system` is the instruction before the conversation, which keeps it.
    """
    with tempfile.TemporaryDirectory() as folder:
        begin = ["--system", system] if system else []
        for message in messages:
            command = [attamba, "chat", "-m", model, "--save", f"{folder}/chat", *options, *begin]
            line = " ".join(message.split()) + "\n"
            yield subprocess.run(command, input=line, stdout=subprocess.PIPE, text=True, check=True).stdout.strip()
            begin = []
