//! Where each family's checkpoints keep what the encoder needs: one row for each, BERT's the first, the others by what
//! differs from it.
//!
//! A row says where a tensor lies and how it is packed; whether a family has it at all, and in which size, is for its
//! [`crate::EncoderConfig`] to say. Source: the module names of transformers' implementations, which the published
//! checkpoints carry; for NomicBERT, GTE and JinaBERT those of the code that their repositories publish; for GGUF, which
//! gives the tensors of all families the same names, `gguf-py` of llama.cpp.

/// The places of an encoder's tensors.
#[derive(Debug)]
pub(crate) struct Names {
    /// Where the encoder lies in a checkpoint with a task's head; without one, it lies at the top.
    pub(crate) root: &'static str,
    pub(crate) words: &'static str,
    pub(crate) positions: &'static str,
    pub(crate) token_types: &'static str,
    pub(crate) embeddings_norm: &'static str,
    /// From the width of the tables to that of the hidden states.
    pub(crate) embeddings_projection: &'static str,
    pub(crate) relative_bias: &'static str,
    /// The blocks lie below this, by their number; what follows is in each block.
    pub(crate) layers: &'static str,
    pub(crate) qkv: Qkv,
    pub(crate) attention_output: &'static str,
    pub(crate) attention_norm: &'static str,
    pub(crate) up: Up,
    pub(crate) down: &'static str,
    pub(crate) feed_forward_norm: &'static str,
    /// Behind the last block, where the normalisation comes first in each.
    pub(crate) final_norm: &'static str,
    pub(crate) classifier: ClassifierNames,
    pub(crate) masked_lm: Option<MaskedLmNames>,
}

/// Query, key and value projections.
#[derive(Debug)]
pub(crate) enum Qkv {
    /// A layer each.
    Apart([&'static str; 3]),
    /// One layer, its outputs in this order.
    Packed(&'static str),
}

/// The first layer of a feed-forward block, and with it the block's kind.
#[derive(Debug)]
pub(crate) enum Up {
    /// `activation(x)`.
    Plain(&'static str),
    /// `activation(gate) · value`, both halves of one layer's outputs.
    Packed { name: &'static str, gate_first: bool },
    /// `activation(gate) · value`, a layer each.
    Apart { gate: &'static str, value: &'static str },
}

/// The head that scores a sequence; names from the top of the checkpoint.
#[derive(Debug)]
pub(crate) struct ClassifierNames {
    pub(crate) dense: &'static str,
    /// Behind the activation.
    pub(crate) norm: Option<&'static str>,
    pub(crate) output: &'static str,
}

/// The head that gives logits over the vocabulary; names from the top of the checkpoint.
#[derive(Debug)]
pub(crate) struct MaskedLmNames {
    pub(crate) dense: &'static str,
    pub(crate) norm: &'static str,
    /// Its `weight` is left out of a file where it is the table of word embeddings.
    pub(crate) decoder: &'static str,
    /// A tensor, not a layer.
    pub(crate) bias: &'static str,
}

pub(crate) const BERT: Names = Names {
    root: "bert",
    words: "embeddings.word_embeddings",
    positions: "embeddings.position_embeddings",
    token_types: "embeddings.token_type_embeddings",
    embeddings_norm: "embeddings.LayerNorm",
    embeddings_projection: "embeddings_project",
    relative_bias: "encoder.relative_attention_bias",
    layers: "encoder.layer",
    qkv: Qkv::Apart(["attention.self.query", "attention.self.key", "attention.self.value"]),
    attention_output: "attention.output.dense",
    attention_norm: "attention.output.LayerNorm",
    up: Up::Plain("intermediate.dense"),
    down: "output.dense",
    feed_forward_norm: "output.LayerNorm",
    final_norm: "final_norm",
    classifier: ClassifierNames { dense: "bert.pooler.dense", norm: None, output: "classifier" },
    masked_lm: Some(MaskedLmNames {
        dense: "cls.predictions.transform.dense",
        norm: "cls.predictions.transform.LayerNorm",
        decoder: "cls.predictions.decoder",
        bias: "cls.predictions.bias",
    }),
};

pub(crate) const ROBERTA: Names = Names {
    root: "roberta",
    classifier: ClassifierNames { dense: "classifier.dense", norm: None, output: "classifier.out_proj" },
    masked_lm: Some(MaskedLmNames {
        dense: "lm_head.dense",
        norm: "lm_head.layer_norm",
        decoder: "lm_head.decoder",
        bias: "lm_head.bias",
    }),
    ..BERT
};

pub(crate) const DISTILBERT: Names = Names {
    root: "distilbert",
    layers: "transformer.layer",
    qkv: Qkv::Apart(["attention.q_lin", "attention.k_lin", "attention.v_lin"]),
    attention_output: "attention.out_lin",
    attention_norm: "sa_layer_norm",
    up: Up::Plain("ffn.lin1"),
    down: "ffn.lin2",
    feed_forward_norm: "output_layer_norm",
    classifier: ClassifierNames { dense: "pre_classifier", norm: None, output: "classifier" },
    masked_lm: Some(MaskedLmNames {
        dense: "vocab_transform",
        norm: "vocab_layer_norm",
        decoder: "vocab_projector",
        bias: "vocab_projector.bias",
    }),
    ..BERT
};

pub(crate) const MPNET: Names = Names {
    root: "mpnet",
    qkv: Qkv::Apart(["attention.attn.q", "attention.attn.k", "attention.attn.v"]),
    attention_output: "attention.attn.o",
    attention_norm: "attention.LayerNorm",
    classifier: ClassifierNames { dense: "classifier.dense", norm: None, output: "classifier.out_proj" },
    masked_lm: None,
    ..BERT
};

pub(crate) const ELECTRA: Names = Names {
    root: "electra",
    classifier: ClassifierNames { dense: "classifier.dense", norm: None, output: "classifier.out_proj" },
    masked_lm: None,
    ..BERT
};

pub(crate) const MODERNBERT: Names = Names {
    root: "model",
    words: "embeddings.tok_embeddings",
    embeddings_norm: "embeddings.norm",
    layers: "layers",
    qkv: Qkv::Packed("attn.Wqkv"),
    attention_output: "attn.Wo",
    attention_norm: "attn_norm",
    up: Up::Packed { name: "mlp.Wi", gate_first: true },
    down: "mlp.Wo",
    feed_forward_norm: "mlp_norm",
    classifier: ClassifierNames { dense: "head.dense", norm: Some("head.norm"), output: "classifier" },
    masked_lm: None,
    ..BERT
};

pub(crate) const NOMIC_BERT: Names = Names {
    embeddings_norm: "emb_ln",
    layers: "encoder.layers",
    qkv: Qkv::Packed("attn.Wqkv"),
    attention_output: "attn.out_proj",
    attention_norm: "norm1",
    up: Up::Apart { gate: "mlp.fc12", value: "mlp.fc11" },
    down: "mlp.fc2",
    feed_forward_norm: "norm2",
    masked_lm: None,
    ..BERT
};

pub(crate) const GTE: Names = Names {
    root: "new",
    qkv: Qkv::Packed("attention.qkv_proj"),
    attention_output: "attention.o_proj",
    attention_norm: "attn_ln",
    up: Up::Packed { name: "mlp.up_gate_proj", gate_first: false },
    down: "mlp.down_proj",
    feed_forward_norm: "mlp_ln",
    classifier: ClassifierNames { dense: "new.pooler.dense", norm: None, output: "classifier" },
    masked_lm: None,
    ..BERT
};

pub(crate) const JINA_BERT: Names = Names {
    up: Up::Packed { name: "mlp.gated_layers", gate_first: true },
    down: "mlp.wo",
    feed_forward_norm: "mlp.layernorm",
    masked_lm: None,
    ..BERT
};

pub(crate) const GGUF_BERT: Names = Names {
    // Nothing lies above the encoder.
    root: "",
    words: "token_embd",
    positions: "position_embd",
    token_types: "token_types",
    embeddings_norm: "token_embd_norm",
    layers: "blk",
    qkv: Qkv::Apart(["attn_q", "attn_k", "attn_v"]),
    attention_output: "attn_output",
    attention_norm: "attn_output_norm",
    up: Up::Plain("ffn_up"),
    down: "ffn_down",
    feed_forward_norm: "layer_output_norm",
    final_norm: "output_norm",
    classifier: ClassifierNames { dense: "cls", norm: None, output: "cls.output" },
    masked_lm: None,
    ..BERT
};

/// With a gate in a tensor of its own.
pub(crate) const GGUF_GATED: Names = Names { up: Up::Apart { gate: "ffn_gate", value: "ffn_up" }, ..GGUF_BERT };

pub(crate) const GGUF_NOMIC_BERT: Names = Names { qkv: Qkv::Packed("attn_qkv"), ..GGUF_GATED };
