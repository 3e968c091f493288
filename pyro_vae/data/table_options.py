"""Options for reading a table: separator, encoding, header, missing marks, and roles of columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pyro_vae._checks import check, check_choice
from pyro_vae.data.columns import COLUMN_KINDS

__all__ = ["AS_FOUND", "SEPARATORS", "TableOptions"]

SEPARATORS = {"comma": ",", "semicolon": ";", "tab": "\t", "bar": "|", "blank": " "}


@dataclass(frozen=True)
class TableOptions:
    """Options for reading a table; "auto" is determined from the file.

    Attributes:
        separator: "auto", a name of `SEPARATORS`, or the character itself.
        encoding: "auto" (UTF-8, UTF-16 by its mark, else Windows-1252), or a name of Python's codecs.
        header: Whether the first line holds names: "auto", "yes" or "no".
        names: Names of the columns of a text table without a header line, in their order; empty for c0, c1, ....
        decimal: "point" or "comma", the other of which may separate thousands; "auto": a single comma in a number is
            decimal.
        missing: Additional marks of missing values besides empty, NA, NaN, null and ?; compared as numbers if numeric.
        drop: Names of columns to leave out.
        label_column: Name of the column of classes, left out of x; "" for a column of the name label, class or target.
        id_column: Name of a column that identifies rows, left out of x; "" for none.
        kinds: Kinds of columns, each as "COLUMN:KIND".
    """

    separator: str = "auto"
    encoding: str = "auto"
    header: str = "auto"
    decimal: str = "auto"
    missing: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()
    label_column: str = ""
    id_column: str = ""
    kinds: tuple[str, ...] = ()
    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check(
            self.separator in ("auto", *SEPARATORS) or len(self.separator) == 1,
            f"Expected separator auto, {', '.join(SEPARATORS)} or one character; got {self.separator!r}.",
        )
        check_choice(self.header, ("auto", "yes", "no"), "header")
        check_choice(self.decimal, ("auto", "point", "comma"), "decimal")
        self._check_given_names()
        self._check_roles()

    def _check_given_names(self) -> None:
        check(
            not (self.names and self.header == "yes"),
            "Expected --names for a table without a header line; got --header yes. Leave one of them out.",
        )
        check(
            all(name == name.strip() != "" for name in self.names),
            "Expected --names without blanks around them, and none empty; got "
            f"{next((repr(n) for n in self.names if n != n.strip() or not n), '')}.",
        )
        twice = [name for j, name in enumerate(self.names) if name in self.names[:j]]
        check(not twice, f"Expected different names by --names; got {twice[0] if twice else ''!r} twice.")

    def _check_roles(self) -> None:
        """Raise `InputError` if two options contradict each other about one column."""
        roles = {
            "--drop": self.drop,
            "--label-column": (self.label_column,),
            "--id-column": (self.id_column,),
            "--columns": tuple(self.kind_of_columns()),
        }
        for name in filter(None, (name for named in roles.values() for name in named)):
            flags = [flag for flag, named in roles.items() if name in named]
            check(
                len(flags) == 1,
                f"Expected at most one of the options for column {name!r}; got {' and '.join(flags)}, which contradict "
                "each other. Leave one of them out.",
            )

    @property
    def mark(self) -> str | None:
        """The separating character; None if it is to be determined."""
        return None if self.separator == "auto" else SEPARATORS.get(self.separator, self.separator)

    def kind_of_columns(self) -> dict[str, str]:
        """Return the kinds that were given, by the names of columns.

        Raises:
            InputError: If an entry is not COLUMN:KIND.
        """
        given = {}
        for text in self.kinds:
            name, colon, kind = text.rpartition(":")
            check(
                bool(colon and name) and kind in COLUMN_KINDS,
                f"Expected --columns as COLUMN:KIND with a kind of {', '.join(COLUMN_KINDS)}; got {text!r}.",
            )
            given[name] = kind
        return given

    def check_no_text_options(self, table: str) -> None:
        """Raise `InputError` if an option is given that only applies to text, for a table with types and names."""
        given = {
            "--separator": self.separator != "auto",
            "--encoding": self.encoding != "auto",
            "--header no": self.header == "no",
            "--names": bool(self.names),
        }
        flags = [flag for flag, is_given in given.items() if is_given]
        check(
            not flags,
            f"Expected a text table for {' and '.join(flags)}; got {table}, which has columns with names. Leave "
            f"{'it' if len(flags) == 1 else 'them'} out, or rename columns there.",
        )

    def check_names(self, names: Sequence[str], table: str) -> None:
        """Raise `InputError` if an option names a column that the table does not have, or two kinds of one column."""
        kinds = [text.rpartition(":") for text in self.kinds]
        given = {name: [kind for other, _, kind in kinds if other == name] for name, _, _ in kinds}
        for name, several in given.items():
            check(
                len(several) == 1,
                f"Expected one kind of column {name!r} by --columns; got {' and '.join(several)}.",
            )
        wanted = [*self.drop, *filter(None, (self.label_column, self.id_column)), *given]
        unknown = [name for name in wanted if name not in names]
        shown = ", ".join(map(repr, names[:20])) + (", ..." if len(names) > 20 else "")
        check(
            not unknown,
            f"Expected names of columns of {table}; got {', '.join(map(repr, unknown))}, but it has {shown}.",
        )

    @classmethod
    def from_json(cls, values: Mapping[str, Any] | None) -> TableOptions | None:
        """Return the options from `dataclasses.asdict` by way of JSON, where tuples are lists."""
        if values is None:
            return None
        plain: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in values.items()}
        return cls(**plain)


AS_FOUND = TableOptions()
"""Everything is determined from the file."""
