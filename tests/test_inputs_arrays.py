"""Arrays, tensors, lists and tables as people have them: the right number, or one sentence."""

import datetime
import fractions

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import torch
from programs import small_vae

from pyro_vae import (
    DiagonalNormalGuide,
    GenerativeModel,
    LocalGuide,
    VampPrior,
    estimate_elbo,
    fit,
    log_likelihood,
    mlp_decoder,
    mlp_encoder,
)
from pyro_vae._checks import InputError
from pyro_vae.likelihoods import GaussianLikelihood

X = np.random.default_rng(0).normal(size=(9, 6)).astype(np.float32)
WHOLE = np.random.default_rng(1).integers(-3, 4, size=(9, 6))
T = torch.tensor(X)


def subclassed(x):
    return torch.nn.Parameter(torch.tensor(x))


RIGHT = {
    "float16": (X.astype(np.float16), X.astype(np.float16).astype(np.float32)),
    "long double": (X.astype(np.longdouble), X),
    "int8": (WHOLE.astype(np.int8), WHOLE),
    "int64": (WHOLE, WHOLE),
    "uint16": (np.abs(WHOLE).astype(np.uint16), np.abs(WHOLE)),
    "uint64": (np.abs(WHOLE).astype(np.uint64), np.abs(WHOLE)),
    "booleans": (X > 0, X > 0),
    "big-endian int16": (WHOLE.astype(">i2"), WHOLE),
    "read-only": (np.broadcast_to(X[:1], (4, 6)), np.repeat(X[:1], 4, 0)),
    "reversed columns": (X[:, ::-1], X[:, ::-1].copy()),
    "np.matrix": (np.asmatrix(X), X),
    "fractions": ([[fractions.Fraction(int(v), 2) for v in row] for row in WHOLE], WHOLE / 2),
    "nested tuples in a list": ([tuple(row) for row in X.tolist()], X),
    "list of arrays": (list(X), X),
    "list of lists of 0-d tensors": ([[T[i, j] for j in range(6)] for i in range(9)], X),
    "list of pixels": ([X[0].reshape(2, 3), X[1].reshape(2, 3)], X[:2]),
    "volumes": (X.reshape(9, 1, 1, 2, 3), X),
    "bfloat16 tensor": (T.bfloat16(), T.bfloat16().float()),
    "parameter": (subclassed(X), X),
    "transposed tensor": (T.T.contiguous().T, X),
    "expanded tensor": (T[:1].expand(4, 6), np.repeat(X[:1], 4, 0)),
    "conjugate view": (torch.complex(T, T).conj().real, X),
    "nullable integers": (pd.DataFrame(WHOLE).astype("Int64"), WHOLE),
    "object column of numbers": (pd.DataFrame(X.astype(object)).astype(float), X),
    "index that is no range": (pd.DataFrame(X, index=list("abcdefghi")), X),
    "one more level of columns": (
        pd.DataFrame(X, columns=pd.MultiIndex.from_product([["a", "b"], [1, 2, 3]])),
        X,
    ),
    "mask that hides nothing": (np.ma.masked_array(X, mask=np.zeros_like(X, bool)), X),
}


@pytest.mark.parametrize("name", RIGHT)
def test_rows_are_what_they_say(name):
    model, guide = small_vae()
    given, plain = RIGHT[name]
    expected = estimate_elbo(model, guide, torch.tensor(np.asarray(plain, dtype=np.float32))).value
    torch.testing.assert_close(estimate_elbo(model, guide, given).value, expected, rtol=1e-5, atol=1e-5)


class Sized:
    """Has a length and no rows."""

    def __len__(self):
        return 3


WRONG = {
    "complex": (X + 1j, "real numbers; got complex numbers"),
    "complex tensor": (torch.complex(T, T), "real numbers; got torch.complex64"),
    "text": (X.astype(str), r"text \(dtype <U"),
    "dates": (np.full((3, 6), np.datetime64("2026-01-01")), r"dates \(dtype datetime64"),
    "time differences": (np.full((3, 6), np.timedelta64(1, "s")), "time differences"),
    "records": (np.zeros(3, dtype=[("a", "f4"), ("b", "f4")]), "records"),
    "ragged lists": ([[1.0, 2.0], [3.0]], "rows of equal length; got a list"),
    "objects": (np.full((3, 6), datetime.date(2026, 1, 1)), "Python objects .*such as date"),
    "scipy sparse": (scipy.sparse.csr_matrix(X), r"got a sparse csr_matrix. Give x.toarray\(\)"),
    "torch sparse": (T.to_sparse(), r"Give x.to_dense\(\)"),
    "a number": (np.float32(3.0), "got float32. Convert it"),
    "0-d tensor": (torch.tensor(3.0), "got a single number"),
    "no rows": (X[:0], "at least one row of x; got none"),
    "no columns": (X[:, :0], "at least one column of x"),
    "one row without its axis": (X[0], r"x of shape \(N, 6\); got \([61],\)"),
    "transposed rows": (X[:5].T, r"x of shape \(N, 6\); got \([61], 5\)"),
    "images of both orders": (np.zeros((5, 3, 7, 3), np.float32), "can be read as both"),
    "RGBA of both orders": (torch.zeros(5, 4, 9, 1), "can be read as both"),
    "text column": (pd.DataFrame({"a": [1.0, 2.0], "colour": ["red", "blue"]}), "the columns colour hold"),
    "categories": (pd.DataFrame({"a": pd.Categorical(["x", "y"])}), "the columns a hold"),
    "date column": (pd.DataFrame({"when": pd.to_datetime(["2026-01-01"])}), "the columns when hold"),
    "a dict": ({"x": X}, "a dict with the keys 'x'. Give a tuple"),
    "a path": ("digits.npy", r"the path 'digits.npy'. Read it first"),
    "a set": ({1.0, 2.0}, "got set"),
    "None": (None, "got NoneType"),
    "a length alone": (Sized(), "got Sized"),
    "empty list": ([], "at least one row"),
    "empty tuple": ((), "got an empty one"),
}


@pytest.mark.parametrize("name", WRONG)
@pytest.mark.parametrize("function", [estimate_elbo, log_likelihood, fit], ids=lambda f: f.__name__)
def test_what_is_no_rows_ends_in_one_sentence(function, name):
    data, message = WRONG[name]
    settings = {"epochs": 1, "progress": False, "seed": 0} if function is fit else {}
    with pytest.raises(InputError, match=message):
        function(*small_vae(), data, **settings)


UNFIT = {
    "NaN": (np.where(X > 1, np.nan, X), r"finite data; got nan in row \d, column \d of x .*such rows of 9"),
    "infinity": (np.where(X > 1, np.inf, X), "finite data; got inf"),
    "masked entries": (np.ma.masked_greater(X, 1.0), "finite data; got nan"),
    "None in a list": ([[None, *row[1:]] for row in X.tolist()], "finite data; got nan in row 0, column 0"),
    "missing in a table": (pd.DataFrame(WHOLE).astype("Int64").mask(WHOLE > 2), "finite data; got nan"),
    "beyond float32": (X.astype(float) * 1e39, "up to 3.4e"),
    "time stamps": (X.astype(float) + 1.7e9, "float32 can hold; column 0 lies near 1.7e"),
    "large integers": (WHOLE + 2**40, "float32 can hold"),
}


@pytest.mark.parametrize("name", UNFIT)
def test_what_training_cannot_use_ends_in_one_sentence(name):
    data, message = UNFIT[name]
    with pytest.raises(InputError, match=message):
        fit(*small_vae(), data, epochs=1, progress=False, seed=0)


def test_programs_in_double_precision_keep_the_digits():
    """Rows near 1e9 lose no digits if the programs are in float64."""
    x = X.astype(float)
    near, far = (small_vae() for _ in range(2))
    with torch.no_grad():
        for program in far:
            program.double()
        for program in near:
            program.double()
        far[0].likelihood.mean += 1e9
        far[1].encoder[0].loc += 1e9
    expected = estimate_elbo(*near, x).value
    torch.testing.assert_close(estimate_elbo(*far, x + 1e9).value, expected, atol=1e-4, rtol=1e-4)


def test_a_constant_column_with_rounding_noise_is_no_loss_of_digits():
    x = np.column_stack([X[:, :5].astype(float), np.full(9, 0.1) + 1e-17 * np.arange(9)])
    x[::2, 5] = np.nextafter(0.1, 1)
    fit(*small_vae(), x, epochs=1, progress=False, seed=0)


@pytest.mark.parametrize(
    "of", [torch.tensor, np.asarray, np.ndarray.tolist, pd.Series], ids=["tensor", "array", "list", "Series"]
)
def test_parts_take_statistics_and_rows_in_any_container(of):
    """A model built from NumPy's mean and standard deviation is the one built from torch's."""
    mean, std, rows = X.mean(0), X.std(0), pd.DataFrame(X) if of is pd.Series else of(X)

    def built(mean, std, rows):
        torch.manual_seed(0)
        guide = DiagonalNormalGuide(mlp_encoder(mean, std, (4,), 4))
        likelihood = GaussianLikelihood(mean, std, 0.1)
        decoder = mlp_decoder(2, (4,), likelihood.num_outputs)
        return GenerativeModel(VampPrior(guide, rows), decoder, likelihood), LocalGuide(rows, 2)

    found, expected = built(of(mean), of(std), rows), built(torch.tensor(mean), torch.tensor(std), T)
    torch.testing.assert_close(estimate_elbo(*found, X).value, estimate_elbo(*expected, X).value)


def test_one_row_that_overflows_gets_minus_infinity_and_is_reported():
    model, guide = small_vae()
    x = np.concatenate([X[:3], np.full((1, 6), 1e20, np.float32), X[3:5]])
    kept = [0, 1, 2, 4, 5]
    for found in (estimate_elbo(model, guide, x), log_likelihood(model, guide, x, 50)):
        assert found.value[3] == -np.inf
        assert found.value[kept].isfinite().all()
        assert "1 of 6 rows could not be scored, the mean of the others is" in repr(found)
        assert "from 0: 3" in found.warning
    without = log_likelihood(model, guide, x[kept], 50)
    torch.testing.assert_close(found.scored.value.mean(), without.value.mean(), atol=0.2, rtol=0)
