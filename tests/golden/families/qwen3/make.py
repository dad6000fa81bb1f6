"""Qwen3 as an embedding model and as a reranker. Usage: python tests/golden/families/qwen3/make.py

Files and fields are those of the repositories Qwen3-Embedding-0.6B and Qwen3-Reranker-0.6B, and for `reranker-seq-cls`
those of the conversions to sequence classification. Beside what all cases have, there are

- `expected_query.npy`: with the prompt named `query`;
- `logits_instructed.npy`: of a reranker that is given another instruction.
"""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[2]))

import numpy as np
import tiny
import torch
from decoder_tokenizers import qwen, qwen_with_end
from sentence_transformers import CrossEncoder, SentenceTransformer
from sentence_transformers.base.modules import Transformer
from sentence_transformers.cross_encoder.modules import LogitScore
from sentence_transformers.sentence_transformer.modules import Normalize, Pooling
from tiny import LIMIT, PAIRS, TEXTS
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    Qwen3Config,
    Qwen3ForCausalLM,
    Qwen3ForSequenceClassification,
    Qwen3Model,
)

JUDGE = "Judge whether the Document meets the requirements based on the Query and the Instruct provided."
START = f'<|im_start|>system\n{JUDGE} Note that the answer can only be "yes" or "no".<|im_end|>\n<|im_start|>user\n'
END = "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"
INSTRUCTION = "Given a web search query, retrieve relevant passages that answer the query"
OTHER_INSTRUCTION = "Find what the first man said of life"
# Of a prompt: the longest document is cut, and the others aren't.
RERANKER_LIMIT = 260
QUERY = f"Instruct: {INSTRUCTION}\nQuery:"


def question(query, document, instruction=INSTRUCTION):
    return f"<Instruct>: {instruction}\n<Query>: {query}\n<Document>: {document}"


def message(role, end=""):
    find = f'messages | selectattr("role", "eq", "{role}") | map(attribute="content") | first{end}'
    return f"{{%- set {role} = {find} -%}}\n"


# A last line break isn't part of a template's text.
TEMPLATE = (
    message("system", f' | default("{INSTRUCTION}")')
    + message("query")
    + message("document")
    + START
    + question("{{ query }}", "{{ document }}", "{{ system }}")
    + END
    + "\n"
)


def config(tokenizer, **options):
    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "head_dim": 12}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 512}
    rope = {"rope_parameters": {"rope_type": "default", "rope_theta": 1000000.0}}
    ends = {"eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id}
    # There are more rows than tokens.
    return Qwen3Config(vocab_size=len(tokenizer) + 3, **sizes, **heads, **rope, **ends, dtype="bfloat16", **options)


def save(folder, model, tokenizer):
    """As published: in bfloat16, the configuration in the spelling of transformers 4."""
    tiny.save_plain(folder, model.to(torch.bfloat16), tokenizer)
    old = {"rope_theta": 1000000, "rope_scaling": None, "torch_dtype": "bfloat16", "transformers_version": "4.51.3"}
    window = {"sliding_window": None, "use_sliding_window": False, "max_window_layers": 2}
    tiny.edit_json(folder / "config.json", ["rope_parameters", "dtype", "layer_types"], **old, **window)


def case_embedding(folder):
    tokenizer = qwen_with_end(LIMIT)
    model = tiny.randomize(Qwen3Model(config(tokenizer, tie_word_embeddings=True)), 701)
    save(folder, model, tokenizer)
    prompts = {"query": QUERY, "document": ""}
    modules = [Transformer(str(folder)), Pooling(32, "lasttoken"), Normalize()]
    whole = SentenceTransformer(modules=modules, prompts=prompts)
    whole.save_pretrained(str(folder), create_model_card=False)
    save(folder, model, tokenizer)
    # The checkpoints have no head, but are said to have one.
    tiny.edit_json(folder / "config.json", architectures=["Qwen3ForCausalLM"])


def case_reranker(folder, tied=True, seed=702):
    tokenizer = qwen(RERANKER_LIMIT, [START, INSTRUCTION, END, *["yes", "no", "<Instruct>:", "<Document>:"] * 20])
    tokenizer.chat_template = TEMPLATE
    save(folder, tiny.randomize(Qwen3ForCausalLM(config(tokenizer, tie_word_embeddings=tied)), seed), tokenizer)
    logits = {"method": "forward", "method_output_name": "logits"}
    modality = {"text": logits, "message": {**logits, "format": "flat"}}
    names = {"transformer_task": "text-generation", "module_output_name": "causal_logits"}
    ids = [tokenizer.convert_tokens_to_ids(word) for word in ("yes", "no")]
    modules = [Transformer(str(folder), modality_config=modality, **names), LogitScore(*ids)]
    whole = CrossEncoder(modules=modules, prompts={"web_search": INSTRUCTION}, default_prompt_name="web_search")
    whole.save_pretrained(str(folder), create_model_card=False)


def case_reranker_untied(folder):
    case_reranker(folder, tied=False, seed=703)


def case_reranker_seq_cls(folder):
    tokenizer = qwen(RERANKER_LIMIT, [START, INSTRUCTION, END])
    model = Qwen3ForSequenceClassification(config(tokenizer, num_labels=1, tie_word_embeddings=True))
    save(folder, tiny.randomize(model, 704), tokenizer)


def write_embeddings(folder):
    tiny.write_embeddings(folder)
    model = tiny.load(folder, SentenceTransformer)
    np.save(folder / "expected_query.npy", model.encode(TEXTS, batch_size=1, prompt_name="query"))
    # Which side is padded makes no difference.
    np.testing.assert_allclose(model.encode(TEXTS, batch_size=16), np.load(folder / "expected.npy"), atol=2e-6)


def write_scores(folder):
    """By the model card; sentence-transformers must score a model with its `LogitScore` in the same way."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    is_classifier = "seq-cls" in folder.name
    kind = AutoModelForSequenceClassification if is_classifier else AutoModelForCausalLM
    model = kind.from_pretrained(folder, attn_implementation="eager", dtype=torch.float32).eval()
    start, end = (tokenizer.encode(text, add_special_tokens=False) for text in (START, END))
    yes, no = tokenizer.convert_tokens_to_ids(["yes", "no"])
    room = RERANKER_LIMIT - len(start) - len(end)
    cut = []

    def logit(pair, instruction=INSTRUCTION):
        ids = tokenizer.encode(question(*pair, instruction), add_special_tokens=False)
        cut.append(len(ids) > room)
        logits = model(torch.tensor([start + ids[:room] + end])).logits
        return logits[0] if is_classifier else (logits[0, -1, yes] - logits[0, -1, no]).reshape(1)

    with torch.no_grad():
        logits = torch.stack([logit(pair) for pair in PAIRS])
        assert sum(cut) == 1, (cut, len(start), len(end))
        np.save(folder / "logits.npy", logits.numpy())
        np.save(folder / "scores.npy", logits.sigmoid().numpy())
        instructed = torch.stack([logit(pair, OTHER_INSTRUCTION) for pair in PAIRS]).numpy()
        np.save(folder / "logits_instructed.npy", instructed)
    assert abs(logits).max() < 50 and logits.std() > 0.1, logits
    if not is_classifier:
        scores = tiny.load(folder, CrossEncoder).predict(PAIRS, batch_size=1).reshape(-1, 1)
        np.testing.assert_allclose(scores, logits.sigmoid().numpy(), rtol=1e-4, atol=1e-6)


if __name__ == "__main__":
    cases = [case_embedding, case_reranker, case_reranker_untied, case_reranker_seq_cls]
    tiny.run(__file__, cases, embedding=write_embeddings, reranker=write_scores)
