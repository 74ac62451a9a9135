"""The public face: what ``import hsds_lib as hsds`` offers, in the order of the notebooks."""

# Pictures
from .images.io import read_rgb as read_rgb, write_rgb as write_rgb
from .images.color import (
    colourise as colourise,
    fuse_chroma as fuse_chroma,
    merge_luma as merge_luma,
    split_luma as split_luma,
)
from .images.datasets import shown_split as shown_split
from .images.classical import average as average, mertens as mertens
from .images.exposure import Camera as Camera, simulate_triple as simulate_triple
from .images.batches import (
    Batch as Batch,
    PairBatches as PairBatches,
    Scene as Scene,
    load_naturals as load_naturals,
    load_scenes as load_scenes,
)
from .runs.scenes import (
    Endless as Endless,
    halves as halves,
    referenced_scenes as referenced_scenes,
)

# The loss and its judge: Table 1 and Eq. 3
from .losses.features import load_vgg16 as load_vgg16
from .losses.mef_ssim import mef_ssim_pair as mef_ssim_pair
from .losses.terms import (
    TERM_NAMES as TERM_NAMES,
    encode_fused as encode_fused,
    prepare_targets as prepare_targets,
    term_vector as term_vector,
)
from .losses.contrast import gamma_h as gamma_h, gamma_n as gamma_n, gamma_r as gamma_r
from .losses.space import (
    LossWeights as LossWeights,
    mixture as mixture,
    training_weights as training_weights,
    weighted_loss as weighted_loss,
)

# The network and its search: Algorithm 1
from .network.operations import PRIMITIVES as PRIMITIVES, MixedOp as MixedOp
from .network.genotype import NODES as NODES, Genotype as Genotype
from .network.fusion_net import FusionNet as FusionNet, Supernet as Supernet, derive as derive
from .network.budget import genotype_macs as genotype_macs
from .search.hypergradient import (
    beta_gradient as beta_gradient,
    jacobian_vector as jacobian_vector,
    preconditioner as preconditioner,
)
from .search.wsras import prune_step as prune_step, retain as retain
from .search.dual import DualSearch as DualSearch
from .search.run import run_search as run_search

# Settings, training, fusing
from .config import (
    ABLATIONS as ABLATIONS,
    PRESETS as PRESETS,
    SearchConfig as SearchConfig,
    TrainConfig as TrainConfig,
    ablation as ablation,
    preset as preset,
)
from .training.train import train_network as train_network
from .network.model_file import MODELS as MODELS, load_model as load_model
from .fusing.fuse import fuse as fuse, fuse_files as fuse_files, fuse_stack as fuse_stack

# Evaluation: Tables 2 and 3
from .evaluation.metrics import METRICS as METRICS, all_metrics as all_metrics, to_pixels as to_pixels
from .evaluation.paper import table2 as table2, table3 as table3

__version__: str
