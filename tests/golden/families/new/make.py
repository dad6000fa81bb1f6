"""Make tiny random models as Alibaba-NLP's gte models publish them, and what transformers answers with them.

Usage: python tests/golden/families/new/make.py

transformers reads the published tensors, but not the published config.json (`"model_type": "new"`): that is
translated here. It does not know the fixed NTK scaling either: frequencies 1 / (theta * factor) ^ (2i / dim), all
divided by factor ^ (2 / dim), which is its linear scaling with other numbers.
"""

import shutil
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

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
from tiny import unigram, wordpiece
from transformers import GteConfig, GteForSequenceClassification, GteModel

SIZE, HEADS, INNER, LAYERS = 24, 3, 48, 2
TASKS = ["MaskedLM", "MultipleChoice", "QuestionAnswering", "SequenceClassification", "TokenClassification"]
PUBLISHED = {
    "architectures": ["NewModel"],
    "attention_probs_dropout_prob": 0.0,
    "auto_map": {
        "AutoConfig": "Alibaba-NLP/new-impl--configuration.NewConfig",
        "AutoModel": "Alibaba-NLP/new-impl--modeling.NewModel",
        **{f"AutoModelFor{task}": f"Alibaba-NLP/new-impl--modeling.NewFor{task}" for task in TASKS},
    },
    "classifier_dropout": None,
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.1,
    "hidden_size": SIZE,
    "initializer_range": 0.02,
    "intermediate_size": INNER,
    "layer_norm_eps": 1e-12,
    "layer_norm_type": "layer_norm",
    "logn_attention_clip1": False,
    "logn_attention_scale": False,
    "max_position_embeddings": 8192,
    "model_type": "new",
    "num_attention_heads": HEADS,
    "num_hidden_layers": LAYERS,
    "pack_qkv": True,
    "pad_token_id": 0,
    "position_embedding_type": "rope",
    "rope_scaling": {"factor": 2.0, "type": "ntk"},
    "rope_theta": 500000,
    "torch_dtype": "float32",
    "transformers_version": "4.39.1",
    "type_vocab_size": 0,
    "unpad_inputs": False,
    "use_memory_efficient_attention": False,
    "vocab_size": 320,
}
MULTILINGUAL = {
    "pad_token_id": 1,
    "rope_scaling": {"factor": 8.0, "type": "ntk"},
    "rope_theta": 20000,
    "type_vocab_size": 1,
    "vocab_size": 384,
}


def shapes(config):
    found = {"embeddings.word_embeddings.weight": (config["vocab_size"], SIZE), **norm("embeddings.LayerNorm", SIZE)}
    if config["type_vocab_size"]:
        found["embeddings.token_type_embeddings.weight"] = (config["type_vocab_size"], SIZE)
    for layer in range(LAYERS):
        parts = {
            **linear("attention.qkv_proj", SIZE, 3 * SIZE),
            **linear("attention.o_proj", SIZE, SIZE),
            **linear("mlp.up_gate_proj", SIZE, 2 * INNER, bias=False),
            **linear("mlp.down_proj", INNER, SIZE),
            **norm("attn_ln", SIZE),
            **norm("mlp_ln", SIZE),
        }
        found.update(prefixed(f"encoder.layer.{layer}.", parts))
    return found


def native(config):
    """The fields of transformers."""
    same = ["hidden_act", "hidden_size", "intermediate_size", "layer_norm_eps", "max_position_embeddings"]
    same += ["num_attention_heads", "num_hidden_layers", "pad_token_id", "type_vocab_size", "vocab_size"]
    rope = {"rope_type": "default", "rope_theta": float(config["rope_theta"])}
    if config["rope_scaling"]:
        factor = config["rope_scaling"]["factor"]
        rope = {"rope_type": "linear", "rope_theta": config["rope_theta"] * factor}
        rope["factor"] = factor ** (2 / (config["hidden_size"] // config["num_attention_heads"]))
    return GteConfig(**{name: config[name] for name in same}, rope_parameters=rope, num_labels=1)


def load(folder, config, model_class):
    with tempfile.TemporaryDirectory() as copy:
        native(config).save_pretrained(copy)
        shutil.copy(folder / "model.safetensors", copy)
        model, info = model_class.from_pretrained(copy, attn_implementation="eager", output_loading_info=True)
    unexpected = {"classifier.weight", "classifier.bias"} if model_class is GteModel else set()
    assert set(info.pop("unexpected_keys")) <= unexpected and not any(info.values()), info
    return model.eval()


def embedding(folder, seed, config, found, tokenizer, pooling, normalized):
    write_model(folder, config, random_weights(seed, found), tokenizer)
    write_modules(folder, SIZE, pooling, normalized)
    model = load(folder, config, GteModel)

    def hidden_states(ids, types):
        return model(input_ids=ids, token_type_ids=types).last_hidden_state

    expect_embeddings(folder, tokenizer, hidden_states, pooling, normalized)


def case_embedding(folder):
    """gte-base-en-v1.5."""
    embedding(folder, 311, PUBLISHED, shapes(PUBLISHED), wordpiece(), "cls", False)


def case_embedding_multilingual(folder):
    """gte-multilingual-base: tensors named `new.`, and a token classifier that must be ignored."""
    config = {**PUBLISHED, **MULTILINGUAL, "architectures": ["NewModel", "NewForTokenClassification"]}
    found = {**prefixed("new.", shapes(config)), **linear("classifier", SIZE, 1)}
    embedding(folder, 312, config, found, unigram(), "cls", True)


def case_embedding_plain_rope(folder):
    """gte-multilingual-mlm-base and its descendants: no scaling."""
    config = {**PUBLISHED, **MULTILINGUAL, "rope_scaling": None, "rope_theta": 160000}
    embedding(folder, 313, config, shapes(config), unigram(), "mean", True)


def case_reranker(folder):
    """gte-multilingual-reranker-base."""
    config = {
        **PUBLISHED,
        **MULTILINGUAL,
        "architectures": ["NewForSequenceClassification"],
        "id2label": {"0": "LABEL_0"},
        "label2id": {"LABEL_0": 0},
    }
    tokenizer = unigram()
    model_shapes = {**shapes(config), **linear("pooler.dense", SIZE, SIZE)}
    found = {**prefixed("new.", model_shapes), **linear("classifier", SIZE, 1)}
    write_model(folder, config, random_weights(314, found), tokenizer)
    model = load(folder, config, GteForSequenceClassification)
    expect_scores(folder, tokenizer, lambda ids, types: model(input_ids=ids, token_type_ids=types).logits)


if __name__ == "__main__":
    run(__file__, [case_embedding, case_embedding_multilingual, case_embedding_plain_rope, case_reranker])
