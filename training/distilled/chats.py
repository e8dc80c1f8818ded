"""Ten short chats with several models side by side, as Markdown.

python training/distilled/chats.py --attamba BIN NAME=MODEL.gguf ... > chats.md
"""

import argparse
from pathlib import Path

from runtime import converse

# Most likely tokens, so that models differ by what they compute and not by chance; repetition is penalized.
OPTIONS = "--temperature 0 --repeat-penalty 1.1 --limit 160".split()

CHATS = [
    ["Hello! Who are you?", "What can you help me with?", "Then tell me a joke about a cat."],
    ["What is the capital of France?", "Name three things to see there.", "Which of them is the oldest?"],
    ["Why is the sky blue?", "Explain that to a child of five.", "And why is the sunset red?"],
    ["Write a short story about a fox who is afraid of the dark.", "Give the fox a name.", "How does it end?"],
    ["How do I cook rice?", "I have no pot. What can I do?", "Sum up your advice in one sentence."],
    ["I can't sleep. What helps?", "I have tried tea already.", "Thank you. Wish me a good night."],
    ["What is 7 times 8?", "Add 10 to that.", "Is the result an even number?"],
    ["Write a Python function that reverses a string.", "Explain it line by line.", "Now reverse the words instead."],
    ["My name is Marta and I grow tomatoes.", "What do they need in spring?", "What is my name, and what do I grow?"],
    ["Give me a plan for learning Spanish.", "I have only ten minutes a day.", "What should I do first?"],
]


def named(text: str) -> tuple[str, Path]:
    name, found, path = text.partition("=")
    if not found or not Path(path).is_file():
        raise argparse.ArgumentTypeError(f"'{text}' is not NAME=FILE with an existing file")
    return name, Path(path)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--attamba", type=Path, required=True, help="the attamba command")
    parser.add_argument("models", type=named, nargs="+", metavar="NAME=MODEL.gguf")
    chosen = parser.parse_args()
    print("# Ten chats side by side\n")
    print(f"With `attamba chat {' '.join(OPTIONS)}`.")
    for number, messages in enumerate(CHATS, 1):
        print(f"\n## {number}")
        answers = {name: converse(chosen.attamba, path, messages, OPTIONS) for name, path in chosen.models}
        for message in messages:
            print(f"\n**{message}**\n\n| | |\n|---|---|")
            for name in answers:
                cell = next(answers[name]).replace("|", "\\|").replace("\n", "<br>")
                print(f"| {name} | {cell} |", flush=True)


if __name__ == "__main__":
    main()
