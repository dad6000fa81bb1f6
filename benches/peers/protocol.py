"""A peer's side of a benchmark: it stays loaded, and answers a line of JSON with a line of JSON, as ../worker.rs says."""

import importlib.util
import json
import os
import sys

# What libraries print must not come between the lines.
ANSWERS = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)


def require(**packages):
    """Ends here where a module isn't installed; `packages` are modules, and the names under which pip knows them."""
    if any(importlib.util.find_spec(module) is None for module in packages):
        say({"skip": f"it isn't installed; `{sys.executable} -m pip install {' '.join(packages.values())}` brings it"})
        sys.exit()


def serve(hello, tasks):
    """Says `hello`, then answers with `tasks`: functions of a question, by name."""
    say(hello)
    tasks = {"memory": memory} | tasks
    for line in sys.stdin:
        question = json.loads(line)
        try:
            say(tasks[question["task"]](question))
        except Exception as error:
            say({"error": f"{type(error).__name__}: {error}"})


def say(answer):
    print(json.dumps(answer), file=ANSWERS, flush=True)


def memory(_question):
    """The most memory that the process has had resident, where the system says."""
    try:
        with open("/proc/self/status") as status:
            peak = next(line.split()[1] for line in status if line.startswith("VmHWM:"))
    except OSError:
        return {"peak_memory_mb": None}
    return {"peak_memory_mb": int(peak) / 1024}
