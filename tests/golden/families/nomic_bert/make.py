"""Make tiny random models as nomic-ai/nomic-embed-text-v1.5 publishes them, and what transformers answers with them.

Usage: python tests/golden/families/nomic_bert/make.py

transformers reads the published tensors, but not the published fields of config.json: those are translated here.
"""

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
from safetensors.torch import load_file, save_file
from tiny import wordpiece
from transformers import NomicBertConfig, NomicBertForSequenceClassification, NomicBertModel

# The published code rounds the inner size up to a multiple of 256, and the vocabulary to one of 64.
SIZE, HEADS, INNER, LAYERS, VOCAB_SIZE = 18, 3, 256, 2, 320
PUBLISHED = {
    "activation_function": "swiglu",
    "architectures": ["NomicBertModel"],
    "attn_pdrop": 0.0,
    "auto_map": {
        "AutoConfig": "nomic-ai/nomic-bert-2048--configuration_hf_nomic_bert.NomicBertConfig",
        "AutoModel": "nomic-ai/nomic-bert-2048--modeling_hf_nomic_bert.NomicBertModel",
        "AutoModelForMaskedLM": "nomic-ai/nomic-bert-2048--modeling_hf_nomic_bert.NomicBertForPreTraining",
    },
    "bos_token_id": None,
    "causal": False,
    "dense_seq_output": True,
    "embd_pdrop": 0.0,
    "eos_token_id": None,
    "fused_bias_fc": True,
    "fused_dropout_add_ln": True,
    "initializer_range": 0.02,
    "layer_norm_epsilon": 1e-12,
    "max_trained_positions": 2048,
    "mlp_fc1_bias": False,
    "mlp_fc2_bias": False,
    "model_type": "nomic_bert",
    "n_embd": SIZE,
    "n_head": HEADS,
    "n_inner": INNER,
    "n_layer": LAYERS,
    "n_positions": 8192,
    "pad_vocab_size_multiple": 64,
    "parallel_block": False,
    "parallel_block_tied_norm": False,
    "prenorm": False,
    "qkv_proj_bias": False,
    "reorder_and_upcast_attn": False,
    "resid_pdrop": 0.0,
    "rotary_emb_base": 1000,
    "rotary_emb_fraction": 1.0,
    "rotary_emb_interleaved": False,
    "rotary_emb_scale_base": None,
    "rotary_scaling_factor": None,
    "scale_attn_by_inverse_layer_idx": False,
    "scale_attn_weights": True,
    "summary_activation": None,
    "summary_first_dropout": 0.0,
    "summary_proj_to_labels": True,
    "summary_type": "cls_index",
    "summary_use_proj": True,
    "torch_dtype": "float32",
    "transformers_version": "4.37.2",
    "type_vocab_size": 2,
    "use_cache": True,
    "use_flash_attn": True,
    "use_rms_norm": False,
    "use_xentropy": True,
    "vocab_size": VOCAB_SIZE,
}


def shapes():
    found = {
        "embeddings.word_embeddings.weight": (VOCAB_SIZE, SIZE),
        "embeddings.token_type_embeddings.weight": (2, SIZE),
        **norm("emb_ln", SIZE),
    }
    for layer in range(LAYERS):
        parts = {
            **linear("attn.Wqkv", SIZE, 3 * SIZE, bias=False),
            **linear("attn.out_proj", SIZE, SIZE, bias=False),
            **linear("mlp.fc11", SIZE, INNER, bias=False),
            **linear("mlp.fc12", SIZE, INNER, bias=False),
            **linear("mlp.fc2", INNER, SIZE, bias=False),
            **norm("norm1", SIZE),
            **norm("norm2", SIZE),
        }
        found.update(prefixed(f"encoder.layers.{layer}.", parts))
    return found


def native(config):
    """The fields of transformers."""
    rope = {"rope_type": "default", "rope_theta": float(config["rotary_emb_base"])}
    if config["rotary_scaling_factor"]:
        rope.update(rope_type="dynamic", factor=config["rotary_scaling_factor"])
    return {
        "hidden_size": config["n_embd"],
        "num_attention_heads": config["n_head"],
        "num_hidden_layers": config["n_layer"],
        "intermediate_size": config["n_inner"],
        "hidden_act": "silu",
        "layer_norm_eps": config["layer_norm_epsilon"],
        "max_position_embeddings": config["max_trained_positions"],
        "rope_parameters": rope,
        "type_vocab_size": config["type_vocab_size"],
        "vocab_size": config["vocab_size"],
    }


def load(folder, config, model_class):
    """The model that transformers makes of the published tensors, where it calls `bert.` `nomic_bert.`."""
    with tempfile.TemporaryDirectory() as copy:
        NomicBertConfig(**native(config), num_labels=1).save_pretrained(copy)
        published = load_file(folder / "model.safetensors")
        weights = {name.replace("bert.", "nomic_bert."): tensor for name, tensor in published.items()}
        save_file(weights, Path(copy) / "model.safetensors", metadata={"format": "pt"})
        model, info = model_class.from_pretrained(copy, attn_implementation="eager", output_loading_info=True)
    assert not any(info.values()), info
    return model.eval()


def case_embedding(folder, seed=301, **options):
    """Every text gets a model of its own: scaled rotary embeddings depend on the longest text seen."""
    config = {**PUBLISHED, **options}
    tokenizer = wordpiece()
    write_model(folder, config, random_weights(seed, shapes()), tokenizer)
    write_modules(folder, SIZE, "mean", True)

    def hidden_states(ids, types):
        return load(folder, config, NomicBertModel)(input_ids=ids, token_type_ids=types).last_hidden_state

    expect_embeddings(folder, tokenizer, hidden_states, "mean", True)


def case_embedding_dynamic_ntk(folder):
    case_embedding(folder, 302, rotary_scaling_factor=2, max_trained_positions=16, n_positions=64)


def case_reranker(folder):
    """Both the old and the new fields, as nomic-embed-text-v1.5 has them by now."""
    config = {
        **PUBLISHED,
        **native(PUBLISHED),
        "architectures": ["NomicBertForSequenceClassification"],
        "id2label": {"0": "LABEL_0"},
        "label2id": {"LABEL_0": 0},
    }
    tokenizer = wordpiece()
    found = {**prefixed("bert.", {**shapes(), **linear("pooler.dense", SIZE, SIZE)}), **linear("classifier", SIZE, 1)}
    write_model(folder, config, random_weights(303, found), tokenizer)
    model = load(folder, config, NomicBertForSequenceClassification)
    expect_scores(folder, tokenizer, lambda ids, types: model(input_ids=ids, token_type_ids=types).logits)


if __name__ == "__main__":
    run(__file__, [case_embedding, case_embedding_dynamic_ntk, case_reranker])
