"""Make blocks of every type of GGUF, and what ggml says that they stand for.

Usage: python tests/golden/blocks/make.py

Writes beside itself `blocks.safetensors`: `rows`, rows of floats, and of each type

- `TYPE.rows`: the rows, quantised by llama.cpp's library (types that need an importance matrix get one of ones),
- `TYPE.random`: blocks of random bytes, but for their scales, which are finite,
- `TYPE.rows.values`, `TYPE.random.values`: their elements.

Where `gguf.quants` knows a type, it must agree with the library, on the elements to the bit.
"""

import ctypes
from pathlib import Path

import gguf
import numpy as np
from gguf import GGMLQuantizationType as Type
from llama_cpp import _ggml
from safetensors.numpy import save_file

OUT = Path(__file__).parent
COLUMNS = 256

# Where a type's half-precision scales are, in bytes; Q8_K and MXFP4 have none.
HALVES = {
    Type.Q4_0: [0], Type.Q4_1: [0, 2], Type.Q5_0: [0], Type.Q5_1: [0, 2], Type.Q8_0: [0], Type.Q8_1: [0, 2],
    Type.Q2_K: [80, 82], Type.Q3_K: [108], Type.Q4_K: [0, 2], Type.Q5_K: [0, 2], Type.Q6_K: [208], Type.Q8_K: [],
    Type.IQ2_XXS: [0], Type.IQ2_XS: [0], Type.IQ3_XXS: [0], Type.IQ1_S: [0], Type.IQ4_NL: [0], Type.IQ3_S: [0],
    Type.IQ2_S: [0], Type.IQ4_XS: [0], Type.IQ1_M: [], Type.TQ1_0: [52], Type.TQ2_0: [64], Type.MXFP4: [],
}  # fmt: skip
# Those that the library reads or writes under names of their own alone.
BY_NAME = {Type.Q8_1: "q8_1", Type.Q8_K: "q8_K"}


class Traits(ctypes.Structure):
    """`ggml_type_traits`."""

    _fields_ = [
        ("type_name", ctypes.c_char_p),
        ("blck_size", ctypes.c_int64),
        ("blck_size_interleave", ctypes.c_int64),
        ("type_size", ctypes.c_size_t),
        ("is_quantized", ctypes.c_bool),
        ("to_float", ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64)),
        ("from_float_ref", ctypes.c_void_p),
    ]


def library():
    folder = Path(_ggml.__file__).parent / "lib"
    ggml = ctypes.CDLL(str(folder / "libggml-base.so"))
    ggml.ggml_get_type_traits.restype = ctypes.POINTER(Traits)
    ggml.ggml_quantize_chunk.restype = ctypes.c_size_t
    ggml.ggml_quantize_requires_imatrix.restype = ctypes.c_bool
    # It fills the table by which the library reads half precision.
    ggml.ggml_init.argtypes = [ctypes.c_size_t, ctypes.c_void_p, ctypes.c_bool]
    ggml.ggml_init(1 << 16, None, False)
    return ggml


GGML = library()


def traits(of):
    return GGML.ggml_get_type_traits(int(of)).contents


def sizes(of):
    """Elements and bytes of a block."""
    return traits(of).blck_size, traits(of).type_size


def pointer(array):
    return array.ctypes.data_as(ctypes.c_void_p)


def quantise(of, rows):
    length, size = sizes(of)
    blocks = np.zeros((rows.size // length, size), np.uint8)
    if of in BY_NAME:
        function = getattr(GGML, f"quantize_row_{BY_NAME[of]}_ref")
        function(pointer(rows), pointer(blocks), ctypes.c_int64(rows.size))
        return blocks
    ones = np.ones(COLUMNS, np.float32)
    weights = pointer(ones) if GGML.ggml_quantize_requires_imatrix(int(of)) else None
    counts = (ctypes.c_int64(0), ctypes.c_int64(len(rows)), ctypes.c_int64(COLUMNS))
    written = GGML.ggml_quantize_chunk(int(of), pointer(rows), pointer(blocks), *counts, weights)
    assert written == blocks.nbytes, of
    return blocks


def dequantise(of, blocks):
    length, _ = sizes(of)
    values = np.zeros((len(blocks), length), np.float32)
    if of == Type.Q8_1:
        # Nothing reads them: they are products' other side.
        return blocks[:, :2].copy().view(np.float16).astype(np.float32) * blocks[:, 4:].view(np.int8)
    if of == Type.Q8_K:
        GGML.dequantize_row_q8_K(pointer(blocks), pointer(values), ctypes.c_int64(values.size))
        return values
    traits(of).to_float(pointer(blocks), pointer(values), values.size)
    assert gguf.dequantize(blocks, of).tobytes() == values.tobytes(), of
    return values


def random_blocks(of, rng):
    length, size = sizes(of)
    blocks = rng.integers(0, 256, (2 * COLUMNS // length, size), np.uint8)
    for at in HALVES[of]:
        scales = rng.normal(0, 0.01, len(blocks)).astype(np.float16)
        blocks[:, at : at + 2] = scales.view(np.uint8).reshape(-1, 2)
    if of == Type.Q8_K:
        blocks[:, :4] = rng.normal(0, 0.01, len(blocks)).astype(np.float32).view(np.uint8).reshape(-1, 4)
    if of == Type.IQ1_M:
        # Its scale is the upper quarters of four numbers: no infinity.
        blocks[:, 55] &= 0xBF
    if of == Type.MXFP4:
        # The least exponents, whose powers are subnormal, and the greatest of which all multiples are finite.
        blocks[:, 0] = [0, 1, 2, 127, 128, 252, *rng.integers(100, 150, len(blocks) - 6)]
    return blocks


def float_rows(rng):
    """What weights may look like, and what they hardly do."""
    steps = np.arange(COLUMNS)
    rows = [
        rng.normal(0, 0.02, COLUMNS),
        rng.standard_t(3, COLUMNS) * 0.02,
        rng.uniform(-1, 1, COLUMNS),
        # As in test-quantize-fns.cpp of llama.cpp.
        0.1 + 2 * np.cos(steps),
        rng.exponential(0.1, COLUMNS) + 0.05,
        # 32 equal ones, 32 zeros, and single spikes.
        np.where(steps < 32, 0.3, np.where(steps % 32 == 5, -1.5, 0)) * (steps // 32 != 1),
        # Scales are subnormal, or vanish.
        rng.normal(0, 1e-7, COLUMNS),
        rng.normal(0, 1000, COLUMNS),
    ]
    return np.array(rows, np.float32)


def main():
    rng = np.random.default_rng(20)
    rows = float_rows(rng)
    tensors = {"rows": rows}
    for of in HALVES:
        for name, blocks in [("rows", quantise(of, rows)), ("random", random_blocks(of, rng))]:
            tensors[f"{of.name}.{name}"] = blocks
            tensors[f"{of.name}.{name}.values"] = dequantise(of, blocks)
            assert np.isfinite(tensors[f"{of.name}.{name}.values"]).all(), of
    save_file(tensors, OUT / "blocks.safetensors")


main()
