"""ELECTRA: BERT with embeddings of their own size. Usage: python tests/golden/families/electra/make.py"""

import sys
from pathlib import Path

from sentence_transformers.sentence_transformer.modules import Normalize, Pooling
from transformers import ElectraConfig, ElectraForSequenceClassification, ElectraModel

sys.path.append(str(Path(__file__).parents[2]))
import tiny  # noqa: E402


def model(seed, embedding_size, model_class=ElectraModel, layers=1):
    tokenizer = tiny.wordpiece()
    shape = {"hidden_size": 24, "num_attention_heads": 3, "intermediate_size": 48, "num_hidden_layers": layers}
    sizes = {"embedding_size": embedding_size, "max_position_embeddings": 64, "num_labels": 1}
    config = ElectraConfig(vocab_size=len(tokenizer), **shape, **sizes)
    return tiny.randomize(model_class(config), seed), tokenizer


def case_mean_projected(folder):
    tiny.save_embedding(folder, *model(1, 16, layers=2), [Pooling(24, "mean"), Normalize()])


def case_cls(folder):
    tiny.save_embedding(folder, *model(2, 24), [Pooling(24, "cls"), Normalize()])


def case_reranker(folder):
    tiny.save_reranker(folder, *model(3, 24, ElectraForSequenceClassification))


def case_reranker_projected(folder):
    tiny.save_reranker(folder, *model(4, 16, ElectraForSequenceClassification))


CASES = [case_mean_projected, case_cls, case_reranker, case_reranker_projected]

if __name__ == "__main__":
    tiny.run(__file__, CASES)
