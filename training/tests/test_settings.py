"""Bad settings end in one clear sentence."""

import pytest
import yaml
from conftest import run_settings

from attamba_train import run_config, settings
from attamba_train.errors import KitError

MISTAKES = [
    ("train.batch", None, "lacks the setting 'batch'"),
    ("train.speed", 3, "has no setting 'speed'; valid settings are tokens"),
    ("train.batch", "many", r"'file.train.batch' should be of type int, but it holds 'many' \(str\)"),
    ("train.batch", True, "should be of type int"),
    ("train.batch", 0, "'train.batch' is 0; it must be at least 1"),
    ("train.accumulate", 3, r"'train.accumulate' \(3\) does not divide 'train.batch' \(4\)"),
    ("train.learning_rate", float("nan"), "'train.learning_rate' is nan"),
    ("train.precision", "int8", "it must be float32 or bfloat16"),
    ("data.sources", {}, "names no source"),
    ("seed", -1, "'seed' is -1"),
    ("model.layers", 10**9, "'model.layers' is 1000000000; it must be between 1 and 1024"),
    ("model.heads", 5, r"'model.heads' \(5\) does not divide 'model.width' \(32\)"),
    ("model.kv_heads", 1, r"kv_heads \* head_dim \(1 \* 16\) must equal the width, 32"),
    ("model.chunks.length", 3, r"is 3, which is not among 'trained_lengths' \[2, 4\]"),
    ("model.chunks.offsets", "random", "it must be cyclic, uniform or a list"),
    ("model.chunks.offsets", [0, 1], "must be cyclic or uniform if several lengths"),
    ("model.chunks.far_heads", [[2, 0]], r"holds \[2, 0\]; a layer below 2 and a KV head below 2 are expected"),
    ("model.chunks.far_heads", [[1]], r"holds \[1\]; a layer below 2"),
    ("model.chunks.far_heads", [[1, 0], [0, 0], [1, 0]], r"holds \[1, 0\] twice"),
    ("model.mixer.scan", "backwards", "it must be one of reset, carried, strided"),
    ("model.mixer.heads", 3, r"'model.mixer.heads' \(3\) does not divide 'model.mixer.inner' \(16\)"),
    ("model.mixer", {}, "lacks the setting 'inner'"),
]


@pytest.mark.parametrize(("where", "value", "message"), MISTAKES, ids=lambda each: str(each)[:40])
def test_mistake_is_reported_with_its_numbers(where, value, message):
    whole = yaml.safe_load(yaml.safe_dump(run_settings()))
    *sections, key = where.split(".")
    section = whole
    for name in sections:
        section = section[name]
    if value is None:
        del section[key]
    else:
        section[key] = value
    with pytest.raises(KitError, match=message):
        settings.read(run_config.RunConfig, whole, "file")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "should hold settings"),
        ("- a\n- b\n", "should hold settings"),
        ("a: [", "is not valid YAML"),
        ("name: x\n", "lacks the setting 'seed'"),
    ],
)
def test_file_that_holds_no_run_is_refused(content, message, tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text(content)
    with pytest.raises(KitError, match=message):
        run_config.load(path)


def test_missing_file_is_named(tmp_path):
    with pytest.raises(KitError, match=r"absent.yaml cannot be read"):
        run_config.load(tmp_path / "absent.yaml")


def test_settings_survive_being_written_and_read(config, tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump(config.as_dict()))
    assert run_config.load(path) == config
