#!/usr/bin/env python3
"""How many answers of a chat end in a loop: twenty answers of up to 400 tokens, at the default settings or at others.

    benches/repetition.py [-m MODEL] [-- OPTIONS OF attamba generate]

An answer loops if some span of 30 tokens stands in it three times in a row; what repeats may be shorter, as a loop of 10
tokens has such spans too. End tokens are forbidden with --whole, so that each answer has all of its 400 tokens. Exit
code 1 where an answer loops.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
MODEL = REPOSITORY / "models/fetched/SmolLM2-135M-Instruct.Q4_1.gguf"
QUESTIONS = (
    "Tell me a long story about a dragon and a small boy.",
    "Explain how a bicycle stays upright.",
    "What is the capital of France, and why is it famous?",
    "Write a poem about the sea.",
    "List the planets of the solar system and describe each.",
    "How do I bake bread?",
    "Give me ten tips for a job interview.",
    "What are the differences between a virus and a bacterium?",
    "Describe the history of the Roman Empire.",
    "Write a Python function that sorts a list.",
    "Why is the sky blue?",
    "Plan a three-day walk in the mountains, with what to pack.",
    "Write a letter to my landlord about a broken heater.",
    "Tell me about the life of Marie Curie.",
    "What should I eat to stay healthy?",
    "Explain inflation to a child.",
    "Write a dialogue between a cat and a dog.",
    "How does a computer work?",
    "What is the meaning of life?",
    "Summarize the plot of Romeo and Juliet.",
)
SPAN, TIMES = 30, 3


def loops(tokens):
    """Whether a span of SPAN tokens stands TIMES times in a row: a stretch of period SPAN or of a divisor of it, or
    a longer period."""
    for period in range(SPAN, len(tokens) // TIMES + 1):
        run = 0
        for at in range(period, len(tokens)):
            run = run + 1 if tokens[at] == tokens[at - period] else 0
            if run >= (TIMES - 1) * period:
                return True
    # A shorter period fills the same length.
    for period in range(1, SPAN):
        run = 0
        for at in range(period, len(tokens)):
            run = run + 1 if tokens[at] == tokens[at - period] else 0
            if run >= TIMES * SPAN - period:
                return True
    return False


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-m", "--model", default=MODEL)
    parser.add_argument("--attamba", default=REPOSITORY / "target/release/attamba")
    parser.add_argument("--tokens", type=int, default=400)
    parser.add_argument("--whole", action="store_true", help="forbid tokens 0 and 2, SmolLM2's end tokens")
    parser.add_argument("--show", action="store_true", help="print the answers that loop")
    parser.add_argument("options", nargs="*", help="of attamba generate")
    options = parser.parse_args()
    given = options.options + (["--bias", "0=-inf", "--bias", "2=-inf"] if options.whole else [])
    looping, made = [], 0
    for seed, question in enumerate(QUESTIONS, 1):
        command = [options.attamba, "generate", "--chat", "--json", "-p", question, "-n", str(options.tokens),
                   "-m", options.model, "--engine", "cpu", "--seed", str(seed), *given]
        result = subprocess.run(map(str, command), capture_output=True, check=True, text=True)
        answer = json.loads(result.stdout)
        made += len(answer["tokens"])
        if loops(answer["tokens"]):
            looping.append(question)
            if options.show:
                print(f"--- {question}\n{answer['text']}\n")
    print(f"{len(looping)} of {len(QUESTIONS)} answers loop; {made / len(QUESTIONS):.0f} tokens per answer")
    return bool(looping)


if __name__ == "__main__":
    sys.exit(main())
