"""Write what transformers' logits processors make of random logits, and draws by numpy's PCG64.

Usage: python tests/golden/sampling/make.py

Writes cases.json beside this file: rows of logits; for each case the settings, the prompt, the tokens so far, the row,
and the probability of each token that has one; log-probabilities of each row; and for some seeds the tokens that are
drawn from a row. `frequency_penalty` and `presence_penalty` aren't in transformers and follow OpenAI's formula.
"""

import json
from pathlib import Path

import numpy as np
import torch
from transformers.generation.logits_process import (
    LogitsProcessorList,
    MinPLogitsWarper,
    RepetitionPenaltyLogitsProcessor,
    SequenceBiasLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

OUT = Path(__file__).parent
VOCAB = 72
PROMPT = [3, 17, 17, 40, 71, 5]
TEXT = [8, 17, 8, 60, 8]


def rows():
    """Logits of several shapes: wide, narrow, one far above the others, nearly uniform, with equal ones."""
    random = np.random.default_rng(20240607)
    wide = random.normal(0, 4, VOCAB)
    narrow = random.normal(-3, 1, VOCAB)
    peak = random.normal(0, 1, VOCAB)
    peak[33] = 12
    flat = random.normal(5, 0.01, VOCAB)
    equal = np.round(random.normal(0, 2, VOCAB))
    return [torch.tensor(row, dtype=torch.float32) for row in (wide, narrow, peak, flat, equal)]


class CountingPenalties:
    """OpenAI's: mu[j] - c[j] * frequency - (c[j] > 0) * presence, c counting the tokens of the text."""

    def __init__(self, frequency, presence):
        self.frequency, self.presence = frequency, presence

    def __call__(self, input_ids, scores):
        counts = torch.zeros_like(scores[0])
        for token in TEXT:
            counts[token] += 1
        return scores - counts * self.frequency - (counts > 0) * self.presence


def processors(options):
    """In the order of `_get_logits_processor`; the penalties that count follow the one that doesn't, as in vLLM."""
    found = LogitsProcessorList()
    if bias := options.get("logit_bias"):
        found.append(SequenceBiasLogitsProcessor({(int(token),): value for token, value in bias.items()}))
    if penalty := options.get("repetition_penalty"):
        found.append(RepetitionPenaltyLogitsProcessor(penalty))
    if "frequency_penalty" in options or "presence_penalty" in options:
        found.append(CountingPenalties(options.get("frequency_penalty", 0.0), options.get("presence_penalty", 0.0)))
    found.append(TemperatureLogitsWarper(options["temperature"]))
    if options.get("top_k"):
        found.append(TopKLogitsWarper(options["top_k"]))
    if options.get("top_p", 1.0) < 1.0:
        found.append(TopPLogitsWarper(options["top_p"]))
    if "min_p" in options:
        found.append(MinPLogitsWarper(options["min_p"]))
    return found


SETTINGS = [
    {"temperature": 1.0},
    {"temperature": 0.3},
    {"temperature": 2.5},
    {"temperature": 1.0, "top_k": 1},
    {"temperature": 0.7, "top_k": 5},
    {"temperature": 1.0, "top_k": 200},
    {"temperature": 1.0, "top_p": 0.9},
    {"temperature": 0.6, "top_p": 0.5},
    {"temperature": 1.0, "top_p": 0.001},
    {"temperature": 1.0, "min_p": 0.1},
    {"temperature": 1.5, "min_p": 0.02},
    {"temperature": 1.0, "min_p": 1.0},
    {"temperature": 0.8, "top_k": 20, "top_p": 0.8, "min_p": 0.05},
    {"temperature": 1.3, "top_k": 40, "top_p": 0.95},
    {"temperature": 1.0, "repetition_penalty": 1.3},
    {"temperature": 0.9, "repetition_penalty": 0.7, "top_p": 0.9},
    {"temperature": 1.0, "frequency_penalty": 0.8},
    {"temperature": 1.0, "presence_penalty": -1.5, "frequency_penalty": 0.25},
    {"temperature": 1.1, "repetition_penalty": 1.2, "frequency_penalty": 1.0, "presence_penalty": 0.5, "top_k": 30},
    {"temperature": 1.0, "logit_bias": {"0": 3.5, "17": -4.0, "33": -100.0}},
    {"temperature": 0.7, "logit_bias": {"8": 6.0, "9": -2.0}, "repetition_penalty": 1.5, "top_p": 0.85},
]


def expand(seed):
    """rand_core's seed_from_u64: 32 bytes by PCG32, whose state the seed is."""
    words, state = [], seed
    for _ in range(8):
        state = (state * 6364136223846793005 + 11634580027462260723) % 2**64
        word = (((state >> 18) ^ state) >> 27) % 2**32
        turn = state >> 59
        words.append(((word >> turn) | (word << (-turn & 31))) % 2**32)
    low = [words[2 * i] | words[2 * i + 1] << 32 for i in range(4)]
    return low[0] | low[1] << 64, low[2] | low[3] << 64


def generator(seed):
    """PCG64 (XSL-RR) of that state and stream."""
    state, increment = expand(seed)
    increment |= 1
    multiplier = 0x2360ED051FC65DA44385DF649FCCF645
    state = ((state + increment) * multiplier + increment) % 2**128
    bits = np.random.PCG64()
    bits.state = {
        "bit_generator": "PCG64",
        "state": {"state": state, "inc": increment},
        "has_uint32": 0,
        "uinteger": 0,
    }
    return np.random.Generator(bits)


def main():
    logits = rows()
    cases = []
    for options in SETTINGS:
        for row in range(len(logits)):
            # Top-p cuts equal tokens as its sort happens to order them.
            if row == 4 and "top_p" in options:
                continue
            scores = processors(options)(torch.tensor([PROMPT + TEXT]), logits[row][None].clone())
            probabilities = scores.softmax(-1)[0]
            expected = {str(i): float(p) for i, p in enumerate(probabilities) if p > 0}
            cases.append({"options": options, "row": row, "expected": expected})

    logprobs = [[float(x) for x in row.double().log_softmax(-1)] for row in logits]
    draws = []
    for seed in (0, 1, 42, 2**63 + 11):
        random = generator(seed)
        cumulative = logits[1].double().softmax(-1).cumsum(0).numpy()
        tokens = [int(np.searchsorted(cumulative, random.random(), side="right")) for _ in range(64)]
        draws.append({"seed": seed, "row": 1, "tokens": tokens})

    found = {
        "prompt": PROMPT,
        "text": TEXT,
        "logits": [[float(x) for x in row] for row in logits],
        "cases": cases,
        "logprobs": logprobs,
        "draws": draws,
    }
    (OUT / "cases.json").write_text(json.dumps(found, indent=None, separators=(",", ":")) + "\n")


main()
