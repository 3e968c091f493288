"""Docstrings are plain text: `*`, `|` and a trailing `_` outside of code are those characters, no markup.

Signatures that Sphinx cannot parse are shown so that it can.
"""

import re
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx

EXAMPLE = r"(?m:^ *>>> .*(?:\n *\S.*)*)"
CODE = r"``.*?``|`[^`]*`"
TOKEN = re.compile(rf"(?P<example>{EXAMPLE})|(?P<code>{CODE})(?P<letter>\w?)|(?P<mark>\\|\*|\||_(?=\W|$))")


def escape(text: str) -> str:
    """Return reStructuredText that shows plain text, with `code` and examples that begin with >>> kept."""
    return TOKEN.sub(_escaped, text)


def _escaped(found: re.Match[str]) -> str:
    example, code, letter, mark = found.group("example", "code", "letter", "mark")
    if mark:
        return f"\\{mark}"
    return example or (f"{code}\\ {letter}" if letter else code)


def _escape_docstring(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    lines[:] = escape("\n".join(lines)).split("\n")


def _shown_signature(
    app: Sphinx, what: str, name: str, obj: Any, options: Any, signature: str | None, returned: str | None
) -> tuple[str | None, str | None]:
    """Show `...` for a default that is made anew for each object: `<factory>`, its mark, cannot be parsed as Python."""
    return signature and signature.replace("<factory>", "..."), returned


def _dashes(app: Sphinx, tree: nodes.document) -> None:
    """Show the two dashes that Sphinx puts between a parameter and its description as one."""
    for field in tree.findall(nodes.field):
        for text in [text for text in field.findall(nodes.Text) if text == " -- "]:
            text.parent.replace(text, nodes.Text(" \N{EN DASH} "))


def setup(app: Sphinx) -> dict[str, bool]:
    """Run before napoleon reads the docstrings."""
    app.connect("autodoc-process-docstring", _escape_docstring, priority=400)
    app.connect("autodoc-process-signature", _shown_signature)
    app.connect("doctree-read", _dashes)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
