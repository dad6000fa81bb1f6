"""Make layers whose groups aren't of neighbouring inputs, as compressed-tensors 0.12 has them.

Usage: python tests/golden/compressed_tensors/act_order/make.py

Writes beside itself, for each case, `<case>.safetensors` and `<case>.json`. `expected.weight` is what `dequantize`
computes, in the type of the scales. The package is an older one than the other cases are made with: this was taken out.
"""

import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[2]))
from quantized import layer, unpack, write

SHA256 = "e554ea761710ca2b0c0ea49276a4ef8e08658624f1591e6a7368817106b48fbe"
sys.path.insert(0, str(unpack("compressed-tensors==0.12.2", SHA256)))
from compressed_tensors.compressors import BaseCompressor, unpack_from_int32
from compressed_tensors.quantization import QuantizationArgs, QuantizationConfig, QuantizationScheme
from compressed_tensors.quantization.lifecycle.forward import dequantize

OUT = Path(__file__).parent


def case(name, seed, outputs, inputs, group_size, symmetric, dtype):
    args = QuantizationArgs(
        num_bits=4, type="int", symmetric=symmetric, strategy="group", group_size=group_size, actorder="group"
    )
    codes, zeros, scales = layer(seed, outputs, inputs, group_size, 4, symmetric, dtype=dtype)
    generator = torch.Generator().manual_seed(seed)
    g_idx = (torch.arange(inputs, dtype=torch.int32) // group_size)[torch.randperm(inputs, generator=generator)]
    weight = (scales.double()[:, g_idx] * (codes - zeros[:, g_idx])).float()
    zero_point = (zeros - 8).to(torch.int8)
    compressor = BaseCompressor.load_from_registry("pack-quantized")
    tensors = compressor.compress_weight(weight, scales, args, zero_point, g_idx)
    tensors |= {"weight_scale": scales, "weight_g_idx": g_idx}
    unpacked = unpack_from_int32(tensors["weight_packed"], 4, weight.shape)
    expected = dequantize(unpacked, scales, zero_point, args, g_idx=g_idx)
    scheme = QuantizationScheme(targets=["Linear"], weights=args)
    config = QuantizationConfig(config_groups={"group_0": scheme}, format="pack-quantized")
    write(OUT, name, config.model_dump(mode="json"), tensors, codes, zeros, expected)


case("w4-group-32", 1, 24, 96, 32, True, torch.bfloat16)
case("w4-group-64-asymmetric", 2, 20, 128, 64, False, torch.float16)
