"""MPNet: a bias by relative position in attention. Usage: python tests/golden/families/mpnet/make.py"""

import sys
from pathlib import Path

from sentence_transformers.sentence_transformer.modules import Normalize, Pooling
from transformers import MPNetConfig, MPNetForSequenceClassification, MPNetModel

sys.path.append(str(Path(__file__).parents[2]))
import tiny  # noqa: E402


def model(seed, model_class=MPNetModel, limit=tiny.LIMIT, layers=2):
    tokenizer = tiny.mpnet(limit)
    shape = {"hidden_size": 24, "num_attention_heads": 3, "intermediate_size": 48, "num_hidden_layers": layers}
    positions = {"max_position_embeddings": limit + 2, "relative_attention_num_buckets": 32}
    config = MPNetConfig(vocab_size=len(tokenizer), layer_norm_eps=1e-5, num_labels=1, **shape, **positions)
    return tiny.randomize(model_class(config), seed), tokenizer


def case_mean(folder):
    tiny.save_embedding(folder, *model(1), [Pooling(24, "mean"), Normalize()])


def case_cls_long(folder):
    """Up to 160 tokens: the last text has 139, so that the buckets of the farthest positions are used."""
    tiny.save_embedding(folder, *model(2, limit=160), [Pooling(24, "cls"), Normalize()])


def case_reranker(folder):
    tiny.save_reranker(folder, *model(3, MPNetForSequenceClassification, layers=1))


CASES = [case_mean, case_cls_long, case_reranker]

if __name__ == "__main__":
    tiny.run(__file__, CASES)
