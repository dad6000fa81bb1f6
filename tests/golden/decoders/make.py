"""Tiny random decoders, and what transformers answers with them.

Usage: LLAMA_CPP=<source of llama.cpp> python tests/golden/decoders/make.py [CASE...]

Writes beside this file, for each case, a folder with a complete model as transformers saves it, and

- `expected.safetensors`: `ids.N`, the prompts; `logits.N`, of each of their tokens; `greedy`, the most likely tokens
  after prompt 1, one at a time with a cache, past any end of the text; where layers are packed, `rounded`, the logits
  of prompt 2 when what goes into those is rounded to 8 bits;
- `published.json`: the same `config.json` as it was spelled before transformers 5;
- for some `<case>.gguf`, in F32, by llama.cpp's own converter. llama.cpp must answer about the same with it.

Of the seeds, the first is taken whose greedy tokens are clearly the best ones and don't repeat themselves. The fields
that a case is about must matter: with another value the logits are others.
"""

import shutil
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

OUT = Path(__file__).parent
sys.path.insert(0, str(OUT.parent))

import numpy as np
import torch
from answers import POSITIONS, PROMPTS, VOCAB, check, collect, load, write, write_published
from converter import convert
from packed import Awq, Gptq, logits_of_rounded, pack
from transformers import (
    AutoModelForCausalLM,
    Gemma2Config,
    LlamaConfig,
    MistralConfig,
    MixtralConfig,
    Qwen2Config,
    Qwen3Config,
    Qwen3MoeConfig,
)
from transformers.utils import logging
from vocabularies import byte_level, sentence_piece

SIZES = {
    "vocab_size": VOCAB,
    "hidden_size": 32,
    "intermediate_size": 40,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": POSITIONS,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
WIDE = {**SIZES, "hidden_size": 64, "intermediate_size": 64}


@dataclass
class Case:
    """A model; `acts` are fields with values that must change its answers."""

    name: str
    config: object
    acts: dict = field(default_factory=dict)
    # How the scaling's type is called in `published.json`, what that leaves to its defaults, and what it has besides.
    published: str = "rope_type"
    without: tuple = ()
    extra: dict = field(default_factory=dict)
    dtype: torch.dtype = torch.bfloat16
    shards: str = "1MB"
    # Where the case has a GGUF file: the name of its tokenizer.
    gguf: str | None = None
    # Where its layers are packed: what packs them.
    packed: type | None = None


def rope(theta, kind="default", **options):
    return {"rope_theta": theta, "rope_type": kind, **options}


def llama(**options):
    return LlamaConfig(**{**SIZES, "rope_parameters": rope(10000.0), "attention_bias": False, **options})


def scaled(kind, **options):
    """Heads of 16, two of them, and wavelengths from 6 to 1400: some are scaled, some aren't, some in part."""
    heads = {"num_attention_heads": 2, "num_key_value_heads": 1}
    return llama(**{**heads, "rope_parameters": rope(500.0, kind, **options)})


LLAMA_3 = {"factor": 4.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 32}
YARN = {"factor": 4.0, "original_max_position_embeddings": 32}
UNSCALED = {"rope_parameters": rope(500.0)}
CASES = [
    Case(
        "qwen2",
        Qwen2Config(**SIZES, rope_parameters=rope(1e6), tie_word_embeddings=True),
        extra={"sliding_window": 8},
        gguf="qwen2",
        dtype=torch.float32,
    ),
    Case(
        "qwen2-window",
        Qwen2Config(
            **{**SIZES, "num_hidden_layers": 3}, use_sliding_window=True, sliding_window=12, max_window_layers=1
        ),
        {"layer_types": ["full_attention"] * 3},
    ),
    Case(
        "qwen3",
        Qwen3Config(**SIZES, head_dim=12, rope_parameters=rope(1e6), tie_word_embeddings=True),
        extra={"sliding_window": 8, "max_window_layers": 1, "use_sliding_window": False},
        gguf="qwen2",
    ),
    Case("mistral-window", MistralConfig(**SIZES, sliding_window=16), {"sliding_window": None}),
    Case("mistral", MistralConfig(**SIZES, sliding_window=None, head_dim=12), gguf="llama-bpe"),
    Case(
        "llama",
        llama(num_key_value_heads=4),
        without=("num_key_value_heads", "attention_bias", "mlp_bias", "head_dim", "rope_theta"),
        gguf="llama-bpe",
    ),
    Case("llama-linear", scaled("linear", factor=4.0), UNSCALED, published="type", gguf="llama-bpe"),
    Case(
        "llama-dynamic",
        LlamaConfig(**{**scaled("dynamic", factor=4.0).to_dict(), "max_position_embeddings": 32}),
        UNSCALED,
        published="type",
    ),
    Case("llama-llama3", scaled("llama3", **LLAMA_3), UNSCALED, gguf="llama-bpe"),
    Case("llama-yarn", scaled("yarn", **YARN), UNSCALED, published="type", gguf="llama-bpe"),
    Case(
        "llama-yarn-attention-factor",
        scaled("yarn", **YARN, attention_factor=0.7, beta_fast=4.0, beta_slow=0.5),
        {"rope_parameters": rope(500.0, "yarn", **YARN)},
        published="rope_type type",
    ),
    Case(
        "llama-yarn-mscale",
        scaled("yarn", **YARN, mscale=1.5, mscale_all_dim=0.5, truncate=False),
        {"rope_parameters": rope(500.0, "yarn", **YARN, mscale=1.5, mscale_all_dim=0.5)},
    ),
    Case(
        "smollm",
        llama(hidden_size=54, num_attention_heads=9, num_key_value_heads=3, tie_word_embeddings=True),
    ),
    Case("llama-biases", llama(attention_bias=True, mlp_bias=True), gguf="llama-bpe"),
    Case("llama-one-kv-head", llama(num_key_value_heads=1, head_dim=12)),
    Case("llama-sharded", llama(), shards="10KB"),
    Case("llama-f16", llama(rms_norm_eps=0.05), {"rms_norm_eps": 1e-6}, dtype=torch.float16),
    Case(
        "gemma2",
        Gemma2Config(
            **SIZES,
            head_dim=12,
            query_pre_attn_scalar=12,
            sliding_window=16,
            attn_logit_softcapping=3.0,
            final_logit_softcapping=6.0,
        ),
        {"attn_logit_softcapping": None, "final_logit_softcapping": None, "layer_types": ["full_attention"] * 2},
        extra={"hidden_act": "gelu_pytorch_tanh"},
        gguf="sentence_piece",
    ),
    Case(
        "gemma2-scalar",
        Gemma2Config(**{**SIZES, "num_hidden_layers": 3}, head_dim=12, query_pre_attn_scalar=3, sliding_window=8),
        {"query_pre_attn_scalar": 12, "layer_types": ["full_attention", "sliding_attention", "full_attention"]},
    ),
    Case(
        "qwen3-moe",
        Qwen3MoeConfig(
            **SIZES, head_dim=12, num_experts=4, num_experts_per_tok=2, moe_intermediate_size=16, norm_topk_prob=True
        ),
        {"norm_topk_prob": False},
        gguf="qwen2",
    ),
    Case(
        "qwen3-moe-mixed",
        Qwen3MoeConfig(
            **{**SIZES, "num_hidden_layers": 4},
            head_dim=8,
            num_experts=4,
            num_experts_per_tok=3,
            moe_intermediate_size=8,
            norm_topk_prob=False,
            decoder_sparse_step=2,
            mlp_only_layers=[3],
        ),
        {"norm_topk_prob": True},
    ),
    Case(
        "mixtral",
        MixtralConfig(**{**SIZES, "intermediate_size": 16}, num_local_experts=4, num_experts_per_tok=2),
        gguf="llama-bpe",
    ),
    Case("qwen2-awq", Qwen2Config(**WIDE), packed=Awq),
    Case("llama-awq", LlamaConfig(**WIDE, tie_word_embeddings=True), packed=Awq),
    Case("qwen2-gptq", Qwen2Config(**WIDE), packed=Gptq),
]


def randomize(config, seed):
    """A model whose biases and norms matter, and whose layers say more than its embeddings do."""
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32, attn_implementation="eager")
    # Gemma adds 1 to the weights of norms, and multiplies embeddings by the root of their size.
    norm, word = (1.5, 1.0) if config.model_type == "gemma2" else (1.0, 2.5)
    words = {model.get_input_embeddings().weight, model.get_output_embeddings().weight}
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                parameter.normal_(0.0, 0.3)
            elif parameter.dim() == 1:
                parameter.normal_(norm, 0.3)
            elif parameter in words:
                parameter.normal_(0.0, word / config.hidden_size**0.5)
            else:
                parameter.normal_(0.0, 1.5 / parameter.shape[-1] ** 0.5)
    return model.eval()


def save(case, folder, seed):
    """Writes the checkpoint; returns what makes the model that it stands for."""
    shutil.rmtree(folder, ignore_errors=True)
    model = randomize(case.config, seed)
    model.to(case.dtype).save_pretrained(folder, max_shard_size=case.shards)
    if case.packed:
        model = randomize(case.config, seed)
        pack(model, case.packed(), folder)
        return lambda: model
    write_published(folder, case.published, case.without, case.extra)
    return lambda: load(folder)


def write_gguf(case, folder):
    """The converter asks for a tokenizer, which nothing else here does."""
    path = OUT / f"{case.name}.gguf"
    with tempfile.TemporaryDirectory() as temporary:
        model = Path(temporary) / case.name
        shutil.copytree(folder, model)
        sentence_piece(model) if case.gguf == "sentence_piece" else byte_level(model, case.gguf)
        convert(model, path, "f32", case.gguf)
    return path


def by_llama_cpp(path, tensors):
    """The largest difference between llama.cpp's logits and the expected ones."""
    import llama_cpp

    floats = {"type_k": llama_cpp.GGML_TYPE_F32, "type_v": llama_cpp.GGML_TYPE_F32}
    model = llama_cpp.Llama(str(path), n_ctx=POSITIONS, logits_all=True, verbose=False, n_threads=1, **floats)
    worst = 0.0
    for index, ids in enumerate(PROMPTS):
        model.reset()
        model.eval(ids)
        found = np.array(model.scores[: len(ids)])
        worst = max(worst, np.abs(found - tensors[f"logits.{index}"].numpy()).max())
    return worst


def make(case):
    folder = OUT / case.name
    for seed in range(1, 200):
        make_model = save(case, folder, seed)
        tensors, report = collect(make_model)
        if tensors is not None:
            break
    else:
        raise SystemExit(f"{case.name}: no seed; the last had {report}")
    check(folder, tensors, case.acts)
    if case.packed:
        tensors["rounded"] = logits_of_rounded(make_model(), PROMPTS[2])
    write(folder, tensors)
    if case.gguf:
        worst = by_llama_cpp(write_gguf(case, folder), tensors)
        report += f", llama.cpp differs by {worst:.1e}"
        # Its GELU is a table in half precision.
        assert worst < (1e-2 if case.config.model_type == "gemma2" else 1e-3), f"{case.name}: {report}"
    print(f"{case.name}: seed {seed}, {report}", flush=True)


def main():
    torch.set_num_threads(1)
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    for case in CASES:
        if not sys.argv[1:] or case.name in sys.argv[1:]:
            make(case)


if __name__ == "__main__":
    main()
