"""Formulas as MathML, which browsers show without a script or a network."""

import re

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.application import Sphinx
from sphinx.writers.html5 import HTML5Translator

SPACE = '<mspace width="0.167em" />'
OPERATOR = re.compile(
    r"(?P<operand></m(?!o|row)\w+>)?<mi>(?P<name>log|exp)</mi>(?P<bracket><mo[^>]*>&#x00028;)?"
)
NAME = re.compile(r"(?<!<msub>)(?<!<munder>)<mo>([a-z]{2,})</mo>")


def mathml(formula: str, display: str = "inline") -> str:
    """Return a formula in LaTeX as MathML, with the spaces of TeX around the names of functions."""
    return OPERATOR.sub(_spaced, NAME.sub(r"<mi>\1</mi>", convert(formula, display=display)))


def _spaced(found: re.Match[str]) -> str:
    operand, name, bracket = found.group("operand", "name", "bracket")
    return f"{operand + SPACE if operand else ''}<mi>{name}</mi>{bracket or SPACE}"


def _inline(translator: HTML5Translator, node: nodes.math) -> None:
    translator.body.append(mathml(node.astext()))
    raise nodes.SkipNode


def _display(translator: HTML5Translator, node: nodes.math_block) -> None:
    formula = mathml(node.astext(), display="block")
    translator.body.append(f'<div class="formula">{formula}</div>')
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the renderer."""
    app.add_html_math_renderer("mathml", inline_renderers=(_inline, None), block_renderers=(_display, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
