"""Make tiny random models as jinaai/jina-embeddings-v2-base-en publishes them, and what their formulas give.

Usage: python tests/golden/families/jina_bert/make.py

No library has this model; its published code is jinaai/jina-bert-implementation. It is BERT (post-norm) without
position embeddings. ALiBi instead adds -slope * |i - j| to the scaled attention scores, and the feed-forward part
multiplies the activated first half of one projection by its second half, unless its type is `original`.
"""

import math
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import torch
from published import (
    expect_embeddings,
    expect_scores,
    linear,
    norm,
    prefixed,
    random_weights,
    run,
    write_model,
    write_modules,
)
from tiny import wordpiece
from torch.nn import functional

SIZE, INNER, LAYERS, VOCAB_SIZE = 24, 48, 2, 320
CODE = "jinaai/jina-bert-implementation"
PUBLISHED = {
    "_name_or_path": CODE,
    "model_max_length": 8192,
    "architectures": ["JinaBertForMaskedLM"],
    "attention_probs_dropout_prob": 0.0,
    "auto_map": {
        "AutoConfig": f"{CODE}--configuration_bert.JinaBertConfig",
        "AutoModelForMaskedLM": f"{CODE}--modeling_bert.JinaBertForMaskedLM",
        "AutoModel": f"{CODE}--modeling_bert.JinaBertModel",
        "AutoModelForSequenceClassification": f"{CODE}--modeling_bert.JinaBertForSequenceClassification",
    },
    "classifier_dropout": None,
    "gradient_checkpointing": False,
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.1,
    "hidden_size": SIZE,
    "initializer_range": 0.02,
    "intermediate_size": INNER,
    "layer_norm_eps": 1e-12,
    "max_position_embeddings": 8192,
    "model_type": "bert",
    "num_attention_heads": 3,
    "num_hidden_layers": LAYERS,
    "pad_token_id": 0,
    "position_embedding_type": "alibi",
    "torch_dtype": "float32",
    "transformers_version": "4.26.0",
    "type_vocab_size": 2,
    "use_cache": True,
    "vocab_size": VOCAB_SIZE,
    "feed_forward_type": "geglu",
    "emb_pooler": "mean",
}
ACTIVATIONS = {"geglu": functional.gelu, "reglu": functional.relu}


def shapes(kind):
    found = {
        "embeddings.word_embeddings.weight": (VOCAB_SIZE, SIZE),
        "embeddings.token_type_embeddings.weight": (2, SIZE),
        **norm("embeddings.LayerNorm", SIZE),
    }
    if kind == "original":
        forward = {
            **linear("intermediate.dense", SIZE, INNER),
            **linear("output.dense", INNER, SIZE),
            **norm("output.LayerNorm", SIZE),
        }
    else:
        forward = {
            **linear("mlp.gated_layers", SIZE, 2 * INNER, bias=False),
            **linear("mlp.wo", INNER, SIZE),
            **norm("mlp.layernorm", SIZE),
        }
    for layer in range(LAYERS):
        parts = {
            **linear("attention.self.query", SIZE, SIZE),
            **linear("attention.self.key", SIZE, SIZE),
            **linear("attention.self.value", SIZE, SIZE),
            **linear("attention.output.dense", SIZE, SIZE),
            **norm("attention.output.LayerNorm", SIZE),
            **forward,
        }
        found.update(prefixed(f"encoder.layer.{layer}.", parts))
    return {**found, **linear("pooler.dense", SIZE, SIZE)}


def slopes(heads):
    """2^(-8/n), 2^(-16/n), ... for a power of two n; for other numbers of heads the slopes of the power of two
    below, and then every second one of the power of two above."""
    below = 2 ** math.floor(math.log2(heads))
    first = [2 ** (-8 * head / below) for head in range(1, below + 1)]
    between = [2 ** (-4 * head / below) for head in range(1, 2 * below + 1, 2)]
    return torch.tensor((first + between)[:heads])


class Jina:
    def __init__(self, config, weights):
        self.config, self.weights = config, weights

    def linear(self, name, x):
        return functional.linear(x, self.weights[f"{name}.weight"], self.weights.get(f"{name}.bias"))

    def norm(self, name, x):
        weight, bias = self.weights[f"{name}.weight"], self.weights[f"{name}.bias"]
        return functional.layer_norm(x, x.shape[-1:], weight, bias, self.config["layer_norm_eps"])

    def attention(self, name, x, bias):
        heads = self.config["num_attention_heads"]
        query, key, value = (
            self.linear(f"{name}.self.{part}", x).unflatten(-1, (heads, -1)).transpose(1, 2)
            for part in ("query", "key", "value")
        )
        scores = query @ key.transpose(2, 3) / math.sqrt(query.shape[-1]) + bias
        mixed = (scores.softmax(-1) @ value).transpose(1, 2).flatten(2)
        return self.norm(f"{name}.output.LayerNorm", self.linear(f"{name}.output.dense", mixed) + x)

    def forward(self, name, x):
        kind = self.config["feed_forward_type"]
        if kind == "original":
            inner = functional.gelu(self.linear(f"{name}.intermediate.dense", x))
            return self.norm(f"{name}.output.LayerNorm", self.linear(f"{name}.output.dense", inner) + x)
        gated, plain = self.linear(f"{name}.mlp.gated_layers", x).chunk(2, -1)
        out = self.linear(f"{name}.mlp.wo", ACTIVATIONS[kind](gated) * plain)
        return self.norm(f"{name}.mlp.layernorm", out + x)

    def hidden_states(self, ids, types, prefix=""):
        words = self.weights[f"{prefix}embeddings.word_embeddings.weight"][ids]
        token_types = self.weights[f"{prefix}embeddings.token_type_embeddings.weight"][types]
        x = self.norm(f"{prefix}embeddings.LayerNorm", words + token_types)
        places = torch.arange(ids.shape[1])
        distance = (places[:, None] - places[None, :]).abs()
        bias = -slopes(self.config["num_attention_heads"])[:, None, None] * distance
        for layer in range(self.config["num_hidden_layers"]):
            name = f"{prefix}encoder.layer.{layer}"
            x = self.forward(name, self.attention(f"{name}.attention", x, bias))
        return x

    def logits(self, ids, types):
        first = self.hidden_states(ids, types, "bert.")[:, 0]
        return self.linear("classifier", self.linear("bert.pooler.dense", first).tanh())


def case_embedding(folder, seed=321, normalized=False, **options):
    config = {**PUBLISHED, **options}
    tokenizer, weights = wordpiece(), random_weights(seed, shapes(config["feed_forward_type"]))
    write_model(folder, config, weights, tokenizer)
    write_modules(folder, SIZE, "mean", normalized)
    expect_embeddings(folder, tokenizer, Jina(config, weights).hidden_states, "mean", normalized)


def case_embedding_reglu(folder):
    case_embedding(folder, 322, True, feed_forward_type="reglu", num_attention_heads=6)


def case_embedding_original(folder):
    """As aari1995/German_Semantic_V3b: BERT's own feed-forward part."""
    case_embedding(folder, 323, True, feed_forward_type="original", num_attention_heads=4)


def case_reranker(folder):
    """A cross-encoder on JinaBERT, with BERT's tokenizer."""
    config = {
        **PUBLISHED,
        "architectures": ["JinaBertForSequenceClassification"],
        "attn_implementation": None,
        "id2label": {"0": "LABEL_0"},
        "label2id": {"LABEL_0": 0},
        "num_attention_heads": 4,
    }
    tokenizer = wordpiece()
    weights = random_weights(324, {**prefixed("bert.", shapes("geglu")), **linear("classifier", SIZE, 1)})
    write_model(folder, config, weights, tokenizer)
    expect_scores(folder, tokenizer, Jina(config, weights).logits)


if __name__ == "__main__":
    run(__file__, [case_embedding, case_embedding_reglu, case_embedding_original, case_reranker])
