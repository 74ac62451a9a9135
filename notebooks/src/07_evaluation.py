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
# **Time** half a minute of computing, an hour of reading · **Needs** a CPU, no download ·
# **Before this** [0 · Start here](00_start_here.ipynb).

# %% [markdown]
# **You will**
#
# - write six metrics in a few lines each, and prove that they are the library's;
# - explain why no picture has an SD above 15.97 in Table 2 of the paper, and read shares of pixels out of that column;
# - spoil a picture in eight ways and see which metrics prefer the spoiled one;
# - measure whether two metrics rank alike, for pictures here and for the ten methods of Table 2;
# - compare methods scene by scene, and find out what an interval from few scenes is worth.

# %% tags=["parameters"]
preset: str = "tiny"  # tiny | lesson | paper; this notebook trains nothing, so all three do the same
data: str = "embedded"  # embedded, a data set in HSDS_DATA (mefb, sice_sample, ...), or a folder of scenes
seed: int = 0  # of the embedded scenes and of noise
n_scenes: int = 6  # validation scenes at most, and as many embedded test scenes
model: str = "default"  # default (the model that ships), a run folder, or a .safetensors file
strength: float = 0.5  # of the degradations, from 0 to 1
device: str = "auto"  # auto | cpu | cuda | mps

# %%
import numpy as np
import torch

import hsds_lib as hsds
from hsds_lib.course import pictures
from hsds_lib.course.checks import check
from hsds_lib.course.figures import metric_pictures
from hsds_lib.course.session import start
from hsds_lib.course.show import show
from hsds_lib.course.tables import Table

nb = start(preset, notebook="07_evaluation", data=data, seed=seed, device=device)

# %% [markdown]
# ## The question
#
# Left a fusion by Mertens' method, right the same picture, its contrast stretched until it clips. Cover the numbers,
# and choose. Then read them: not all of them choose like you.

# %%
from hsds_lib.course.explorers.degrade import DEGRADATIONS, degrade


def measure(scene, image):
    shown = [hsds.to_pixels(x) for x in (scene.under, scene.over, image)]
    return hsds.all_metrics(*shown, ref=hsds.to_pixels(scene.ref))


# %%
parts = dict.fromkeys(("val", hsds.shown_split(data)))  # val alone where test scenes are kept for a final evaluation
scenes = [s for part in parts for s in hsds.referenced_scenes(data, part, seed=seed, limit=n_scenes)]
shot = scenes[0]
good = hsds.mertens(shot.under, shot.over)
loud = degrade("stretch contrast", good[None], 0.6)[0]

# %%
pair = {"Mertens": good, "Mertens, stretched": loud}
told = [measure(shot, image) for image in pair.values()]
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

pixels = hsds.to_pixels(good)
gray = rgb2gray(pixels).astype(float)
shares = np.bincount(rgb2gray(pixels).ravel(), minlength=256) / gray.size
entropy = -sum(share * np.log2(share) for share in shares if share > 0)
print("SD by hand is the library's:", np.isclose(np.sqrt(((gray - gray.mean()) ** 2).mean()), sd(pixels)))
print("so is EN:", np.isclose(entropy, en(pixels)))
order = np.random.default_rng(seed).permutation(gray.size)
shuffled = pixels.reshape(-1, 3)[order].reshape(pixels.shape)
print("shuffled pixels have the same SD and EN:", np.isclose(sd(shuffled), sd(pixels)) and en(shuffled) == en(pixels))

# %% [markdown]
# So the picture that is best of all by EN is noise, and the one that is best of all by SD a chess board:

# %%
height, width = good.shape[-2:]
chess = (torch.arange(height)[:, None] // 16 + torch.arange(width) // 16) % 2
static = torch.rand(height, width, generator=torch.Generator().manual_seed(seed))
champions = {"reference": shot.ref, "noise": static.expand(3, -1, -1), "chess board": chess.float().expand(3, -1, -1)}
titles = {n: f"EN {en(hsds.to_pixels(x)):.2f}, SD {sd(hsds.to_pixels(x)):.0f}" for n, x in champions.items()}
show(*pictures.picture_row(champions, titles, title="Champions of EN and of SD"))

# %% tags=["verdict"]
print("EN of noise is within 1 % of its largest value, 8:", en(hsds.to_pixels(champions["noise"])) > 0.99 * 8)
print("SD of the board, in levels, largest possible 127.5:", round(sd(hsds.to_pixels(champions["chess board"])), 1))

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
# The SDs of Table 2 lie near 10; the pictures above have several times as much. An old toolbox explains it: computed in
# 8-bit integers, $g - \bar g$ below zero becomes 0 and a square above 255 becomes 255, so that
#
# $$ \text{SD}_8 = \sqrt{\operatorname{mean}\, \min\bigl(255, \max(0, [g - \bar g])^2\bigr)}
#    \;\le\; \sqrt{255} = 15.97. $$
#
# What is left counts the pixels that are 16 levels or more above the mean, and hardly anything else.

# %%
show(*metric_pictures.saturation(gray))

# %% tags=["verdict"]
from hsds_lib.evaluation.paper import OURS

above = np.maximum(np.floor(gray - gray.mean() + 0.5), 0)
by_hand = np.sqrt(np.minimum(above**2, 255).mean())
print("saturating SD by hand is the library's:", np.isclose(by_hand, sd(pixels, arithmetic="uint8")))
rows = [row for part in ("SICE", "no reference") for row in hsds.table2(part).values()]
print("all", len(rows), "SDs of Table 2 are below the ceiling:", all(row["SD"] < np.sqrt(255) for row in rows))
nearly = np.sqrt(255 * (above >= 16).mean())
print("counting bright pixels alone comes within 10 %:", abs(nearly / by_hand - 1) < 0.1)

# %% [markdown]
# Read it backwards. A pixel adds at most 255, so at least $\text{SD}_8^2 / 255$ of the pixels are above the mean (for
# the mean of a column this holds on average), and little more can be read from it. Translate the paper's winner and its
# lead over the next:

# %% tags=["verdict"]
column = sorted((row["SD"] for row in hsds.table2("SICE").values()), reverse=True)
share = [100 * value**2 / 255 for value in column]
print(f"SD {column[0]}: at least {share[0]:.1f} % of the pixels are above the mean")
print(f"the lead of {column[0] - column[1]:.3f} is worth {share[0] - share[1]:.2f} % of the pixels")
tones = {k: hsds.to_pixels((good.mean() + k * (good - good.mean())).clamp(0, 1)) for k in (0.5, 1.0)}
lost = [1 - sd(tones[0.5], **form) / sd(tones[1.0], **form) for form in ({}, {"arithmetic": "uint8"})]
print(f"half the contrast: SD falls by {100 * lost[0]:.0f} %, as published by {100 * lost[1]:.0f} %")

# %% [markdown]
# A lead there is no evidence of contrast. The same toolbox most likely made VIF, and TMQI was given pictures in 0..1
# where it expects 0..255. Both are taken apart below; after that we use the correct forms, `SD_double`, `VIF_double`
# and `TMQI_255`.
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

wanted = rgb2gray(hsds.to_pixels(shot.ref)).astype(float)
a, b = gray - gray.mean(), wanted - wanted.mean()
correlation = (a * b).sum() / np.sqrt((a**2).sum() * (b**2).sum())
print("by hand it is the library's:", np.isclose(correlation, cc(hsds.to_pixels(shot.ref), pixels)))
half = cc(hsds.to_pixels(shot.ref), hsds.to_pixels(good / 2))
print("half as bright, CC to two digits:", round(half, 2) == round(cc(hsds.to_pixels(shot.ref), pixels), 2))

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
# where both show the same thing the stronger one decides, where they contradict each other they share ($p$ stops at
# 10). The fused patch is then compared with $\hat c\,\hat s / \lVert\hat s\rVert$ in contrast and structure, as in
# SSIM. Take the 11 × 11 pixels where both exposures have much to say:

# %%
from torch.nn.functional import avg_pool2d

luma = [hsds.split_luma(image[None].double())[0] for image in (shot.under, shot.over, good)]
spread = torch.minimum(*(avg_pool2d(y**2, 11, 1) - avg_pool2d(y, 11, 1) ** 2 for y in luma[:2]))[0, 0]
row, left = divmod(int(spread.argmax()), spread.shape[1])
u, o, f = (y[0, 0, row : row + 11, left : left + 11] for y in luma)
window = torch.exp(-((torch.arange(11.0, dtype=torch.float64) - 5) ** 2) / (2 * 1.5**2))
window = torch.outer(window, window) / window.sum() ** 2


# %%
def wanted_patch(u, o):
    u, o = u - u.mean(), o - o.mean()
    cu, co = u.norm(), o.norm()
    p = torch.tan(torch.pi / 2 * ((u + o).norm() / (cu + co))).clamp(max=10)
    s = (cu**p * u / cu + co**p * o / co) / (cu**p + co**p)
    return torch.maximum(cu, co) * s / s.norm()


def similarity(x, y):  # contrast and structure of SSIM, in the Gaussian window
    mx, my = (window * x).sum(), (window * y).sum()
    covariance = (window * x * y).sum() - mx * my
    variances = (window * x**2).sum() - mx**2 + (window * y**2).sum() - my**2
    return (2 * covariance + 0.03**2) / (variances + 0.03**2)


# %%
patches = {"under": u, "over": o, "wanted": wanted_patch(u, o), "Mertens": f}
around = {name: (x - x.mean() + 0.5).float().expand(3, -1, -1) for name, x in patches.items()}
strengths = {name: f"contrast {(x - x.mean()).norm():.2f}" for name, x in patches.items()}
show(*pictures.picture_row(around, strengths, title="One patch, without its mean: what MEF-SSIM wants of it"))

# %% tags=["verdict"]
patch = (x[None, None] for x in (f, u, o))
by_library = hsds.mef_ssim_pair(*patch, scales=1).item()
print("one patch by hand is the library's:", abs(similarity(f, wanted_patch(u, o)).item() - by_library) < 1e-3)
shifted = hsds.mef_ssim_pair(luma[2] + 0.2, luma[0], luma[1]).item()
print(
    "a picture 0.2 brighter scores the same:",
    abs(shifted - hsds.mef_ssim_pair(luma[2], luma[0], luma[1]).item()) < 1e-4,
)
lent = hsds.mef_ssim_pair(wanted_patch(u, o)[None, None], u[None, None], o[None, None], scales=1).item()
print("the wanted patch itself scores 1:", abs(lent - 1) < 1e-3)

# %% [markdown]
# That is its strength and its blind spot. It works on gray, so it does not see colour; it takes the mean off every
# patch, so it does not see brightness, as long as it changes slowly. It does see noise. The same fusion without
# colour, under a curtain of light, and with noise:

# %%
curtain = good + 0.3 * torch.linspace(-1, 1, width)
tricks = {"Mertens": good, "no colour": luma[2][0].float().expand(3, -1, -1), "curtain": curtain.clamp(0, 1)}
tricks |= {"noise": degrade("noise", good[None], 0.2, seed=seed)[0], "average": hsds.average(shot.under, shot.over)}
seen = {name: measure(shot, image) for name, image in tricks.items()}
marks = {name: f"MEF-SSIM {found['MEF-SSIM']:.3f}" for name, found in seen.items()}
show(*pictures.picture_row(tricks, marks, title="Which of these does MEF-SSIM mind?", columns=5))

# %% tags=["verdict"]
eight = ("SD_double", "EN", "CC", "TMQI_255", "VIF_double", "MS-SSIM", "MEF-SSIM", "Qabf")
paler = {name: abs(seen["no colour"][name] / seen["Mertens"][name] - 1) for name in eight}
print("without any colour, no metric of the eight moves by more than 1 %:", max(paler.values()) < 0.01)
print("the curtain scores better than the faint noise:", seen["curtain"]["MEF-SSIM"] > seen["noise"]["MEF-SSIM"])
print("and better than the plain average:", seen["curtain"]["MEF-SSIM"] > seen["average"]["MEF-SSIM"])

# %% [markdown]
# Keep the first line in mind: on its Fig. 3 and 4 the paper argues with "richer colors" and "vibrant colors", and a
# column of Table 2 can hardly tell. Three scales of MEF-SSIM, multiplied, are what the paper most likely calls MS-SSIM
# (Table 2 MS-SSIM).
#
# ## Is a stronger edge better? Qabf and VIF
#
# Table 2 Qabf asks each pixel: is the edge of the source still there? Sobel gives a strength $g$ and a direction
# $\alpha$, for source and fused picture, and two sigmoids grade how well they agree:
#
# $$ Q = \frac{0.9994}{1 + e^{-15 (G - 0.5)}} \cdot \frac{0.9879}{1 + e^{-22 (A - 0.8)}}, $$
#
# $$ G = \frac{\min(g_s, g_f)}{\max(g_s, g_f)}, \qquad A = 1 - \frac{|\alpha_s - \alpha_f|}{\pi/2}. $$
#
# The value of a picture is the mean over all pixels of both sources, weighted by $g_s$. Note $\min$ over $\max$.


# %%
def edge(patch):  # 3 x 3 gray levels
    x, y = (patch[:, 0] - patch[:, 2]) @ [1, 2, 1], (patch[2] - patch[0]) @ [1, 2, 1]
    return np.hypot(x, y), np.arctan(y / x) if x else np.pi / 2


def edge_kept(source, fused):  # two edges
    (gs, angle), (gf, turned) = source, fused
    ratio = min(gs, gf) / max(gs, gf) if gs != gf else gf  # the published program's rule for equal ones
    aligned = 1 - abs(angle - turned) / (np.pi / 2)
    return 0.9994 / (1 + np.exp(-15 * (ratio - 0.5))) * 0.9879 / (1 + np.exp(-22 * (aligned - 0.8)))


def edges(gray):  # of every pixel; outside the picture is black
    padded = np.pad(gray, 1)
    return [edge(padded[i : i + 3, j : j + 3]) for i, j in np.ndindex(gray.shape)]


# %% tags=["verdict"]
from hsds_lib.evaluation.metrics import qabf

corner = [hsds.to_pixels(image)[100:130, 60:90] for image in (shot.under, shot.over, good)]
of_under, of_over, of_fused = (edges(rgb2gray(image).astype(float)) for image in corner)
pairs = [*zip(of_under, of_fused, strict=True), *zip(of_over, of_fused, strict=True)]
by_hand = sum(edge_kept(s, f) * s[0] for s, f in pairs) / sum(s[0] for s, f in pairs)
print("Qabf pixel by pixel is the library's:", np.isclose(by_hand, qabf(*corner), rtol=1e-6))

# %% [markdown]
# Table 2 VIF models the fused picture $f$, in every window of four scales, as a gain on the source $s$ plus noise:
# $f = \gamma s + n$. What an eye with noise of variance 2 can still learn about the source, over what there was:
#
# $$ \text{VIF}(s, f) = \frac{\sum \log(1 + \gamma^2 \sigma_s^2 / (\sigma_n^2 + 2))}{\sum \log(1 + \sigma_s^2 / 2)},
#    \qquad \gamma = \frac{\sigma_{sf}}{\sigma_s^2}, \qquad \sigma_n^2 = \sigma_f^2 - \gamma \sigma_{sf}. $$
#
# The column is the *sum* over both exposures. `top=255` is the integer arithmetic: at the first scale, products of
# pixels stop at 255, and with them most of its variances are gone.

# %%
from hsds_lib.evaluation.picture import gaussian, window_means


# %%
def my_vif(s, f, top=np.inf):
    seen = there = 0.0
    for size, limit in zip((17, 9, 5, 3), (top, np.inf, np.inf, np.inf), strict=True):
        w = gaussian(size, size / 5)
        if size < 17:
            s, f = (window_means(x, w)[::2, ::2] for x in (s, f))
        pairs = ((s, s), (f, f), (s, f))
        ss, ff, sf = (
            window_means(np.minimum(x * y, limit), w) - window_means(x, w) * window_means(y, w) for x, y in pairs
        )
        gain = np.where((ss > 1e-10) & (ff > 1e-10) & (sf > 0), sf / (np.maximum(ss, 0) + 1e-10), 0)
        rest = np.maximum(np.maximum(ff, 0) - gain * sf, 1e-10)
        seen += np.log1p(gain**2 * np.maximum(ss, 0) / (rest + 2)).sum()
        there += np.log1p(np.maximum(ss, 0) / 2).sum()
    return seen / there


# %% tags=["verdict"]
from hsds_lib.evaluation.metrics import vif

source = rgb2gray(hsds.to_pixels(shot.under)).astype(float)
exposures = hsds.to_pixels(shot.under), pixels
print("VIF by hand is the library's:", np.isclose(my_vif(source, gray), vif(*exposures), rtol=1e-6))
saturated = my_vif(source, gray, top=255), vif(*exposures, arithmetic="uint8")
print("also in saturating integers:", np.isclose(*saturated, rtol=1e-6))
print("and those raise it by more than a tenth:", saturated[0] > 1.1 * vif(*exposures))

# %% [markdown]
# Now let fusion make an edge weaker or stronger than it was in the source, and ask both, and MEF-SSIM as well:

# %%
ratios = np.geomspace(0.25, 4, 97)
variance = 20.0**2  # of the source in a window, squared gray levels
curves = {"Qabf, one pixel": [edge_kept((80.0, 0.5), (80.0 * r, 0.5)) for r in ratios]}
curves["VIF, one window"] = np.log1p(ratios**2 * variance / 2) / np.log1p(variance / 2)
contrast = (0.03 * 255) ** 2
curves["MEF-SSIM, one patch"] = (2 * ratios * variance + contrast) / ((1 + ratios**2) * variance + contrast)
angles = np.linspace(0, 45, 91)
turned = [edge_kept((80.0, 0.0), (80.0, np.radians(angle))) for angle in angles]
show(*metric_pictures.enhancement(ratios, curves, angles, turned))

# %% tags=["verdict"]
soft = 0.3 + 0.3 * shot.over
crisp = 0.45 + 2 * (soft - 0.45)  # twice the contrast, nothing is clipped
before, after = hsds.to_pixels(soft), hsds.to_pixels(crisp)
print("the whole picture at twice the contrast: VIF", round(vif(before, after), 1), "where the source itself has 1")
print("and Qabf falls by more than a quarter:", qabf(before, before, after) < 0.75 * qabf(before, before, before))

# %% [markdown]
# VIF pays for a pure gain of the source, without a limit as long as nothing is clipped; Qabf and MEF-SSIM punish a
# doubled edge about as much as a halved one. For a fusion method that boosts local contrast, the choice of column *is*
# the result. (Sharpening or stretching a finished *fusion* is no pure gain of a source. What VIF says of those, you
# will see below.)
#
# ## The wrong range: TMQI
#
# Table 2 TMQI adds structural fidelity $S$ to the reference and naturalness $N$ of the picture:
# $\text{TMQI} = 0.8012\, S^{0.3046} + 0.1988\, N^{0.7088}$. $N$ knows from many photographs that a mean luma of 116 and
# some local contrast are usual:
#
# $$ N = \exp\Bigl(-\tfrac12 \bigl(\tfrac{\bar y - 115.94}{27.99}\bigr)^2\Bigr) \cdot
#    \Bigl(\frac{c}{m}\Bigr)^{3.4} \Bigl(\frac{1 - c}{1 - m}\Bigr)^{9.1}, \qquad m = \frac{3.4}{12.5}, $$
#
# $c$ being the mean standard deviation of blocks of 11 × 11, over 64.29. Levels, not shares: what if a picture comes
# in 0..1?


# %%
def my_naturalness(y):  # luma, both sides multiples of 11
    blocks = y.reshape(len(y) // 11, 11, -1, 11).std(axis=(1, 3), ddof=1)
    c, m = blocks.mean() / 64.29, 3.4 / 12.5
    brightness = np.exp(-(((y.mean() - 115.94) / 27.99) ** 2) / 2)
    return brightness * (c / m) ** 3.4 * ((1 - c) / (1 - m)) ** 9.1


# %% tags=["verdict"]
from hsds_lib.evaluation.metrics import tmqi, tmqi_naturalness

whole = pixels[: height // 11 * 11, : width // 11 * 11]
y = whole @ np.array([0.2126, 0.7152, 0.0722])
print("N by hand is the library's:", np.isclose(my_naturalness(y), tmqi_naturalness(whole)))
print("in 0..1 N is below a millionth:", my_naturalness(y / 255) < 1e-6)
wrong = [tmqi(hsds.to_pixels(shot.ref), hsds.to_pixels(x), data_range=1) for x in (good, loud, shot.ref)]
print("TMQI of such pictures, even of the reference itself, is below 0.25:", max(wrong) < 0.25)
print("largest TMQI of Table 2:", max(row["TMQI"] for row in hsds.table2().values()))

# %% [markdown]
# The second term is gone, and $S$ finds no visible contrast. [Notebook 9](09_reproducibility.ipynb) ranks fusions by
# all three columns twice, as published and correctly.
#
# ## What does each metric reward?
#
# Spoil one picture, by Mertens' method, in eight ways. A minus: the metric falls, as it should. A plus: it *prefers*
# the spoiled picture.

# %%
from hsds_lib.course.figures.score_tables import groups

apart = groups([s.name for s in scenes], data)  # scenes of one photograph are no independent witnesses
chosen = [scenes[apart.index(name)] for name in dict.fromkeys(apart)][:2]


def crowd(scene):  # a fusion, the same spoiled, the average, and the exposures
    pair = scene.under, scene.over
    shown = {"Mertens": hsds.mertens(*pair), "average": hsds.average(*pair), "under": pair[0], "over": pair[1]}
    shown |= {kind: degrade(kind, shown["Mertens"][None], strength, seed=seed)[0] for kind in DEGRADATIONS}
    return {name: measure(scene, image) for name, image in shown.items()}


crowds = {scene.name: crowd(scene) for scene in chosen}


# %% tags=["hero"]
def changes(found):
    return {kind: {name: found[kind][name] / found["Mertens"][name] - 1 for name in eight} for kind in DEGRADATIONS}


show(*metric_pictures.verdicts(changes(crowds[shot.name])))

# %% tags=["verdict"]
table = changes(crowds[shot.name])
for name in eight:
    print(f"{name} gains more than 1 % by:", ", ".join(k for k in table if table[k][name] > 0.01) or "nothing")

# %% [markdown]
# That was one photograph. How many of the eight metrics reward each kind, on another one as well?

# %%
rewards = {scene: changes(found) for scene, found in crowds.items()}
rows = [(k, *(sum(v > 0.01 for v in found[k].values()) for found in rewards.values())) for k in DEGRADATIONS]
Table(("metrics, of eight, that gain more than 1 %", *rewards), rows)

# %% [markdown]
# Not every change is damage on every picture: lifting the shadows of a fusion that came out dark may well help. Look at
# the picture before you call a metric fooled.
#
# Whoever optimises for a column of the table gets what that column rewards. Move through all strengths, on another
# fusion: the shipped model's, of a scene that it did not see. Its numbers differ from the figure's, and some signs too.

# %%
from hsds_lib.course.explorers import degrade as metric_explorer
from hsds_lib.course.widgets import explore

explore(metric_explorer.explorer())

# %% [markdown]
# ## Do the metrics agree?
#
# Rank the spoiled pictures, the fusion they came from, the average and both exposures by each metric, scene by scene.
# *Kendall's* $\tau$ of two rankings is the share of pairs in the same order minus the share in opposite order, with a
# correction for ties ($\tau_b$): 1 is agreement, 0 none, −1 the reverse. Beside it the same for the ten methods of
# Table 2, from the printed numbers.


# %%
def tau(x, y):
    a, b = (np.sign(v[:, None] - v) for v in map(np.asarray, (x, y)))
    return (a * b).sum() / np.sqrt((a**2).sum() * (b**2).sum())


def rank_alike(found, names):  # found: one dictionary of metrics per picture or method
    columns = [[values[name] for values in found] for name in names]
    return np.array([[tau(x, y) for y in columns] for x in columns])


alike = np.mean([rank_alike(found.values(), eight) for found in crowds.values()], axis=0)
six = tuple(hsds.table2()[OURS])
printed = rank_alike(hsds.table2().values(), six)
show(*metric_pictures.agreement({"pictures of a scene": (alike, eight), "methods of Table 2, SICE": (printed, six)}))

# %% tags=["verdict"]
from scipy.stats import kendalltau

columns = [[row[name] for row in hsds.table2().values()] for name in ("SD", "MEF-SSIM")]
print("tau by hand is scipy's:", np.isclose(tau(*columns), kendalltau(*columns).statistic))
print("SD and MEF-SSIM of Table 2, over its ten methods:", round(tau(*columns), 2))
print("MS-SSIM and MEF-SSIM of Table 2:", round(printed[six.index("MS-SSIM"), six.index("MEF-SSIM")], 2))
print("some two metrics rank the pictures against each other:", alike.min() < 0)

# %% [markdown]
# And the doubtful columns: does the published form at least *rank* like the correct one?

# %%
from hsds_lib.evaluation.metrics import CORRECT_FORM

both = [
    (a, b, *(rank_alike(f.values(), (a, b))[0, 1].item() for f in crowds.values())) for a, b in CORRECT_FORM.items()
]
Table(("as published", "correct", *(f"τ on {scene}" for scene in crowds)), both)

# %% [markdown]
# Columns are not witnesses. Near relatives count one opinion twice; unrelated ones let everybody win somewhere.
#
# ## The table
#
# Now the methods: the network that ships, the average, and Mertens' method. The scenes are validation scenes, and for
# the embedded data test scenes as well; whoever has real test scenes keeps them for one final evaluation, after all
# choices are made. Look at the scenes before the means.

# %%
network = hsds.load_model(model, device=nb.device)
methods = {"network": lambda s: hsds.fuse(network, s.under, s.over)}
methods |= {"average": lambda s: hsds.average(s.under, s.over), "Mertens": lambda s: hsds.mertens(s.under, s.over)}
scores = {name: {s.name: measure(s, method(s)) for s in scenes} for name, method in methods.items()}

# %%
show(*metric_pictures.scene_dots(scores, ("MS-SSIM", "MEF-SSIM", "VIF_double", "Qabf")))

# %% [markdown]
# Below are the means, with the standard deviation over the scenes, each of the three doubtful columns twice: as the
# paper computes it, and correctly. The last column is the paper's method in Table 2. **It may only be read for its
# magnitude:** those are other pictures (SICE: 113 pairs; EN and Qabf: 31 pairs without a reference), so neither a
# higher nor a lower number here says anything.

# %%
from hsds_lib.course.figures.score_tables import mean_table

published = {**hsds.table2("no reference")[OURS], **hsds.table2("SICE")[OURS]}
forms = ("SD", "SD_double", "VIF", "VIF_double", "CC", "TMQI", "TMQI_255", "MS-SSIM", "MEF-SSIM", "EN", "Qabf")
mean_table(scores, forms, published, f"{OURS} as printed: OTHER PICTURES")

# %% tags=["verdict"]
from hsds_lib.course.figures.score_tables import values_of

mean = {name: {form: values_of(scores, name, form).mean() for form in forms} for name in methods}
print("scenes:", len(scenes), "photographs:", len(set(apart)), "methods:", len(methods))
print("as the paper computes them, SD stays below 15.97:", all(mean[name]["SD"] < 255**0.5 for name in methods))
print("and TMQI below a quarter:", all(mean[name]["TMQI"] < 0.25 for name in methods))
winners = {max(methods, key=lambda name: mean[name][form]) for form in eight}
print("one method has the best mean by all eight metrics:", len(winners) == 1)

# %% [markdown]
# ### How sure is a mean?
#
# Three habits help. *Pair*: compare two methods on the same scene. *Rank*: one strange scene then counts no more than
# another. *Test*: if two methods were equally good, each scene would be a coin. With $n$ scenes of which the rarer
# winner gets $k$,
#
# $$ p = \min\Bigl(1,\; 2 \sum_{j=0}^{k} \binom{n}{j} 2^{-n}\Bigr). $$
#
# But what is a coin here? The embedded scenes are several lights on each of very few photographs. Look at the
# differences before you count them:

# %%
from hsds_lib.course.figures.score_tables import gaps, group_means, sign_test
from hsds_lib.evaluation.statistics import mean_interval

rival, shown = "Mertens", ("MS-SSIM", "VIF_double", "Qabf")
paired = {metric: gaps(scores, "network", rival, metric) for metric in shown}
intervals = {m: (mean_interval(d, seed=seed), mean_interval(d, apart, seed=seed)) for m, d in paired.items()}
show(*metric_pictures.paired_gaps(paired, apart, intervals, title=f"The network minus {rival}, scene by scene"))

# %% [markdown]
# A mark is a scene, a line a photograph. Where marks of one line stick together, scenes are copies of each other, and
# a test that takes each for a coin of its own promises too much. The bars are *bootstrap* intervals: draw scenes (or
# whole photographs) with replacement, average, repeat, and keep the middle 95 %.

# %%
from math import comb


def coin_test(differences):
    won, lost = sum(d > 0 for d in differences), sum(d < 0 for d in differences)
    tail = sum(comb(won + lost, j) for j in range(min(won, lost) + 1)) / 2 ** (won + lost)
    return won, lost, min(1.0, 2 * tail)


# %%
trials = []
for other in ("Mertens", "average"):
    for metric in shown:
        d = gaps(scores, "network", other, metric)
        trials.append(
            (f"network − {other}, {metric}", float(d.mean()), *sign_test(d), sign_test(group_means(d, apart)).p)
        )
Table(("comparison", "mean", "won", "lost", "p, scenes as coins", "p, photographs as coins"), trials)

# %% tags=["verdict"]
from scipy.stats import binomtest

won, lost, p = coin_test([1, 1, 1, -1, 1, 1, 1, 1])
print(
    "the test by hand is scipy's and the library's:",
    np.isclose(p, binomtest(lost, 8).pvalue),
    (won, lost, p) == sign_test([1] * 7 + [-1]),
)
for n in (2, 5, 6, 8):
    print(f"{n} coins, all won: p = {coin_test([1] * n)[2]:g}")

# %% [markdown]
# At the usual level of 5 %, two photographs can never be significant, nor can five, however clear they are. And the
# interval? Draw data whose true mean is known, and count how often an interval of the promised 95 % contains it:

# %%
rng = np.random.default_rng(seed)
sizes, covered = (2, 5, 8, 31, 113), []
for n in sizes:
    intervals = [mean_interval(rng.normal(0, 1, n), draws=1000, seed=trial) for trial in range(400)]
    covered.append(sum(low <= 0 <= high for low, high in intervals) / len(intervals))
Table(("independent scenes", "share of 95 % intervals that contain the truth"), list(zip(sizes, covered, strict=True)))

# %% tags=["verdict"]
draws = np.array([2.0, 5.0, 1.0, 7.0])
means = draws[np.random.default_rng(seed).integers(0, 4, (10_000, 4))].mean(axis=1)
print(
    "the bootstrap by hand is the library's:",
    np.allclose(np.quantile(means, [0.025, 0.975]), mean_interval(draws, seed=seed)),
)
print("two scenes: about half contain the truth:", 0.4 < covered[0] < 0.6)
print("31 scenes: more than nine of ten:", covered[3] > 0.9)

# %% [markdown]
# With two photographs the orange bar runs from the mean of one to that of the other. If they happen to agree it is
# short, and *looks* like certainty. So with the default settings this notebook cannot say which method is better, only
# how one finds out: more photographs. Even a small $p$ says only that there is a difference, not that it is worth
# anything: look at its size, and at the pictures.
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
    for metric, value in hsds.table2(part)[OURS].items():
        rest = {name: row[metric] for name, row in hsds.table2(part).items() if name != OURS}
        best = max(rest, key=rest.get)
        gains.append(
            (f"{part}: {metric}", value, best, round(value - rest[best], 3), improvements(part).get(metric, "–"))
        )
Table(("column", OURS, "best other", "difference", "as printed"), gains)

# %% tags=["verdict"]
printed = [gain for gain in gains if gain[4] != "–"]
print("every printed improvement is that difference:", all(abs(gain[3] - gain[4]) < 5e-4 for gain in printed))
print("differences of at most 0.002:", sum(gain[3] <= 0.002 for gain in gains), "of", len(gains))
tie = [gain[0] for gain in gains if gain[3] == 0]
print("no improvement at all:", *tie)
print("Mertens is among the ten:", "Mertens" in hsds.table2())

# %% [markdown]
# How many scenes would such a lead need to be twice its standard error, and at least six, below which no sign test can
# tell? That takes the spread of paired differences, which the paper does not print. Borrow ours, of the network and
# Mertens, in the paper's own arithmetic. **A guess of the order of magnitude**: other pictures, other methods, few
# photographs. And a printed lead of 0.001 comes from two rounded numbers: the true one may be near 0, so that count is
# no upper bound.

# %%
from hsds_lib.course.figures.score_tables import scenes_needed, spread_of

needed = []
for column, _, _, lead, _ in gains:
    part, metric = column.split(": ")
    d = gaps(scores, "network", "Mertens", metric)
    count = scenes_needed(lead, d)
    shown_as = f"{max(6, count):,.0f}" if np.isfinite(count) else "–"
    needed.append((column, lead, spread_of(d), shown_as, 113 if part == "SICE" else 31))
Table(("column", "lead", "spread of paired differences here", "scenes needed", "scenes in the paper"), needed)

# %% [markdown]
# What to ask of such a table: How many scenes, and how do they scatter? How many seeds? Whose code made the other rows,
# with which weights and colour rules? Is the obvious baseline there? Exposure fusion by Mertens, Kautz and Van Reeth
# (2007), one call to OpenCV, is not. The course ships scores of six published networks on 40 scenes of MEFB, made with
# the authors' code and weights, and measured by one implementation of the metrics on the same pictures
# (`hsds_lib/evaluation/peers_origin.csv` says where each comes from):

# %%
from hsds_lib.course.figures.score_tables import mean_ranks
from hsds_lib.evaluation.peers import peer_scores, peers_table

peers = peer_scores()
wide = ("MEF-SSIM", "MS-SSIM", "VIF_double", "Qabf", "SD_double", "EN")
ranks = np.mean([mean_ranks([values_of(peers, name, metric) for name in peers]) for metric in wide], axis=0)
rows = [(n, *(float(values_of(peers, n, m).mean()) for m in wide), float(r)) for n, r in zip(peers, ranks, strict=True)]
Table((f"mean of {len(peers['PMGI'])} scenes", *wide, "mean rank"), rows)

# %% tags=["verdict"]
best = {metric: max(peers, key=lambda name: values_of(peers, name, metric).mean()) for metric in wide}
classical = [metric for metric, name in best.items() if name.startswith("Mertens")]
print("Mertens' method of 2007 is the best of", len(peers), "in:", ", ".join(classical))
print("and by mean rank over all six:", rows[int(np.argmin(ranks))][0].startswith("Mertens"))

# %% [markdown]
# And the paper's methods: what it prints (31 pairs without reference), beside what could be measured here, on other
# pictures. The magnitudes may be compared, and the order; for seven of ten there is nothing to compare.

# %%
beside = peers_table("no reference")
Table(("method", *beside.texts), list(beside.texts.itertuples(name=None)))

# %% [markdown]
# Three rows have both numbers. Does the order of the paper hold on the pictures here?

# %% tags=["verdict"]
from hsds_lib.evaluation.peers import published_and_measured

both = {row.name: row for row in published_and_measured("no reference") if row.printed and row.measured}
print("of", len(hsds.table2("no reference")), "methods of the paper, measured here:", ", ".join(both))
for metric in ("MS-SSIM", "MEF-SSIM", "EN", "Qabf"):
    order = [sorted(both, key=lambda name: -getattr(both[name], kind)[metric]) for kind in ("printed", "measured")]
    print(f"{metric}: best first, printed {', '.join(order[0])}; measured {', '.join(order[1])}")

# %% [markdown]
# ## Look
#
# Last and first: the pictures. The paper's Fig. 3 and 4 show a handful of scenes and magnify what the authors chose.
# Magnify what you choose, and find something that no metric of this notebook said:

# %%
from hsds_lib.course.explorers import compare

results = {"under": shot.under, "over": shot.over, **{name: method(shot) for name, method in methods.items()}}
explore(compare.explorer(results | {"stretched": loud, "ref": shot.ref}))

# %% [markdown]
# ## What we measured

# %%
from hsds_lib.course.tables import headline

fooled = {name: sum(found[k][name] > 0.01 for found in rewards.values() for k in found) for name in eight}
places = {form: mean_ranks([values_of(scores, name, form) for name in methods]) for form in eight}
rows = [
    (form, *map(float, places[form]), fooled[form], float(np.delete(alike[k], k).mean()))
    for k, form in enumerate(eight)
]
ranked = [f"mean rank, {name}" for name in methods]
total = sum(len(found) for found in rewards.values())
numbers = {head: float(np.mean([row[1 + k] for row in rows])) for k, head in enumerate(ranked)}
headline(
    numbers, Table(("metric", *ranked, f"spoiled pictures, of {total}, it prefers", "mean τ with the others"), rows)
)

# %% [markdown]
# ## Recap
#
# - SD and EN do not look at the scene; SD, TMQI and most likely VIF of Table 2 are artefacts of their arithmetic, and
#   comparable only with themselves.
# - MEF-SSIM builds its own reference from both exposures; it is blind to slow changes of brightness and to colour, and
#   to colour all eight nearly are.
# - VIF pays for a gain of the source that clips nothing; Qabf and MEF-SSIM punish it.
# - Compare on the same scenes, show the scatter, count what is independent, name the baseline, look at the pictures.
#
# **Pitfalls**
#
# - Scenes of one photograph are nearly a single measurement, and an interval from few measurements is too short.
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
# - Efron and Tibshirani: *An Introduction to the Bootstrap*, Chapman and Hall 1993.
#
# **Next:** [8 · Ablations](08_ablations.ipynb): what does each part buy?

# %%
nb.colophon(model=model)
