"""What `transformers` makes of chats with chat templates: the answers that tests/templates.rs expects.

    judge.py write [FOLDER]   renders cases.json with each *.jinja of FOLDER, into answers.json there
    judge.py judge [FOLDER]   compares with what is in answers.json

FOLDER is this one by default. Needs transformers and jinja2: tests/families/requirements.txt. In an answer, `«now FORMAT»`
stands for the time; null is an error that the template raises, and a chat that it can't cope with is left out.
"""

import json
import sys
from pathlib import Path

from jinja2 import TemplateError
from transformers.utils import chat_template_utils

HERE = Path(__file__).resolve().parent


class Clock:
    """In place of `datetime`: a moment that tells how it was asked."""

    @staticmethod
    def now():
        return Clock

    @staticmethod
    def strftime(form):
        return f"«now {form}»"


def render(template, case):
    try:
        chats, _ = chat_template_utils.render_jinja_template(
            conversations=[case["messages"]],
            chat_template=template,
            add_generation_prompt=case.get("prompt", True),
            bos_token="<s>",
            eos_token="</s>",
            **case.get("variables", {}),
        )
        return chats[0]
    except TemplateError as error:
        # What the template itself raises; subclasses are errors in it.
        if type(error) is TemplateError:
            return None
    except (TypeError, AttributeError, KeyError, IndexError):
        pass
    return "«broken»"


def main():
    verb, *rest = sys.argv[1:]
    folder = Path(rest[0]) if rest else HERE
    chat_template_utils.datetime = Clock
    cases = json.loads((HERE / "cases.json").read_text(encoding="utf-8"))
    answers = {}
    for file in sorted(folder.glob("*.jinja")):
        template = file.read_text(encoding="utf-8")
        chats = {name: render(template, case) for name, case in cases.items()}
        answers[file.name] = {name: text for name, text in chats.items() if text != "«broken»"}
    file = folder / "answers.json"
    if verb == "write":
        file.write_text(json.dumps(answers, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    elif json.loads(file.read_text(encoding="utf-8")) != answers:
        sys.exit(f"{file} is not what transformers renders; `judge.py write` writes it")
    print(f"{len(answers)} templates, {len(cases)} chats each")


main()
