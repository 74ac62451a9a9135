# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 0 · Start here: two photographs in, one out
#
# **Promise.** In a minute you know whether everything runs on your machine, and you have fused two exposures
# of one scene with a network whose *structure* and whose *loss* were both found by a search.
#
# **Time** about ten seconds of computing, ten minutes of reading · **Needs** a CPU, no download ·
# **Before this** nothing; you know what a convolution and a loss are.

# %% [markdown]
# **You will**
#
# - check your machine, and know what to do about a line that says FAIL;
# - measure what an under- and an over-exposed photograph have each lost;
# - fuse them with the model that ships, and compare it with two classical fusions, by eye and by MEF-SSIM;
# - fuse two photographs of your own;
# - find your way through the ten notebooks and the symbols they share.

# %% tags=["parameters"]
preset: str = "tiny"  # tiny | lesson | paper; this notebook trains nothing, so all three do the same
data: str = "embedded"  # embedded, a data set in HSDS_DATA (mefb, sice_sample, ...), or a folder of scenes
seed: int = 0  # of the embedded scenes
scene: int = 1  # which of the scenes that no training saw, counted from 0
model: str = "default"  # default (the model that ships), a run folder, or a .safetensors file
under_path: str = ""  # your own darker photograph; leave empty to skip
over_path: str = ""  # your own brighter photograph
device: str = "auto"  # auto | cpu | cuda | mps

# %%
from pathlib import Path

import torch

import hsds_lib as hsds
from hsds_lib.course import pictures
from hsds_lib.course.session import start
from hsds_lib.course.show import show
from hsds_lib.course.tables import Table

nb = start(preset, notebook="00_start_here", data=data, seed=seed, device=device)

# %% [markdown]
# ## Does it run here?
#
# `hsds check` prints the same lines in a terminal. A FAIL says what to do. `real data` is an extra: without it
# everything runs on scenes made from photographs inside scikit-image.

# %%
from hsds_lib.check import machine_checks

checks = machine_checks()
Table(("check", "", "found"), [(c.name, "OK" if c.ok else "FAIL", c.detail) for c in checks])

# %% tags=["verdict"]
optional = {"memory", "real data"}
missing = [check.name for check in checks if not check.ok and check.name not in optional]
print("everything this course needs is here:", not missing)

# %% [markdown]
# ## The question
#
# A camera sensor holds a limited range of light. Look at the under-exposed picture below: what the light falls
# on is well drawn, the rest is near black. In the over-exposed picture it is the other way round. No single
# exposure holds both; what is pure black or pure white is gone from that picture for good.

# %%
shot = hsds.load_scenes(data, hsds.shown_split(data), seed=seed)[scene]
show(*pictures.exposure_loss(shot.under, shot.over))

# %% [markdown]
# Count it. A pixel is *lost* where its luma $Y$ is within 2 % of black or white. The rows below show how much
# each exposure loses, and how much both lose at once: there, little is left to fuse.

# %%
lost = {role: torch.stack(pictures.lost(getattr(shot, role))).any(0) for role in ("under", "over")}
lost["in both"] = lost["under"] & lost["over"]
Table(("exposure", "share of lost pixels"), [(name, mask.float().mean().item()) for name, mask in lost.items()])

# %% tags=["verdict"]
shares = {name: mask.float().mean().item() for name, mask in lost.items()}
print("each exposure loses pixels that the other holds:", shares["in both"] < min(shares["under"], shares["over"]))

# %% [markdown]
# So fusion is not averaging: an average mixes the lost with the kept. It must decide, place by place, whom to
# trust. Hand-made rules do that (Mertens' fusion weighs contrast and saturation); this course's network learns
# it.
#
# ### Exercise 0.1
#
# Where *both* exposures are lost, no fusion can help. Return that share of the pixels; `under_y` and `over_y` are
# lumas, `(1, 1, H, W)`, and lost means at most 0.02 or at least 0.98.


# %%
def my_share(under_y, over_y):
    return ...  # your code: a number from 0 to 1


# %% tags=["solution"]
def my_share(under_y, over_y):
    lost_under = (under_y <= 0.02) | (under_y >= 0.98)
    lost_over = (over_y <= 0.02) | (over_y >= 0.98)
    return (lost_under & lost_over).float().mean()


# %% tags=["verdict"]
from hsds_lib.course.checks import check

check("0.1", my_share)

# %% [markdown]
# ## Fuse
#
# The network works on brightness alone. With $\omega$ for its weights and $\alpha$ for its structure,
#
# $$ \mathbf{I}_f = \mathcal{F}(\mathbf{I}_o, \mathbf{I}_u; \omega; \alpha), $$
#
# where $\mathbf{I}_o$ and $\mathbf{I}_u$ are the lumas of the over- and the under-exposed picture. Colour comes
# back at the end, pixel by pixel: the chroma of the two exposures, each weighted by its distance from gray.
# In code:

# %%
network = hsds.load_model(model, device=nb.device)
with torch.no_grad():
    over_y, under_y = (hsds.split_luma(image[None])[0].to(nb.device) for image in (shot.over, shot.under))
    fused_y = network(torch.cat([over_y, under_y], dim=1)).cpu()  # channel 0 over, channel 1 under
by_hand = hsds.colourise(fused_y, shot.under[None], shot.over[None])[0]

# %% [markdown]
# `hsds_lib.fusing.fuse.fuse` does the same, and cuts large pictures into tiles. Proof that it is the same, that tiles
# leave no seam, and that the result is a picture of the same size:

# %% tags=["verdict"]
fused = hsds.fuse(network, shot.under, shot.over)
tiled = hsds.fuse(network, shot.under, shot.over, tile=96)
assert fused.shape == shot.under.shape and bool((fused >= 0).all()) and bool((fused <= 1).all())
print("the lines above equal the library:", torch.allclose(fused, by_hand, atol=1e-5))
print("tiles leave no seam:", torch.allclose(fused, tiled, atol=1e-4))

# %% [markdown]
# Beside the network: the plain average, OpenCV's Mertens fusion, and the reference. For the embedded scenes the
# reference is the photograph that both exposures were simulated from, with a trace of the added light left in.
# Under each picture stands its MEF-SSIM: how much of the stronger local contrast and structure of the two
# exposures the picture keeps, at three scales, 1 at most (Ma, Zeng and Wang 2015; notebook 07 takes it apart).

# %%
results = {"under": shot.under, "over": shot.over, "fused": fused}
results |= {"average": hsds.average(shot.under, shot.over), "Mertens": hsds.mertens(shot.under, shot.over)}
results |= {} if shot.ref is None else {"ref": shot.ref}
pair = (under_y.cpu(), over_y.cpu())
scores = {name: float(hsds.mef_ssim_pair(hsds.split_luma(image[None])[0], *pair)) for name, image in results.items()}

# %% tags=["hero"]
captions = {name: f"MEF-SSIM {score:.3f}" for name, score in scores.items()}
show(*pictures.picture_row(results, captions, title=f"Scene {shot.name}: two exposures, fused", columns=3))

# %%
gone = {name: torch.stack(pictures.lost(image)).any(0).float().mean().item() for name, image in results.items()}
ranked = sorted(scores, key=scores.__getitem__, reverse=True)
Table(("picture", "MEF-SSIM", "share of lost pixels"), [(name, scores[name], gone[name]) for name in ranked])

# %% tags=["verdict"]
print("the fused picture has lost less than either exposure:", gone["fused"] < min(gone["under"], gone["over"]))
apart = {name: float((fused - results[name]).abs().mean()) for name in ("under", "over", "average", "Mertens")}
print("it is none of the other pictures:", min(apart.values()) > 0.005)

# %% [markdown]
# Look closer than the row of pictures allows. The explorer compares any two of them: move the edge between the two,
# zoom in, let them blink, or look at the difference itself. Compare the network with Mertens in the dark parts and near
# the light.

# %%
from hsds_lib.course.explorers import compare
from hsds_lib.course.widgets import explore

explore(compare.explorer(results))

# %% [markdown]
# Read such numbers with care, and do not trust one scene: on 13 real validation scenes this model has the mean MEF-SSIM
# 0.9781, and Mertens' fusion 0.9776 (`hsds_lib/models/default/validation.json`; the average: 0.919). The two cannot be
# told apart by that: the model wins 7 scenes of 13, and the interval of the difference contains 0 (`card.md`).
# MEF-SSIM asks whether *local* contrast of the exposures is kept; it does not see
# the brightness of large areas, so a picture that is far too bright can score well, and the reference does not
# reach 1. Some pixels of a scene *are* black or white, so no picture loses none. The card beside the model says
# how it was trained: on measures of what became of both exposures, and towards references that, for most scenes,
# are the best of several Mertens-like fusions.
#
# ## Your own two photographs
#
# Any two aligned photographs of one size, from a tripod or a camera's bracketing mode. In a terminal:
#
# ```bash
# hsds fuse dark.jpg bright.jpg -o fused.png
# ```
#
# In Python:
#
# ```python
# from hsds_lib.fusing.fuse import fuse_files
# from hsds_lib.network.model_file import load_model
# network = load_model()
# fuse_files(network, "dark.jpg", "bright.jpg", "fused.png")
# ```
#
# Or here: set `under_path` and `over_path` in the parameters cell and run the notebook again. The result lies
# beside your darker photograph.

# %%
if under_path and over_path:
    own = Path(under_path).expanduser().with_name("fused.png")
    hsds.fuse_files(network, Path(under_path).expanduser(), Path(over_path).expanduser(), own)
    trio = {"one": under_path, "the other": over_path, "fused": own}
    trio = {name: pictures.preview(hsds.read_rgb(Path(path).expanduser())) for name, path in trio.items()}
    show(*pictures.picture_row(trio, title=f"Your photographs, fused into {own.name}", columns=3))
else:
    print("no photographs given: set under_path and over_path above")

# %% [markdown]
# The other way to be sure: write two files, fuse them, and read the result back. It may differ from the tensors
# above by the rounding to 8 bits, half a level, and by no more.

# %% tags=["verdict"]
under_file, over_file, fused_file = (nb.out / f"{name}.png" for name in ("under", "over", "fused"))
hsds.write_rgb(under_file, shot.under)
hsds.write_rgb(over_file, shot.over)
swapped = hsds.fuse_files(network, under_file, over_file, fused_file)
assert not swapped, "the darker file must be recognised as under-exposed"
print("files give the same picture:", float((hsds.read_rgb(fused_file) - fused).abs().max()) * 255 <= 0.51)

# %% [markdown]
# ### Exercise 0.2
#
# `fuse_files` was given the files in the right order here. People mix them up, so it looks. Given two photographs,
# `(1, 3, H, W)`, return the under-exposed one. Beware: brightness is not the mean of red, green and blue.


# %%
def my_under(first, second):
    return ...  # your code: one of the two


# %% tags=["solution"]
def my_under(first, second):
    brightness = [hsds.split_luma(image)[0].mean() for image in (first, second)]
    return first if brightness[0] <= brightness[1] else second


# %% tags=["verdict"]
check("0.2", my_under)

# %% [markdown]
# ## The map
#
# | notebook | question it answers | paper |
# |---|---|---|
# | **00 start here** (this one) | does it run here, and what does fusion do to my two photographs? | Fig. 1 |
# | [01 problem formulation](01_problem_formulation.ipynb) | why two levels, and what is a hypergradient? | Eq. 1, 2 |
# | [02 loss search space](02_loss_search_space.ipynb) | what does each of the 19 losses reward? | Table 1 |
# | [03 WSRAS](03_wsras.ipynb) | what do $\theta$ and $P$ do to a search? | WSRAS, Algorithm 1 lines 8–13 |
# | [04 hybrid contrast](04_hybrid_contrast.ipynb) | why two kinds of positives? | Eq. 3 |
# | [05 dual search](05_dual_search.ipynb) | Algorithm 1 end to end | Algorithm 1, Fig. 2 |
# | [06 train and fuse](06_train_and_fuse.ipynb) | from genotype to pictures | implementation details |
# | [07 evaluation](07_evaluation.ipynb) | is it better, by which metric, and can we trust the metric? | Table 2 |
# | [08 ablations](08_ablations.ipynb) | what does each part buy? | Table 3 |
# | [09 reproducibility](09_reproducibility.ipynb) | what does the released code do differently, measured? | – |
#
# [The index of the paper](paper_index.md) leads from every equation, line and row to its functions, tests and cells.
# Every notebook runs offline with its default parameters; `preset="lesson"` takes minutes on a laptop, and
# `preset="paper"` is the paper's setting and wants a GPU.
#
# ## The symbols
#
# | symbol | in code | meaning |
# |---|---|---|
# | $\mathbf{I}_u, \mathbf{I}_o$ | `under`, `over` | the two exposures |
# | $\mathbf{I}_f, \mathbf{I}_r, \mathbf{I}_n$ | `fused`, `ref`, `natural` | result, reference, any good photograph |
# | $\omega$ | `network.parameters()` | weights of the network: the lower level learns them |
# | $\alpha$ | `alpha`, 15 × 11 | architecture logits: 11 operations in each of 15 nodes; softmax gives their weights |
# | $\beta$ | `beta`, 19 | loss logits: one for each of 19 losses; softmax gives their weights |
# | $\theta$ | `theta` | an operation whose weight falls below this is removed during the search |
# | $P$ | `top_p` | operations that every node keeps at the end |
# | $\Gamma_H$ | `gamma_h` | hybrid contrast: judges a loss by the pictures it leads to |

# %% [markdown]
# ## Recap
#
# - An exposure loses pixels for good; two exposures lose different ones, so together they hold more.
# - The network fuses luma; colour is the chroma of the exposures, weighted by its distance from gray.
# - `hsds fuse` and `fuse_files` use the model that ships. It is never an average, Mertens or an untrained net.
#
# **Pitfalls**
#
# - Photographs that are not aligned give double contours: fusion compares pixels at the same place.
# - Mixing up the two exposures matters to the network (its branches differ); `fuse_files` puts them in order.
# - A high MEF-SSIM is not the same as a picture people like.
#
# **Further reading**
#
# - Wu, Fu, Liu, Ma, Fan and Liu: *Hybrid-Supervised Dual-Search: Leveraging Automatic Learning for Loss-free
#   Multi-Exposure Image Fusion*, AAAI 2024: the paper of this course.
# - Mertens, Kautz and Van Reeth: *Exposure Fusion*, Pacific Graphics 2007.
# - Ma, Zeng and Wang: *Perceptual Quality Assessment for Multi-Exposure Image Fusion*, IEEE TIP 2015.
#
# **Next:** [1 · Problem formulation](01_problem_formulation.ipynb): why two levels. In a hurry?
# [5 · Dual search](05_dual_search.ipynb) is the whole method in one notebook.

# %%
nb.colophon(model=model)
