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
# # 4 · Hybrid contrast: why two kinds of positives?
#
# **Promise.** You take Eq. 3 apart until you can say where the judge of this method falls, where it rises, and what
# the second positive, a photograph of quite another scene, adds to the first.
#
# **Time** about half a minute of computing, forty minutes of reading · **Needs** a CPU, no download ·
# **Before this** [0 · Start here](00_start_here.ipynb).

# %% [markdown]
# **You will**
#
# - compute Eq. 3 term by term and prove that you get the library's number;
# - ask the judge about noise, blur and black, and derive why it likes some of them;
# - draw $\Gamma$ as a map, and predict from inner products on which side of a line it falls;
# - see a picture come nearer to the reference, pixel by pixel, while its $\Gamma$ grows;
# - split the gradient into a pull and a push, and find out what is left of each at the reference;
# - optimise a picture under $\Gamma_R$, $\Gamma_N$ and $\Gamma_H$, and see why none of them is a loss for pictures.

# %% tags=["parameters"]
preset: str = "tiny"  # tiny | lesson | paper; this notebook trains nothing, so all three do the same
data: str = "embedded"  # embedded, a data set in HSDS_DATA (sice, real, ...), or a folder
seed: int = 0  # of the embedded scenes, of noise and of random VGG-16 features
scene: int = 1  # which validation scene, counted from 0
side: int = 64  # pixels of the square pictures; a multiple of 16
steps: int = 30  # of the optimisation at the end

# %%
import torch

import hsds_lib as hsds
from hsds_lib.course import pictures
from hsds_lib.course.checks import check
from hsds_lib.course.figures import contrast_pictures
from hsds_lib.course.session import start
from hsds_lib.course.show import show
from hsds_lib.course.tables import Table

nb = start(preset, notebook="04_hybrid_contrast", data=data, seed=seed, device="cpu")

# %% [markdown]
# ## The question
#
# A fused picture should be near to a good picture and far from both exposures. One good picture is the reference of
# this very scene. The paper takes a second one as well: a good photograph of *any* scene. What can a cup of coffee
# say about how to fuse a cat?

# %%
shot = hsds.referenced_scenes(data, "val", seed=seed)[scene]
under, over, ref = (contrast_pictures.thumbnail(image, side) for image in (shot.under, shot.over, shot.ref))
good = [*hsds.load_naturals(data, "train", seed=seed)[1:3], *hsds.load_naturals(data, "test", seed=seed)[:1]]
naturals = [contrast_pictures.thumbnail(image, side) for image in good]
candidates = {"under": under, "over": over, "average": hsds.average(under, over), "Mertens": hsds.mertens(under, over)}
candidates["ref"] = ref

# %%
album = candidates | {f"natural-{number}": image for number, image in enumerate(naturals, start=1)}
show(*pictures.picture_row(album, title="One scene, and three good photographs of other scenes"))

# %% [markdown]
# ## What VGG-16 sees
#
# The judge does not compare pixels. It compares what three layers of a network, VGG-16, respond to the luma of each
# picture. Its weights were learned on ImageNet, by sorting photographs into a thousand classes (Simonyan and Zisserman;
# the authors of the method used another training of the same network).

# %%
from hsds_lib.losses.contrast import CONTRAST_LAYERS

vgg = hsds.load_vgg16(nb.search.features, seed=seed)
luma = {name: hsds.split_luma(image[None])[0] for name, image in album.items()}
seen = {name: vgg(y, CONTRAST_LAYERS) for name, y in luma.items()}
three = {name: album[name] for name in ("under", "over", "ref")}
show(*contrast_pictures.feature_maps(three, seen, features=vgg.label))

# %% tags=["verdict"]
for layer in CONTRAST_LAYERS:
    channels, height, width = seen["ref"][layer].shape[1:]
    print(f"{layer}: {channels} channels, one place for {side // height} x {side // width} pixels")

# %% [markdown]
# Shown is the channel that varies most: with the defaults one of `relu2_2` answers to the edge of the shadow, one of
# `relu3_3` to the eyes, in light and in shadow. A channel of `relu5_1` tells a few large parts of the picture apart.
#
# ## Eq. 3, term by term
#
# At layer $i$ let $\mathbf{F}_i$ be the features of the fused picture, $\mathbf{P}_i$ of the positive,
# $\mathbf{u}_i^m$ and $\mathbf{o}_i^m$ of the $m$-th pair of exposures, the negatives. Then
#
# $$
# \Gamma_P = \sum_{i=1}^{N} \frac{\lVert \mathbf{F}_i - \mathbf{P}_i \rVert_2}
#   {\sum_{m=1}^{M} \bigl( \lVert \mathbf{F}_i - \mathbf{u}_i^m \rVert_2
#   + \lVert \mathbf{F}_i - \mathbf{o}_i^m \rVert_2 \bigr)}. \tag{3}
# $$
#
# Do not read a norm: the paper says in words that $\lVert\cdot\rVert_2$ is the mean square error. $N = 3$ layers;
# $M = 1$ here. Each layer has one *pull* on top and the sum of *pushes* below, for Mertens' fusion:


# %%
def mse(a, b):
    return (a - b).square().mean()


F, P, dark, light = (seen[name] for name in ("Mertens", "ref", "under", "over"))
parts = [(layer, *(mse(F[layer], other[layer]) for other in (P, dark, light))) for layer in F]
rows = [(layer, pull.item(), u.item(), o.item(), (pull / (u + o)).item()) for layer, pull, u, o in parts]
Table(("layer", "to the reference", "to under", "to over", "ratio"), rows)

# %% tags=["verdict"]
from hsds_lib.losses.contrast import EPS, gamma

by_hand = sum(pull / (u + o + EPS) for _, pull, u, o in parts)  # a batch of one: no mean over items
by_library = gamma(F, P, [(dark, light)])
print("Eq. 3 by hand equals the library:", torch.allclose(by_hand, by_library, rtol=1e-5))
print("the reference itself has:", round(gamma(P, P, [(dark, light)]).item(), 4))

# %% [markdown]
# Three questions about the form of that fraction. **Why a ratio?** Multiply all features by 100: a distance grows by
# ten thousand, a ratio not at all. No layer has to be brought to the size of another. **What is the small number?**
# $\varepsilon = 10^{-7}$, once in each layer's denominator, outside the sum over $m$: only where the fused picture
# *is* all of its negatives does it matter, and there it prevents a division by zero. **What does $M$ do?** It *sums*
# negatives, so the same pair $M$ times divides $\Gamma$ by $M$. (A larger $M$ is meant for other pairs: in the library
# `n_negatives=M` takes the exposures of the next items of the batch. The paper does not say its $M$.)

# %% tags=["verdict"]
big = [{layer: 100 * value for layer, value in features.items()} for features in (F, P, dark, light)]
scaled = gamma(big[0], big[1], [(big[2], big[3])])
print("100 times the features, the same contrast:", torch.allclose(scaled, by_library, rtol=1e-4))
print("epsilon is below a thousandth of every denominator:", all(u + o > 1e3 * EPS for _, _, u, o in parts))
print("fused = under = over is no error:", bool(gamma(dark, P, [(dark, dark)]).isfinite()))
four_times = gamma(F, P, [(dark, light)] * 4)
print("M times the same pair divides by M:", torch.allclose(four_times, by_library / 4, rtol=1e-4))

# %% [markdown]
# Which layer decides? With the reference as positive that is $\Gamma_R$, with a natural photograph $\Gamma_N$:


# %%
def by_layer(name, positive):
    pair = [(seen["under"], seen["over"])]
    return [gamma(seen[name], seen[positive], pair, layers=[layer]).item() for layer in CONTRAST_LAYERS]


panels = {"Γ_R: to the reference": "ref", "Γ_N: to natural-1": "natural-1"}
bars = {title: {name: by_layer(name, good) for name in candidates} for title, good in panels.items()}
show(*contrast_pictures.layer_bars(bars, features=vgg.label))

# %% [markdown]
# ## Ask the judge
#
# Eight pictures of one scene: the exposures, their average, the reference; the reference blurred (a box of 7 × 7
# pixels) and with noise ($\sigma = 0.1$); then nothing but noise; and black. Which should have the lowest contrast?
# $\Gamma_R$ has the reference as its positive, $\Gamma_N$ a photograph of another scene, and
# $\Gamma_H = \Gamma_R + \Gamma_N$ is what judges a loss in the search.

# %%
rng = torch.Generator().manual_seed(seed)


def tries(u, o, r):
    padded = torch.nn.functional.pad(r, (3, 3, 3, 3), mode="replicate")
    made = {"under": u, "over": o, "average": (u + o) / 2, "reference": r}
    made["blurred"] = torch.nn.functional.avg_pool2d(padded, 7, stride=1)
    made["reference + noise"] = (r + 0.1 * torch.randn(r.shape, generator=rng)).clamp(0, 1)
    return made | {"noise": torch.rand(r.shape, generator=rng), "black": torch.zeros_like(r)}


# %%
@torch.no_grad()
def judged(pictures, natural, network, others=None):
    encoded = {name: network(y, CONTRAST_LAYERS) for name, y in pictures.items()}
    own = [(encoded["under"], encoded["over"])]
    far = own if others is None else [tuple(network(y, CONTRAST_LAYERS) for y in others)]
    goods = {"Γ_R": (encoded["reference"], own), "Γ_N": (network(natural, CONTRAST_LAYERS), far)}
    found = {}
    for name, features in encoded.items():
        parts = {kind: gamma(features, good, negatives).item() for kind, (good, negatives) in goods.items()}
        found[name] = {**parts, "Γ_H": sum(parts.values())}
    return found


# %%
blind = hsds.load_vgg16("random", seed=seed)
eight = tries(luma["under"], luma["over"], luma["ref"])
says = {network.source: judged(eight, luma["natural-1"], network) for network in (vgg, blind)}
captions = {name: "Γ_R {Γ_R:.2f}, Γ_N {Γ_N:.2f}".format(**value) for name, value in says["imagenet"].items()}
gray = {name: y[0].expand(3, -1, -1) for name, y in eight.items()}
title = "What the judge says of eight pictures (small is good)"
show(*pictures.picture_row(gray, captions, title=title, features=vgg.label))

# %%
columns = [(source, kind) for source in says for kind in ("Γ_R", "Γ_N", "Γ_H")]
rows = [(name, *(says[source][name][kind] for source, kind in columns)) for name in eight]
Table(("picture", *(f"{kind}, {source}" for source, kind in columns)), rows)

# %% [markdown]
# Two things to read off. Random features hardly see blur, ImageNet's do. And by ImageNet's features $\Gamma_N$, and
# with it $\Gamma_H$, likes noise and black better than the reference. Is this an accident of one scene?

# %%
several = hsds.referenced_scenes(data, "val", seed=seed)[:2] + hsds.referenced_scenes(data, "train", seed=seed, limit=6)
cases = []
for each in several:
    three = (contrast_pictures.thumbnail(image, side) for image in (each.under, each.over, each.ref))
    cases.append(tries(*(hsds.split_luma(image[None])[0] for image in three)))
tally = {network.source: [judged(case, luma["natural-3"], network) for case in cases] for network in (vgg, blind)}

# %% tags=["verdict"]
for source, found in tally.items():
    print(f"{source} features, of {len(found)} scenes:")
    print(
        "  blur has more than half of noise's Gamma_R:", sum(x["blurred"]["Γ_R"] > x["noise"]["Γ_R"] / 2 for x in found)
    )
    for kind in ("Γ_N", "Γ_H"):
        won = [sum(x[name][kind] < x["reference"][kind] for x in found) for name in ("average", "noise", "black")]
        print(f"  better than the reference by {kind}: average {won[0]}, noise {won[1]}, black {won[2]}")

# %% [markdown]
# It is not. With random features $\Gamma_N$ likes noise as well, but is too small a part of the sum to decide. So a
# judge that sees more is no better judge by itself. Why $\Gamma_N$ likes what it likes, the next section derives.
#
# **Whose exposures repel?** "The source images", says the paper, and above they are the scene's own. But in $\Gamma_N$
# the positive is a photograph of something else: the only way to make the fraction small is to go away from both
# exposures. The released code takes exposures of *other* scenes. Then everything in the fraction is unrelated to the
# scene:

# %%
turned = [*cases[1:], cases[0]]
unpaired = [
    judged(case, luma["natural-3"], vgg, others=(other["under"], other["over"]))
    for case, other in zip(cases, turned, strict=True)
]

# %% tags=["verdict"]
won = {name: sum(x[name]["Γ_H"] < x["reference"]["Γ_H"] for x in unpaired) for name in unpaired[0]}
print(
    f"better than the reference by Gamma_H, of {len(unpaired)} scenes:", {n: k for n, k in won.items() if k} or "none"
)

# %% [markdown]
# With the scene's own exposures noise and black won in all of them; now they win seldom or never. So the library does
# as the released code does: in a batch, the exposures of the next scene repel in $\Gamma_N$. (In a batch of one there
# is no other. `contrast="hybrid_own"` searches with the scene's own.)
#
# ## A map of the contrast
#
# Take one layer and one pair. Let $\mathbf{c}$ be the middle of $\mathbf{u}$ and $\mathbf{o}$, and $V$ their mean
# squared distance from it. For any $\mathbf{F}$ (squares mean MSE)
#
# $$ \lVert\mathbf{F}-\mathbf{u}\rVert^2 + \lVert\mathbf{F}-\mathbf{o}\rVert^2
#    = 2\,\lVert\mathbf{F}-\mathbf{c}\rVert^2 + 2V. $$
#
# So the negatives enter only through their middle and their spread. The lines of equal $\Gamma$ on a plane through
# $\mathbf{P}$, $\mathbf{u}$ and $\mathbf{o}$ are circles; far away in *every* direction $\Gamma$ is $1/2$.

# %% tags=["verdict"]
layer = "relu3_3"
f, p, u, o = (features[layer] for features in (F, P, dark, light))
c = (u + o) / 2
spread = (mse(u, c) + mse(o, c)) / 2
print("middle and spread are enough:", torch.allclose(mse(f, u) + mse(f, o), 2 * mse(f, c) + 2 * spread, rtol=1e-4))
far = {layer: f + 1e4 * (f - p)}
print("far away it is:", round(gamma(far, P, [(dark, light)], layers=[layer]).item(), 2))

# %% [markdown]
# The map for both kinds of positives. Find the star, then the exposures, then the hill behind their middle:

# %% tags=["hero"]
positives = {"Γ_R: P is the reference": "ref", "Γ_N: P is a photograph of another scene": "natural-1"}
planes = {title: contrast_pictures.plane_through(seen[name][layer], u, o) for title, name in positives.items()}
show(*contrast_pictures.contrast_planes(planes, layer=layer, features=vgg.label))

# %% [markdown]
# The exposures are not the worst that there is: the top lies *behind* their middle, seen from the positive, at
# $\tfrac12\bigl(1 + \lVert\mathbf{P}-\mathbf{c}\rVert^2 / V\bigr)$. (Both panels are slices through a space of
# very many dimensions; they share the exposures and differ in the direction of the positive.)
#
# ### Why noise pleases
#
# Let $x = \lVert\mathbf{F}-\mathbf{c}\rVert^2$ be how far the picture is from the middle, and
# $R = \lVert\mathbf{P}-\mathbf{c}\rVert^2$. With the identity above one layer is
#
# $$ \Gamma = \frac{x + R - 2\,\langle \mathbf{F}-\mathbf{c},\, \mathbf{P}-\mathbf{c}\rangle}{2\,(x + V)}. $$
#
# If $\mathbf{P}$ shows another scene, the inner product has little to do with how good $\mathbf{F}$ is. Leave it out,
# and $\Gamma_N$ knows nothing of $\mathbf{F}$ but $x$: it is $R / 2V$ at the middle and, wherever $R > V$, falls the
# farther the picture is from both exposures, in *any* direction, down to $1/2$. A fusion is near to both, and noise is
# not. For $\Gamma_R$ the product is what counts: at the reference it makes the numerator zero.


# %%
def without_product(pictures, natural):
    encoded = {name: vgg(y, CONTRAST_LAYERS) for name, y in pictures.items()}
    photo, found = vgg(natural, CONTRAST_LAYERS), dict.fromkeys(pictures, 0.0)
    for layer in CONTRAST_LAYERS:
        middle = (encoded["under"][layer] + encoded["over"][layer]) / 2
        V, R = (mse(at[layer], middle).item() for at in (encoded["under"], photo))
        for name, features in encoded.items():
            x = mse(features[layer], middle).item()
            found[name] += (x + R) / (2 * (x + V))
    return found


# %%
guess = without_product(eight, luma["natural-1"])
rows = [(name, guess[name], says["imagenet"][name]["Γ_N"]) for name in sorted(guess, key=guess.get)]
Table(("picture", "Γ_N without the product", "Γ_N"), rows)

# %% tags=["verdict"]
print("R is larger than V:", mse(seen["natural-1"][layer], c).item() > spread.item())
guesses = [without_product(case, luma["natural-3"]) for case in cases]
for name in ("noise", "black"):
    below = sum(each[name] < each["reference"] for each in guesses)
    print(f"without the product {name} is below the reference: {below} of {len(guesses)} scenes")

# %% [markdown]
# The order is explained, the values are not: the product is not zero, and for pictures far from the exposures it
# lowers $\Gamma_N$ further. The search draws another photograph in every step; that does not help, since $x$ is the
# same for all.
#
# ### Where it falls, exactly
#
# Move $\mathbf{F}$ straight towards $\mathbf{P}$. As it starts to move,
#
# $$ \frac{\mathrm{d}}{\mathrm{d}s} \log\Gamma\bigl(\mathbf{F} + s\,(\mathbf{P} - \mathbf{F})\bigr)\Big|_{s=0} = -2\,
#    \frac{\sum_n \langle \mathbf{P}-n,\; \mathbf{F}-n \rangle}{\sum_n \lVert \mathbf{F}-n \rVert^2}, $$
#
# with $n$ running over all under- and over-exposed features. A negative that sees $\mathbf{F}$ and $\mathbf{P}$ on the
# same side helps, one that lies between them does harm. The sum is zero on the dashed line. Proof by autograd, at
# Mertens' fusion and at a point behind the line:


# %%
def formula(f, p, negatives):
    inner = sum(((p - n) * (f - n)).mean() for n in negatives)
    return -2 * inner / sum(mse(f, n) for n in negatives)


def by_autograd(f, p, negatives):
    share = torch.zeros((), requires_grad=True)
    moved = {layer: f + share * (p - f)}
    value = gamma(moved, {layer: p}, [({layer: negatives[0]}, {layer: negatives[1]})], layers=[layer])
    return torch.autograd.grad(value.log(), share)[0]


# %% tags=["verdict"]
plane = planes["Γ_R: P is the reference"]
behind = c + 1.5 * plane.turning / plane.reach * (p - c)
for name, point in (("Mertens", f), ("behind the line", behind)):
    slope = by_autograd(point, p, [u, o])
    print(f"{name}: the formula is right:", torch.allclose(slope, formula(point, p, [u, o]), rtol=1e-3))
print("behind the line, a step towards P raises the contrast:", bool(by_autograd(behind, p, [u, o]) > 0))
top = c + plane.turning / plane.reach * (p - c)
reached = gamma({layer: top}, P, [(dark, light)], layers=[layer])
print("the top is as high as promised:", abs(reached.item() / plane.highest - 1) < 1e-3)

# %% [markdown]
# ### Pixels are promised nothing
#
# A step of a picture is not a straight step of its features, and its way may lead past a negative. Two exposures
# at 50 % and 55 % of the reference's values, and a fused picture still darker than both: brighten it. Every step
# brings it nearer to the reference, and up to 50 % to both exposures as well.

# %%
factors = [0.1 + 0.025 * step for step in range(37)]
dim = hsds.Batch(under=0.5 * ref[None], over=0.55 * ref[None], ref=ref[None], natural=naturals[0][None])
dim_targets = hsds.prepare_targets(dim, vgg, contrast=True)
walk = [float(hsds.gamma_r(vgg(k * luma["ref"], CONTRAST_LAYERS), dim_targets)) for k in factors]
errors = [float(mse(k * luma["ref"], luma["ref"])) for k in factors]
frames = {"fused, at 20 %": 0.2 * ref, "under, at 50 %": dim.under[0], "over, at 55 %": dim.over[0], "ref": ref}
show(*contrast_pictures.brightness_walk(frames, factors, walk, errors, negatives=(0.5, 0.55), features=vgg.label))

# %% tags=["verdict"]
print("each step is nearer in pixels:", errors == sorted(errors, reverse=True))
print("the contrast at 50 % is more than twice that at 20 %:", walk[16] > 2 * walk[4])
print("and at the reference it is zero:", walk[-1] < 1e-6)

# %% [markdown]
# ### Walk over the map
#
# Choose the term and the layer, and walk between the exposures and the reference. Where does $\Gamma_R$ pull to, and
# $\Gamma_N$? Find a place from which a step towards the reference *raises* the contrast.

# %%
from hsds_lib.course.explorers import gamma_map
from hsds_lib.course.widgets import explore

explore(gamma_map.explorer())

# %% [markdown]
# ## Two positives: a pull and a push
#
# Differentiate one layer of Eq. 3 with respect to anything, $\mathbf{I}_f$ say. Write $D_P$ for the numerator and
# $D_-$ for the denominator:
#
# $$ \nabla\Gamma = \frac{1}{D_-}\Bigl(\nabla D_P - \Gamma\,\nabla D_-\Bigr). $$
#
# The first part pulls to the positive. The second pushes away from the exposures: in the same direction whatever the
# positive, and the harder, the *worse* $\Gamma$ is. At the reference $\nabla D_P$ is zero and $\Gamma_R$ is zero:
# nothing is left, and $\Gamma_R$ is content with a copy of the reference. $\Gamma_N$ is not: it is far from zero
# there, and goes on pushing. This is how the hybrid can want more than the reference; the rest of this notebook asks
# whether it wants something *good*.


# %%
def pull_and_push(y, positive):
    y = y.clone().requires_grad_()
    features = vgg(y, [layer])
    d_p = mse(features[layer], positive[layer])
    d_n = mse(features[layer], u) + mse(features[layer], o) + EPS
    (pull,) = torch.autograd.grad(d_p, y, retain_graph=True)
    (push,) = torch.autograd.grad(d_n, y)
    return (pull / d_n).detach(), (-d_p / d_n**2 * push).detach()


# %% tags=["verdict"]
probe = luma["average"].clone().requires_grad_()
(whole,) = torch.autograd.grad(gamma(vgg(probe, [layer]), seen["natural-1"], [(dark, light)], layers=[layer]), probe)
pull, push = pull_and_push(luma["average"], seen["natural-1"])
small = 1e-3 * whole.abs().max().item()
print("pull and push are the whole gradient:", torch.allclose(pull + push, whole, atol=small))
sizes = [gamma(seen["average"], seen[name], [(dark, light)], layers=[layer]) for name in ("natural-1", "ref")]
other = pull_and_push(luma["average"], P)[1]
print("the push differs by the contrasts' ratio only:", torch.allclose(push, sizes[0] / sizes[1] * other, atol=small))
at_ref = {name: sum(pull_and_push(luma["ref"], seen[name])) for name in ("ref", "natural-1")}
print("at the reference nothing is left of Gamma_R:", at_ref["ref"].norm().item() < 1e-4 * whole.norm().item())
print("but something is of Gamma_N:", at_ref["natural-1"].norm().item() > 0.1 * whole.norm().item())

# %% [markdown]
# Now with all layers, from the average of the exposures: what does $\Gamma_R$ want of each pixel, and what do three
# $\Gamma_N$ want, one for each photograph?

# %%
from hsds_lib.course.image_descent import cosines

targets = [
    hsds.prepare_targets(hsds.Batch(under[None], over[None], ref[None], n[None]), vgg, contrast=True) for n in naturals
]
probe = luma["average"].clone().requires_grad_()
features = vgg(probe, CONTRAST_LAYERS)
values = {"Γ_R": hsds.gamma_r(features, targets[0])}
values |= {f"Γ_N, photo {k}": hsds.gamma_n(features, aim) for k, aim in enumerate(targets, start=1)}
values["Γ_N, mean"] = sum(list(values.values())[1:]) / len(naturals)
wants = {name: -torch.autograd.grad(value, probe, retain_graph=True)[0][0, 0] for name, value in values.items()}
agree = cosines(torch.stack(list(wants.values())))
show(*contrast_pictures.pull_pictures(wants, agree, features=vgg.label))

# %% [markdown]
# The three photographs show a cup, a rocket and an astronaut, and yet they want nearly the same of a cat. What they
# have in common is no idea of a natural picture: it is the push, which is the same whatever the positive, and the
# larger part of each. $\Gamma_R$ wants something else, for there the pull is the larger part.

# %% tags=["verdict"]
between = agree[1:-1, 1:-1][~torch.eye(len(naturals), dtype=torch.bool)]
print("any two photographs have a cosine above one half:", bool((between > 0.5).all()))
for name in ("ref", *(f"natural-{number}" for number in (1, 2, 3))):
    pull, push = pull_and_push(luma["average"], seen[name])
    print(f"of {layer}, by {name} the push is larger than the pull:", (push.norm() > pull.norm()).item())
print("no natural pull is parallel to that of the reference:", bool((agree[0, 1:].abs() < 0.95).all()))
hybrid = torch.autograd.grad(values["Γ_R"] + values["Γ_N, mean"], probe)[0][0, 0]
together = wants["Γ_R"] + wants["Γ_N, mean"]
print("the hybrid's gradient is their sum:", torch.allclose(-hybrid, together, atol=1e-5))

# %% [markdown]
# ## Optimise a picture, and look
#
# No network now: let the pixels themselves go downhill, from the average of the exposures, with the mean over the
# three photographs for $\Gamma_N$.


# %%
def descend(judge):
    y = luma["average"].clone().requires_grad_()
    optimiser = torch.optim.Adam([y], lr=0.01)
    for _ in range(steps):
        (y.grad,) = torch.autograd.grad(judge(vgg(y, CONTRAST_LAYERS)), y)
        optimiser.step()
        with torch.no_grad():
            y.clamp_(0, 1)
    return y.detach()


# %%
def natural(features):
    return sum(hsds.gamma_n(features, aim) for aim in targets) / len(targets)


def reference(features):
    return hsds.gamma_r(features, targets[0])


# %%
judges = {"Γ_R": reference, "Γ_N": natural, "Γ_H": lambda features: reference(features) + natural(features)}
found = {name: luma[name] for name in ("average", "ref")}
found |= {name: descend(judge) for name, judge in judges.items()}
marks = {}
for name, y in found.items():
    encoded = vgg(y, CONTRAST_LAYERS)
    quality = hsds.mef_ssim_pair(y, luma["under"], luma["over"])
    numbers = (reference(encoded), natural(encoded), mse(y, luma["ref"]), quality)
    marks[name] = [float(number) for number in numbers]
captions = {name: f"Γ_R {r:.2f}, Γ_N {n:.2f}" for name, (r, n, *_) in marks.items()}
gray = {name: y[0].expand(3, -1, -1) for name, y in found.items()}
title = f"The average, the reference, and {steps} steps downhill from the average"
show(*pictures.picture_row(gray, captions, title=title, features=vgg.label, columns=5))

# %% tags=["verdict"]
r, n, h = (marks[name] for name in ("Γ_R", "Γ_N", "Γ_H"))
print("each judge's own picture is best by it:", r[0] < min(n[0], h[0]) and n[1] < min(r[1], h[1]))
print("by Gamma_N that one beats the reference:", n[1] < 0.9 * marks["ref"][1])
print("the hybrid's picture lies between, by both:", r[0] < h[0] < n[0] and n[1] < h[1] < r[1])
print("Gamma_N alone leads away from the reference:", n[2] > marks["average"][2])
print("Gamma_R alone leads towards it:", r[2] < marks["average"][2])

# %% [markdown]
# $\Gamma_R$ lightens the shadow and draws the fur below it, as the reference has it. $\Gamma_N$ reaches a value that
# the reference itself does not have, and its picture is bad: rings and lines that are in neither scene nor photographs,
# far from both exposures. $\Gamma_H$ follows $\Gamma_N$. A low $\Gamma$ is not a good picture. In the method this does
# less harm than it seems, because no pixel descends on $\Gamma_H$: the network is trained by the 19 losses, and
# $\Gamma_H$ only decides on their *weights* (Algorithm 1 line 5), 19 numbers. Whether those are better weights,
# notebooks [5](05_dual_search.ipynb) and [8](08_ablations.ipynb) ask.
#
# ## What the released code computes instead
#
# The authors' code differs from Eq. 3: features are instance-normalised (offset and scale of every channel are
# forgotten), the layers are summed before dividing, each exposure has a denominator of its own, four times the plain
# distance to the reference is added, and VGG-16 lacks its fourth pooling. Details and measurements come in notebook
# 09; here is one consequence. Its distance does not see the size and offset of features, the paper's does:

# %% tags=["verdict"]
from hsds_lib.released import terms as released

stretched = {layer: 2 * value + 1 for layer, value in seen["average"].items()}
print("paper's distance sees it:", gamma(stretched, seen["average"], [(dark, light)]).item() > 0.1)
print("released distance does not:", released.distances(stretched, seen["average"]).max().item() < 1e-2)
sizes = [x["relu5_1"].shape[-1] for x in (released.contrast_features(luma["ref"], vgg), seen["ref"])]
print("without the fourth pooling relu5_1 is larger by:", sizes[0] // sizes[1])

# %% [markdown]
# ## Exercises
#
# ### Exercise 4.1
#
# Write Eq. 3 for *one* layer and $M = 1$. `F`, `P`, `u`, `o` are features `(B, C, h, w)`; the result is the mean over
# the items, with `EPS` in its place.


# %%
def one_layer(F, P, u, o):
    return ...


# %% tags=["solution"]
def one_layer(F, P, u, o):
    def distance(a, b):
        return (a - b).square().mean(dim=(1, 2, 3))

    return (distance(F, P) / (distance(F, u) + distance(F, o) + EPS)).mean()


# %% tags=["verdict"]
check("4.1", one_layer)

# %% [markdown]
# ### Exercise 4.2
#
# All of Eq. 3. `fused` and `positive` are dictionaries, layer to features; `negatives` is a list of $M$ pairs
# of such dictionaries (under, over).


# %%
def contrast(fused, positive, negatives):
    return ...


# %% tags=["solution"]
def contrast(fused, positive, negatives):
    def distance(a, b):
        return (a - b).square().mean(dim=(1, 2, 3))

    total = 0
    for layer, f in fused.items():
        push = sum(distance(f, u[layer]) + distance(f, o[layer]) for u, o in negatives)
        total = total + distance(f, positive[layer]) / (push + EPS)
    return total.mean()


# %% tags=["verdict"]
check("4.2", contrast)

# %% [markdown]
# ### Exercise 4.3
#
# `F` starts to move straight towards `P`. Does $\Gamma$ (one layer) fall or rise? Return `-1` or `1`, from inner
# products, without computing $\Gamma$. `negatives` is a list of tensors, under- and over-exposed alike.


# %%
def first_move(F, P, negatives):
    return ...


# %% tags=["solution"]
def first_move(F, P, negatives):
    inner = sum(((P - n) * (F - n)).sum() for n in negatives)
    return -1 if inner > 0 else 1


# %% tags=["verdict"]
check("4.3", first_move)

# %% [markdown]
# ### Exercise 4.4
#
# Which changes leave $\Gamma_R$ as it is (up to $\varepsilon$)? Answer with a set of letters, such as `{"a", "e"}`.
#
# - a: multiply all features of all images by 3
# - b: add one and the same tensor to the features of all images
# - c: multiply the pixels of all images by 0.5
# - d: exchange the under- and the over-exposed image
# - e: list the pair of exposures twice ($M = 2$)
# - f: put the channels of a layer in another order, the same for all images

# %%
unchanged = ...

# %% tags=["solution"]
unchanged = {"a", "b", "d", "f"}

# %% tags=["verdict"]
check("4.4", unchanged)

# %% [markdown]
# ## What we measured
#
# The pictures of the optimisation, by both contrasts, by pixels, and by a metric that none of them was made for:

# %%
from hsds_lib.course.tables import headline

print(vgg.label)
columns = ("picture", "Γ_R", "Γ_N (mean of three)", "MSE to the reference", "MEF-SSIM")
table = Table(columns, [(name, *numbers) for name, numbers in marks.items()])
headline({f"MEF-SSIM, {name}": numbers[-1] for name, numbers in marks.items()}, table)

# %% [markdown]
# By MEF-SSIM the plain average is ahead of every optimised picture and of the reference itself: it asks for the local
# structure of both exposures, not for good light. What one metric is worth, [notebook 7](07_evaluation.ipynb) asks.

# %% [markdown]
# ## Recap
#
# - $\Gamma$ is a ratio of squared distances: blind to the size of features, zero at the positive; far away each layer
#   gives 1/2.
# - The negatives act through their middle and spread. Towards the positive it falls on one side of a line and rises on
#   the other; the sum of inner products tells which.
# - Two positives, because $\Gamma_R$ is content at the reference, and $\Gamma_N$ is not. It pushes on, away from the
#   exposures and to nowhere in particular: noise and black please it.
#
# **Pitfalls**
#
# - Nearer in pixels is not lower in $\Gamma$.
# - Sums follow the larger part: of $\Gamma_H$ that is $\Gamma_N$ with ImageNet's features, $\Gamma_R$ with random ones.
# - $\Gamma$ alone makes pictures that nobody wants. It judges losses; it is none.
# - Random features prove the mathematics as well, but hardly see blur: a judge is as good as its eyes, at most.
#
# **Further reading**
#
# - Wu, Fu, Liu, Ma, Fan and Liu: *Hybrid-Supervised Dual-Search: Leveraging Automatic Learning for Loss-free
#   Multi-Exposure Image Fusion*, AAAI 2024: the paper of this course.
# - Johnson, Alahi and Fei-Fei: *Perceptual Losses for Real-Time Style Transfer and Super-Resolution*, ECCV 2016.
# - Liu, Wu, Luan, Jiang, Liu and Fan: *HoLoCo: Holistic and Local Contrastive Learning Network for Multi-exposure
#   Image Fusion*, Information Fusion 2023.
#
# **Next:** [5 · Dual search](05_dual_search.ipynb), where $\Gamma_H$ judges the weights of the losses.

# %%
nb.colophon(features=vgg.label)
