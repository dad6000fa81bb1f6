"""Make layers quantised as AutoAWQ's GEMM layout, packed and dequantised by AutoAWQ itself.

Usage: python tests/golden/awq/make.py

Writes beside itself, for each case, `<case>.safetensors` and `<case>.json`. `expected.weight` is what
`dequantize_gemm` computes, in float16.
"""

import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parent.parent))
from quantized import auto_awq, layer, write

OUT = Path(__file__).parent

AwqConfig, WQLinear_GEMM, dequantize_gemm = auto_awq()


def case(name, seed, outputs, inputs, group_size):
    resolved = inputs if group_size == -1 else group_size
    codes, zeros, scales = layer(seed, outputs, inputs, resolved, 4, symmetric=False)
    linear = torch.nn.Linear(inputs, outputs, bias=False)
    spread = (scales.float().repeat_interleave(resolved, 1), zeros.repeat_interleave(resolved, 1))
    linear.weight.data = spread[0] * (codes - spread[1])
    # `from_linear` indexes with the group size that it is given, so -1 is resolved before.
    packed = WQLinear_GEMM.from_linear(linear, 4, resolved, scales=scales.float().t(), zeros=zeros.float().t())
    tensors = {name: getattr(packed, name) for name in ["qweight", "qzeros", "scales"]}
    weight = dequantize_gemm(packed.qweight, packed.qzeros, packed.scales, 4, resolved).t()
    config = AwqConfig(q_group_size=group_size, version="gemm").to_transformers_dict()
    write(OUT, name, config, tensors, codes, zeros, weight)


case("group-32", 1, 32, 128, 32)
case("group-64", 2, 32, 192, 64)
case("group-128", 3, 32, 256, 128)
case("whole-row", 4, 64, 96, -1)
