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
# # 7 · Evaluation: is it better, by which metric, and can we trust the metric?
#
# **Promise.** You take the paper's metrics apart until you know what each one rewards, fool some of them, and then
# make a table of methods that says no more than it knows.
#
# **Time** half a minute of computing, forty-five minutes of reading · **Needs** a CPU, no download ·
# **Before this** [0 · Start here](00_start_here.ipynb).

# %% [markdown]
# **You will**
#
# - write five metrics in a few lines each, and prove that they are the library's;
# - explain why no picture has an SD above 15.97 in Table 2 of the paper;
# - spoil a picture in eight ways and see which metrics prefer the spoiled one;
# - measure whether two metrics rank pictures alike;
# - compare methods scene by scene, with a test that knows how few scenes there are.

# %% tags=["parameters"]
preset: str = "tiny"  # tiny | lesson | paper; this notebook trains nothing, so all three do the same
data: str = "embedded"  # embedded, a data set in HSDS_DATA (mefb, sice_sample, ...), or a folder of scenes
seed: int = 0  # of the embedded scenes and of noise
n_scenes: int = 6  # validation and test scenes, of each at most
model: str = "default"  # default (the model that ships), a run folder, or a .safetensors file
strength: float = 0.5  # of the degradations, from 0 to 1
device: str = "auto"  # auto | cpu | cuda | mps

# %%
import numpy as np
import torch

from hsds_lib.course import metric_pictures, pictures
from hsds_lib.course.checks import check
from hsds_lib.course.figures import show
from hsds_lib.course.session import start
from hsds_lib.course.tables import Table

nb = start(preset, notebook="07_evaluation", data=data, seed=seed, device=device)

# %% [markdown]
# ## The question
#
# Left a fusion by Mertens' method, right the same picture, its contrast stretched until it clips. Cover the numbers,
# and choose. Then read them: not all of them choose like you.

# %%
from hsds_lib.course.degradations import DEGRADATIONS, degrade
from hsds_lib.evaluation.metrics import all_metrics, to_pixels
from hsds_lib.images.classical import average, mertens
from hsds_lib.scenes import referenced_scenes

scenes = [s for part in ("val", "test") for s in referenced_scenes(data, part, seed=seed, limit=n_scenes)]
shot = scenes[0]
good = mertens(shot.under, shot.over)
loud = degrade("stretch contrast", good[None], 0.6)[0]
sources = [to_pixels(image) for image in (shot.under, shot.over)]
told = [all_metrics(*sources, to_pixels(image), ref=to_pixels(shot.ref)) for image in (good, loud)]

# %%
pair = {"Mertens": good, "Mertens, stretched": loud}
words = [f"SD {t['SD_double']:.0f}, EN {t['EN']:.2f}, MEF-SSIM {t['MEF-SSIM']:.2f}" for t in told]
show(*pictures.picture_row(pair, dict(zip(pair, words, strict=True)), title="Which is better?"))

# %% tags=["verdict"]
print("SD prefers the stretched picture:", told[1]["SD_double"] > told[0]["SD_double"])
print("MEF-SSIM does not:", told[1]["MEF-SSIM"] < told[0]["MEF-SSIM"])

# %% [markdown]
# A metric is somebody's opinion, written as a formula. Before we count who wins, read the formulas.
#
# ## One picture: SD and EN
#
# Table 2 SD and Table 2 EN look at the fused picture alone. With gray levels $g$ and the shares $p_i$ of the 256
# levels,
#
# $$ \text{SD} = \sqrt{\operatorname{mean}\,(g - \bar g)^2}, \qquad \text{EN} = -\sum_i p_i \log_2 p_i. $$
#
# Neither asks what the scene looks like, nor even *where* the pixels are: shuffle them, and both stay the same.

# %% tags=["verdict"]
from hsds_lib.evaluation.metrics import en, rgb2gray, sd

pixels = to_pixels(good)
gray = rgb2gray(pixels).astype(float)
shares = np.bincount(rgb2gray(pixels).ravel(), minlength=256) / gray.size
entropy = -sum(share * np.log2(share) for share in shares if share > 0)
print("SD by hand is the library's:", np.isclose(np.sqrt(((gray - gray.mean()) ** 2).mean()), sd(pixels)))
print("so is EN:", np.isclose(entropy, en(pixels)))
order = np.random.default_rng(seed).permutation(gray.size)
shuffled = pixels.reshape(-1, 3)[order].reshape(pixels.shape)
print("shuffled pixels have the same SD and EN:", np.isclose(sd(shuffled), sd(pixels)) and en(shuffled) == en(pixels))

# %% [markdown]
# ### Exercise 7.1
#
# Entropy of gray levels, integers 0 to 255 in a tensor of any shape, in bits.


# %%
def my_entropy(gray):
    return ...  # your code: a number


# %% tags=["solution"]
def my_entropy(gray):
    shares = torch.bincount(gray.flatten(), minlength=256) / gray.numel()
    occurring = shares[shares > 0]
    return -(occurring * occurring.log2()).sum()


# %% tags=["verdict"]
check("7.1", my_entropy)

# %% [markdown]
# ## SD as published
#
# The SDs of Table 2 lie near 10, the SD of a photograph at 30 to 80. An old toolbox explains it: computed in 8-bit
# integers, $g - \bar g$ below zero becomes 0 and a square above 255 becomes 255, so that
#
# $$ \text{SD}_8 = \sqrt{\operatorname{mean}\, \min\bigl(255, \max(0, [g - \bar g])^2\bigr)}
#    \;\le\; \sqrt{255} = 15.97. $$
#
# What is left counts the pixels that are 16 levels or more above the mean, and hardly anything else.

# %%
show(*metric_pictures.saturation(gray.ravel(), gray.mean()))

# %% tags=["verdict"]
from hsds_lib.evaluation.paper import OURS, table2

above = np.maximum(np.floor(gray - gray.mean() + 0.5), 0)
by_hand = np.sqrt(np.minimum(above**2, 255).mean())
print("saturating SD by hand is the library's:", np.isclose(by_hand, sd(pixels, arithmetic="uint8")))
rows = [row for part in ("SICE", "no reference") for row in table2(part).values()]
print("all", len(rows), "SDs of Table 2 are below the ceiling:", all(row["SD"] < np.sqrt(255) for row in rows))
nearly = np.sqrt(255 * (above >= 16).mean())
print("counting bright pixels alone comes within 10 %:", abs(nearly / by_hand - 1) < 0.1)

# %% [markdown]
# So a lead of 0.018 in that column says nothing about contrast. The same toolbox made VIF, and TMQI was given pictures
# in 0..1 where it expects 0..255 ([notebook 9](09_reproducibility.ipynb) shows that these change who wins). From here
# on we use the correct forms: `SD_double`, `VIF_double`, `TMQI_255`.
#
# ## One reference: CC
#
# Table 2 CC is the correlation of the fused gray levels $g$ with those of the reference, $r$:
#
# $$ \text{CC} = \frac{\sum (g - \bar g)(r - \bar r)}
#    {\sqrt{\sum (g - \bar g)^2 \, \sum (r - \bar r)^2}}. $$
#
# It does not see brightness or global contrast: a picture twice as dark has the same CC.

# %% tags=["verdict"]
from hsds_lib.evaluation.metrics import cc

wanted = rgb2gray(to_pixels(shot.ref)).astype(float)
a, b = gray - gray.mean(), wanted - wanted.mean()
print(
    "by hand it is the library's:",
    np.isclose((a * b).sum() / np.sqrt((a**2).sum() * (b**2).sum()), cc(to_pixels(shot.ref), pixels)),
)
half = cc(to_pixels(shot.ref), to_pixels(good / 2))
print("half as bright, CC to two digits:", round(half, 2) == round(cc(to_pixels(shot.ref), pixels), 2))

# %% [markdown]
# ### Exercise 7.2
#
# The correlation of two tensors of one shape.


# %%
def my_correlation(ref, fused):
    return ...  # your code: a number from -1 to 1


# %% tags=["solution"]
def my_correlation(ref, fused):
    a, b = ref - ref.mean(), fused - fused.mean()
    return (a * b).sum() / (a.square().sum() * b.square().sum()).sqrt()


# %% tags=["verdict"]
check("7.2", my_correlation)

# %% [markdown]
# ## Two exposures: MEF-SSIM
#
# Table 2 MEF-SSIM needs no reference: it *makes* one, patch by patch. Take the mean off both patches, $\tilde u$ and
# $\tilde o$. The wanted contrast is the larger of their norms. The wanted structure is a mixture of their directions,
#
# $$ \hat c = \max(\lVert\tilde u\rVert, \lVert\tilde o\rVert), \qquad
#    \hat s \propto \frac{\lVert\tilde u\rVert^{p}\, \frac{\tilde u}{\lVert\tilde u\rVert} +
#    \lVert\tilde o\rVert^{p}\, \frac{\tilde o}{\lVert\tilde o\rVert}}
#    {\lVert\tilde u\rVert^{p} + \lVert\tilde o\rVert^{p}},
#    \qquad p = \tan\Bigl(\tfrac{\pi}{2} \tfrac{\lVert\tilde u + \tilde o\rVert}
#    {\lVert\tilde u\rVert + \lVert\tilde o\rVert}\Bigr): $$
#
# where both show the same thing the stronger one decides, where they contradict each other they share. The fused
# patch is then compared with $\hat c\,\hat s / \lVert\hat s\rVert$ in contrast and structure, as in SSIM. One patch of
# 11 × 11 pixels, written out:

# %%
from hsds_lib.images.color import split_luma

luma = [split_luma(image[None].double())[0] for image in (shot.under, shot.over, good)]
u, o, f = (y[0, 0, 100:111, 60:71] for y in luma)
window = torch.exp(-((torch.arange(11.0, dtype=torch.float64) - 5) ** 2) / (2 * 1.5**2))
window = torch.outer(window, window) / window.sum() ** 2


# %%
def wanted_patch(u, o):
    u, o = u - u.mean(), o - o.mean()
    cu, co = u.norm(), o.norm()
    p = torch.tan(torch.pi / 2 * ((u + o).norm() / (cu + co)))
    s = (cu**p * u / cu + co**p * o / co) / (cu**p + co**p)
    return torch.maximum(cu, co) * s / s.norm()


def similarity(x, y):  # contrast and structure of SSIM, in the Gaussian window
    mx, my = (window * x).sum(), (window * y).sum()
    covariance = (window * x * y).sum() - mx * my
    variances = (window * x**2).sum() - mx**2 + (window * y**2).sum() - my**2
    return (2 * covariance + 0.03**2) / (variances + 0.03**2)


# %% tags=["verdict"]
from hsds_lib.losses.mef_ssim import mef_ssim_pair

patch = (x[None, None] for x in (f, u, o))
by_library = mef_ssim_pair(*patch, scales=1).item()
print("one patch by hand is the library's:", abs(similarity(f, wanted_patch(u, o)).item() - by_library) < 1e-3)
shifted = mef_ssim_pair(luma[2] + 0.2, luma[0], luma[1]).item()
print("a picture 0.2 brighter scores the same:", abs(shifted - mef_ssim_pair(luma[2], luma[0], luma[1]).item()) < 1e-4)
lent = mef_ssim_pair(wanted_patch(u, o)[None, None], u[None, None], o[None, None], scales=1).item()
print("the wanted patch itself scores 1:", abs(lent - 1) < 1e-3)

# %% [markdown]
# That is its strength and its blind spot: MEF-SSIM sees neither the brightness of large areas nor colour, since it
# works on luma. Three scales of it, multiplied, are what the paper most likely calls MS-SSIM (Table 2 MS-SSIM).
# Table 2 VIF asks how much of the information in each exposure is still visible, and Table 2 Qabf whether their edges
# are kept, in strength and direction; both are in the library, checked against the original programs.
#
# ## What does each metric reward?
#
# Spoil one picture, by Mertens' method, in eight ways. A minus: the metric falls, as it should. A plus: it *prefers*
# the spoiled picture.

# %%
names = ("SD_double", "EN", "CC", "TMQI_255", "VIF_double", "MS-SSIM", "MEF-SSIM", "Qabf")
reference = to_pixels(shot.ref)


def measure(image):
    found = all_metrics(*sources, to_pixels(image), ref=reference)
    return {name: found[name] for name in names}


start_scores = measure(good)
spoiled = {kind: measure(degrade(kind, good[None], strength, seed=seed)[0]) for kind in DEGRADATIONS}
changes = {kind: {n: found[n] / start_scores[n] - 1 for n in names} for kind, found in spoiled.items()}

# %% tags=["hero"]
show(*metric_pictures.verdicts(changes))

# %% tags=["verdict"]
fooled = {name: sum(change[name] > 0 for change in changes.values()) for name in names}
print("every metric is fooled by none, or not by the same ones:", len(set(fooled.values())) > 1)
print("SD or EN reward at least one way to spoil:", fooled["SD_double"] + fooled["EN"] > 0)
print("noise raises the entropy:", changes["noise"]["EN"] > 0)
print("blur lowers VIF, MEF-SSIM and Qabf:", all(changes["blur"][n] < 0 for n in ("VIF_double", "MEF-SSIM", "Qabf")))

# %% [markdown]
# Whoever optimises for a column of the table gets what that column rewards. A method that adds noise gains entropy, one
# that stretches contrast gains SD. Move through all strengths:

# %%
from hsds_lib.course.explorers import degrade as metric_explorer
from hsds_lib.course.widgets import explore

explore(metric_explorer.explorer())

# %% [markdown]
# ## Do the metrics agree?
#
# Rank the spoiled pictures, the fusion they came from, the average and both exposures by each metric. *Kendall's*
# $\tau$ of two rankings is the share of pairs in the same order minus the share in opposite order: 1 is agreement,
# 0 none, −1 the reverse.

# %%
others = {"average": average(shot.under, shot.over), "under": shot.under, "over": shot.over}
pool = [start_scores, *spoiled.values(), *(measure(image) for image in others.values())]
table = {name: np.array([found[name] for found in pool]) for name in names}


def tau(x, y):
    order = np.sign(x[:, None] - x) * np.sign(y[:, None] - y)
    return order.sum() / np.sqrt((np.sign(x[:, None] - x) ** 2).sum() * (np.sign(y[:, None] - y) ** 2).sum())


matrix = np.array([[tau(table[a], table[b]) for b in names] for a in names])
show(*metric_pictures.agreement(matrix, names))

# %% tags=["verdict"]
from scipy.stats import kendalltau

print("tau by hand is scipy's:", np.isclose(matrix[0, 5], kendalltau(table[names[0]], table[names[5]]).statistic))
print("some two metrics rank against each other:", matrix.min() < 0)
print("MS-SSIM and MEF-SSIM are near relatives:", matrix[5, 6] > 0.5)

# %% [markdown]
# Eight columns are not eight witnesses. Near relatives count one opinion twice; opposed ones guarantee that everybody
# wins somewhere.
#
# ## The table
#
# Now the methods: the network that ships, the average, and Mertens' method, on validation and test scenes. Look at the
# scenes before the means.

# %%
from hsds_lib.fusing import fuse, load_model

network = load_model(model, device=nb.device)
methods = {"network": lambda s: fuse(network, s.under, s.over)}
methods |= {"average": lambda s: average(s.under, s.over), "Mertens": lambda s: mertens(s.under, s.over)}
scores = {name: {} for name in methods}
for scene in scenes:
    inputs = [to_pixels(image) for image in (scene.under, scene.over)]
    for name, method in methods.items():
        scores[name][scene.name] = all_metrics(*inputs, to_pixels(method(scene)), ref=to_pixels(scene.ref))

# %%
show(*metric_pictures.scene_dots(scores, ("MS-SSIM", "MEF-SSIM", "VIF_double", "Qabf")))

# %% [markdown]
# Below are the means, each of the three doubtful columns twice: as the paper computes it, and correctly. The last
# column is the paper's method in Table 2. **It may only be read for its magnitude:** those are other pictures (113
# pairs of SICE), so neither a higher nor a lower number here says anything.


# %%
def mean(name, metric):
    found = [values[metric] for values in scores[name].values() if values[metric] is not None]
    return sum(found) / len(found) if found else None


published = {**table2("no reference")[OURS], **table2("SICE")[OURS]}
columns = ("SD", "SD_double", "VIF", "VIF_double", "CC", "TMQI", "TMQI_255", "MS-SSIM", "MEF-SSIM", "EN", "Qabf")
rows = [(c, *(mean(name, c) for name in methods), published.get(c, "")) for c in columns]
Table(("metric", *methods, f"{OURS}, as printed"), rows)

# %% tags=["verdict"]
print("scenes:", len(scenes), "methods:", len(methods))
print("as the paper computes them, SD stays below 15.97:", all(mean(name, "SD") < 255**0.5 for name in methods))
print("and TMQI below a quarter:", all(mean(name, "TMQI") < 0.25 for name in methods))

# %% [markdown]
# ### How sure is a mean?
#
# Means of few scenes lie. Three habits help. *Pair*: compare two methods on the same scene. *Rank*: one strange scene
# then counts no more than another. *Test*: if two methods were equally good, each scene would be a coin. With $n$
# scenes of which the rarer winner gets $k$,
#
# $$ p = \min\Bigl(1,\; 2 \sum_{j=0}^{k} \binom{n}{j} 2^{-n}\Bigr). $$

# %%
from math import comb


def sign_test(differences):
    plus, minus = sum(d > 0 for d in differences), sum(d < 0 for d in differences)
    tail = sum(comb(plus + minus, j) for j in range(min(plus, minus) + 1)) / 2 ** (plus + minus)
    return plus, minus, min(1.0, 2 * tail)


tested = []
for rival in ("Mertens", "average"):
    for metric in ("MS-SSIM", "VIF_double", "Qabf"):
        gaps = [scores["network"][s.name][metric] - scores[rival][s.name][metric] for s in scenes]
        tested.append((f"network against {rival}, {metric}", *sign_test(gaps), float(np.mean(gaps))))
Table(("comparison", "won", "lost", "p", "mean difference"), tested)

# %% tags=["verdict"]
from scipy.stats import binomtest

wins, losses, p = sign_test([1, 1, 1, -1, 1, 1, 1, 1])
print("the test by hand is scipy's:", np.isclose(p, binomtest(losses, wins + losses).pvalue))
print("five scenes, all won: p =", sign_test([1] * 5)[2])
print("six scenes, all won: p =", sign_test([1] * 6)[2])

# %% [markdown]
# Five scenes can never be significant at 5 %, however clear they are. And beware of scenes that are not independent:
# the embedded ones are several lights on very few photographs, so that the $p$ above is too small. Even a small $p$
# says only that there is a difference, not that it is worth anything: look at its size, and at the pictures.
#
# ### Exercise 7.3
#
# `scores` has a row per method and a column per scene; higher is better. Return each method's mean rank, 1 for the
# best; equal scores share their places.


# %%
def my_mean_ranks(scores):
    return ...  # your code: a tensor, one number for each method


# %% tags=["solution"]
def my_mean_ranks(scores):
    better = (scores[:, None] < scores[None]).sum(dim=1)
    equal = (scores[:, None] == scores[None]).sum(dim=1)  # itself included
    return (better + (equal + 1) / 2).mean(dim=1)


# %% tags=["verdict"]
check("7.3", my_mean_ranks)

# %% [markdown]
# ### Exercise 7.4
#
# The sign test: from the differences of two methods, a number per scene, the two-sided $p$. Ties say nothing.


# %%
def my_sign_test(differences):
    return ...  # your code: a number from 0 to 1


# %% tags=["solution"]
def my_sign_test(differences):
    plus, minus = int((differences > 0).sum()), int((differences < 0).sum())
    n, k = plus + minus, min(plus, minus)
    return min(1.0, 2 * sum(comb(n, j) for j in range(k + 1)) / 2**n)


# %% tags=["verdict"]
check("7.4", my_sign_test)

# %% [markdown]
# ## Reading Table 2
#
# Ten methods, two data sets, six metrics each. The paper prints its *improvement* over the best other method. Recompute
# it: it is a difference of two rounded means.

# %%
from hsds_lib.evaluation.paper import improvements

gains = []
for part in ("SICE", "no reference"):
    for metric, value in table2(part)[OURS].items():
        rest = {name: row[metric] for name, row in table2(part).items() if name != OURS}
        best = max(rest, key=rest.get)
        gains.append(
            (f"{part}: {metric}", value, best, round(value - rest[best], 3), improvements(part).get(metric, "–"))
        )
Table(("column", OURS, "best other", "difference", "as printed"), gains)

# %% tags=["verdict"]
printed = [gain for gain in gains if gain[4] != "–"]
print("every printed improvement is that difference:", all(abs(gain[3] - gain[4]) < 5e-4 for gain in printed))
print("differences of at most 0.002:", sum(gain[3] <= 0.002 for gain in gains), "of", len(gains))
print("Mertens is among the ten:", "Mertens" in table2())

# %% [markdown]
# What to ask of such a table: How many scenes, and how do they scatter? How many seeds? Whose code made the other rows,
# with which weights and colour rules? Is the obvious baseline there? One call to OpenCV (Mertens, Kautz and Van Reeth
# 2007) is not, and it is hard to beat on the structural metrics: where the course's recorded scores of published
# methods on 40 MEFB scenes are at hand, the next cell shows their means. They were measured with one implementation of
# the metrics, on the same pictures.

# %%
import csv
import os
from pathlib import Path

recorded = Path(os.environ.get("HSDS_FIXTURES", "nowhere")) / "peers" / "scores.csv"
peers = list(csv.DictReader(recorded.open(encoding="utf-8"))) if recorded.is_file() else []
shown = [column for column in ("MEF-SSIM", "MS-SSIM", "VIF_double", "Qabf") if peers and column in peers[0]]
found = {row["method"]: [] for row in peers}
for row in peers:
    found[row["method"]].append([float(row[column]) for column in shown])
means = [(method, *np.mean(values, axis=0).tolist()) for method, values in found.items()]
Table(("method, 40 scenes", *shown), means) if means else print("no recorded scores of other methods here")

# %% [markdown]
# ## Look
#
# Last and first: the pictures. Two that are equal by a metric need not look alike.

# %%
from hsds_lib.course.explorers import compare

results = {"under": shot.under, "over": shot.over, **{name: method(shot) for name, method in methods.items()}}
explore(compare.explorer(results | {"stretched": loud, "ref": shot.ref}))

# %% [markdown]
# ## What we measured

# %%
summary = [
    ("metrics that reward at least one degradation", sum(count > 0 for count in fooled.values())),
    ("lowest rank correlation of two metrics", float(matrix.min())),
    ("mean MEF-SSIM (3 scales): network", mean("network", "MS-SSIM")),
    ("mean MEF-SSIM (3 scales): Mertens", mean("Mertens", "MS-SSIM")),
    ("mean MEF-SSIM (3 scales): average", mean("average", "MS-SSIM")),
]
Table(("what", "value"), summary)

# %% [markdown]
# ## Recap
#
# - SD and EN do not look at the scene; SD, VIF and TMQI of Table 2 are artefacts of their arithmetic, and comparable
#   only with themselves.
# - MEF-SSIM builds its own reference from both exposures; it is blind to global brightness and to colour.
# - Compare on the same scenes, show the scatter, count the scenes, name the baseline, look at the pictures.
#
# **Pitfalls**
#
# - A mean over a few scenes of the same photograph is nearly a single measurement.
# - Numbers from different papers are not comparable unless pictures, colour rule, rounding and code are the same.
# - Choosing the metric after seeing the results is choosing the winner.
#
# **Further reading**
#
# - Ma, Zeng and Wang: *Perceptual Quality Assessment for Multi-Exposure Image Fusion*, IEEE TIP 2015.
# - Sheikh and Bovik: *Image Information and Visual Quality*, IEEE TIP 2006.
# - Xydeas and Petrović: *Objective Image Fusion Performance Measure*, Electronics Letters 2000.
# - Yeganeh and Wang: *Objective Quality Assessment of Tone-Mapped Images*, IEEE TIP 2013.
# - Mertens, Kautz and Van Reeth: *Exposure Fusion*, Pacific Graphics 2007.
#
# **Next:** [8 · Ablations](08_ablations.ipynb): what does each part buy?

# %%
nb.colophon(model=model)
