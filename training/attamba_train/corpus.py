"""Documents from text files and JSON lines, plain or compressed."""

import gzip
import json
import lzma
from collections.abc import Iterable, Iterator
from pathlib import Path

from .errors import KitError
from .tokenizer import END_OF_TEXT, ROLES

OPENERS = {".xz": lzma.open, ".gz": gzip.open}


def documents(path: Path, sources: list[str] | None = None, form: str = "attamba") -> Iterator[str]:
    """Every document in `path` as the text to tokenize, with its end marked.

    `form` says how a conversation is written: a key of `FORMS`.

    A `.txt` file is one document. A line of a `.jsonl` file is an object with `text`, or with `turns`: a
    list of [role, text]. With `sources`, only objects whose `source` is among them are used.
    """
    path = Path(path)
    plain = path.with_suffix("") if path.suffix in OPENERS else path
    if plain.suffix not in (".txt", ".jsonl"):
        raise KitError(f"{path} should end in .txt or .jsonl, optionally followed by .xz or .gz.")
    count = 0
    try:
        with OPENERS.get(path.suffix, open)(path, "rt", encoding="utf-8") as file:
            for document in (
                _texts(file, path, sources, FORMS[form]) if plain.suffix == ".jsonl" else [as_text(file.read())]
            ):
                if document != END_OF_TEXT:
                    count += 1
                    yield document
    except (OSError, EOFError, lzma.LZMAError, UnicodeDecodeError) as error:
        raise KitError(f"{path} cannot be read: {error}.") from error
    if not count:
        wanted = f" of the sources {', '.join(sources)}" if sources else ""
        raise KitError(f"{path} holds no document{wanted}.")


def beginning(texts: Iterable[str], characters: int) -> Iterator[str]:
    """The first `characters` characters of `texts`."""
    for text in texts:
        yield text[:characters]
        characters -= len(text)
        if characters <= 0:
            return


def as_text(text: str) -> str:
    return _harmless(text.strip()) + END_OF_TEXT


def as_chat(turns: list[list[str]]) -> str:
    """A conversation as the chat template writes it: an answer ends with the end-of-text token."""
    parts = [f"<|{role}|>{_harmless(text.strip())}{END_OF_TEXT if role == 'assistant' else ''}" for role, text in turns]
    chat = "".join(parts)
    return chat if chat.endswith(END_OF_TEXT) else chat + END_OF_TEXT


def as_chatml(turns: list[list[str]]) -> str:
    """A conversation in the form for models that know `<|im_start|>`."""
    return "".join(f"<|im_start|>{role}\n{_harmless(text.strip())}<|im_end|>\n" for role, text in turns)


FORMS = {"attamba": as_chat, "chatml": as_chatml}


def _texts(lines, path: Path, sources: list[str] | None, as_conversation) -> Iterator[str]:
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise KitError(f"Line {number} of {path} is not JSON: {error}.") from error
        if not isinstance(row, dict):
            raise KitError(f"Line {number} of {path} is not a JSON object.")
        if sources and row.get("source") not in sources:
            continue
        if isinstance(row.get("text"), str):
            yield as_text(row["text"])
        elif _are_turns(row.get("turns")):
            yield as_conversation(row["turns"])
        else:
            raise KitError(
                f"Line {number} of {path} has neither 'text' nor 'turns' as a list of [role, text] with a role "
                f"among {', '.join(ROLES)}."
            )


def _are_turns(turns) -> bool:
    return (
        isinstance(turns, list)
        and bool(turns)
        and all(isinstance(t, list) and len(t) == 2 and t[0] in ROLES and isinstance(t[1], str) for t in turns)
    )


def _harmless(text: str) -> str:
    """Text in which nothing can be mistaken for a special token."""
    return text.replace("<|", "< |")
