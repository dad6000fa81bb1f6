"""Make layers quantised as AutoAWQ's GEMM layout, packed and dequantised by AutoAWQ itself.

Usage: python tests/golden/awq/make.py

Writes beside itself, for each case, `<case>.safetensors` and `<case>.json`. `expected.weight` is what
`dequantize_gemm` computes, in float16.
"""

import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parent.parent))
from quantized import layer, stub, unpack, write

OUT = Path(__file__).parent

package = unpack("autoawq==0.2.9", "f3397687118c7d23c769de0de05ff1dca8950a2644acbe1b6eb1399c691fe7ee") / "awq"
for name in ["awq", "awq.utils", "awq.modules", "awq.modules.linear"]:
    stub(name, package.joinpath(*name.split(".")[1:]))
stub("awq.utils.utils", get_best_device=lambda: "cpu")
stub("awq.modules.triton")  # without a path, so that Triton's kernels aren't found
stub("awq.models", package / "models")

from awq.models._config import AwqConfig
from awq.modules.linear.gemm import WQLinear_GEMM
from awq.utils.packing_utils import dequantize_gemm


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
