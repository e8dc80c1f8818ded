"""Training kit for Attamba language models.

In the order of a training run: `corpus` and `tokenizer` make packed token files, `batches`
deals them out, `model` computes, `trainer` trains, `export` writes the GGUF file that the runtime reads.
"""

__version__ = "0.1.0"
