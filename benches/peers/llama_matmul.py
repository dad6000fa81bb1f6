"""Times matrix products of llama.cpp, as its library computes them for a model on the CPU.

Answers a case with the seconds of one product, or none where the library has no such product. Weights go to the buffer
type that llama.cpp would take for them, which repacks some types, and there are as many copies of a matrix as keep it
out of the caches. `cargo xtask bench matmul --against llama.cpp` starts it.
"""

import protocol

protocol.require(llama_cpp="llama-cpp-python", numpy="numpy")

import ctypes as c  # noqa: E402
import importlib.util  # noqa: E402
import os  # noqa: E402
import sys  # noqa: E402
import time  # noqa: E402

import numpy as np  # noqa: E402

CACHES = 256 << 20  # bytes that no cache holds
TURN = 0.1  # seconds that a turn takes at least
TYPES = {
    "Q4_0": 2, "Q4_1": 3, "Q5_0": 6, "Q5_1": 7, "Q8_0": 8, "Q2_K": 10, "Q3_K": 11, "Q4_K": 12, "Q5_K": 13, "Q6_K": 14,
    "IQ4_NL": 20, "IQ4_XS": 23, "TQ1_0": 34, "TQ2_0": 35,
}  # fmt: skip
F32 = 0


class InitParams(c.Structure):
    _fields_ = [("mem_size", c.c_size_t), ("mem_buffer", c.c_void_p), ("no_alloc", c.c_bool)]


def load():
    folder = os.path.join(os.path.dirname(importlib.util.find_spec("llama_cpp").origin), "lib")
    libraries = [c.CDLL(os.path.join(folder, f"libggml{part}.so"), mode=c.RTLD_GLOBAL) for part in ("-base", "-cpu", "")]

    class Functions:
        def __getattr__(self, name):
            for library in libraries:
                if hasattr(library, name):
                    function = getattr(library, name)
                    function.restype = c.c_void_p
                    return function
            raise AttributeError(name)

    return Functions()


ggml = load()
pointer = c.c_void_p


def buffer_types():
    """Those that weights may go to, the preferred ones first."""
    registry = pointer(ggml.ggml_backend_cpu_reg())
    get = ggml.ggml_backend_reg_get_proc_address(registry, b"ggml_backend_dev_get_extra_bufts")
    types = []
    if get:
        device = pointer(ggml.ggml_backend_reg_dev_get(registry, c.c_size_t(0)))
        extra = c.cast(c.CFUNCTYPE(pointer, pointer)(get)(device), c.POINTER(pointer))
        index = 0
        while extra and extra[index]:
            types.append(pointer(extra[index]))
            index += 1
    return types + [pointer(ggml.ggml_backend_cpu_buffer_type())]


def context():
    return pointer(ggml.ggml_init(InitParams(64 << 20, None, True)))


def tensor(ctx, of, columns, rows):
    return pointer(ggml.ggml_new_tensor_2d(ctx, c.c_int(of), c.c_int64(columns), c.c_int64(rows)))


def random_weights(of, outputs, inputs):
    row = ggml.ggml_row_size
    row.restype = c.c_size_t
    size = row(c.c_int(of), c.c_int64(inputs)) * outputs
    source = np.random.default_rng(0).standard_normal((outputs, inputs), dtype=np.float32)
    packed = np.empty(size, dtype=np.uint8)
    chunk = ggml.ggml_quantize_chunk
    chunk.restype = c.c_size_t
    chunk(
        c.c_int(of), source.ctypes.data_as(pointer), packed.ctypes.data_as(pointer), c.c_int64(0), c.c_int64(outputs),
        c.c_int64(inputs), None,
    )  # fmt: skip
    return packed


class Case:
    def __init__(self, of, outputs, inputs, rows, threads):
        packed = random_weights(of, outputs, inputs)
        copies = max(1, -(-CACHES // packed.size)) if rows == 1 else 1
        self.backend = pointer(ggml.ggml_backend_cpu_init())
        ggml.ggml_backend_cpu_set_n_threads(self.backend, c.c_int(threads))
        device = pointer(ggml.ggml_backend_get_device(self.backend))
        supports = ggml.ggml_backend_dev_supports_op
        supports.restype = c.c_bool
        for kind in buffer_types():
            weights_ctx, ctx = context(), context()
            weights = [tensor(weights_ctx, of, inputs, outputs) for _ in range(copies)]
            buffer = ggml.ggml_backend_alloc_ctx_tensors_from_buft(weights_ctx, kind)
            x = tensor(ctx, F32, inputs, rows)
            products = [pointer(ggml.ggml_mul_mat(ctx, weight, x)) for weight in weights]
            if buffer and supports(device, products[0]):
                break
        for weight in weights:
            ggml.ggml_backend_tensor_set(weight, packed.ctypes.data_as(pointer), c.c_size_t(0), c.c_size_t(packed.size))
        ggml.ggml_backend_alloc_ctx_tensors_from_buft(ctx, pointer(ggml.ggml_backend_cpu_buffer_type()))
        values = np.random.default_rng(1).standard_normal((rows, inputs), dtype=np.float32)
        ggml.ggml_backend_tensor_set(x, values.ctypes.data_as(pointer), c.c_size_t(0), c.c_size_t(values.nbytes))
        self.graph = pointer(ggml.ggml_new_graph(ctx))
        for product in products:
            ggml.ggml_build_forward_expand(self.graph, product)
        self.copies = copies

    def seconds(self):
        start = time.perf_counter()
        passes = 0
        while (seconds := time.perf_counter() - start) < TURN:
            ggml.ggml_backend_graph_compute(self.backend, self.graph)
            passes += 1
        return seconds / passes / self.copies


def main():
    threads = int(sys.argv[1])
    cases = {}

    def product(question):
        of, outputs, inputs, rows = (question[field] for field in ("of", "outputs", "inputs", "rows"))
        key = of, outputs, inputs, rows
        if key not in cases:
            # Its memory is given back with the process: a case is a few hundred megabytes.
            cases.clear()
            cases[key] = Case(TYPES[of], outputs, inputs, rows, threads) if of in TYPES else None
        return {"seconds": [cases[key].seconds()] if cases[key] else []}

    protocol.serve({"program": "llama.cpp"}, {"product": product})


main()
