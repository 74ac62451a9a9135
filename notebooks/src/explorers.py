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
# # All explorers on one page
#
# **Promise.** Everything in this course that has something to move, in one place and without code: `make apps` serves
# this page in a browser.
#
# **Time** as long as you like · **Needs** a CPU, no download · **Before this** nothing;
# each explorer names its notebook.

# %% [markdown]
# **You will**
#
# - look at fused pictures as closely as their authors should have;
# - open the gap between two exposures until no fusion can close it;
# - move losses, thresholds and radii, and see what a search or a derivative makes of them.
#
# No slider trains anything: what you see was computed before, or takes milliseconds. The line under each explorer says
# which of the two, and how many states there are. Move the sliders with the mouse, or with Tab and the arrow keys.

# %% tags=["parameters"]
preset: str = "tiny"  # tiny | lesson | paper; nothing is trained here, so all three do the same
seed: int = 0  # of the embedded scenes
scene: int = 1  # which test scene is compared, counted from 0

# %%
import hsds_lib as hsds
from hsds_lib.course.session import start
from hsds_lib.course.widgets import explore

nb = start(preset, notebook="explorers", seed=seed, device="cpu")


def controls(explorer):
    places = " × ".join(f"{len(control.options)} ({control.label})" for control in explorer.controls)
    return f"{places} = {explorer.n_states} states"


# %% [markdown]
# ## Two pictures of one scene
#
# Two exposures, three fusions of them and the photograph both were simulated from. Which of them is best depends on
# where you look; the scores beside the picture know nothing of places. From
# [0 · Start here](00_start_here.ipynb).
#
# **What to try.** Let *Mertens* and *fused* (the model that ships) blink, then show their difference: where is it
# large? Compare *under* with *fused* at zoom 4× in the darkest corner: is what appears there detail, or noise?

# %%
shot = hsds.load_scenes("embedded", "test", seed=seed)[scene]
pair = (shot.under, shot.over)
results = {"under": shot.under, "over": shot.over, "fused": hsds.fuse(hsds.load_model(device="cpu"), *pair)}
results |= {"average": hsds.average(*pair), "Mertens": hsds.mertens(*pair), "ref": shot.ref}

# %%
from hsds_lib.course.explorers import compare

compared = compare.explorer(results, start=("Mertens", "fused"))
explore(compared)

# %% tags=["verdict"]
others = [name for name in results if name != "fused"]
print("the model's picture is none of the others:", all(compared.gap("fused", name).mean > 1 for name in others))

# %% [markdown]
# Who reads this without a kernel sees the six pictures here:

# %% tags=["hero"]
from hsds_lib.course.pictures import picture_row
from hsds_lib.course.show import show

show(*picture_row(results, title="The pictures to compare", columns=6))

# %% [markdown]
# ## The gap between two exposures
#
# One scene, photographed twice by the camera model of this course; you set how many stops lie between the two, and
# where their middle is. What both exposures lose, no fusion brings back. From
# [1 · Problem formulation](01_problem_formulation.ipynb).
#
# **What to try.** Widen the gap from 0 stops and watch the share that *both* have lost: it falls, and then it rises.
# Find the middle at which a gap of 6 stops loses least.

# %%
from hsds_lib.course.explorers import exposure_gap

gaps = exposure_gap.explorer()
explore(gaps)

# %% tags=["verdict"]
print(controls(gaps))

# %% [markdown]
# ## The simplex of loss weights
#
# Three of the 19 losses, mixed in every proportion; for each mixture stands the picture that minimises it. It is never
# a blend of three pictures: each was optimised for its own weights. From
# [2 · Loss search space](02_loss_search_space.ipynb).
#
# **What to try.** Go from one corner to another in small steps: does the picture change evenly, or in one place?

# %%
from hsds_lib.course.explorers import simplex

mixtures = simplex.explorer()
explore(mixtures)

# %% tags=["verdict"]
print(controls(mixtures))

# %% [markdown]
# ## A search and its threshold
#
# During the search an operation goes when its weight falls below the threshold $\theta$, and every node keeps $P$ at
# the end. Each threshold you choose is a search of its own, recorded step by step. From [3 · WSRAS](03_wsras.ipynb).
#
# **What to try.** Put the step at its end and raise $\theta$: how few operations can a node be left with, and what do
# the four metrics say? Then set $\theta = 0$ and change $P$ alone.

# %%
from hsds_lib.course.explorers import thresholds

searches = thresholds.explorer()
explore(searches)

# %% tags=["verdict"]
print(controls(searches))

# %% [markdown]
# ## A walk over the contrast
#
# The hybrid contrast is small for pictures near good ones and far from the two exposures. Here it is measured all over
# a plane of pictures: from under to over, and towards the reference. From
# [4 · Hybrid contrast](04_hybrid_contrast.ipynb).
#
# **What to try.** Find the place that the contrast likes best, then change the term: does the place stay? Look at one
# layer alone: do all layers agree?

# %%
from hsds_lib.course.explorers import gamma_map

walk = gamma_map.explorer()
explore(walk)

# %% tags=["verdict"]
print(controls(walk))

# %% [markdown]
# ## Worse pictures, better metrics?
#
# One fused picture, spoilt in eight ways, and the eight metrics of the paper's Table 2 on every result. A bar to the
# right says that a metric calls the spoilt picture better than the one it was made from. From
# [7 · Evaluation](07_evaluation.ipynb).
#
# **What to try.** For each metric, find something that raises it. Then look for a strength at which nearly all of them
# rise at once, and ask yourself whether you would hang up that picture.

# %%
from hsds_lib.course.explorers import degrade

spoilt = degrade.explorer()
explore(spoilt)

# %% tags=["verdict"]
print(controls(spoilt))

# %% [markdown]
# ## Two points, and what lies between them
#
# A derivative along a direction can be had from two points, or exactly. Two points see whatever lies between them, and
# in a network of ReLUs that is kinks. From [9 · Reproducibility](09_reproducibility.ipynb).
#
# **What to try.** Take the function with thirty kinks, and shrink the radius until the two slopes agree. Would you have
# chosen that radius before you knew?

# %%
from hsds_lib.course.explorers import radius

radii = radius.explorer()
explore(radii)

# %% tags=["verdict"]
print(controls(radii))

# %%
nb.colophon()
