"""How good the stories and answers of small models are, by something other than taste.

    python training/bundled/judge.py models/attamba-stories.gguf models/fetched/smollm2.gguf \\
        --teacher models/fetched/smollm2.gguf --out judged [--text conversations.jsonl]

Each model answers 100 requests for stories and 100 simple remarks and questions at the default settings of a chat. The
teacher says how likely it finds each answer, given the request: mean log probability per token, the mean over the
answers. With `--text`, answers from the text that a model was trained on are judged too: what it can reach at best.
Beside it stand the share of 4-word sequences that an answer already has, of answers that end, with the end of
a sentence, and of stories with a name in which it comes back in the last third.
"""

import argparse
import json
import subprocess
from pathlib import Path
from statistics import mean

import prompts
import taught

COUNT = 100
TOKENS = 400  # at most, of an answer
STORY_WORDS = 80  # an answer in a text with as many words is a story
REMARKS = """Hello!|Hi there, how are you?|Good morning.|What is your name?|Who are you?|What can you do?|
Are you a robot?|Where do you live?|How old are you?|Can you help me?|I am sad today.|
I had a great day!|I am bored.|Thank you very much.|Goodbye!|What color is the sky?|
What color is grass?|What do cows eat?|What does a dog say?|How many legs does a spider have?|
What is two plus three?|What is the opposite of hot?|What do you like?|Do you have friends?|
What is the capital of Norway?|Who won the football game yesterday?|What time is it?|
Is it raining outside?|Can you write a program?|What is the meaning of life?|Do you like stories?|
What is a whale?|Where do penguins live?|What do bees make?|Why is the sky blue?|
I am afraid of the dark.|My dog is ill.|Today is my birthday!|Can you sing?|What should I do today?|
Do you sleep?|What day comes after Monday?|What is an umbrella for?|What is a baby cat called?|
How are you today?|Nice to meet you.|I don't like you.|Who made you?|
Tell me something about yourself.|What do we need a bed for?""".replace("\n", "").split("|")


def requests(count: int, seed: int) -> list[str]:
    """Different requests for stories, as prompts.py makes them, but without asking for one paragraph."""
    found: dict[str, None] = {}
    number = 0
    while len(found) < count:
        found[prompts.prompt(seed, number)["say"][0].replace(prompts.SHORT, "")] = None
        number += 1
    return list(found)


def ends(text: str) -> bool:
    return text.rstrip().rstrip("\"'”)").endswith((".", "!", "?"))


def run(example: str, *args: Path | str, out: Path | None = None):
    command = ["cargo", "run", "--quiet", "--release", "--example", example, "--", *map(str, args)]
    text = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout
    if out:
        out.write_bytes(text)


def read(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def judged(model: Path, asked: Path, teacher: Path, folder: Path) -> list[dict]:
    """The answers of a model, in the order of the requests, each with the teacher's `score`."""
    written, scored = folder / f"{model.stem}.jsonl", folder / f"{model.stem}.scores.jsonl"
    run("batch", model, asked, written, "16", str(TOKENS))
    rows = {row["id"]: row for row in scores(written, teacher, scored)}
    return [rows[row["id"]] for row in read(asked)]


def scores(written: Path, teacher: Path, scored: Path) -> list[dict]:
    """The answers in `written`, each with the teacher's `score`."""
    run("score", teacher, written, out=scored)
    found = {row["id"]: row["logprob"] for row in read(scored)}
    return [{**row, "score": found[row["id"]]} for row in read(written)]


def answers_of(text: Path, folder: Path) -> Path:
    """Stories and shorter answers of conversations, `COUNT` of each spread over `text`, each with its request."""
    found: dict[str, list[list]] = {"stories": [], "answers": []}
    for row in read(text):
        (asker, asked), (_, answer) = row["turns"][:2]
        if asker == "user":
            kind = "stories" if len(taught.words(answer)) >= STORY_WORDS else "answers"
            found[kind].append([["user", asked], ["assistant", answer]])
    written = folder / f"{text.stem}.jsonl"
    with written.open("w") as out:
        for kind, pairs in found.items():
            for number, turns in enumerate(pairs[:: max(1, len(pairs) // COUNT)][:COUNT]):
                print(json.dumps({"id": f"{kind} {number}", "turns": turns, "finish": "end"}), file=out)
    return written


def share(found: list[bool]) -> str:
    return f"{100 * mean(found):.0f} %"


def line(name: str, rows: list[dict], stories: bool) -> str:
    texts = [taught.answer(row) for row in rows]
    cells = [
        f"{mean(row['score'] for row in rows):.3f}",
        f"{100 * mean(taught.repeated(text) for text in texts):.1f} %",
        share([row["finish"] == "end" and ends(text) for row, text in zip(rows, texts, strict=True)]),
        f"{mean(len(taught.words(text)) for text in texts):.0f}",
    ]
    if stories:
        named = [text for text in texts if taught.names(text)]
        cells.append(f"{share([not taught.forgets(text) for text in named])} of {len(named)}" if named else "-")
    return f"| {name} | {' | '.join(cells)} |"


def transcripts(rows: list[dict]) -> str:
    return "\n".join(
        "".join(f"**{role.capitalize()}:** {text.strip()}\n\n" for role, text in row["turns"]) + "---\n" for row in rows
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", type=Path)
    parser.add_argument("--teacher", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="a new folder")
    parser.add_argument("--text", type=Path, help="JSON lines that pack takes, with turns")
    args = parser.parse_args()
    args.out.mkdir(parents=True)
    asked = args.out / "prompts.jsonl"
    # Each remark twice: an answer depends on its number too.
    said = {"stories": requests(COUNT, seed=7), "answers": [REMARKS[i % len(REMARKS)] for i in range(COUNT)]}
    with asked.open("w") as out:
        for kind, texts in said.items():
            for number, text in enumerate(texts):
                print(json.dumps({"id": f"{kind} {number}", "say": [text]}), file=out)
    found = {model.stem: judged(model, asked, args.teacher, args.out) for model in args.models}
    if args.text:
        written = answers_of(args.text, args.out)
        found["the text"] = scores(written, args.teacher, args.out / f"{args.text.stem}.scores.jsonl")
    for kind, texts in said.items():
        names = " the name comes back |" if kind == "stories" else ""
        print(f"\n| {len(texts)} {kind} | log probability | repeated | end | words |{names}")
        print("|---|" + "--:|" * (4 + bool(names)))
        for name, rows in found.items():
            print(line(name, [row for row in rows if row["id"].startswith(kind)], kind == "stories"))
    for name, rows in found.items():
        (args.out / f"{name}.md").write_text(transcripts(rows))


if __name__ == "__main__":
    main()
