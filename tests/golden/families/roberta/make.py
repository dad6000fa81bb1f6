"""RoBERTa: byte-level BPE, positions that skip padding. Usage: python tests/golden/families/roberta/make.py"""

import sys
from pathlib import Path

from sentence_transformers.sentence_transformer.modules import Normalize, Pooling
from transformers import RobertaConfig, RobertaForSequenceClassification, RobertaModel

sys.path.append(str(Path(__file__).parents[2]))
import tiny  # noqa: E402


def model(seed, model_class=RobertaModel, **config):
    tokenizer = tiny.byte_level_bpe()
    shape = {"hidden_size": 24, "num_attention_heads": 3, "intermediate_size": 48, "num_hidden_layers": 2}
    defaults = {"max_position_embeddings": 50, "type_vocab_size": 1, "layer_norm_eps": 1e-5, "num_labels": 1}
    config = RobertaConfig(vocab_size=len(tokenizer), **{**shape, **defaults, **config})
    return tiny.randomize(model_class(config), seed), tokenizer


def case_mean(folder):
    tiny.save_embedding(folder, *model(1), [Pooling(24, "mean"), Normalize()])


def case_cls_two_types(folder):
    tiny.save_embedding(folder, *model(2, type_vocab_size=2, num_hidden_layers=1), [Pooling(24, "cls"), Normalize()])


def case_reranker(folder):
    tiny.save_reranker(folder, *model(3, RobertaForSequenceClassification, num_hidden_layers=1))


CASES = [case_mean, case_cls_two_types, case_reranker]

if __name__ == "__main__":
    tiny.run(__file__, CASES)
