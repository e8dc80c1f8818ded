"""Conversations through the attamba command."""

import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path


class Conversation:
    """A chat with `model`, kept in a file between messages, so that it can be continued more than once.

    A line break within a message becomes a space, because the command reads one message per line. `options` are those
    of `attamba chat`, for all messages or for one. The folder of the file is removed by `close`, or at the end of a
    `with` block.
    """

    def __init__(self, attamba: Path, model: Path, options: list[str]):
        self.command = [attamba, "chat", "-m", model, *options]
        self.folder = tempfile.TemporaryDirectory()
        self.file = Path(self.folder.name) / "chat"

    def say(self, message: str, *options: str) -> str:
        """The answer to `message`; the conversation continues after it."""
        return self._answer(message, self.file, options)

    def ask_aside(self, message: str, *options: str) -> str:
        """The answer to `message`, which the conversation does not remember."""
        aside = self.file.with_name("aside")
        shutil.copyfile(self.file, aside)
        return self._answer(message, aside, options)

    def stats(self) -> str:
        """What the command says about the session: a line for each number."""
        return self._answer("/stats", self.file, [])

    def position(self) -> int:
        """Tokens in the session."""
        lines = [line.split() for line in self.stats().splitlines()]
        return next(int(line[1]) for line in lines if line and line[0] == "position")

    def close(self):
        self.folder.cleanup()

    def __enter__(self) -> "Conversation":
        return self

    def __exit__(self, *_):
        self.close()

    def _answer(self, message: str, file: Path, options: Iterable[str]) -> str:
        line = " ".join(message.split()) + "\n"
        command = [*self.command, *options, "--save", file]
        return subprocess.run(command, input=line, stdout=subprocess.PIPE, text=True, check=True).stdout.strip()


def converse(attamba: Path, model: Path, messages: Iterable[str], options: list[str]) -> Iterator[str]:
    """`model`'s answers to each of `messages`, one after the other in one conversation."""
    with Conversation(attamba, model, options) as conversation:
        for message in messages:
            yield conversation.say(message)
