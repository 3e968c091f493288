"""Settings of the documentation: `make docs` builds it, `make docs-serve` shows it."""

import shutil
import sys
from pathlib import Path

from pyro_vae import __version__

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "_extensions"))

project = "pyro_vae"
author = "The pyro_vae developers"
copyright = author
version = release = __version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "sphinx_design",
    "api_pages",
    "mathml",
    "plain_docstrings",
]
exclude_patterns = ["_build", "_extensions", "results/data"]
nitpicky = True
# References to other projects are not followed: the site is built without a network. Nor are those to private names.
nitpick_ignore_regex = [
    (r"py:.*", r"(?!pyro_vae).*"),
    (r"py:obj", r"(?s:.*)"),
    (r"py:.*", r"pyro_vae\.(\w+\.)+\w+"),
]

# Text: Markdown with maths, `name` in a docstring is a link where there is such a name.
myst_enable_extensions = ["amsmath", "attrs_inline", "colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
nb_execution_mode = "off"
nb_merge_streams = True
default_role = "py:obj"
highlight_language = "none"
smartquotes = False  # two dashes are those of a flag

# The reference is made from docstrings.
autodoc_default_options = {"members": True, "inherited-members": "object"}
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
autodoc_type_aliases = {"ArrayLike": "ArrayLike"}
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 90
toc_object_entries_show_parents = "hide"

# Pages.
html_theme = "furo"
html_math_renderer = "mathml"
html_title = f"pyro_vae {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_copyright = False
html_show_sphinx = False
html_copy_source = False
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True


def copy_notebooks() -> None:
    """Copy the notebooks beside the page that lists them; files that did not change keep their time."""
    for notebook in (HERE.parent / "notebooks").glob("*.ipynb"):
        copy = HERE / "tutorials" / notebook.name
        if not copy.exists() or copy.read_bytes() != notebook.read_bytes():
            shutil.copy2(notebook, copy)


copy_notebooks()
