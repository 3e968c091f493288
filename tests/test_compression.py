"""Lossless compression: rows are restored bit for bit, at the rate of the ELBO, and damage is detected."""

import math

import numpy as np
import pyro.distributions as dist
import pytest
import torch
from helpers import script

from pyro_vae import (
    DiagonalNormalGuide,
    GenerativeModel,
    StandardNormal,
    estimate_elbo,
    mlp_decoder,
    mlp_encoder,
)
from pyro_vae._checks import InputError
from pyro_vae.distributions.bernoulli import LogitBernoulli
from pyro_vae.distributions.discretized_logistic import DiscretizedLogistic
from pyro_vae.likelihoods import (
    BernoulliLikelihood,
    CategoricalLikelihood,
    DiscretizedLogisticLikelihood,
    GaussianLikelihood,
    LogisticMixtureLikelihood,
)

pytest.importorskip("constriction")

from pyro_vae.compression import BitsBackCodec, digit_probs, digits_of, other_sizes
from pyro_vae.compression.text_around import TextAround
from pyro_vae.experiment.compress import compress_rows, decompress_rows

LEVELS = 5


def programs(likelihood, latent_dim=3):
    torch.manual_seed(0)
    data_dim = likelihood.data_dim
    decoder = mlp_decoder(latent_dim, (8,), likelihood.num_outputs)
    encoder = mlp_encoder(torch.zeros(data_dim), torch.ones(data_dim), (8,), 2 * latent_dim)
    return GenerativeModel(StandardNormal(latent_dim), decoder, likelihood), DiagonalNormalGuide(encoder)


def likelihoods(data_dim=12):
    mean, std = torch.full((data_dim,), 0.4), torch.full((data_dim,), 0.3)
    shape = (3, 2, 2)
    return {
        "bernoulli": BernoulliLikelihood(mean, std),
        "categorical": CategoricalLikelihood(mean, std, LEVELS),
        "discretized-logistic": DiscretizedLogisticLikelihood(mean, std, LEVELS),
        "logistic-mixture": LogisticMixtureLikelihood(mean, std, LEVELS, shape, 2),
    }


@pytest.mark.parametrize("name", likelihoods())
def test_tables_of_digits_are_the_likelihood(name):
    likelihood = likelihoods()[name].double()
    levels = 2 if name == "bernoulli" else LEVELS
    torch.manual_seed(1)
    p = likelihood(torch.randn(4, likelihood.num_outputs, dtype=torch.float64))
    rows = torch.randint(levels, (4, 12))
    x = rows.double() / (levels - 1)
    total = torch.zeros(4, dtype=torch.float64)
    for digit in digits_of(p):
        table = digit_probs(p, x, digit)
        torch.testing.assert_close(table.sum(-1), torch.ones(table.shape[:-1], dtype=torch.float64))
        symbols = torch.from_numpy(digit.symbols(rows[:, digit.columns].numpy())).long()
        total += table.gather(-1, symbols[..., None]).log().sum((1, 2))
    torch.testing.assert_close(total, p.log_prob(x))


@pytest.mark.parametrize("levels", [2, 3, 5, 16, 256, 1000])
def test_digits_make_up_each_level_once(levels):
    p = DiscretizedLogistic(torch.zeros(1, 1), torch.ones(1, 1), levels).to_event(1)
    numbers = np.arange(levels)
    digits = digits_of(p)
    assert sum(digit.unit * digit.symbols(numbers) for digit in digits).tolist() == numbers.tolist()
    assert all(digit.symbols(numbers).max() < digit.base for digit in digits)
    assert sum(digit.base for digit in digits) <= 2 * math.sqrt(2 * levels) + 1


@pytest.mark.parametrize("name", likelihoods())
def test_rows_are_restored_and_take_the_bits_of_the_elbo(name):
    likelihood = likelihoods()[name]
    levels = 2 if name == "bernoulli" else LEVELS
    model, guide = programs(likelihood)
    torch.manual_seed(2)
    rows = (model.sample(1500) * (levels - 1)).round().long().numpy()
    codec = BitsBackCodec(model, guide)
    encoded = codec.encode(rows)
    assert np.array_equal(codec.decode(encoded), rows)
    x = torch.from_numpy(rows).float() / (levels - 1)
    expected = -float(estimate_elbo(model, guide, x, seed=0).mean) * len(rows) / math.log(2)
    bits = 32 * len(encoded.words) - encoded.initial_bits
    # A draw of z each: the spread of a row's cost, a few bits, averages out over 1500 rows.
    assert bits == pytest.approx(expected, rel=0.01)


def test_threads_and_the_seed_of_the_first_bits_change_no_row():
    model, guide = programs(likelihoods()["categorical"])
    rows = np.random.default_rng(0).integers(LEVELS, size=(70, 12))
    before = torch.get_num_threads()
    encoded = BitsBackCodec(model, guide).encode(rows, seed=3)
    torch.set_num_threads(2)
    try:
        codec = BitsBackCodec(model, guide)
        assert np.array_equal(codec.decode(encoded, seed=3), rows)
        assert torch.get_num_threads() == 2
        with pytest.raises(InputError, match="differ here"):
            codec.decode(encoded, seed=4)
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("count", [0, 1, 65])
def test_any_number_of_rows(count):
    model, guide = programs(likelihoods()["bernoulli"])
    rows = np.random.default_rng(0).integers(2, size=(count, 12))
    codec = BitsBackCodec(model, guide)
    assert np.array_equal(codec.decode(codec.encode(rows)), rows)


def test_another_model_gives_an_error_not_other_rows():
    model, guide = programs(likelihoods()["bernoulli"])
    rows = np.random.default_rng(0).integers(2, size=(30, 12))
    encoded = BitsBackCodec(model, guide).encode(rows)
    with torch.no_grad():
        next(guide.parameters()).add_(0.1)
    with pytest.raises(InputError, match="differ here"):
        BitsBackCodec(model, guide).decode(encoded)


def test_densities_and_other_posteriors_are_refused():
    mean, std = torch.zeros(4), torch.ones(4)
    model, guide = programs(GaussianLikelihood(mean, std, 0.1))
    with pytest.raises(InputError, match="discrete likelihood"):
        BitsBackCodec(model, guide)

    class Heavy(DiagonalNormalGuide):
        def family(self, outputs):
            return dist.StudentT(3.0, outputs[..., :3], 1.0).to_event(1)

    model, guide = programs(BernoulliLikelihood(mean, std))
    with pytest.raises(InputError, match="--guide diagonal"):
        BitsBackCodec(model, Heavy(guide.encoder))


def test_other_compressors_are_measured_on_the_same_rows():
    rows = np.random.default_rng(0).integers(2, size=(200, 64))
    sizes = other_sizes(rows, (8, 8), 2)
    assert sizes["gzip"] == pytest.approx(1, rel=0.1)  # coin flips cannot be compressed
    assert {"gzip", "xz", "PNG"} <= set(sizes)
    assert "PNG" not in other_sizes(rows, (64,), 2)


@pytest.fixture(scope="module")
def run_and_rows(tmp_path_factory):
    """A run on small colour images, and its rows in a file with their channels last."""
    folder = tmp_path_factory.mktemp("compress")
    rng = np.random.default_rng(0)
    images = (rng.integers(0, 60, (150, 6, 5, 3)) + np.arange(5)[:, None] * 40).astype(np.uint8)
    np.save(folder / "images.npy", images)
    arguments = [
        *("--dataset", folder / "images.npy", "--likelihood", "logistic-mixture", "--hidden", "8"),
        *("--latent-dim", "2", "--epochs", "2", "--compile", "off", "--evaluate", "none", "--quiet"),
        *("--out", folder / "run"),
    ]
    assert script(*arguments) == 0
    return folder / "run", folder / "images.npy"


@pytest.mark.slow
def test_a_file_is_restored_bit_for_bit(run_and_rows, tmp_path):
    run, data = run_and_rows
    compressed = compress_rows(run, data, tmp_path / "rows.bits")
    shape = decompress_rows(run, tmp_path / "rows.bits", tmp_path / "again.npy")
    assert shape == (150, 6, 5, 3)
    again, images = np.load(tmp_path / "again.npy"), np.load(data)
    assert again.dtype == images.dtype
    assert np.array_equal(again, images)
    assert compressed.num_bytes == (tmp_path / "rows.bits").stat().st_size
    assert "minus the ELBO" in compressed.table()


@pytest.mark.slow
def test_every_damage_is_detected_and_nothing_is_written(run_and_rows, tmp_path):
    run, data = run_and_rows
    compress_rows(run, data, tmp_path / "rows.bits")
    whole = (tmp_path / "rows.bits").read_bytes()
    rng = np.random.default_rng(0)
    for number in range(30):
        place = int(rng.integers(len(whole)))
        damaged = bytearray(whole)
        damaged[place] ^= 1 << int(rng.integers(8))
        content = (bytes(damaged), whole[:place], whole + b"x")[number % 3]
        (tmp_path / "damaged.bits").write_bytes(content)
        with pytest.raises(InputError, match=r"damaged or cut|begins otherwise|holds more"):
            decompress_rows(run, tmp_path / "damaged.bits", tmp_path / "again.npy")
        assert not (tmp_path / "again.npy").exists()


@pytest.mark.slow
def test_scripts_end_bad_input_in_a_sentence(run_and_rows, tmp_path, capsys):
    run, data = run_and_rows
    np.save(tmp_path / "fractions.npy", np.load(data) + 0.5)
    assert script(run, tmp_path / "fractions.npy", "-o", tmp_path / "a.bits", name="compress.py") == 2
    assert "whole numbers from" in capsys.readouterr().err
    assert not (tmp_path / "a.bits").exists()
    assert script(run, data, "-o", tmp_path / "a.npy", name="decompress.py") == 2
    error = capsys.readouterr().err
    assert "begins otherwise" in error
    assert len(error.strip().splitlines()) == 1


def test_a_bernoulli_table_of_extreme_logits_is_whole():
    p = LogitBernoulli(logits=torch.tensor([[-800.0, 800.0]], dtype=torch.float64)).to_event(1)
    table = digit_probs(p, torch.zeros(1, 2), digits_of(p)[0])
    assert table.tolist() == [[[1, 0], [0, 1]]]


TABLES = {
    "plain": b"a,b,label\n1,2,x\n30,-4,y\n",
    "windows": b'"a","b","label"\r\n"1","2","x, y"\r\n"30","-4","y""z"\r\n',
    "marked and spaced": b"\xef\xbb\xbf# a, b, label\n\n 1, 2.0, x\n+30,-4,y",
    "other writing": b"a,b,label\n01,2e0,x\n30.,-4.00,y\n\n",
}


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("name", TABLES)
def test_text_around_numbers_comes_back_byte_for_byte(name, separator):
    numbers = np.array([[2, 1], [-4, 30]])
    content = TABLES[name].replace(b",", separator.encode())
    around = TextAround.of(content, ".csv", [1, 0, None], [numbers], separator)
    assert around.text.count(b"\0") + around.text.count(b"\1") == 4
    again = TextAround.unpacked(around.packed(), around.columns)
    assert b"".join(again.filled([numbers[:1], numbers[1:]])) == content
    assert around.text.count(b"\0") == {"marked and spaced": 3, "other writing": 2 + 1}.get(name, 4)


def test_text_with_the_marks_in_it_is_not_cut():
    assert TextAround.of(b"a,b\n1,\0\n", ".csv", [0, None], [np.array([[1]])]) is None


def test_white_space_between_numbers_is_kept():
    content = b"1  0 1\n0 0\t1\n"
    numbers = np.array([[1, 0, 1], [0, 0, 1]])
    around = TextAround.of(content, ".amat", [0, 1, 2], [numbers])
    assert around.text == b"\0  \0 \0\n\0 \0\t\0\n"
    assert b"".join(around.filled([numbers])) == content


@pytest.fixture(scope="module")
def table_run(tmp_path_factory):
    """A run on a table of integers with classes, and the table."""
    folder = tmp_path_factory.mktemp("table")
    rng = np.random.default_rng(0)
    rows = [f"{a},{b},{'xy'[a % 2]}" for a, b in rng.integers(3, 9, (60, 2))]
    path = folder / "counts.csv"
    path.write_text("\n".join(["first,second,label", *rows, ""]))
    arguments = [
        *(
            "--dataset",
            path,
            "--likelihood",
            "categorical",
            "--hidden",
            "4",
            "--latent-dim",
            "1",
            "--epochs",
            "1",
        ),
        *("--compile", "off", "--evaluate", "none", "--quiet", "--out", folder / "run"),
    ]
    assert script(*arguments) == 0
    return folder / "run", path


@pytest.mark.slow
def test_a_table_comes_back_as_the_same_file(table_run, tmp_path, capsys):
    run, path = table_run
    lines = path.read_text().splitlines()
    swapped = [",".join(np.array(line.split(","))[[2, 1, 0]]) for line in lines]
    other, semicolons = tmp_path / "other.csv", tmp_path / "semicolons.csv"
    other.write_bytes("\r\n".join(swapped).encode())
    semicolons.write_text("\n".join(lines).replace(",", ";"))
    for table in (path, other, semicolons):
        bits = tmp_path / "rows.bits"
        compressed = compress_rows(run, table, bits)
        assert compressed.restored == f"Decompression gives back the bytes of {table.name}."
        assert compressed.num_bytes == bits.stat().st_size
        assert "text around the numbers" in compressed.table()
        assert decompress_rows(run, bits, tmp_path / "again.csv") == (60, 2)
        assert (tmp_path / "again.csv").read_bytes() == table.read_bytes()
        decompress_rows(run, bits, tmp_path / "again.npy")
        expected = [[int(row.split(",")[0]), int(row.split(",")[1])] for row in lines[1:]]
        assert np.load(tmp_path / "again.npy").tolist() == expected
    whole = bits.read_bytes()
    for place in range(0, len(whole), len(whole) // 20):
        bits.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(InputError, match=r"damaged or cut|begins otherwise"):
            decompress_rows(run, bits, tmp_path / "damaged.csv")
    assert not (tmp_path / "damaged.csv").exists()
    bits.write_bytes(whole)
    assert script(run, bits, "-o", tmp_path / "a.amat", name="decompress.py") == 2
    assert "Expected a .npy or .csv file" in capsys.readouterr().err


@pytest.mark.slow
def test_what_an_array_does_not_keep_is_reported(run_and_rows, tmp_path):
    run, data = run_and_rows
    np.savez(tmp_path / "rows.npz", train=np.load(data), train_labels=np.arange(150) % 3)
    compressed = compress_rows(run, tmp_path / "rows.npz", tmp_path / "rows.bits")
    assert compressed.restored == (
        "Decompression gives back the rows as a .npy array, uint8, shape (150, 6, 5, 3), without the labels and splits "
        "of rows.npz."
    )
