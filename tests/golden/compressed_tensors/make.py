"""Make layers quantised as compressed-tensors has them, packed and dequantised by its own compressors.

Usage: python tests/golden/compressed_tensors/make.py

Writes beside itself, for each case, `<case>.safetensors` and `<case>.json`. `expected.weight` is what the compressor's
`decompress` computes, in the type of the scales.
"""

import sys
from pathlib import Path

import torch
from compressed_tensors.compressors import BaseCompressor
from compressed_tensors.quantization import QuantizationArgs, QuantizationConfig, QuantizationScheme

sys.path.insert(0, str(Path(__file__).parent.parent))
from quantized import layer, write

OUT = Path(__file__).parent


def case(name, seed, outputs, inputs, bits, group_size, symmetric, dtype, storage="pack-quantized"):
    strategy = "channel" if group_size == -1 else "group"
    weights = {"num_bits": bits, "type": "int", "symmetric": symmetric, "strategy": strategy}
    if strategy == "group":
        weights["group_size"] = group_size
    activations = None
    if storage == "int-quantized":
        activations = {"num_bits": 8, "type": "int", "symmetric": True, "strategy": "token", "dynamic": True}
        activations = QuantizationArgs(**activations)
    scheme = QuantizationScheme(
        targets=["Linear"], weights=QuantizationArgs(**weights), input_activations=activations, format=storage
    )

    resolved = inputs if group_size == -1 else group_size
    codes, zeros, scales = layer(seed, outputs, inputs, resolved, bits, symmetric, dtype=dtype)
    spread = (scales.double().repeat_interleave(resolved, 1), zeros.repeat_interleave(resolved, 1))
    middle = 2 ** (bits - 1)
    state = {
        "weight": (spread[0] * (codes - spread[1])).to(torch.float32),
        "weight_scale": scales,
        "weight_zero_point": (zeros - middle).to(torch.int8),
    }
    compressor = BaseCompressor.get_value_from_registry(storage)
    tensors = compressor.compress(state, scheme)
    weight = compressor.decompress(tensors, scheme)["weight"]
    config = QuantizationConfig(
        config_groups={"group_0": scheme}, format=storage, quantization_status="compressed", ignore=["lm_head"]
    )
    write(OUT, name, config.model_dump(mode="json"), tensors, codes, zeros, weight)


case("w4-group-32", 1, 24, 96, 4, 32, True, torch.float16)
case("w4-group-128-bf16", 2, 40, 256, 4, 128, True, torch.bfloat16)
case("w4-group-64-asymmetric", 3, 20, 128, 4, 64, False, torch.bfloat16)
case("w4-channel", 4, 24, 100, 4, -1, True, torch.float32)
case("w4-channel-asymmetric", 5, 20, 72, 4, -1, False, torch.float16)
case("w8-group-32-asymmetric", 6, 22, 96, 8, 32, False, torch.bfloat16)
case("w8-channel", 7, 24, 90, 8, -1, True, torch.bfloat16)
case("int8-channel", 8, 24, 90, 8, -1, True, torch.bfloat16, "int-quantized")
case("int8-channel-asymmetric", 9, 20, 64, 8, -1, False, torch.float32, "int-quantized")
