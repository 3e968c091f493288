"""Labels that are partly missing: the bound, its gradient and estimates against sums over classes by hand.

`y ~ Categorical(1/K)`, `z ~ N(0, I)`, `x | z, y ~ N(W z + b_y, s^2 I)`: given y it is PPCA, with the exact posterior
`N((W^T W + s^2 I)^-1 W^T (x - b_y), s^2 (W^T W + s^2 I)^-1)`, so that the bound of each class is exact whatever z is.
"""

import dataclasses
from functools import partial

import numpy as np
import pytest
import torch
from helpers import assert_within_sigma
from torch import nn

from pyro_vae import (
    ELBO,
    DiagonalNormalGuide,
    JointDefensiveGuide,
    SemiSupervisedELBO,
    SemiSupervisedGuide,
    SemiSupervisedModel,
    StandardNormal,
    annealed_log_likelihood,
    estimate_elbo,
    fit,
    latent_summary,
    log_likelihood,
    to_arviz,
)
from pyro_vae._checks import InputError
from pyro_vae.compiled import CompiledGradients, Gradients, uncompiled
from pyro_vae.likelihoods import GaussianWithFixedScale
from pyro_vae.networks.positive import UNIT
from pyro_vae.training import Accuracy, FusedAdamW

N, D, L, K, NOISE = 40, 5, 2, 3, 0.4


def made():
    random = np.random.default_rng(0)
    axes, _ = np.linalg.qr(random.normal(size=(D, L)))
    weight, shifts = torch.from_numpy(axes * [2.0, 0.7]), torch.from_numpy(random.normal(size=(K, D)))
    labels = torch.arange(N) % K
    z, noise = (torch.from_numpy(random.normal(size=(N, size))) for size in (L, D))
    return weight, shifts, labels, z @ weight.T + shifts[labels] + NOISE * noise


WEIGHT, SHIFTS, LABELS, X = made()
HIDDEN = torch.full_like(LABELS, -1)
PRECISION = (WEIGHT.T @ WEIGHT + NOISE**2 * torch.eye(L, dtype=torch.float64)).diagonal()


class Decoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight, self.shifts = nn.Parameter(WEIGHT.clone()), nn.Parameter(SHIFTS.clone())

    def forward(self, z, y):
        return z @ self.weight.T + self.shifts[y]


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.gain, self.shifts = nn.Parameter(WEIGHT / PRECISION), nn.Parameter(SHIFTS.clone())
        self.raw_scale = nn.Parameter((NOISE / PRECISION.sqrt() - 1e-6).expm1().log() - UNIT)

    def forward(self, x, y):
        loc = (x - self.shifts[y]) @ self.gain
        return torch.cat([loc, self.raw_scale.expand_as(loc)], dim=-1)


class Posterior(nn.Module):
    """log p(x | y), the logits of the exact p(y | x)."""

    def forward(self, x):
        return log_joint(x)


def log_joint(x):
    """Return log p(x, y) for every class, shape (N, K)."""
    covariance = WEIGHT @ WEIGHT.T + NOISE**2 * torch.eye(D, dtype=torch.float64)
    normal = torch.distributions.MultivariateNormal(SHIFTS, covariance)
    return normal.log_prob(x.unsqueeze(1)) - np.log(K)


def programs(exact=True):
    zeros, ones = torch.zeros(D, dtype=torch.float64), torch.ones(D, dtype=torch.float64)
    likelihood = GaussianWithFixedScale(zeros, ones, NOISE).double()
    likelihood.fixed_scale.fill_(NOISE)  # made in single precision
    model = SemiSupervisedModel(StandardNormal(L), Decoder(), likelihood, K).double()
    torch.manual_seed(0)
    classifier = Posterior() if exact else nn.Linear(D, K).double()
    return model, SemiSupervisedGuide(classifier, DiagonalNormalGuide(Encoder())).double()


def close(found, truth, tolerance=1e-9):
    assert torch.allclose(torch.as_tensor(found).double(), truth, rtol=0, atol=tolerance)


def bound_by_hand(logits):
    """Return sum_y q(y | x) (log p(x, y) - log q(y | x)), shape (N,)."""
    log_q = logits.log_softmax(-1)
    return (log_q.exp() * (log_joint(X) - log_q)).sum(-1)


@pytest.mark.parametrize("particles", [1, 3])
def test_without_labels_the_bound_is_the_sum_over_classes(particles):
    model, guide = programs(exact=False)
    terms = SemiSupervisedELBO(num_particles=particles, num_classes=K)(model, guide).terms(X, HIDDEN)
    truth = bound_by_hand(guide.classifier(X))
    close(terms.reconstruction - terms.kl, truth)
    close(terms.loss, -truth.mean())


def test_at_the_exact_posterior_the_bound_is_log_p_of_x():
    terms = SemiSupervisedELBO(num_classes=K)(*programs()).terms(X, HIDDEN)
    close(terms.reconstruction - terms.kl, log_joint(X).logsumexp(-1))


def test_of_a_labelled_row_the_bound_is_log_p_of_x_and_label():
    labels = torch.where(torch.arange(N) < 10, LABELS, HIDDEN)
    model, guide = programs(exact=False)
    terms = SemiSupervisedELBO(num_classes=K, weight=0.0)(model, guide).terms(X, labels)
    labelled = log_joint(X).gather(1, LABELS[:, None])[:, 0]
    close(
        terms.reconstruction - terms.kl, torch.where(labels < 0, bound_by_hand(guide.classifier(X)), labelled)
    )


def test_the_gradient_of_the_classifier_is_that_of_the_sum():
    model, guide = programs(exact=False)
    loss = SemiSupervisedELBO(num_classes=K)(model, guide)(X, HIDDEN)
    found = torch.autograd.grad(loss, list(guide.classifier.parameters()))
    truth = torch.autograd.grad(
        -bound_by_hand(guide.classifier(X)).mean(), list(guide.classifier.parameters())
    )
    for one, other in zip(found, truth, strict=True):
        close(one, other)


def test_the_classification_term_is_the_mean_cross_entropy_of_labelled_rows():
    labels = torch.where(torch.arange(N) < 10, LABELS, HIDDEN)
    model, guide = programs(exact=False)

    def loss(weight):
        torch.manual_seed(0)
        return SemiSupervisedELBO(num_classes=K, weight=weight)(model, guide)(X, labels)

    entropy = nn.functional.cross_entropy(guide.classifier(X[:10]), LABELS[:10])
    close(loss(0.7) - loss(0.0), 0.7 * entropy)
    gradient = torch.autograd.grad(loss(0.7) - loss(0.0), guide.classifier.weight)[0]
    close(gradient, torch.autograd.grad(0.7 * entropy, guide.classifier.weight)[0])


def test_a_batch_without_labels_has_no_classification_term():
    model, guide = programs(exact=False)
    for weight in (0.0, 5.0):
        torch.manual_seed(0)
        loss = SemiSupervisedELBO(num_classes=K, weight=weight)(model, guide)(X, HIDDEN)
        close(loss, -bound_by_hand(guide.classifier(X)).mean())


def test_beta_weighs_the_divergence_of_class_and_z():
    model, guide = programs(exact=False)
    torch.manual_seed(0)
    terms = SemiSupervisedELBO(num_classes=K, beta=0.5)(model, guide).terms(X, HIDDEN)
    close(terms.loss, -(terms.reconstruction - 0.5 * terms.kl).mean())


@pytest.mark.slow
def test_importance_sampling_sums_the_classes_out():
    x, labels = X[:8], LABELS[:8]
    exact = log_joint(x).logsumexp(-1)
    close(log_likelihood(*programs(), x, num_samples=10).value, exact)
    model, guide = programs(exact=False)
    for proposal in (guide, JointDefensiveGuide(guide, model, 0.2)):
        scores = log_likelihood(model, proposal, x, num_samples=1000)
        assert_within_sigma(scores.value, exact, scores.se, sigmas=5)
    labelled = log_joint(x).gather(1, labels[:, None])[:, 0]
    close(log_likelihood(model, guide, (x, labels), num_samples=10).value, labelled)


def test_the_elbo_of_stock_programs_agrees():
    model, guide = programs(exact=False)
    found = estimate_elbo(model, guide, (X, HIDDEN), num_particles=500).value
    log_q = guide.classifier(X).log_softmax(-1)
    truth, values = bound_by_hand(guide.classifier(X)), log_joint(X) - log_q
    variance = (log_q.exp() * (values - truth[:, None]).square()).sum(-1)
    assert_within_sigma(found, truth, (variance / 500).sqrt())
    close(-ELBO()(*programs())(X, HIDDEN), log_joint(X).logsumexp(-1).mean())


@pytest.mark.slow
def test_traced_gradients_agree():
    labels = torch.where(torch.arange(N) < 10, LABELS, HIDDEN)
    model, guide = programs(exact=False)
    loss = SemiSupervisedELBO(num_classes=K)(model, guide)
    parameters, progress = list(loss.parameters()), torch.tensor(0.5)
    found = []
    for gradients in (
        CompiledGradients(loss, parameters, (X, labels), uncompiled),
        Gradients(loss, parameters),
    ):
        torch.manual_seed(0)
        found.append(gradients(X, labels, progress=progress).gradients)
        assert not gradients.note
    for one, other in zip(*found, strict=True):
        assert torch.allclose(one, other, rtol=1e-9, atol=1e-12)


@pytest.mark.slow
def test_training_finds_the_classes():
    model, guide = programs(exact=False)
    labels = torch.where(torch.arange(N) < 12, LABELS, HIDDEN)
    objective = SemiSupervisedELBO(num_classes=K)
    settings = {"epochs": 20, "batch_size": 10, "device": "cpu", "seed": 0, "progress": False, "keep": "last"}
    settings["optimizer"] = partial(FusedAdamW, lr=0.05)
    fit(model, guide, (X, labels), objective=objective, metrics={"a": Accuracy((X, LABELS))}, **settings)
    best = (log_joint(X).argmax(-1) == LABELS).double().mean()
    assert Accuracy((X, LABELS))(model, guide)["accuracy"] > best - 0.1


@pytest.mark.slow
def test_pictures_and_summaries_have_a_class_for_each_row():
    model, guide = programs()
    close(guide.classify(X), log_joint(X).softmax(-1))
    labels = torch.where(torch.arange(N) < 12, LABELS, HIDDEN)
    filled = guide.fill(X, labels)
    assert torch.equal(filled[:12], LABELS[:12])
    assert torch.equal(filled[12:], log_joint(X).argmax(-1)[12:])
    close(guide.encode(X, labels).mean, guide.guide.encode(X, filled).mean)
    close(model.reconstruct(X, guide, labels), model.decode(guide.encode(X, labels).mean, filled).mean)
    assert model.sample(7).shape == (7, D)
    assert model.sample(3, LABELS[:3]).shape == (3, D)
    summary = latent_summary(model, guide, (X, HIDDEN))
    assert {"y", "z"} <= set(summary.sites)
    data = to_arviz(model, guide, (X[:5], HIDDEN[:5]))
    assert {"y", "z"} <= set(data.posterior)


def test_what_needs_gradients_in_z_refuses_a_class():
    with pytest.raises(InputError, match="the site 'y' is discrete"):
        annealed_log_likelihood(*programs(), X[:2])


BAD = {
    "one class": (
        lambda: SemiSupervisedELBO(num_classes=1),
        "num_classes to be a whole number of at least 2",
    ),
    "weight": (lambda: SemiSupervisedELBO(weight=-1.0), "weight to be a finite number of at least 0"),
    "free bits": (lambda: SemiSupervisedELBO(free_bits=0.1), "free_bits of 0"),
    "no classes": (lambda: dataclasses.replace(SemiSupervisedELBO(), num_classes=2.5), "whole number"),
    "no labels for the accuracy": (lambda: Accuracy((X, LABELS))(None, None), "a guide with a classifier"),
    "length": (
        lambda: fit(*programs(), (X, LABELS[:-1]), epochs=1, progress=False),
        "one entry for each of the 40 rows",
    ),
    "label out of range": (
        lambda: SemiSupervisedELBO(num_classes=K, weight=0.0)(*programs())(X, LABELS + 1),
        r"labels from 0 to 2, or -1 if missing; got 1 to 3\.$",
    ),
    "labels of columns": (
        lambda: SemiSupervisedELBO(num_classes=K)(*programs())(X, X),
        "labels as whole numbers of shape",
    ),
    "text": (lambda: fit(*programs(), (X, np.array(["a"] * N)), epochs=1, progress=False), "got text"),
    "decode without a class": (lambda: programs()[0].decode(torch.zeros(2, L)), "Expected"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_ends_in_one_sentence(name):
    call, message = BAD[name]
    with pytest.raises(InputError, match=message):
        call()
