"""The comparison of the bundled model with its twin, the transformer."""

from pathlib import Path

from attamba_train import csv_log

BUNDLED = Path(__file__).parents[1] / "bundled"

RUN = """
name: {name}
seed: 1
data: {{tokenizer: tokenizer.json, sources: {{tales: 1.0}}}}
model: {{vocab_size: 64, context: 64, width: 16, layers: 2, heads: 2, feed_forward: 32{model}}}
train: {{tokens: 4096, batch: 2, learning_rate: 0.001, warmup: 1}}
"""
CHUNKS = """,
  chunks: {length: 4, window: 8, trained_lengths: [4, 8]},
  mixer: {inner: 8, state: 4, heads: 2, scan: carried}"""


def test_twins_are_compared_where_both_were_scored(monkeypatch, tmp_path, capsys):
    monkeypatch.syspath_prepend(BUNDLED)
    import twin

    scored = {"ours": ("4", "8"), "twin": ("",)}
    for name, chunks in scored.items():
        folder = tmp_path / name
        folder.mkdir()
        (folder / "run.yaml").write_text(RUN.format(name=name, model=CHUNKS if name == "ours" else ""))
        log = csv_log.CsvLog(folder / "validation.csv", csv_log.VALIDATION_COLUMNS, 0)
        for tokens in (1000, 2000) if name == "twin" else (1000, 2000, 3000):
            for chunk in chunks:
                loss = 1.0 + int(chunk or 0) / 100 + (tokens < 2000)
                log.write(step=tokens, tokens=tokens, chunk=chunk, source="tales", scored_tokens=64, loss=loss)
        log.close()
        log = csv_log.CsvLog(folder / "train.csv", csv_log.TRAIN_COLUMNS, 0)
        for step in range(1, 26 if name == "twin" else 40):
            # The first ten steps have 1 to 10, of which the mean is 5.5.
            log.write(step=step, tokens=step * 10**5, chunk="", loss=step, gradient_norm=1, learning_rate=1, seconds=1)
        log.close()
    plot = tmp_path / "twin.png"
    twin.main([str(tmp_path / "ours"), str(tmp_path / "twin"), "--plot", str(plot)])
    tables = [part.splitlines()[2:] for part in capsys.readouterr().out.split("\n\n")]
    rows, training = ([[cell.strip() for cell in line.split("|")[1:-1]] for line in lines] for lines in tables)
    # 64 tokens: all of the last 9, and of the 55 before them every fourth or eighth; 16 numbers of 4 bytes in 2 layers.
    # The scans: 2 layers, 2 mixers of 8 x 4 numbers and 3 inputs of a convolution over 8 + 2 * 4 channels.
    scans = 4 * 2 * 2 * (8 * 4 + 3 * 16)
    kib = [f"{(128 * held + scan) / 1024:.0f} KiB" for held, scan in ((9 + 14, scans), (9 + 7, scans), (64, 0))]
    assert rows == [["ours, P 4", "2.83", kib[0]], ["ours, P 8", "2.94", kib[1]], ["twin", "2.72", kib[2]]]
    assert plot.stat().st_size > 1000
    assert training == [[f"after {n}.0 million tokens", *[f"{10 * n - 4.5:.3f}"] * 2] for n in (1, 2)]
