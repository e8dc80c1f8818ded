"""From text to windows of tokens."""

import json
import lzma

import numpy as np
import pytest

from attamba_train import corpus, token_file, tokenizer
from attamba_train.batches import Mixture, Source, even_windows
from attamba_train.errors import KitError


def test_conversation_is_written_as_the_chat_template_writes_it(data):
    turns = [["user", "Hi "], ["assistant", "Hello."], ["user", "Bye"]]
    text = corpus.as_chat(turns)
    assert text == "<|user|>Hi<|assistant|>Hello.<|endoftext|><|user|>Bye<|endoftext|>"
    jinja2 = pytest.importorskip("jinja2")
    messages = [{"role": role, "content": content.strip()} for role, content in turns]
    rendered = jinja2.Template(tokenizer.CHAT_TEMPLATE).render(messages=messages, add_generation_prompt=True)
    assert rendered == "<|endoftext|>" + text.removesuffix("<|endoftext|>") + "<|assistant|>"


def test_chatml_marks_both_ends_of_a_message(tmp_path):
    path = tmp_path / "chat.jsonl"
    path.write_text(json.dumps({"turns": [["user", " <|im_end|> "], ["assistant", "Yes."]]}))
    assert list(corpus.documents(path, form="chatml")) == [
        "<|im_start|>user\n< |im_end|><|im_end|>\n<|im_start|>assistant\nYes.<|im_end|>\n"
    ]


def test_special_tokens_come_first_and_any_text_survives(data):
    made = tokenizer.load(data / "tokenizer.json")
    assert [made.id_to_token(i) for i in range(4)] == tokenizer.SPECIAL
    for text in ("The cat sat.", "naïve 猫\n\n\tx  y", ""):
        assert made.decode(made.encode(text).ids) == text
    assert made.encode("<|user|>cat").ids[0] == made.token_to_id("<|user|>")


def test_text_cannot_smuggle_in_a_special_token(data):
    ids = tokenizer.load(data / "tokenizer.json").encode(corpus.as_text("a <|user|> b")).ids
    assert [i for i in ids if i < 4] == [0]


def test_compressed_and_plain_files_hold_the_same_documents(stories, tmp_path):
    packed = tmp_path / "s.jsonl.xz"
    packed.write_bytes(lzma.compress(stories.read_bytes()))
    assert list(corpus.documents(packed)) == list(corpus.documents(stories))
    assert len(list(corpus.documents(stories, ["talk"]))) == 20


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", "  \n", "holds no document"),
        ("a.jsonl", "", "holds no document"),
        ("a.jsonl", '{"source": "x", "text": "y"}\n', "holds no document of the sources other"),
        ("a.jsonl", "{broken\n", "Line 1 of"),
        ("a.jsonl", '{"title": "x"}\n', "neither 'text' nor 'turns'"),
        ("a.jsonl", '{"turns": [["narrator", "x"]]}\n', "neither 'text' nor 'turns'"),
        ("a.csv", "x", "should end in .txt or .jsonl"),
        ("a.jsonl.xz", "not xz", "cannot be read"),
    ],
)
def test_bad_input_is_reported_in_a_sentence(name, content, message, tmp_path):
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(KitError, match=message):
        list(corpus.documents(path, ["other"] if "other" in message else None))


def test_held_out_documents_do_not_depend_on_their_order(stories, data, tmp_path):
    made = tokenizer.load(data / "tokenizer.json")
    texts = list(corpus.documents(stories))
    token_file.pack("forth", texts, made, tmp_path, 0.2, [])
    token_file.pack("back", texts[::-1], made, tmp_path, 0.2, [])
    for split in token_file.SPLITS:
        forth, back = (made.decode(token_file.read(tmp_path, n, split, made), False) for n in ("forth", "back"))
        assert sorted(forth.split("<|endoftext|>")) == sorted(back.split("<|endoftext|>"))
    described = json.loads((tmp_path / "forth.json").read_text())["splits"]
    assert described["train"]["documents"] + described["validation"]["documents"] == len(texts)
    assert 0 < described["validation"]["documents"] < len(texts) // 2


def test_source_of_another_tokenizer_is_refused(data, stories):
    other = tokenizer.train(corpus.documents(stories), 290)
    with pytest.raises(KitError, match="another tokenizer"):
        token_file.read(data, "stories", "train", other)


@pytest.mark.parametrize(
    ("description", "message"),
    [("{broken", "is not a description"), ("3", "is not a description"), ('{"tokenizer": "x"}', "lacks 'vocab_size'")],
)
def test_damaged_description_is_reported(description, message, data, tmp_path):
    (tmp_path / "stories.json").write_text(description)
    with pytest.raises(KitError, match=message):
        token_file.read(tmp_path, "stories", "train", tokenizer.load(data / "tokenizer.json"))


def test_vocabulary_too_small_for_all_bytes_is_refused():
    with pytest.raises(KitError, match=r"vocabulary size is 100; it must be between 260"):
        tokenizer.train(["text"], 100)


def sources(passes=(1.0, 1.0)):
    return [
        Source("a", np.arange(1000, dtype="<u2"), passes[0]),
        Source("b", np.arange(5000, 5500, dtype="<u2"), passes[1]),
    ]


def test_an_epoch_shows_every_window_as_often_as_asked():
    mixture = Mixture(sources((1.0, 2.0)), context=10, seed=1)
    first = mixture.batch(0, mixture.epoch_windows)[:, 0]
    assert len(np.unique(first[first < 5000])) == mixture.windows[0] == (first < 5000).sum()
    assert (first >= 5000).sum() == 2 * mixture.windows[1]


def test_parts_of_a_source_follow_one_another_over_the_epochs():
    mixture = Mixture(sources((0.25, 1.0)), context=10, seed=1)
    first = mixture.batch(0, 4 * mixture.epoch_windows)[:, 0]
    seen = first[first < 5000]
    assert len(np.unique(seen)) >= len(seen) - 4  # a quarter of an odd number is rounded


def test_windows_depend_on_seed_and_index_alone():
    one, two = (Mixture(sources(), context=10, seed=1) for _ in range(2))
    two.batch(500, 3)
    np.testing.assert_array_equal(one.batch(7, 5), two.batch(7, 5))
    assert not np.array_equal(one.batch(7, 5), Mixture(sources(), context=10, seed=2).batch(7, 5))


def test_source_shorter_than_a_window_is_refused():
    with pytest.raises(KitError, match="'a' has 1000 tokens; a context of 800 needs at least 1601"):
        Mixture(sources(), context=800, seed=1)


def test_validation_windows_are_spread_over_the_source():
    windows = even_windows(np.arange(1001), context=10, at_most=50)
    assert windows.shape == (5, 11)
    assert windows[:, 0].tolist() == [0, 200, 400, 600, 800]
    with pytest.raises(KitError, match="5 tokens are held out"):
        even_windows(np.arange(5), context=10, at_most=50)
