"""DistilBERT: BERT without token types. Usage: python tests/golden/families/distilbert/make.py"""

import sys
from pathlib import Path

from sentence_transformers.sentence_transformer.modules import Normalize, Pooling
from transformers import (
    DistilBertConfig,
    DistilBertForMaskedLM,
    DistilBertForSequenceClassification,
    DistilBertModel,
)

sys.path.append(str(Path(__file__).parents[2]))
import tiny  # noqa: E402


def model(seed, model_class=DistilBertModel, **config):
    tokenizer = tiny.wordpiece()
    shape = {"dim": 24, "n_heads": 3, "hidden_dim": 48, "n_layers": 2, "max_position_embeddings": 64}
    config = DistilBertConfig(vocab_size=len(tokenizer), **{**shape, "num_labels": 1, **config})
    return tiny.randomize(model_class(config), seed), tokenizer


def case_mean(folder):
    tiny.save_embedding(folder, *model(1), [Pooling(24, "mean"), Normalize()])


def case_cls_relu(folder):
    tiny.save_embedding(folder, *model(2, activation="relu", n_layers=1), [Pooling(24, "cls"), Normalize()])


def case_for_masked_lm(folder):
    """Saved by transformers alone, with tensors named `distilbert.…` and a head that an embedding ignores."""
    tiny.save_plain(folder, *model(3, DistilBertForMaskedLM, n_layers=1))


def case_reranker(folder):
    tiny.save_reranker(folder, *model(4, DistilBertForSequenceClassification, n_layers=1))


def case_splade(folder):
    masked_lm, tokenizer = model(5, DistilBertForMaskedLM, n_layers=1)
    tiny.save_splade(folder, tiny.thin(masked_lm), tokenizer)


CASES = [case_mean, case_cls_relu, case_for_masked_lm, case_reranker, case_splade]

if __name__ == "__main__":
    tiny.run(__file__, CASES)
