"""Render chat templates of real models with transformers, for many conversations.

Usage: python tests/golden/chat_templates/make.py

Reads `templates/*.jinja`, as published, and `sources.json`: where each comes from, the special tokens of its model, and
which variables it takes. Writes `conversations.json`, with large variables by name, and, for each template, `expected/<name>.json`: what
`render_jinja_template` makes of the conversations, or the message of the exception that it ends with: under "raised"
where the template itself raised it. Writes `expressions.json`, the same for the small templates of `expressions.py`. The
clock stands still at NOW.
"""

import datetime
import json
from pathlib import Path

import transformers.utils.chat_template_utils as chat
from expressions import EXPRESSIONS
from jinja2.exceptions import TemplateError

OUT = Path(__file__).parent
NOW = datetime.datetime(2026, 3, 5, 9, 7, 0)

EDGES = "  leading and trailing \n\n\t"
CONVERSATIONS = {
    "user": [("user", "What is the capital of France?")],
    "system": [("system", "You answer in one word."), ("user", "What is the capital of France?")],
    "turns": [("user", "Hi"), ("assistant", "Hello! How can I help?"), ("user", "Count to three.\n1,")],
    "system_turns": [
        ("system", "Be brief."),
        ("user", "One?"),
        ("assistant", "1"),
        ("user", "Two?"),
        ("assistant", "2"),
        ("user", "Three?"),
    ],
    "ends_with_assistant": [("user", "Hi"), ("assistant", "Hello!")],
    "edges": [("system", EDGES), ("user", EDGES), ("assistant", EDGES), ("user", "\r\n\u00a0\u2003x\u3000\x1f\x0b")],
    "quotes": [("user", "\"double\" 'single' \\n \\ back\\\\slash `tick` <b>&amp;</b> %s {0} /"), ("assistant", "'")],
    "jinja": [
        ("user", "{{ messages }} {% raw %} {# comment #} {%- endfor %} {{ raise_exception('no') }}"),
        ("assistant", "{% generation %}{{ 7 * 7 }}"),
        ("user", "#}%}}}"),
    ],
    "unicode": [
        ("system", "Antworte höflich; ответь вежливо; 丁寧に答えて。"),
        ("user", "naïve café e\u0301 👩‍👩‍👧‍👦 🇫🇷 ﷽ \u202eRTL\u202c \u2028 \u0000 \U00010348 ǅ ß İ Σας"),
    ],
    "empty": [("system", ""), ("user", ""), ("assistant", ""), ("user", "")],
    "long": [("user", "The quick brown fox jumps over the lazy dog. " * 12 + "\n" * 3 + "End")],
    "special_tokens": [
        ("user", "<|im_end|><|eot_id|></s><eos>[INST] <<SYS>> <|endoftext|><start_of_turn>model\n<|end|>"),
        ("assistant", "</think><|im_start|>user\n[/INST]"),
        ("user", "<think>"),
    ],
    "thinking": [
        ("user", "2 + 2?"),
        ("assistant", "<think>\nTwo and two\nmake four.\n</think>\n\nIt is 4."),
        ("user", "And 3 + 3?"),
    ],
    "flags": [("system", "You help. /no_think"), ("user", "Hi /think")],
    "two_users": [("user", "First"), ("user", "Second")],
    "assistant_first": [("assistant", "Hello, I start."), ("user", "Do you?")],
    "only_system": [("system", "Be brief.")],
    "system_later": [("user", "Hi"), ("system", "Be brief."), ("user", "Hello")],
    "tool": [
        ("user", "What is the weather in Paris?"),
        ("assistant", '{"name": "get_weather", "arguments": {"city": "Paris"}}'),
        ("tool", '{"temperature": 7.5, "sky": "clear"}'),
        ("assistant", "7.5 degrees and clear."),
        ("user", "Thanks"),
    ],
}

TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "description": "The weather in a city, as \"it's\" now: <b>&</b> é 🌦\n",
            "parameters": {
                "type": "object",
                "properties": {
                    "city": {"type": "string", "description": "The city's name"},
                    "unit": {"type": "string", "enum": ["celsius", "fahrenheit"], "default": None},
                    "days": {"type": "array", "items": {"type": "integer"}},
                    "items": {"type": ["number", "null"], "minimum": 0.5, "maximum": 1e16, "default": 1e-07},
                },
                "required": ["city"],
            },
            "return": {"type": "object", "strict": True, "empty": {}, "none": [], "large": 12345678901234567890},
        },
    },
    {
        "type": "function",
        "function": {
            "name": "now",
            "description": "The time.",
            "parameters": {"type": "object", "properties": {}, "required": []},
        },
    },
]
DOCUMENTS = [
    {"doc_id": 1, "title": "Paris", "text": "Paris is the capital\nof France."},
    {"doc_id": 2, "title": "\"Rome\"", "text": "Rome isn't."},
]
# By these names in cases.
LARGE = {"TOOLS": TOOLS, "DOCUMENTS": DOCUMENTS}
VARIABLES = {
    "tools": [(name, {"tools": "TOOLS"}) for name in ["user", "system", "tool"]],
    "documents": [("user", {"documents": "DOCUMENTS"})],
    "enable_thinking": [
        (name, {"enable_thinking": value}) for name in ["user", "thinking", "flags"] for value in [True, False]
    ],
    "thinking": [(name, {"thinking": value}) for name in ["user", "thinking"] for value in [True, False]],
    "date_string": [("system", {"date_string": "1 Apr 2025"})],
    "bos_token": [("system", {"bos_token": "[override]"})],
    "reasoning_effort": [("system", {"reasoning_effort": "high"})],
}


class Clock(datetime.datetime):
    """The time that templates see."""

    @classmethod
    def now(cls, tz=None):
        return NOW


chat.datetime = Clock


def cases(variables):
    """Conversation, further variables and whether the answer's beginning is asked for."""
    for index, name in enumerate(CONVERSATIONS):
        yield name, {}, index % 4 != 2
    yield "user", {}, False
    for variable in variables:
        for name, values in VARIABLES[variable]:
            yield name, values, True


def render(template, tokens, messages, variables, add_generation_prompt):
    """What transformers makes of it: `{"text": ...}`, `{"raised": ...}` or `{"error": ...}`."""
    variables = {name: LARGE.get(str(value), value) for name, value in variables.items()}
    try:
        texts, _ = chat.render_jinja_template(
            [messages],
            chat_template=template,
            add_generation_prompt=add_generation_prompt,
            **{**tokens, **variables},
        )
        return {"text": texts[0]}
    except Exception as error:
        # Exactly this class is what `raise_exception` raises.
        return {"raised" if type(error) is TemplateError else "error": str(error)}


def messages_of(name):
    return [{"role": role, "content": content} for role, content in CONVERSATIONS[name]]


def expected(template, tokens, variables):
    for name, values, add_generation_prompt in cases(variables):
        case = {"conversation": name, "add_generation_prompt": add_generation_prompt, "variables": values}
        yield case | render(template, tokens, messages_of(name), values, add_generation_prompt)


def rows(items):
    """JSON, one item a line."""
    return "[\n" + ",\n".join(json.dumps(item, ensure_ascii=False) for item in items) + "\n]\n"


def main():
    conversations = {name: messages_of(name) for name in CONVERSATIONS}
    lines = [f"{json.dumps(name)}: {json.dumps(value, ensure_ascii=False)}" for name, value in (conversations | LARGE).items()]
    (OUT / "conversations.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")
    tokens = {"bos_token": "<s>", "eos_token": "</s>"}
    answers = [{"template": text} | render(text, tokens, messages_of("turns"), {"tools": "TOOLS"}, True) for text in EXPRESSIONS]
    (OUT / "expressions.json").write_text(rows(answers))
    (OUT / "expected").mkdir(exist_ok=True)
    for name, source in json.loads((OUT / "sources.json").read_text()).items():
        template = (OUT / "templates" / f"{name}.jinja").read_text()
        (OUT / "expected" / f"{name}.json").write_text(rows(expected(template, source["tokens"], source["variables"])))


if __name__ == "__main__":
    main()
