"""What decoders are asked, what transformers answers, and whether a test can rely on it."""

import copy
import json

import torch
from safetensors.torch import save_file
from transformers import AutoConfig, AutoModelForCausalLM

VOCAB = 64
POSITIONS = 128
GREEDY = 64

# Ids of the prompts: of 1 token, of 21, of 80. Ids below 4 are those of special tokens.
torch.manual_seed(1)
PROMPTS = [torch.randint(4, VOCAB, (length,)).tolist() for length in (1, 21, 80)]


def load(folder, **overrides):
    """A checkpoint, computed in float32 with plain attention; `overrides` are fields of its configuration."""
    config = AutoConfig.from_pretrained(folder)
    for name, value in overrides.items():
        assert hasattr(config, name), name
        setattr(config, name, copy.deepcopy(value))
    kwargs = {"attn_implementation": "eager", "dtype": torch.float32, "local_files_only": True}
    return AutoModelForCausalLM.from_pretrained(folder, config=config, **kwargs).eval()


def logits(make_model):
    """`[tokens, vocab]` of each prompt, of a model each: with dynamic scaling, a model remembers the longest text."""
    with torch.no_grad():
        return [make_model()(torch.tensor([ids])).logits[0] for ids in PROMPTS]


def greedy(model):
    """The tokens that follow the second prompt, and the logits that each was chosen by, one at a time with a cache."""
    options = {"do_sample": False, "max_new_tokens": GREEDY, "use_cache": True, "eos_token_id": None}
    out = model.generate(
        torch.tensor([PROMPTS[1]]),
        attention_mask=torch.ones(1, len(PROMPTS[1]), dtype=torch.long),
        output_logits=True,
        return_dict_in_generate=True,
        **options,
    )
    return out.sequences[0, len(PROMPTS[1]) :], torch.cat(out.logits)


def router_gap(model):
    """The smallest distance, in logits, between the last expert that is asked and the first that isn't."""
    gaps = [float("inf")]

    def measure(router, _, outputs):
        ranked = outputs[0].sort(-1, descending=True).values
        gaps.append((ranked[:, router.top_k - 1] - ranked[:, router.top_k]).min().item())

    for module in model.modules():
        if type(module).__name__.endswith("TopKRouter"):
            module.register_forward_hook(measure)
    return gaps


def collect(make_model):
    """The answers as tensors, or why they would be a bad test."""
    found = logits(make_model)
    model = make_model()
    gaps = router_gap(model)
    tokens, steps = greedy(model)
    best = steps.topk(2).values
    margin = (best[:, 0] - best[:, 1]).min().item()
    if margin < 5e-3:
        return None, f"margin {margin:.1e}"
    if len(tokens.unique()) < 20:
        return None, f"{len(tokens.unique())} tokens"
    if min(gaps) < 1e-3:
        return None, f"a router's gap of {min(gaps):.1e}"
    assert all(rows.std() > 1.0 for rows in found), [rows.std() for rows in found]
    tensors = {f"logits.{index}": rows for index, rows in enumerate(found)}
    tensors |= {f"ids.{index}": torch.tensor(ids, dtype=torch.int32) for index, ids in enumerate(PROMPTS)}
    tensors["greedy"] = tokens.to(torch.int32)
    spread = max(rows.std().item() for rows in found)
    return tensors, f"margin {margin:.1e}, {len(tokens.unique())} tokens, spread {spread:.1f}"


def difference(found, expected):
    return max((a - b).abs().max().item() for a, b in zip(found, expected, strict=True))


def check(folder, tensors, acts):
    """Another spelling of the configuration means the same, and each of the fields that a case is about matters."""
    expected = [tensors[f"logits.{index}"] for index in range(len(PROMPTS))]
    if (folder / "published.json").exists():
        own = (folder / "config.json").read_text()
        (folder / "config.json").write_text((folder / "published.json").read_text())
        found = logits(lambda: load(folder))
        (folder / "config.json").write_text(own)
        assert difference(found, expected) == 0.0, f"{folder.name}: published.json"
    for name, value in acts.items():
        found = logits(lambda: load(folder, **{name: value}))
        assert difference(found, expected) > 0.1, f"{folder.name}: {name} does nothing"


def write(folder, tensors):
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, folder / "expected.safetensors")


def as_published(config, spelling, without):
    """The configuration as it was spelled before transformers 5: `spelling` is the key, or the keys, of the scaling."""
    config = {name: value for name, value in config.items() if name not in ("layer_types", *without)}
    rope = config.pop("rope_parameters")
    config["torch_dtype"] = config.pop("dtype")
    if "rope_theta" not in without:
        config["rope_theta"] = rope["rope_theta"]
    scaling = {name: value for name, value in rope.items() if name not in ("rope_theta", "rope_type")}
    scaling |= {key: rope["rope_type"] for key in spelling.split()}
    config["rope_scaling"] = None if rope["rope_type"] == "default" else scaling
    return {**config, "transformers_version": "4.44.0"}


def write_published(folder, spelling, without, extra):
    config = as_published(json.loads((folder / "config.json").read_text()), spelling, without)
    (folder / "published.json").write_text(json.dumps({**config, **extra}, indent=2) + "\n")
