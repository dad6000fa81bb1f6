"""What the peers that run an encoder share: tokens, batches of like length, pooling, and the clock around them."""

import argparse
import json
import os
import time

import numpy as np
from tokenizers import Tokenizer

BATCH = 32  # texts, padded to the longest


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("task", choices=["embed", "rerank"])
    parser.add_argument("model", help="a folder")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--tokens", type=int, help="longest input")
    parser.add_argument("--int8", action="store_true")
    parser.add_argument("--cache", default=".", help="a folder for files that are made of the model")
    parser.add_argument("--only-make", action="store_true", help="make these files, and end")
    return parser.parse_args()


def names(options):
    """What the network reads, in order; one that doesn't tell first and second texts apart reads no types."""
    with open(os.path.join(options.model, "config.json")) as file:
        has_types = json.load(file).get("type_vocab_size", 0) > 1
    return ["input_ids", "attention_mask"] + ["token_type_ids"] * has_types


def network(options, **how):
    """The model in PyTorch, from `names` to hidden states or, of a reranker, logits."""
    import torch
    import transformers

    rerank = options.task == "rerank"
    kind = transformers.AutoModelForSequenceClassification if rerank else transformers.AutoModel
    model = kind.from_pretrained(options.model, local_files_only=True, dtype=torch.float32, **how).eval()
    inputs = names(options)

    class Network(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.model = model

        def forward(self, *values):
            output = self.model(**dict(zip(inputs, values)))
            return output.logits if rerank else output.last_hidden_state

    return Network()


class Encoder:
    """`forward` makes hidden states or, of a reranker, logits of what `names` says, all as NumPy arrays."""

    def __init__(self, options, forward):
        self.task, self.forward, self.n_inputs = options.task, forward, len(names(options))
        self.tokenizer = Tokenizer.from_file(os.path.join(options.model, "tokenizer.json"))
        self.tokenizer.no_padding()
        if options.tokens:
            how = "only_second" if options.task == "rerank" else "longest_first"
            self.tokenizer.enable_truncation(options.tokens, strategy=how)
        self.pool = cls if pooling(options.model).get("pooling_mode_cls_token") else mean

    def tasks(self):
        return {"embed": self.embed, "rerank": self.rerank}

    def embed(self, question):
        texts = lines(question)
        requests = [[text] for text in texts] if question.get("each") else [texts]
        seconds, tokens, vectors = [], 0, []
        for request in requests:
            taken, (rows, count) = self.timed(request)
            seconds.append(taken)
            tokens += count
            vectors.append(rows)
        write(question, np.concatenate(vectors))
        return {"seconds": seconds, "tokens": tokens}

    def rerank(self, question):
        query, *documents = lines(question)
        taken, (scores, tokens) = self.timed([(query, document) for document in documents])
        write(question, scores)
        return {"seconds": [taken], "tokens": tokens}

    def timed(self, inputs):
        start = time.perf_counter()
        done = self.run(inputs)
        return time.perf_counter() - start, done

    def run(self, inputs):
        encoded = self.tokenizer.encode_batch(inputs) if len(inputs) > 1 else [self.encode(inputs[0])]
        order = sorted(range(len(encoded)), key=lambda index: -len(encoded[index].ids))
        out = [None] * len(encoded)
        for start in range(0, len(order), BATCH):
            places = order[start : start + BATCH]
            shape = len(places), len(encoded[places[0]].ids)
            ids, mask, types = (np.zeros(shape, np.int64) for _ in range(3))
            for row, place in enumerate(places):
                length = len(encoded[place].ids)
                ids[row, :length], types[row, :length] = encoded[place].ids, encoded[place].type_ids
                mask[row, :length] = 1
            output = self.forward([ids, mask, types][: self.n_inputs])
            rows = output[:, 0] if self.task == "rerank" else self.pool(output, mask)
            for place, row in zip(places, rows):
                out[place] = row
        return np.stack(out), sum(len(one.ids) for one in encoded)

    def encode(self, one):
        return self.tokenizer.encode(*one) if isinstance(one, tuple) else self.tokenizer.encode(one)


def pooling(model):
    try:
        with open(os.path.join(model, "1_Pooling", "config.json")) as file:
            return json.load(file)
    except FileNotFoundError:
        return {}


def mean(hidden, mask):
    pooled = np.einsum("rth,rt->rh", hidden, mask.astype(np.float32))
    return normalised(pooled / mask.sum(1, keepdims=True))


def cls(hidden, _mask):
    return normalised(hidden[:, 0])


def normalised(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def lines(question):
    with open(question["input"], encoding="utf8") as file:
        return [line for line in file.read().split("\n") if line.strip()]


def write(question, rows):
    if question.get("output"):
        np.asarray(rows, "<f4").tofile(question["output"])
