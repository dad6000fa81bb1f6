"""Make tiny PyTorch checkpoints, and what is in them.

Usage: python tests/golden/pytorch/make.py

Writes beside itself one file per case, saved by torch.save, `expected.json` with each tensor's shape, type (as
safetensors names it), bytes in row-major order, and values of floating-point types that are computed with, and
`refused/`: files that a reader of state dicts must refuse. Among them are pickles that run a command when Python
loads them; nothing here loads them.

`*_legacy.bin` is what torch.save wrote before PyTorch 1.6. Its storages are named after addresses in memory, so a
second run gives other bytes there, and the same everywhere else.
"""

import json
import os
import shutil
from collections import OrderedDict
from pathlib import Path

import torch

OUT = Path(__file__).parent

DTYPES = {
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.float64: "F64",
    torch.float8_e4m3fn: "F8_E4M3",
    torch.float8_e5m2: "F8_E5M2",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.uint16: "U16",
    torch.bool: "BOOL",
}
FLOATS = (torch.float32, torch.float16, torch.bfloat16)


def counting(*shape, dtype=torch.float32):
    """0, -1.5, 3, -4.5, ...: exact in every floating-point type, and no two alike."""
    count = torch.arange(torch.Size(shape).numel())
    return (count * 1.5 * (1 - 2 * (count % 2))).reshape(shape).to(dtype)


def case_types():
    """Every type of elements."""
    floats = (torch.float64, torch.float8_e4m3fn, torch.float8_e5m2, *FLOATS)
    integers = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.uint16)
    tensors = {DTYPES[dtype]: counting(2, 3, dtype=dtype) for dtype in floats}
    tensors |= {DTYPES[dtype]: torch.arange(5).to(dtype) for dtype in integers}
    return {**tensors, "BOOL": torch.tensor([True, False, True])}


def case_views():
    """Storages with several tensors, and tensors whose elements aren't in order."""
    weight = counting(4, 6)
    slices = counting(5, 4)
    return OrderedDict(
        embeddings=weight,
        tied=weight,
        transposed=weight.t(),
        first_rows=slices[:2],
        last_rows=slices[3:],
        column=slices[:, 1],
        block=slices[1:4, 1:3],
        permuted=counting(2, 3, 4).permute(2, 0, 1),
        channels_last=counting(1, 2, 3, 2).to(memory_format=torch.channels_last),
        parameter=torch.nn.Parameter(counting(2, 2)),
        transposed_parameter=torch.nn.Parameter(counting(2, 3).t(), requires_grad=False),
        scalar=torch.tensor(-2.5),
        empty=torch.empty(0, 3),
        empty_slice=weight[4:],
    )


def case_module():
    """What a module's state_dict() gives: ordered, with the versions of its parts as an attribute."""
    torch.manual_seed(1)
    module = torch.nn.Sequential(torch.nn.Embedding(5, 3), torch.nn.Linear(3, 2).half(), torch.nn.BatchNorm1d(2))
    module.register_buffer("position_ids", torch.arange(6).unsqueeze(0))
    return module.state_dict()


def case_many():
    """More than 256 memorised values, of which later ones take longer opcodes."""
    storage = counting(60)
    return {f"layer.{index}": storage[index] for index in range(60)}


CASES = [case_types, case_views, case_module, case_many]


class Call:
    """Pickled as a call of `function`, which Python makes when it loads the pickle."""

    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


class Module(torch.nn.Module):
    """Pickled whole, with its class, rather than as a state dict."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(counting(2, 2))


def refused():
    state = {"weight": counting(2, 2)}
    return {
        "system": {"weight": Call(os.system, "touch gllm-was-here")},
        "eval": {"weight": Call(eval, "open('gllm-was-here', 'w')")},
        "module": Module(),
        "nested": {"state_dict": state, "epoch": 3},
        "number": {**state, "temperature": 0.5},
        "integer": {**state, "epoch": 3},
        "tensor": state["weight"],
        "integer_key": {7: state["weight"]},
        "sparse": {"weight": state["weight"].to_sparse()},
        "complex": {"weight": torch.zeros(2, dtype=torch.complex64)},
        "repeated": {"weight": torch.ones(1).expand(4096, 4096)},
        "meta": {"weight": torch.empty(2, device="meta")},
    }


def describe(tensor):
    tensor = tensor.detach().contiguous()
    content = tensor.flatten().view(torch.uint8).numpy().tobytes().hex() if tensor.numel() else ""
    description = {"shape": list(tensor.shape), "dtype": DTYPES[tensor.dtype], "bytes": content}
    if tensor.dtype in FLOATS:
        description["values"] = tensor.flatten().tolist()
    return description


def main():
    expected = {}
    for case in CASES:
        name, state = case.__name__.removeprefix("case_"), case()
        files = [f"{name}.bin", f"{name}_legacy.bin"]
        torch.save(state, OUT / files[0])
        torch.save(state, OUT / files[1], _use_new_zipfile_serialization=False)
        expected[name] = {"files": files, "tensors": {key: describe(tensor) for key, tensor in state.items()}}
    lines = (f"{json.dumps(name)}: {json.dumps(case)}" for name, case in expected.items())
    (OUT / "expected.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")

    shutil.rmtree(OUT / "refused", ignore_errors=True)
    (OUT / "refused").mkdir()
    for name, content in refused().items():
        torch.save(content, OUT / f"refused/{name}.bin")
        # A legacy file of a module has the path of its source in it.
        if name != "module":
            torch.save(content, OUT / f"refused/{name}_legacy.bin", _use_new_zipfile_serialization=False)
    torch.save(refused()["tensor"], OUT / "refused/protocol_4.bin", pickle_protocol=4)


if __name__ == "__main__":
    main()
