"""Reading responses: every shape of chat answer gives the one function that was meant."""

import ast
import json
import time

import pytest

from qllm_jax.tfcaf.contract import TranslationError
from qllm_jax.tfcaf.response import MAX_CHARS, read_response

CODE = """import torch

def mix(agents_q, global_state):
    # weights
    w = torch.softmax(global_state[:, :2], dim=-1)
    return (w * agents_q).sum(dim=-1, keepdim=True)
"""
OLD = "def mix(agents_q, global_state):\n    return agents_q.mean(-1)\n"
F3 = "```"


def indent(text: str, by: str) -> str:
    return "".join(by + line if line.strip() else line for line in text.splitlines(True))


SHAPES = {
    "bare": CODE,
    "fence": f"Here:\n\n{F3}python\n{CODE}{F3}\nDone.",
    "space-after-fence": f"{F3} python\n{CODE}{F3}\n",
    "capital-tag": f"{F3}Python\n{CODE}{F3}\n",
    "py": f"{F3}py\n{CODE}{F3}",
    "python3": f"{F3}python3\n{CODE}{F3}",
    "torch-tag": f"{F3}torch\n{CODE}{F3}",
    "info-string": f'{F3}python title="mix.py" linenums="1"\n{CODE}{F3}',
    "braced-tag": f"{F3}{{.python .numberLines}}\n{CODE}{F3}",
    "colon-tag": f"{F3}python:mix.py\n{CODE}{F3}",
    "no-tag": f"{F3}\n{CODE}{F3}",
    "tilde": f"~~~python\n{CODE}~~~\n",
    "four-ticks": f"````python\n{CODE}````\n",
    "nested": f"````markdown\nText.\n\n{F3}python\n{CODE}{F3}\n\nMore.\n````\n",
    "closing-has-spaces": f"{F3}python\n{CODE}{F3}   \nbye",
    "closing-longer": f"{F3}python\n{CODE}`````\nbye",
    "unclosed": f"Sure.\n{F3}python\n{CODE}",
    "unclosed-then-prose": f"{F3}python\n{CODE}\nThis function weights the agents.\nIt's good!\n",
    "closed-on-code-line": f"{F3}python\n{CODE.rstrip()}{F3}\n",
    "opened-in-prose": f"Here is the code: {F3}python\n{CODE}{F3}\n",
    "in-a-list": f"1. First:\n\n   {F3}python\n{indent(CODE, '   ')}   {F3}\n2. Second.",
    "list-item-fence": f"- {F3}python\n{indent(CODE, '  ')}  {F3}\n",
    "tab-indented": f"\t{F3}py\n{indent(CODE, chr(9))}\t{F3}\n",
    "block-quote": "\n".join("> " + line for line in f"{F3}python\n{CODE}{F3}".split("\n")),
    "prose-without-fence": f"Sure! Here it is.\n\n{CODE}\nThis returns one value per row.\n",
    "prose-with-call-word": f"Use it (carefully)!\n\n{CODE}\nNote: it's simple; don't worry.",
    "indented-without-fence": f"The function:\n\n{indent(CODE, '    ')}\nIt sums.\n",
    "xml-tag": f"<answer>\n{CODE}</answer>",
    "code-tag": f"<code>{CODE}</code>",
    "latex": f"\\begin{{lstlisting}}\n{CODE}\\end{{lstlisting}}",
    "windows": f"{F3}python\n{CODE}{F3}\n".replace("\n", "\r\n"),
    "old-mac": f"{F3}python\n{CODE}{F3}\n".replace("\n", "\r"),
    "bom": "\ufeff" + CODE,
    "nbsp": CODE.replace("    ", "\u00a0\u00a0\u00a0\u00a0"),
    "zero-width": CODE.replace("torch.", "torch\u200b."),
    "minus-sign": CODE.replace("-1", "−1"),
    "html": CODE.replace("    w =", "    assert 1 &lt; 2\n    w ="),
    "tabs": CODE.replace("    ", "\t"),
    "mixed-tabs": CODE.replace("    # weights", "\t# weights").replace("    return", "\treturn"),
    "think": f"<think>\n{F3}python\n{OLD}{F3}\n</think>\n{F3}python\n{CODE}{F3}",
    "thinking": f"<thinking>maybe\n{OLD}\n</thinking>\n\n{CODE}",
    "think-attributes": f'<thinking budget="high">\n{OLD}</thinking>\n{CODE}',
    "think-in-capitals": f"<THINK>\n{OLD}</THINK>\n{CODE}",
    "think-opened-by-template": f"Let me see.\n{F3}\n{OLD}{F3}\n</think>\n\n{F3}\n{CODE}{F3}",
    "think-after": f"{F3}python\n{CODE}{F3}\n<think>\n{F3}python\n{OLD}{F3}\nhmm",
    "think-unclosed": f"<think>\nThe sum would do.\n{F3}python\n{CODE}{F3}\nand",
    "reasoning-details": f"<details>\n<summary>Why</summary>\n\n{OLD}\n</details>\n{CODE}",
    "json": json.dumps({"explanation": "weights", "code": CODE}),
    "json-fence": f"{F3}json\n{json.dumps({'code': CODE})}\n{F3}",
    "json-fenced-code": json.dumps({"answer": f"{F3}python\n{CODE}{F3}"}),
    "json-raw-newlines": '{"code": "' + CODE.replace('"', '\\"') + '"}',
    "json-lines": json.dumps({"code": CODE.split("\n")}),
    "json-list": json.dumps([{"role": "assistant", "content": f"{F3}python\n{CODE}{F3}"}]),
    "two-blocks": f"Draft:\n{F3}python\n{OLD}{F3}\nBetter:\n{F3}python\n{CODE}{F3}",
    "usage-last": f"{F3}python\n{CODE}{F3}\nUsage:\n{F3}python\nq = mix(a, s)\nprint(q)\n{F3}",
    "shell-last": f"{F3}python\n{CODE}{F3}\n{F3}bash\npip install torch\n{F3}",
    "other-language-last": f"{F3}py\n{CODE}{F3}\n{F3}julia\ndef mix(a, b): return a\n{F3}",
    "fence-in-docstring": f"{F3}python\n{CODE}{F3}".replace(
        "    # weights", f'    """Mix.\n\n    {F3}\n    x\n    {F3}\n    """\n    # weights'
    ),
}


@pytest.mark.parametrize("name", sorted(SHAPES))
def test_finds_the_function_in_every_shape_of_response(name):
    best = read_response(SHAPES[name])[0]
    assert best.fits
    assert "torch.softmax" in best.source
    assert "# weights" in best.source
    functions = [n for n in ast.parse(best.source).body if isinstance(n, ast.FunctionDef)]
    assert [f.name for f in functions] == ["mix"]
    assert [ast.unparse(s) for s in functions[0].body][-2:] == [
        "w = torch.softmax(global_state[:, :2], dim=-1)",
        "return (w * agents_q).sum(dim=-1, keepdim=True)",
    ]


def test_source_is_verbatim_and_its_line_is_known():
    block = read_response(f"One\ntwo\n{F3}python\n{CODE}{F3}\n")[0]
    assert block.source == CODE.rstrip("\n")
    assert (block.line, block.language, block.note) == (4, "python", "")


def test_line_stays_right_behind_a_thinking_block():
    text = f"<think>\na\nb\n</think>\n{F3}python\n{CODE}{F3}\n"  # the code starts on line 6
    assert read_response(text)[0].line == 6


def test_says_which_of_several_blocks_is_used():
    blocks = read_response(f"{F3}python\n{OLD}{F3}\n{F3}python\n{CODE}{F3}\n")
    assert [("softmax" in b.source) for b in blocks] == [True, False]
    assert blocks[0].note == "code block 2 of 2 (line 6 of the response) is used"


def test_a_truncated_last_block_does_not_win():
    cut = CODE[: CODE.index("dim=-1, keepdim")]
    blocks = read_response(f"{F3}python\n{CODE}{F3}\nAgain:\n{F3}python\n{cut}")
    assert "keepdim=True)" in blocks[0].source


def test_helpers_of_an_earlier_block_are_joined():
    helper = "import torch\ndef soft(x):\n    return torch.softmax(x, -1)\n"
    main = "def mix(q, s):\n    return (q * soft(s[:, :2])).sum(-1)\n"
    block = read_response(f"{F3}python\n{helper}{F3}\nthen\n{F3}python\n{main}{F3}")[0]
    assert block.source.index("def soft") < block.source.index("def mix")
    assert "joined" in block.note


def test_prompts_of_an_interactive_session_are_removed():
    lines = CODE.rstrip("\n").split("\n")
    session = "\n".join((">>> " if line[:1].strip() else "... ") + line for line in lines)
    block = read_response(f"{F3}pycon\n{session}\n>>> mix(a, b).shape\ntorch.Size([2, 1])\n{F3}")[0]
    assert block.fits
    assert ">>>" not in block.source


def test_an_example_in_a_docstring_is_no_session():
    code = CODE.replace("    # weights", '    """Mix.\n\n    >>> mix(q, s)\n    """\n    # weights')
    assert read_response(code)[0].source == code


def test_typographic_quotes_become_plain_only_where_the_code_needs_it():
    curly = "def mix(q, s):\n    “””Sum.“””\n    return q.sum(-1)\n"
    assert read_response(curly)[0].fits
    comment = "def mix(q, s):\n    # it’s “fine” — 求和：加权\n    return q.sum(-1)\n"
    assert read_response(comment)[0].source == comment


def test_calls_beside_the_function_are_kept_so_that_the_grammar_sees_them():
    block = read_response(f"Run this!\nimport os\nos.system('true')\n{CODE}\nIt works, ok?\n")[0]
    assert "os.system" in block.source


@pytest.mark.parametrize("text", ["", "   \n", "I cannot help with that.", "```\n```", "{}"])
def test_text_without_code_has_no_block_that_fits(text):
    assert not any(block.fits for block in read_response(text))


def test_a_function_of_another_arity_is_listed_but_does_not_fit():
    one = f"{F3}python\ndef mix(agents_q):\n    return agents_q.sum(-1)\n{F3}"
    block = read_response(one)[0]
    assert "def mix(agents_q)" in block.source
    assert not block.fits


def test_lambdas_fit():
    assert read_response("mix = lambda q, s: q.sum(-1)\n")[0].fits


def test_overlong_text_is_refused():
    with pytest.raises(TranslationError, match="too-long"):
        read_response("a" * (MAX_CHARS + 1))


HOSTILE = {
    "ticks": "`" * 190_000,
    "ticks-and-more": "`" * 190_000 + "!",
    "tick-lines": "```\n" * 45_000,
    "tick-lines-in-a-docstring": '```python\n"""\n' + "```\n" * 45_000,
    "many-short-blocks": "```python\nx\n```\n" * 12_000,
    "many-defs": "def f(a, b):\n" * 14_000,
    "many-functions": "def f(a, b):\n  return a\n" * 7_000,
    "many-broken-defs": "def f(a, b:\n" * 14_000,
    "returns": "def f(a, b):\n" + "  return (\n" * 15_000,
    "close-tags": "</think>" * 23_000,
    "open-tags": "<think>\n" * 23_000,
    "brackets": "[" * 190_000,
    "minus": "def f(a, b):\n  return " + "-" * 150_000 + "a",
    "not": "def f(a, b):\n  return " + "not " * 45_000 + "a",
    "attributes": "def f(a, b):\n  return a" + ".b" * 90_000,
    "f-string": "def f(a, b):\n  return f'" + "{a}" * 60_000 + "'",
    "json-depth": "[" * 90_000 + "]" * 90_000,
    "json-wide": "[" + "{}," * 60_000 + "{}]",
    "spaces": " " * 190_000 + "def",
    "quotes": "> " * 95_000,
    "list-items": "1. " * 60_000,
    "backslashes": "def f(a, b):\n  return '" + "\\" * 150_000,
    "angle": "<think " * 28_000,
    "html-escapes": "def f(a, b):\n  return a &lt; b\n" * 6_000,
    "null": "def f(a, b):\n  return a\0",
}


@pytest.mark.parametrize("name", sorted(HOSTILE))
def test_hostile_text_is_read_in_bounded_time(name):
    started = time.process_time()
    read_response(HOSTILE[name])
    assert time.process_time() - started < 4.0
