# Every public name, listed once: `__init__.py` reads them from here, type checkers and editors do too.

from pyro_vae.data import DataSet as DataSet
from pyro_vae.data import Split as Split
from pyro_vae.data import load_dataset as load_dataset
from pyro_vae.distributions.discrete_variables import Bernoullis as Bernoullis
from pyro_vae.distributions.discrete_variables import Categoricals as Categoricals
from pyro_vae.estimator import VAE as VAE
from pyro_vae.evaluate import (
    Annealing as Annealing,
)
from pyro_vae.evaluate import (
    DefensiveGuide as DefensiveGuide,
)
from pyro_vae.evaluate import (
    JointDefensiveGuide as JointDefensiveGuide,
)
from pyro_vae.evaluate import (
    MCMCPosterior as MCMCPosterior,
)
from pyro_vae.evaluate import (
    NUTSPosterior as NUTSPosterior,
)
from pyro_vae.evaluate import (
    ResampledPosterior as ResampledPosterior,
)
from pyro_vae.evaluate import (
    WidenedGuide as WidenedGuide,
)
from pyro_vae.evaluate import (
    annealed_log_likelihood as annealed_log_likelihood,
)
from pyro_vae.evaluate import (
    bidirectional_bounds as bidirectional_bounds,
)
from pyro_vae.evaluate import (
    code_usage as code_usage,
)
from pyro_vae.evaluate import (
    iwae_curve as iwae_curve,
)
from pyro_vae.evaluate import (
    latent_summary as latent_summary,
)
from pyro_vae.evaluate import (
    log_likelihood as log_likelihood,
)
from pyro_vae.evaluate import (
    log_weights as log_weights,
)
from pyro_vae.evaluate import (
    to_arviz as to_arviz,
)
from pyro_vae.evaluate.denoising import denoise as denoise
from pyro_vae.evaluate.gaps import RowFit as RowFit
from pyro_vae.evaluate.gaps import inference_gaps as inference_gaps
from pyro_vae.evaluate.reconstruction import reconstruction_errors as reconstruction_errors
from pyro_vae.evaluate.samples import SampleQuality as SampleQuality
from pyro_vae.evaluate.samples import feature_network as feature_network
from pyro_vae.evaluate.samples import with_code_mixture as with_code_mixture
from pyro_vae.experiment.build import build as build
from pyro_vae.experiment.config import Config as Config
from pyro_vae.experiment.load_run import load_run as load_run
from pyro_vae.guides import (
    GUIDES as GUIDES,
)
from pyro_vae.guides import (
    AmortizedGuide as AmortizedGuide,
)
from pyro_vae.guides import (
    BottomUpGuide as BottomUpGuide,
)
from pyro_vae.guides import (
    DiagonalNormalGuide as DiagonalNormalGuide,
)
from pyro_vae.guides import (
    DiscreteGuide as DiscreteGuide,
)
from pyro_vae.guides import (
    ExactLinearGuide as ExactLinearGuide,
)
from pyro_vae.guides import (
    FlowGuide as FlowGuide,
)
from pyro_vae.guides import (
    FullCovarianceGuide as FullCovarianceGuide,
)
from pyro_vae.guides import (
    LadderGuide as LadderGuide,
)
from pyro_vae.guides import (
    LocalGuide as LocalGuide,
)
from pyro_vae.guides import (
    LowRankGuide as LowRankGuide,
)
from pyro_vae.guides import (
    MixtureGuide as MixtureGuide,
)
from pyro_vae.guides import (
    PointGuide as PointGuide,
)
from pyro_vae.guides import (
    SemiAmortizedGuide as SemiAmortizedGuide,
)
from pyro_vae.guides import (
    SemiSupervisedGuide as SemiSupervisedGuide,
)
from pyro_vae.likelihoods import LIKELIHOODS as LIKELIHOODS
from pyro_vae.models import GenerativeModel as GenerativeModel
from pyro_vae.models import HierarchicalModel as HierarchicalModel
from pyro_vae.models import LinearGaussianModel as LinearGaussianModel
from pyro_vae.models import SemiSupervisedModel as SemiSupervisedModel
from pyro_vae.networks import (
    MLP as MLP,
)
from pyro_vae.networks import (
    CorruptedInput as CorruptedInput,
)
from pyro_vae.networks import (
    GaussianNoise as GaussianNoise,
)
from pyro_vae.networks import (
    Masking as Masking,
)
from pyro_vae.networks import (
    SaltAndPepper as SaltAndPepper,
)
from pyro_vae.networks import (
    Standardize as Standardize,
)
from pyro_vae.networks import (
    mlp_decoder as mlp_decoder,
)
from pyro_vae.networks import (
    mlp_encoder as mlp_encoder,
)
from pyro_vae.objectives import (
    ELBO as ELBO,
)
from pyro_vae.objectives import (
    IWAE as IWAE,
)
from pyro_vae.objectives import (
    OBJECTIVES as OBJECTIVES,
)
from pyro_vae.objectives import (
    RLOO as RLOO,
)
from pyro_vae.objectives import (
    STL as STL,
)
from pyro_vae.objectives import (
    AnalyticELBO as AnalyticELBO,
)
from pyro_vae.objectives import (
    DReG as DReG,
)
from pyro_vae.objectives import (
    EnumeratedELBO as EnumeratedELBO,
)
from pyro_vae.objectives import (
    GumbelSoftmax as GumbelSoftmax,
)
from pyro_vae.objectives import (
    Reconstruction as Reconstruction,
)
from pyro_vae.objectives import (
    Renyi as Renyi,
)
from pyro_vae.objectives import (
    ReweightedWakeSleep as ReweightedWakeSleep,
)
from pyro_vae.objectives import (
    SemiSupervisedELBO as SemiSupervisedELBO,
)
from pyro_vae.objectives import (
    StraightThrough as StraightThrough,
)
from pyro_vae.objectives import (
    TotalCorrelation as TotalCorrelation,
)
from pyro_vae.objectives import (
    estimate_elbo as estimate_elbo,
)
from pyro_vae.priors import (
    PRIORS as PRIORS,
)
from pyro_vae.priors import (
    ConditionalNormal as ConditionalNormal,
)
from pyro_vae.priors import (
    DiagonalNormal as DiagonalNormal,
)
from pyro_vae.priors import (
    FlowPrior as FlowPrior,
)
from pyro_vae.priors import (
    HierarchicalPrior as HierarchicalPrior,
)
from pyro_vae.priors import (
    LearnedStates as LearnedStates,
)
from pyro_vae.priors import (
    MixtureOfNormals as MixtureOfNormals,
)
from pyro_vae.priors import (
    NormalLayer as NormalLayer,
)
from pyro_vae.priors import (
    StandardNormal as StandardNormal,
)
from pyro_vae.priors import (
    UniformStates as UniformStates,
)
from pyro_vae.priors import (
    VampPrior as VampPrior,
)
from pyro_vae.processes import Processes as Processes
from pyro_vae.processes import started_processes as started_processes
from pyro_vae.training import Callback as Callback
from pyro_vae.training import ReconstructionError as ReconstructionError
from pyro_vae.training import Schedule as Schedule
from pyro_vae.training import fit as fit
from pyro_vae.training.monte_carlo_em import MonteCarloEM as MonteCarloEM

__version__: str
