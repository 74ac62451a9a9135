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
# # 2 · The loss search space: what does each of the 19 losses reward?
#
# **Promise.** You see what each of the 19 losses of Table 1 wants, because you give it a picture and let it change the
# pixels. Then you know which losses fight, and what a mixture of them does.
#
# **Time** about twenty seconds of computing, forty minutes of reading · **Needs** a CPU, no download ·
# **Before this** [0 · Start here](00_start_here.ipynb).

# %% [markdown]
# **You will**
#
# - write a loss of every row of Table 1 in a few lines, and prove that it is the library's;
# - name something that each of them does not see: an offset, a sign, a gray pixel;
# - optimise a picture under each of the 19 losses, and read from it what that loss rewards;
# - measure which losses pull a picture the same way, and which pull against each other;
# - mix three losses, and prove that the picture for a mixture is not a mixture of pictures.

# %% tags=["parameters"]
preset: str = "tiny"  # tiny | lesson | paper; this notebook trains no network, so all three do the same
data: str = "embedded"  # embedded, a data set in HSDS_DATA (mefb, sice_sample, ...), or a folder of scenes
seed: int = 0  # of the embedded scenes, of noise and of random VGG-16 features
scene: int = 0  # which validation scene, counted from 0
side: int = 64  # pixels of the square picture that is optimised; at least 16
steps: int = 40  # Adam steps for each picture
device: str = "auto"  # auto | cpu | cuda | mps

# %%
import torch
import torch.nn.functional as F

import hsds_lib as hsds
from hsds_lib.course import pictures
from hsds_lib.course.figures import loss_pictures
from hsds_lib.course.session import start
from hsds_lib.course.show import show
from hsds_lib.course.tables import Table

nb = start(preset, notebook="02_loss_search_space", data=data, seed=seed, device=device)

# %% [markdown]
# One scene, reduced so that a small square from its middle shows something. Losses and network see luma, so we work
# on gray pictures. `targets` holds everything that the losses compare with; `values` gives the 19 numbers.

# %%
vgg = hsds.load_vgg16(nb.search.features).to(nb.device)  # ImageNet's weights, which ship with the library
shot = hsds.referenced_scenes(data, "val", seed=seed)[scene]


def crop(image):
    small = F.interpolate(image[None], scale_factor=1.25 * side / min(image.shape[-2:]), mode="area")
    top, left = ((length - side) // 2 for length in small.shape[-2:])
    return small[..., top : top + side, left : left + side].to(nb.device)


# %%
batch = hsds.Batch(under=crop(shot.under), over=crop(shot.over), ref=crop(shot.ref), natural=crop(shot.ref))
targets = hsds.prepare_targets(batch, vgg, contrast=False)
under, over, ref = targets.under_y, targets.over_y, targets.ref_y
average = (under + over) / 2


def values(picture, names=hsds.TERM_NAMES):
    return dict(zip(names, hsds.term_vector(picture, targets, vgg, names=names).tolist(), strict=True))


def gray(y):
    return y[0].expand(3, -1, -1).cpu()


# %% [markdown]
# ## The question
#
# Three ways to spoil the reference: make it brighter everywhere, blur it, add noise. All three are equally far from
# it in mean squared difference, so by that loss they are equally good. Are they?

# %%
rng = torch.Generator().manual_seed(seed)


def spoil(y):
    blurred = F.avg_pool2d(F.pad(y, (2, 2, 2, 2), mode="replicate"), 5, stride=1)
    rms = (blurred - y).square().mean().sqrt()
    noise = torch.randn(y.shape, generator=rng).to(y)
    return {"brighter": y + rms, "blurred": blurred, "noisy": y + rms * noise / noise.square().mean().sqrt()}


spoiled = spoil(ref)
judged = {name: values(picture) for name, picture in spoiled.items()}

# %%
captions = {name: f"MSE {judged[name]['mse_ref']:.5f}" for name in spoiled}
row = {"ref": gray(ref), **{name: gray(picture) for name, picture in spoiled.items()}}
show(*pictures.picture_row(row, captions, title="Three pictures, equally far from the reference"))

# %%
asked = ("mse_ref", "l1_ref", "ssim_ref", "mefssim_ref", "grad", "perceptual_ref", "colour_ref", "tv")
print(vgg.label)
Table(("loss", *spoiled), [(name, *(judged[picture][name] for picture in spoiled)) for name in asked])

# %% tags=["verdict"]
equal = [judged[name]["mse_ref"] for name in spoiled]
print("the same mean squared difference:", max(equal) - min(equal) < 1e-6)
best = {loss: min(spoiled, key=lambda name: judged[name][loss]) for loss in asked[1:]}
print("the other losses agree which is the least spoiled:", len(set(best.values())) == 1)

# %% [markdown]
# Training removes only what the loss can see. So before a search may choose among 19 losses, look at what each of
# them sees.
#
# ## Table 1
#
# The paper lists the losses in seven rows. $\mathbf{R}$ is what the fused picture $\mathbf{I}_f$ is compared with: the
# over-exposed, the under-exposed or the reference picture. A loss with three possible $\mathbf{R}$ counts as three.
#
# | row | expression | $\mathbf{R}$ | terms |
# |---|---|---|---|
# | Table 1 row 1 | $\lVert \mathbf{I}_f - \mathbf{R} \rVert_{1/2}$ | $\mathbf{I}_o, \mathbf{I}_u, \mathbf{I}_r$ | 6 |
# | Table 1 row 2 | $1 - \text{SSIM or MEF-SSIM}(\mathbf{I}_f, \mathbf{R})$ | as in row 1 | 6 |
# | Table 1 row 3 | $\lVert\nabla\mathbf{I}_f-\mathbf{R}\rVert_1$ | $\max(\nabla\mathbf{I}_o,\nabla\mathbf{I}_u)$ | 1 |
# | Table 1 row 4 | $\lVert \varphi_l(\mathbf{I}_f) - \varphi_l(\mathbf{R}) \rVert_2$ | as in row 1 | 3 |
# | Table 1 row 5 | $-\text{PSNR}(\mathbf{I}_f, \mathbf{R})$ | $\mathbf{I}_r$ | 1 |
# | Table 1 row 6 | $\sum_i \angle\,((\mathbf{I}_f)_i, (\mathbf{R})_i)$ | $\mathbf{I}_r$ | 1 |
# | Table 1 row 7 | $\frac{1}{HW} \left( (\nabla_x \mathbf{I}_f)^2 + (\nabla_y \mathbf{I}_f)^2 \right)$ | none | 1 |
#
# Every norm and every sum is taken here as a *mean* over pixels (or features): then a loss does not grow with the
# size of the picture.
#
# ## Pixels: rows 1 and 5
#
# The $1/2$ of Table 1 row 1 stands for two losses: mean absolute and mean squared difference. Table 1 row 5 is the
# logarithm of the second. The library divides it by 40. Why?


# %%
def l1(f, R):
    return (f - R).abs().mean()


def mse(f, R):
    return (f - R).square().mean()


def psnr_loss(f, R):  # the largest pixel is 1, so PSNR = -10 log10(MSE), in dB
    return 10 * torch.log10(mse(f, R)) / 40


# %% tags=["verdict"]
from math import isclose

found, sources = values(average), {"ref": ref, "under": under, "over": over}
close = {"rel_tol": 1e-4, "abs_tol": 1e-6}
for name, R in sources.items():
    print(f"l1_{name} equals the library:", isclose(l1(average, R), found[f"l1_{name}"], **close))
    print(f"mse_{name} equals the library:", isclose(mse(average, R), found[f"mse_{name}"], **close))
print("psnr_ref equals the library:", isclose(psnr_loss(average, ref), found["psnr_ref"], **close))

# %% [markdown]
# In decibels the loss of our average would be the number in the second line of this table: many times larger than any
# other. Divided by 40 it stays near 1, and its weight in a mixture means something. (The authors' released code
# multiplies by 0.075.)

# %%
others = max(abs(value) for name, value in found.items() if name != "psnr_ref")
rows = [("the largest of the 18 others", others), ("−PSNR, in dB", 40 * found["psnr_ref"])]
Table(("loss of the average", "value"), [*rows, ("−PSNR / 40", found["psnr_ref"])])

# %% [markdown]
# The PSNR adds no new direction to the mean squared difference. With $m = \text{MSE}$ the chain rule gives
# $\nabla(10 \log_{10} m / 40) = \frac{10}{40 \ln 10} \cdot \frac{1}{m} \nabla m$: it pulls at the pixels in the same
# direction, and harder the better the picture already is.

# %% tags=["verdict"]
from math import log

from hsds_lib.course.image_descent import cosines, descend, pixel_gradients

slope_mse, slope_psnr = pixel_gradients(average, targets, names=("mse_ref", "psnr_ref"))
factor = 10 / (40 * log(10) * found["mse_ref"])
print("the chain rule holds:", torch.allclose(slope_psnr, factor * slope_mse, rtol=1e-3, atol=1e-7))

# %% [markdown]
# A logarithm also makes it matter *when* one averages. The library takes the PSNR of each item of a batch, and then the
# mean: a batch of two equals two batches of one. Over the pooled error of the batch, the good item would hardly count.

# %% tags=["verdict"]
twice = hsds.Batch(*(torch.cat([getattr(batch, role)] * 2) for role in ("under", "over", "ref", "natural")))
two_targets = hsds.prepare_targets(twice, None, contrast=False, names=("psnr_ref",))
good = ref + 0.1 * (average - ref)
together = hsds.term_vector(torch.cat([average, good]), two_targets, names=("psnr_ref",)).item()
alone = [psnr_loss(picture, ref).item() for picture in (average, good)]
pooled = psnr_loss(torch.cat([average, good]), torch.cat([ref, ref])).item()
print("a batch of two is the mean of two batches of one:", isclose(together, sum(alone) / 2, abs_tol=1e-4))
print("the pooled one is nearer to the worse item's:", abs(pooled - alone[0]) < 0.5 * abs(pooled - together))

# %% [markdown]
# ## Structure: row 2
#
# SSIM looks at one window of 11 × 11 pixels after another. With Gaussian-weighted means $\mu$, variances $\sigma^2$
# and covariance $\sigma_{fR}$ in the window,
#
# $$
# \text{SSIM} = \frac{2 \mu_f \mu_R + C_1}{\mu_f^2 + \mu_R^2 + C_1} \cdot
#   \frac{2 \sigma_{fR} + C_2}{\sigma_f^2 + \sigma_R^2 + C_2},
#   \qquad C_1 = 0.01^2,\; C_2 = 0.03^2.
# $$
#
# The first factor compares brightness, the second contrast and structure. MEF-SSIM works out a *desired* patch first
# (notebook 07 takes that apart). When it compares with one picture, that picture is the desired one, and the second
# factor is all that is left.

# %%
offsets = torch.arange(11.0) - 5
bell = torch.exp(-offsets.square() / (2 * 1.5**2))
window = torch.outer(bell, bell) / bell.sum() ** 2


def ssim_of_one_window(f, R):
    mean_f, mean_R = (window * f).sum(), (window * R).sum()
    var_f, var_R = (window * (f - mean_f).square()).sum(), (window * (R - mean_R).square()).sum()
    covariance = (window * (f - mean_f) * (R - mean_R)).sum()
    brightness = (2 * mean_f * mean_R + 0.01**2) / (mean_f**2 + mean_R**2 + 0.01**2)
    return brightness * (2 * covariance + 0.03**2) / (var_f + var_R + 0.03**2)


# %% [markdown]
# Put the window at every place where it lies inside the picture, and take the mean:

# %% tags=["verdict"]
views = [F.unfold(picture.cpu(), 11)[0].T.reshape(-1, 11, 11) for picture in (average, ref)]
by_hand = 1 - sum(ssim_of_one_window(f, R).item() for f, R in zip(*views, strict=True)) / len(views[0])
print("ssim_ref equals the library:", isclose(by_hand, found["ssim_ref"], abs_tol=1e-4))

# %% [markdown]
# What do they not see? Make the reference brighter by the same amount everywhere, and ask.

# %%
shifts = torch.linspace(-0.3, 0.3, 25).tolist()
blind = ("l1_ref", "mse_ref", "ssim_ref", "mefssim_ref", "grad", "tv")
answers = [values(ref + shift, blind) for shift in shifts]
curves = {name: [answer[name] - answers[12][name] for answer in answers] for name in blind}
title = "What an offset costs: the loss of the shifted reference, less that of the reference"
show(*loss_pictures.response_curves(shifts, curves, change="added to every pixel (luma, 0 to 1)", title=title))

# %% tags=["verdict"]
moved = {name: max(map(abs, curve)) for name, curve in curves.items()}
for name in blind:
    print(f"{name} sees an offset:", moved[name] > 1e-3)

# %% [markdown]
# MEF-SSIM, the gradient loss and total variation do not care how bright a picture is: each needs a partner that does.
#
# ### Exercise 2.1
#
# Write `1 − MEF-SSIM` of one window: `fused`, `source` and the weights `window` are 11 × 11 tensors. It is the second
# factor of SSIM, taken from 1.


# %%
def my_mefssim_loss(fused, source, window):
    return ...


# %% tags=["solution"]
def my_mefssim_loss(fused, source, window):
    f, R = fused - (window * fused).sum(), source - (window * source).sum()
    covariance, variances = (window * f * R).sum(), (window * (f * f + R * R)).sum()
    return 1 - (2 * covariance + 0.03**2) / (variances + 0.03**2)


# %% tags=["verdict"]
from hsds_lib.course.checks import check

check("2.1", my_mefssim_loss)

# %% [markdown]
# ## Edges: rows 3 and 7
#
# $\nabla$ is the strength of an edge: $|\partial_x| + |\partial_y|$ by Sobel filters. Table 1 row 3 wants, at every
# pixel, the stronger edge of the two exposures. Table 1 row 7 wants no edges at all; its $\nabla_x$ and $\nabla_y$ are
# steps to the next pixel, squared.

# %%
smooth, step = torch.tensor([1.0, 2.0, 1.0]), torch.tensor([-1.0, 0.0, 1.0])
sobel = torch.stack([torch.outer(smooth, step), torch.outer(step, smooth)])[:, None].to(nb.device) / 8


def edges(image):  # (B, 1, H, W); the outermost pixels are repeated
    return F.conv2d(F.pad(image, (1, 1, 1, 1), mode="replicate"), sobel).abs().sum(dim=1, keepdim=True)


def total_variation(f):
    right, down = f[..., :, 1:] - f[..., :, :-1], f[..., 1:, :] - f[..., :-1, :]
    return (right.square().sum() + down.square().sum()) / f.numel()


# %% tags=["verdict"]
wanted = torch.maximum(edges(under), edges(over))
print("the wanted edges equal the library's:", torch.allclose(wanted, targets.gradient, atol=1e-5))
print("total variation equals the library:", isclose(total_variation(average), found["tv"], **close))
negative = values(1 - average, ("grad",))["grad"]
print("the negative has the same gradient loss:", isclose(negative, found["grad"], abs_tol=1e-5))
print("total variation of any flat picture:", round(values(torch.full_like(ref, 0.7), ("tv",))["tv"], 6))

# %%
strength = {"under": edges(under), "over": edges(over), "the stronger": wanted, "average": edges(average)}
strength = {name: gray((5 * edge).clamp(max=1)) for name, edge in strength.items()}
show(*pictures.picture_row(strength, title="Edge strength (times 5): what the gradient loss compares"))

# %% [markdown]
# The average has weaker edges than the gradient loss wants. And the loss sees strength only: a negative has the same
# edges as its positive, and would do as well.
#
# ### Exercise 2.2
#
# Write the gradient loss of Table 1 row 3 with `edges`. The three pictures are `(1, 1, H, W)`.


# %%
def my_gradient_loss(fused, under, over):
    return ...


# %% tags=["solution"]
def my_gradient_loss(fused, under, over):
    return (edges(fused) - torch.maximum(edges(under), edges(over))).abs().mean()


# %% tags=["verdict"]
check("2.2", my_gradient_loss)

# %% [markdown]
# ## Features: row 4
#
# $\varphi_l$ are feature maps of VGG-16 after layer $l$: the picture as a network sees it that was trained to name
# objects. Four layers, from fine to coarse; for each, the mean squared difference; then the mean of the four. Luma is
# repeated to three channels, and ImageNet's mean and deviation are taken off. The layers are scaled to a mean response
# of 1, and the library takes a hundredth of the result, for the reason that −PSNR has its 40.

# %%
layers = ("relu1_2", "relu2_2", "relu3_3", "relu4_3")


def feature_distances(f, R):
    seen_f, seen_R = vgg(f, layers), vgg(R, layers)
    return {layer: (seen_f[layer] - seen_R[layer]).square().mean().item() for layer in layers}


distances = feature_distances(average, ref)
shapes = {layer: " × ".join(map(str, feature.shape[1:])) for layer, feature in vgg(ref, layers).items()}
print(vgg.label)
Table(("layer", "channels × height × width", "distance"), [(k, shapes[k], distances[k]) for k in layers])

# %% tags=["verdict"]
for name, R in sources.items():
    by_hand = sum(feature_distances(average, R).values()) / 4 / 100
    print(f"perceptual_{name} equals the library:", isclose(by_hand, found[f"perceptual_{name}"], **close))

# %% [markdown]
# With ImageNet's weights such distances agree with people better than pixels do (Zhang et al. 2018). Does it take these
# weights? Ask the three pictures from the beginning, of several scenes, and ask a VGG-16 with drawn weights as well:

# %%
blind = hsds.load_vgg16("random", seed=seed).to(nb.device)


def perceptual(pictures, R, network):
    ref_only = hsds.prepare_targets(hsds.Batch(R, R, R, R), network, contrast=False, names=("perceptual_ref",))
    judged = [hsds.term_vector(y, ref_only, network, names=("perceptual_ref",)) for y in pictures.values()]
    return [value.item() for value in judged]


# %%
rows = []
several = hsds.referenced_scenes(data, "val", seed=seed)[:3] + hsds.referenced_scenes(data, "train", seed=seed, limit=3)
for each in several:
    image = crop(each.ref)
    y = hsds.split_luma(image)[0]
    for network in (vgg, blind):
        rows.append((each.name, network.source, *perceptual(spoil(y), image, network)))
Table(("scene", "weights", "brighter", "blurred", "noisy"), rows)

# %% tags=["verdict"]
for source in ("imagenet", "random"):
    of = [row[2:] for row in rows if row[1] == source]
    print(source, "weights: blur is ten times as bad as brighter in", sum(b > 10 * a for a, b, _ in of), "of", len(of))
    print(source, "weights: noise is ten times as bad as brighter in", sum(c > 10 * a for a, _, c in of), "of", len(of))

# %% [markdown]
# All three are equally far from the reference in pixels. ImageNet's features forgive the brightness, drawn ones do not.
#
# ## Colour: row 6
#
# The angle between the colours of two pixels, as arrows in RGB space: 0 for the same hue and saturation, whatever the
# brightness. The fused luma gets its chroma from the two exposures first (`targets.chroma`), as in notebook 0.


# %%
def angle(a, b):  # (B, 3, H, W), in radians; the formula of the textbook
    cosine = (a * b).sum(dim=1) / (a.norm(dim=1) * b.norm(dim=1))
    return torch.arccos(cosine.clamp(-1, 1)).mean()


# %% tags=["verdict"]
fused_rgb = hsds.merge_luma(average.double(), targets.chroma.double())
by_hand = angle(fused_rgb, targets.ref_rgb.double()).item()
print("the colour loss equals the library:", isclose(by_hand, found["colour_ref"], abs_tol=1e-3))

# %% [markdown]
# The library uses the two-argument arctangent instead: the slope of the arccosine is infinite where two colours agree.
#
# **Gray has no angle.** All gray pixels lie on one line, so the angle between two of them is 0. The authors' released
# code compares the fused luma, repeated three times, with the repeated luma of the reference. It clips the cosine
# below 1, so what is left is a constant, with no slope for any pixel: its weight can be searched, but it changes
# nothing.

# %% tags=["verdict"]
from hsds_lib.released.terms import colour as released_colour

gray_ref = ref.clamp(min=0.05).expand(-1, 3, -1, -1).double()
tries = [(share * average.clamp(min=0.05)).double().requires_grad_() for share in (0.3, 0.6, 1.0)]
constant = [released_colour(y.expand(-1, 3, -1, -1), gray_ref) for y in tries]
spread = torch.stack(constant).detach()
print("it is the same for every brightness:", float(spread.max() - spread.min()) < 1e-6)
slopes = torch.autograd.grad(sum(constant), tries)
print("largest slope at any pixel:", max(float(slope.abs().max()) for slope in slopes))
(alive,) = pixel_gradients(average, targets, names=("colour_ref",))
print("the slope of the loss on colours is not zero:", float(alive.abs().max()) > 1e-6)

# %% [markdown]
# ## Ask every loss
#
# Now the picture that tells more than formulas. Start from the average of the two exposures. Take the gradient of
# *one* loss with respect to the pixels, let Adam change them, and repeat. No network stands between loss and picture:
# what comes out is what this loss wants.

# %%
wish = {name: descend(average, targets, {name: 1.0}, vgg, steps=steps, lr=0.03) for name in hsds.TERM_NAMES}

# %% tags=["hero"]
inputs = {"under": under, "over": over, "ref": ref, "average": average}
show(*loss_pictures.loss_sheet(wish, inputs, features=vgg.label))

# %% [markdown]
# Read it by rows of Table 1:
#
# | row | rewards | does not see |
# |---|---|---|
# | Table 1 row 1 | every pixel as in $\mathbf{R}$, lost ones included | whether a difference makes a pattern |
# | Table 1 row 2 | local contrast of $\mathbf{R}$; SSIM its brightness as well | MEF-SSIM: brightness |
# | Table 1 row 3 | the stronger edges of both exposures | brightness, and the sign of an edge |
# | Table 1 row 4 | the features of $\mathbf{R}$: its edges, its areas without any | much of the brightness |
# | Table 1 row 5 | as `mse_ref` | as `mse_ref` |
# | Table 1 row 6 | the brightness that gives the chroma the reference's colour | anything where all is gray |
# | Table 1 row 7 | a flat picture | everything else |
#
# Compare `mefssim_under` with `ssim_under`: both have the faint contrast of the dark exposure, and one of them
# keeps the brightness of the average. So does `perceptual_under`. Features also let through a fine pattern that no
# exposure has: look at the white area of `perceptual_over`.

# %% tags=["verdict"]
print("every loss fell:", all(descent.fall > 0 for descent in wish.values()))


def apart(a, b):
    return float((a - b).abs().mean())


made = {name: descent.picture for name, descent in wish.items()}
print("l1_under wants the dark exposure:", apart(made["l1_under"], under) < 0.05)
print("ssim_under is dark as well:", abs(float((made["ssim_under"] - under).mean())) < 0.1)
print("mefssim_under is not:", float((made["mefssim_under"] - under).mean()) > 0.1)
print("nor is perceptual_under:", float((made["perceptual_under"] - under).mean()) > 0.1)
print("tv has flattened the picture:", float(edges(made["tv"]).mean() / edges(average).mean()) < 0.5)

# %% [markdown]
# ## Which losses fight?
#
# Each loss pulls at each pixel. Take all pulls of one loss as one long arrow, and compare two arrows by the cosine of
# the angle between them: 1 if they agree, −1 if one undoes the other. We ask at the average of the two exposures. (It
# lies halfway, so that `l1` and `mse` to one and to the other undo each other there is no discovery. The rest is.)

# %%
agreement = cosines(pixel_gradients(average, targets, vgg))
show(*loss_pictures.cosine_map(agreement, hsds.TERM_NAMES, features=vgg.label))

# %% tags=["verdict"]
place = {name: index for index, name in enumerate(hsds.TERM_NAMES)}


def cosine_of(one, other):
    return float(agreement[place[one], place[other]])


for kind in ("l1", "mse", "ssim", "mefssim"):
    print(f"{kind} to under and {kind} to over fight:", cosine_of(f"{kind}_under", f"{kind}_over") < -0.5)
print("perceptual to under and to over do not:", abs(cosine_of("perceptual_under", "perceptual_over")) < 0.2)
print("psnr_ref is mse_ref over again:", round(cosine_of("psnr_ref", "mse_ref"), 2))
print("ssim and mefssim agree about the reference:", cosine_of("ssim_ref", "mefssim_ref") > 0.8)
print("grad and tv fight:", cosine_of("grad", "tv") < -0.2)

# %% [markdown]
# Nobody would put both of a fighting pair into a loss by hand. The search space has them all; it is the search that
# must find out. And the fight depends on the picture: at a good fusion, such as that of the model that ships, parts of
# both exposures are kept already, and the structure of one is less in the way of the other's:

# %% tags=["verdict"]
network = hsds.load_model("default", device=nb.device)
fused = pictures.luma(crop(hsds.fuse(network, shot.under, shot.over))[0])[None, None]
pulls = pixel_gradients(fused, targets, vgg)
calmer = cosines(pulls)
for kind in ("ssim", "mefssim"):
    there = float(calmer[place[f"{kind}_under"], place[f"{kind}_over"]])
    print(f"{kind} to under and over fight less at the fusion:", there > cosine_of(f"{kind}_under", f"{kind}_over"))

# %% [markdown]
# ### Exercise 2.3
#
# Write the cosine of two gradients of any shape.


# %%
def my_cosine(first, second):
    return ...


# %% tags=["solution"]
def my_cosine(first, second):
    return (first * second).sum() / (first.square().sum().sqrt() * second.square().sum().sqrt())


# %% tags=["verdict"]
check("2.3", my_cosine)

# %% [markdown]
# ## Mixing: the simplex
#
# The fusion loss of the paper is $\mathcal{L}^f = \sum_k m_k \ell_k$ with $m = \operatorname{softmax}(\beta)$. Softmax
# makes any 19 numbers positive with the sum 1: a point of a *simplex*, which for three losses is a triangle. Its
# corners, one loss alone, are reached only in the limit of infinite $\beta$.
#
# ### Exercise 2.4
#
# Write the weighted loss from the logits `beta` and the vector `terms` of loss values.


# %%
def my_weighted_loss(beta, terms):
    return ...


# %% tags=["solution"]
def my_weighted_loss(beta, terms):
    return (torch.softmax(beta, dim=0) * terms).sum()


# %% tags=["verdict"]
check("2.4", my_weighted_loss)

# %% [markdown]
# Below, each picture was optimised for the weights of its place, all from the same average. None is a blend of others.

# %%
corners = ("l1_under", "l1_over", "tv")
triangle = [(i / 3, j / 3, (3 - i - j) / 3) for i in range(4) for j in range(4 - i)]


def optimise(weights, names=corners):
    return descend(average, targets, dict(zip(names, weights, strict=True)), steps=steps, lr=0.03).picture


mixed = {weights: optimise(weights) for weights in triangle}
show(*loss_pictures.beta_simplex(mixed, corners))

# %% [markdown]
# Look at the lower edge: two thirds of `l1_under` give *all* of the dark exposure. An absolute difference pulls
# equally hard however far it is from home, so the heavier one wins every pixel. In the centre the two undo each
# other, and `tv` alone decides. A blend of the three corners would be something else, and worse by the very loss:

# %% tags=["verdict"]
third = (1 / 3, 1 / 3, 1 / 3)
blend = sum(mixed[corner] for corner in ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))) / 3
loss = {name: sum(values(y, corners).values()) / 3 for name, y in (("made", mixed[third]), ("blend", blend))}
print("the picture for the mixed loss is the mean of the pictures:", apart(mixed[third], blend) < 0.01)
print("it has the lower mixed loss:", loss["made"] < loss["blend"])
heavier = mixed[2 / 3, 1 / 3, 0.0]
print("two thirds of l1_under give the dark exposure:", apart(heavier, under) < 0.05)
print("and not two thirds of it:", apart(heavier, (2 * under + over) / 3) > 0.1)

# %% [markdown]
# There is one exception, and it is worth a minute. For two *squared* differences the optimum of
# $m\,(f - u)^2 + (1 - m)(f - o)^2$ is where the slope is zero: $f = m\,u + (1 - m)\,o$. There the picture for the
# mixture is the mixture of the pictures.

# %% tags=["verdict"]
squares = optimise((2 / 3, 1 / 3), ("mse_under", "mse_over"))
print("two squared differences do blend:", apart(squares, (2 * under + over) / 3) < 0.02)

# %% [markdown]
# Move over a finer simplex yourself. Every position is a picture that was optimised for just these weights, longer
# than above. Where does the picture change slowly, and where all at once?

# %%
from hsds_lib.course.explorers import simplex
from hsds_lib.course.widgets import explore

explore(simplex.explorer())

# %% [markdown]
# ## The same weight is not the same pull
#
# A search starts with $\beta = 0$: 19 equal weights, 5.3 % each. Are the losses equals then? The length of each
# arrow says how hard a loss pulls at the model's picture:

# %%
norms = dict(zip(hsds.TERM_NAMES, pulls.flatten(1).norm(dim=1).tolist(), strict=True))
show(*loss_pictures.pull_bars(norms, features=vgg.label))

# %% tags=["verdict"]
hardest, weakest = max(norms.values()), min(norms.values())
print("the strongest pulls more than five times as hard as the weakest:", hardest > 5 * weakest)
print("the three strongest:", ", ".join(sorted(sorted(norms, key=norms.get)[-3:])))
print("perceptual terms are no larger than the largest other:", max(found[f"perceptual_{R}"] for R in sources) < others)
whole = pulls.mean(dim=0)
sides = cosines(torch.stack([whole, pulls[place["mefssim_under"]], pulls[place["mse_under"]]]))[0]
print("equal weights follow mefssim_under more than mse_under:", bool(sides[1] > sides[2]))

# %% [markdown]
# The sizes are an accident of units. Write pixels as 0 to 255 instead of 0 to 1: an absolute difference becomes 255
# times larger, a squared one 255² times. Half `l1_under` and half `mse_over` then ask for another picture. On 0 to 1
# the slope of $\frac12 |f - u| + \frac12 (f - o)^2$ is zero at $f = o - \frac12$ (or at $u$, where that is darker);
# on 0 to 255 it is zero half a gray level below $o$.

# %%
half = {"0 to 1": (0.5, 0.5), "0 to 255": (0.5 * 255, 0.5 * 255**2)}
units = {name: optimise(weights, ("l1_under", "mse_over")) for name, weights in half.items()}
title = "Half l1_under, half mse_over: the same weights in two units of luma"
row = {"under": under, "over": over, **units}
show(*pictures.picture_row({name: gray(y) for name, y in row.items()}, title=title))

# %% tags=["verdict"]
print("on 0 to 1 it is max(u, o - 1/2):", apart(units["0 to 1"], torch.maximum(under, over - 0.5)) < 0.02)
print("on 0 to 255 it is the bright exposure:", apart(units["0 to 255"], over) < 0.02)

# %% [markdown]
# So a weight of 30 % for one loss and 3 % for another does not say that the first matters ten times as much. It says
# so only together with their pulls. Adam does not help: it divides the gradient of the *sum* by its size. One loss
# alone may be multiplied by anything:

# %% tags=["verdict"]
loud, quiet = optimise((1000.0,), ("ssim_over",)), optimise((1.0,), ("ssim_over",))
print("a thousand times a loss leads to the same picture:", apart(loud, quiet) < 1e-3)

# %% [markdown]
# ## What we measured

# %%
from hsds_lib.course.tables import headline

opposed = min((cosine_of(a, b), f"{a}, {b}") for a in hsds.TERM_NAMES for b in hsds.TERM_NAMES)
rows = [
    ("losses that fell, each for itself", sum(descent.fall > 0 for descent in wish.values())),
    ("most opposed pair", f"{opposed[1]}: cosine {opposed[0]:.2f}"),
    ("hardest pull", f"{max(norms, key=norms.get)}: {max(norms.values()):.4f}"),
    ("weakest pull", f"{min(norms, key=norms.get)}: {min(norms.values()):.4f}"),
    ("mixed loss in the centre of the triangle", loss["made"]),
    ("mixed loss of the blend of its corners", loss["blend"]),
]
numbers = {"smallest cosine of two losses": opposed[0], "hardest pull": max(norms.values()), "centre": loss["made"]}
headline(numbers, Table((f"on scene {shot.name}, {side} × {side} pixels", "value"), rows))

# %% [markdown]
# ## Recap
#
# - Each loss of Table 1 is blind to something: `mefssim`, `grad` and `tv` to brightness, `colour_ref` to gray.
# - Losses to the two exposures fight; `psnr_ref` and `mse_ref` pull the same way.
# - A mixture of losses has its own optimum. It is the blend of pictures for squared differences, and not in general.
#
# **Pitfalls**
#
# - Equal weights are not equal influence; a searched weight must be read together with the size of its gradient.
# - A picture optimised freely shows what a loss *wants*. A network can give only what its structure allows.
# - One scene: names and numbers of extreme pairs change with it.
#
# **Further reading**
#
# - Wu, Fu, Liu, Ma, Fan and Liu: *Hybrid-Supervised Dual-Search: Leveraging Automatic Learning for Loss-free
#   Multi-Exposure Image Fusion*, AAAI 2024.
# - Wang, Bovik, Sheikh and Simoncelli: *Image Quality Assessment: From Error Visibility to Structural Similarity*, IEEE
#   TIP 2004.
# - Ma, Zeng and Wang: *Perceptual Quality Assessment for Multi-Exposure Image Fusion*, IEEE TIP 2015.
# - Johnson, Alahi and Fei-Fei: *Perceptual Losses for Real-Time Style Transfer and Super-Resolution*, ECCV 2016.
# - Zhang, Isola, Efros, Shechtman and Wang: *The Unreasonable Effectiveness of Deep Features as a Perceptual Metric*,
#   CVPR 2018.
#
# **Next:** [3 · WSRAS](03_wsras.ipynb): how the structure is searched.

# %%
nb.colophon(features=vgg.label)
