"""Public names: those of the package, and those of version 0.1.0 under their old modules."""

import importlib
import subprocess
import sys

import pytest

import pyro_vae

MOVED = {
    "building": "build default_epochs fit_settings objective resolve starting_rows",
    "checkpoint": "StorageError load_state load_weights save_state save_weights write_atomically write_json",
    "closing": "Evaluation Extent evaluate extent_of full_cost",
    "comparison": "MODELS NAMES SCORED_ROWS SCORED_SAMPLES Comparison Entry LinearVAE compare exact_baselines "
    "fit_baseline fit_linear_vae fit_vae linear_baselines mean_and_se score_some",
    "config": "Config DataConfig ModelConfig RunConfig TrainingConfig from_command_line from_json to_json",
    "data.batches": "Batches iterate permutation uniform_noise",
    "data.named": "DATASETS read_named",
    "evaluate.pareto": "pareto_khat tail_length",
    "flows": "inverse_autoregressive spline_autoregressive",
    "gaps": "InferenceGaps RowEstimate RowFit inference_gaps",
    "linear": "ExactLinearGuide LinearEncoder LinearGaussianModel",
    "mcmc": "HMC HMCInfo HMCSamples HMCState LogDensity init leapfrog",
    "monte_carlo_em": "MonteCarloEM MonteCarloEMResult",
    "report": "bits_per_dim closing_table comparison_table format_table nats opening_lines split_facts test_facts "
    "write_comparison",
    "runs": "Checkpoints Interrupted Run RunFolder StopOnSignal absolute interruptible load_data load_run open_folder "
    "restore resume_notes saved_config saved_info start_from write_config",
    "scoring": "Checks ScoreFile ScoreSettings Scoring open_scoring",
    "training.schedule": "Schedule",
}

FOLDERS = {
    "likelihoods": "LIKELIHOODS BernoulliLikelihood GaussianLikelihood GaussianWithFixedScale "
    "GaussianWithIsotropicScale GaussianWithSharedScale LaplaceLikelihood Likelihood fill_constant typical_scale",
    "models": "GenerativeModel",
    "networks": "ACTIVATIONS MLP UNIT Bfloat16Training Standardize Whiten has_fast_bfloat16 mlp_decoder mlp_encoder "
    "shrink_outputs",
    "priors": "PRIORS DiagonalNormal FlowPrior MixtureOfNormals StandardNormal VampPrior",
}


def forget(module):
    """Have the next import of an old module run it again."""
    sys.modules.pop(module, None)


@pytest.mark.parametrize("name", pyro_vae.__all__)
def test_a_public_name_is_there(name):
    assert getattr(pyro_vae, name) is not None
    assert name in dir(pyro_vae)


def test_a_star_gives_the_public_names():
    names = {}
    exec("from pyro_vae import *", names)
    assert set(pyro_vae.__all__) <= set(names)


def test_a_name_that_is_not_there():
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        pyro_vae.nothing  # noqa: B018
    with pytest.raises(ImportError, match="nothing"):
        importlib.import_module("pyro_vae.nothing")


def test_importing_the_package_imports_nothing_else():
    code = "import sys, pyro_vae; print([m for m in ('torch', 'numpy', 'ast', 'pyro') if m in sys.modules])"
    run = subprocess.run([sys.executable, "-S", "-c", code], capture_output=True, text=True, check=False)
    assert run.stdout == "[]\n", run.stderr


@pytest.mark.parametrize("module", MOVED)
def test_an_old_module_has_its_names_and_warns_once(module):
    old = f"pyro_vae.{module}"
    forget(old)
    names = {}
    imports = "\n".join(f"from {old} import {name}" for name in MOVED[module].split())
    with pytest.warns(DeprecationWarning, match=f"{old} has moved: import .* from pyro_vae") as warned:
        exec(f"{imports}\nimport {old}", names)
    assert set(MOVED[module].split()) <= set(names)
    assert len(warned) == 1
    assert warned[0].filename == "<string>"  # whoever imports, not the library
    assert sorted(importlib.import_module(old).__all__) == sorted(MOVED[module].split())


def test_an_old_name_is_the_new_one():
    forget("pyro_vae.linear")
    with pytest.warns(DeprecationWarning, match="ExactLinearGuide from pyro_vae.guides"):
        from pyro_vae.linear import ExactLinearGuide
    assert ExactLinearGuide is pyro_vae.ExactLinearGuide


def test_a_name_that_an_old_module_did_not_have():
    forget("pyro_vae.config")
    with pytest.warns(DeprecationWarning, match="has moved"):
        old = importlib.import_module("pyro_vae.config")
    with pytest.raises(
        AttributeError, match=r"no attribute 'nothing'; it has moved: import .*pyro_vae\.experiment"
    ):
        old.nothing  # noqa: B018


def test_the_main_job_is_still_named_train():
    from pyro_vae.experiment import train
    from pyro_vae.experiment.train_run import train as there

    assert train is there


@pytest.mark.parametrize("module", FOLDERS)
def test_a_module_that_became_a_folder_has_its_names(module):
    folder = importlib.import_module(f"pyro_vae.{module}")
    assert set(FOLDERS[module].split()) <= set(vars(folder))
