"""Make tiny GGUF files, and what is in them.

Usage: python tests/golden/gguf/make.py

Writes beside itself files by the `gguf` package, and `expected.json` with what its reader finds in each: version, byte
order, alignment, each key's type and value, and each tensor's shape (outermost dimension first), type (as GGUF calls
it) and bytes, little-endian. Floats of the metadata are given as the hex digits of their bits, since JSON has no NaN.
"""

import json
from pathlib import Path

import gguf
import numpy as np
from gguf import GGMLQuantizationType as Type
from gguf import GGUFEndian, GGUFReader, GGUFValueType, GGUFWriter

OUT = Path(__file__).parent

# The package has the size from when the scale and the sum of a block were floats; ggml made them halves.
gguf.GGML_QUANT_SIZES[Type.Q8_1] = (32, 2 + 2 + 32)

SCALARS = {
    GGUFValueType.UINT8: [0, 255],
    GGUFValueType.INT8: [-128, 127],
    GGUFValueType.UINT16: [0, 65535],
    GGUFValueType.INT16: [-32768, 32767],
    GGUFValueType.UINT32: [0, 4294967295],
    GGUFValueType.INT32: [-2147483648, 2147483647],
    GGUFValueType.FLOAT32: [-1.5, float("inf"), float("nan"), 1e-45],
    GGUFValueType.BOOL: [False, True],
    GGUFValueType.STRING: ["", "plain", "Straße 猫 🐈\n\0", "x" * 300],
    GGUFValueType.UINT64: [0, 18446744073709551615],
    GGUFValueType.INT64: [-9223372036854775808, 9223372036854775807],
    GGUFValueType.FLOAT64: [1e-323, -1.7976931348623157e308],
}


def writer(name, **options):
    return GGUFWriter(OUT / name, "tiny", **options)


def finish(file):
    file.write_header_to_file()
    file.write_kv_data_to_file()
    file.write_tensors_to_file()
    file.close()


def counting(*shape, dtype=np.float32):
    """0, -1.5, 3, -4.5, ...: exact in every floating-point type, and no two alike."""
    count = np.arange(np.prod(shape))
    return (count * 1.5 * (1 - 2 * (count % 2))).reshape(shape).astype(dtype)


def add_metadata(file):
    """Every type by itself, and in arrays of one and of several values; the package writes no empty ones."""
    for of, values in SCALARS.items():
        name = of.name.lower()
        for number, value in enumerate(values):
            file.add_key_value(f"scalar.{name}.{number}", value, of)
        for length in [1, len(values)]:
            file.add_key_value(f"array.{name}.{length}", values[:length], GGUFValueType.ARRAY, of)
    file.add_key_value("array.bytes", b"\x00\x01\xff", GGUFValueType.ARRAY)


def add_dense(file):
    """Every type without blocks, in one to four dimensions."""
    file.add_tensor("f32", counting(2, 3))
    file.add_tensor("f16", counting(5, dtype=np.float16))
    file.add_tensor("f64", counting(2, 2, 3, dtype=np.float64))
    # BF16 is the upper half of a float.
    halves = (counting(2, 1, 3, 2).view(np.uint32) >> 16).astype(np.uint16)
    bf16 = halves.view(np.uint8).reshape(2, 1, 3, 4)
    if file.endianess == GGUFEndian.BIG:
        bf16 = halves.byteswap().view(np.uint8).reshape(2, 1, 3, 4)
    file.add_tensor("bf16", bf16, raw_dtype=Type.BF16)
    for bits in (8, 16, 32, 64):
        file.add_tensor(f"i{bits}", np.arange(-3, 4, dtype=f"int{bits}"))


def little():
    file = writer("little.gguf")
    add_metadata(file)
    add_dense(file)
    finish(file)


def big():
    file = writer("big.gguf", endianess=GGUFEndian.BIG)
    add_metadata(file)
    add_dense(file)
    finish(file)


def blocks():
    """A tensor of each type of blocks: two rows of two blocks, of bytes that count."""
    file = writer("blocks.gguf")
    for of, (length, size) in gguf.GGML_QUANT_SIZES.items():
        if length > 1 and of not in (Type.NVFP4, Type.Q1_0):
            data = (np.arange(4 * size, dtype=np.uint32) * 7 + of).astype(np.uint8).reshape(2, 2 * size)
            file.add_tensor(of.name, data, raw_dtype=of)
    finish(file)


def aligned():
    file = writer("aligned.gguf")
    file.add_custom_alignment(64)
    file.add_tensor("one", counting(1))
    file.add_tensor("more", counting(33))
    file.add_tensor("last", counting(16))
    finish(file)


def no_tensors():
    file = writer("no_tensors.gguf")
    file.add_array("tokenizer.ggml.tokens", ["<s>", "a", "猫"])
    finish(file)


def sharded():
    file = writer("sharded.gguf", split_max_tensors=2)
    file.add_name("a model in three files")
    for number in range(5):
        file.add_tensor(f"layer.{number}", counting(2, 2) + number)
    finish(file)


def refused_types():
    """Types of blocks that the package knows and that aren't supported."""
    for of in (Type.NVFP4, Type.Q1_0):
        file = writer(f"refused_{of.name.lower()}.gguf")
        length, size = gguf.GGML_QUANT_SIZES[of]
        file.add_tensor("weight", np.zeros((1, size), dtype=np.uint8), raw_dtype=of)
        finish(file)


def to_json(of, value):
    if of in (GGUFValueType.FLOAT32, GGUFValueType.FLOAT64):
        digits = 8 if of == GGUFValueType.FLOAT32 else 16
        return f"{int(np.asarray(value).view(f'uint{4 * digits}')):0{digits}x}"
    return value


def describe_value(field):
    of = field.types[-1]
    if field.types[0] == GGUFValueType.ARRAY:
        parts = [field.parts[place] for place in field.data]
        values = [bytes(part).decode() if of == GGUFValueType.STRING else part[0] for part in parts]
        values = [value if isinstance(value, str) else native(value) for value in values]
        return {"type": of.name, "array": [to_json(of, value) for value in values]}
    part = field.parts[-1]
    value = bytes(part).decode() if of == GGUFValueType.STRING else native(part[0])
    return {"type": of.name, "value": to_json(of, value)}


def native(value):
    """A value in this machine's byte order; integers and bools as Python's."""
    value = value.astype(value.dtype.newbyteorder("="))
    return value if value.dtype.kind == "f" else value.item()


def describe_tensor(tensor, is_big):
    data = tensor.data
    if is_big:
        size = 2 if tensor.tensor_type == Type.BF16 else data.dtype.itemsize
        data = np.ascontiguousarray(data).view(np.uint8).reshape(-1, size)[:, ::-1]
    return {
        "shape": [int(dim) for dim in reversed(tensor.shape)],
        "type": tensor.tensor_type.name,
        "bytes": np.ascontiguousarray(data).tobytes().hex(),
    }


def describe(path):
    reader = GGUFReader(path)
    is_big = reader.endianess == GGUFEndian.BIG
    return {
        "version": native(reader.fields["GGUF.version"].parts[0][0]),
        "big_endian": is_big,
        "alignment": int(reader.alignment),
        # The package gives three more, of the header.
        "metadata": {key: describe_value(field) for key, field in reader.fields.items() if not key.startswith("GGUF.")},
        "tensors": {tensor.name: describe_tensor(tensor, is_big) for tensor in reader.tensors},
    }


def main():
    for old in OUT.glob("*.gguf"):
        old.unlink()
    for case in (little, big, blocks, aligned, no_tensors, sharded, refused_types):
        case()
    files = sorted(path for path in OUT.glob("*.gguf") if not path.name.startswith("refused"))
    lines = (f"{json.dumps(path.name)}: {json.dumps(describe(path))}" for path in files)
    (OUT / "expected.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main()
