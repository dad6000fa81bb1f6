//! Where checkpoints keep what a decoder needs: one row for each way to name it, Llama's the first.
//!
//! As [`crate::names`] for encoders. Sources: the module names of transformers' implementations; for GGUF `gguf-py` of
//! llama.cpp.

use crate::names::Up;

/// The places of a decoder's tensors.
#[derive(Debug)]
pub(crate) struct DecoderNames {
    /// Where the decoder lies in a checkpoint with a head; without one, it lies at the top.
    pub(crate) root: &'static str,
    pub(crate) words: &'static str,
    /// The blocks lie below this, by their number; what follows is in each block.
    pub(crate) layers: &'static str,
    pub(crate) attention_norm: &'static str,
    pub(crate) qkv: [&'static str; 3],
    /// Of queries, and of keys.
    pub(crate) qk_norms: [&'static str; 2],
    pub(crate) attention_output: &'static str,
    /// Behind attention, where there is one.
    pub(crate) attention_post_norm: &'static str,
    pub(crate) feed_forward_norm: &'static str,
    pub(crate) up: Up,
    pub(crate) down: &'static str,
    /// Behind the feed-forward layer, where there is one.
    pub(crate) feed_forward_post_norm: &'static str,
    pub(crate) experts: ExpertsNames,
    pub(crate) final_norm: &'static str,
    /// From the top of the checkpoint.
    pub(crate) head: &'static str,
    /// A tensor, from the top, of divisors of the rotary frequencies.
    pub(crate) rotary_divisors: Option<&'static str>,
}

/// The layers of a mixture, in a block.
#[derive(Debug)]
pub(crate) struct ExpertsNames {
    pub(crate) router: &'static str,
    /// Each expert lies below this, by its number; `None` if each tensor holds those of all experts.
    pub(crate) each: Option<&'static str>,
    pub(crate) up: Up,
    pub(crate) down: &'static str,
}

pub(crate) const LLAMA: DecoderNames = DecoderNames {
    root: "model",
    words: "embed_tokens",
    layers: "layers",
    attention_norm: "input_layernorm",
    qkv: ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"],
    qk_norms: ["self_attn.q_norm", "self_attn.k_norm"],
    attention_output: "self_attn.o_proj",
    attention_post_norm: "",
    feed_forward_norm: "post_attention_layernorm",
    up: Up::Apart { gate: "mlp.gate_proj", value: "mlp.up_proj" },
    down: "mlp.down_proj",
    feed_forward_post_norm: "",
    experts: ExpertsNames {
        router: "mlp.gate",
        each: Some("mlp.experts"),
        up: Up::Apart { gate: "gate_proj", value: "up_proj" },
        down: "down_proj",
    },
    final_norm: "norm",
    head: "lm_head",
    rotary_divisors: None,
};

pub(crate) const GEMMA2: DecoderNames = DecoderNames {
    attention_post_norm: "post_attention_layernorm",
    feed_forward_norm: "pre_feedforward_layernorm",
    feed_forward_post_norm: "post_feedforward_layernorm",
    ..LLAMA
};

pub(crate) const MIXTRAL: DecoderNames = DecoderNames {
    experts: ExpertsNames {
        router: "block_sparse_moe.gate",
        each: Some("block_sparse_moe.experts"),
        up: Up::Apart { gate: "w1", value: "w3" },
        down: "w2",
    },
    ..LLAMA
};

pub(crate) const GGUF: DecoderNames = DecoderNames {
    // Nothing lies above the decoder.
    root: "",
    words: "token_embd",
    layers: "blk",
    attention_norm: "attn_norm",
    qkv: ["attn_q", "attn_k", "attn_v"],
    qk_norms: ["attn_q_norm", "attn_k_norm"],
    attention_output: "attn_output",
    attention_post_norm: "post_attention_norm",
    feed_forward_norm: "ffn_norm",
    up: Up::Apart { gate: "ffn_gate", value: "ffn_up" },
    down: "ffn_down",
    feed_forward_post_norm: "post_ffw_norm",
    experts: ExpertsNames {
        router: "ffn_gate_inp",
        each: None,
        up: Up::Apart { gate: "ffn_gate_exps", value: "ffn_up_exps" },
        down: "ffn_down_exps",
    },
    final_norm: "output_norm",
    head: "output",
    rotary_divisors: Some("rope_freqs"),
};
