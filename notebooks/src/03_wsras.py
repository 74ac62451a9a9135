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
# # 3 · WSRAS: prune, then keep several
#
# **Promise.** You learn what the two numbers $\theta$ and $P$ do to a search of a network's structure: you write both
# rules yourself, replay them on the search behind the model that ships, and measure what each of them costs.
#
# **Time** half a minute of computing, forty minutes of reading · **Needs** a CPU, no download ·
# **Before this** [0 · Start here](00_start_here.ipynb).

# %% [markdown]
# **You will**
#
# - write out a node of the search network, and prove that it is the library's;
# - say why a small lead grows when operations compete in a softmax;
# - write pruning refinement and weight retention, and prove both;
# - tell a replay of a search from a search;
# - measure what is lost when operations are left out, and what it costs to keep them;
# - put a price on operations, and say what a budget promises and what not.

# %% tags=["parameters"]
preset: str = "tiny"  # tiny | lesson | paper; the searches here stay small, so all three do the same
data: str = "embedded"  # embedded, a data set in HSDS_DATA (sice, real, ...), or a folder
seed: int = 0  # of everything random
steps: int = 8  # of each of the three short searches
top_p: int = 2  # P: operations that every node keeps
device: str = "auto"  # auto (the CPU for tiny, else the best there is) | cpu | cuda | mps

# %%
import json

import torch

import hsds_lib as hsds
from hsds_lib.course import plots
from hsds_lib.course.checks import check
from hsds_lib.course.figures import pruning, retention
from hsds_lib.course.session import start
from hsds_lib.course.show import show
from hsds_lib.course.tables import Table

nb = start(preset, notebook="03_wsras", data=data, seed=seed, device=device)
rng = torch.Generator().manual_seed(seed)

# %% [markdown]
# ## The question
#
# The network has 15 nodes, and for each of them there are 11 candidate operations. The search does not pick: it runs
# all of them and gives each a weight. Below are the weights of the search behind the model that ships, at its start, in
# its middle and at its end. They came from a file, `history.jsonl`, with one line for every step.

# %%
from hsds_lib.losses.features import VGG16
from hsds_lib.runtime import read_json

shipped = hsds.MODELS / "default"
history = [json.loads(line) for line in (shipped / "history.jsonl").read_text("utf-8").splitlines()]
origin = read_json(shipped / "provenance.json")
recorded = origin["config"]
label = VGG16(origin["vgg"]).label  # the features that judged this search
show(*plots.alpha_maps(history, panels=3, features=label))

# %% tags=["verdict"]
genotype = hsds.Genotype.load(shipped / "genotype.json")
print("steps:", len(history), "with theta", recorded["theta"], "and P", recorded["top_p"])
print("operations at the start:", len(hsds.NODES) * len(hsds.PRIMITIVES), "at the end:", history[-1]["n_active"])
print("operations in the network that ships:", sum(len(kept) for kept in genotype.nodes.values()))

# %% [markdown]
# So there were two cuts: 60 operations went *during* the search, 75 at its end. Who decided that, by what rule, and
# does it matter? The paper's answer is *Weighted Structure Refine Architecture Search*, WSRAS: $\theta$ decides the
# first cut, $P$ the second.
#
# ## A node
#
# A node computes the weighted sum of its operations. With $m = \operatorname{softmax}(\alpha)$ over a row of $\alpha$,
#
# $$ \operatorname{node}(x) = \sum_{k=1}^{11} m_k\, o_k(x), \qquad
#    o_k(x) = \operatorname{ReLU}(\operatorname{BN}(\operatorname{conv}_k(x))). $$
#
# Written out, without any class of the library but the one that holds the weights:

# %%
from torch.nn import functional

from hsds_lib.network.operations import kernel

node, mix = hsds.MixedOp(hsds.PRIMITIVES, 3, 4), torch.randn(11, generator=rng).softmax(0)
x, total = torch.rand(2, 3, 20, 24, generator=rng), 0
for name, weight in zip(hsds.PRIMITIVES, mix, strict=True):
    height, width, dilation = kernel(name)
    padding = (height // 2 * dilation, width // 2 * dilation)  # keeps the size
    y = functional.conv2d(x, node.operations[name].conv.weight, padding=padding, dilation=dilation)
    mean, variance = y.mean((0, 2, 3), keepdim=True), y.var((0, 2, 3), unbiased=False, keepdim=True)
    total = total + weight * functional.relu((y - mean) / (variance + 1e-5).sqrt())  # a new BN has scale 1, shift 0

# %% tags=["verdict"]
print("the sum above equals the library's node:", torch.allclose(total, node(x, mix), atol=1e-4))
print("shape:", tuple(total.shape))

# %% [markdown]
# What distinguishes the 11 operations is the shape of their kernels. Do not trust the names: ask the gradient. An
# input pixel is read exactly if the output at the centre has a slope in it.

# %%
taps = {}
for name in hsds.PRIMITIVES:
    field = torch.zeros(1, 3, 13, 13, requires_grad=True)
    node.operations[name].conv(field)[0, :, 6, 6].sum().backward()
    taps[name] = (field.grad[0] != 0).any(0).numpy()
show(*retention.footprints(taps))

# %% tags=["verdict"]
counts = {name: int(table.sum()) for name, table in taps.items()}
print(
    "as many pixels as the kernel has weights:", all(counts[n] == kernel(n)[0] * kernel(n)[1] for n in hsds.PRIMITIVES)
)
print("fewest:", min(counts.values()), "most:", max(counts.values()))

# %% [markdown]
# All are convolutions. There is *no skip connection, no pooling and no zero* among them, unlike in DARTS: every
# operation has weights to learn, from 1 to 49 per pair of channels.
#
# ## Competition
#
# Weights of a softmax compete: what one gains the others lose. Its derivative is
#
# $$ \frac{\partial m_k}{\partial \alpha_j} = m_k(\delta_{kj} - m_j), \qquad\text{in particular}\qquad
#    \frac{\partial m_k}{\partial \alpha_k} = m_k(1 - m_k). $$

# %% tags=["verdict"]
logits = torch.randn(11, generator=rng).double()
m = logits.softmax(0)
by_formula = torch.diag(m) - m[:, None] * m[None, :]
by_autograd = torch.autograd.functional.jacobian(lambda a: a.softmax(0), logits)
print("the formula equals the Jacobian:", torch.allclose(by_formula, by_autograd, rtol=1e-12))
print("every column sums to 0:", torch.allclose(by_formula.sum(0), torch.zeros(11).double(), atol=1e-12))
print("from 1/11 to 1/2 the slope grows by", round((0.5 * 0.5) / (1 / 11 * 10 / 11), 2))

# %% [markdown]
# Two things make a small lead grow. First, at the start all weights are $1/11$, on the steep side of the curve below:
# an operation that gets ahead gets a larger slope, up to the weight $1/2$. Second, the optimiser. Adam divides a
# gradient by its own size, so that a tiny advantage moves $\alpha$ as far as a large one. A race of 11 operations whose
# losses $c_k$ are all 1, but the first has a lead:


# %%
def race(optimiser, lead, n=50):
    alpha = torch.zeros(11, dtype=torch.float64, requires_grad=True)
    cost = torch.ones(11, dtype=torch.float64) - lead * (torch.arange(11) == 0)
    rule, weights = optimiser([alpha]), [1 / 11]
    for _ in range(n):
        rule.zero_grad()
        (alpha.softmax(0) * cost).sum().backward()  # gradient: m_k (c_k - sum_j m_j c_j)
        rule.step()
        weights.append(alpha.softmax(0)[0].item())
    return weights


# %%
from functools import partial

adam = partial(torch.optim.Adam, lr=recorded["lr_alpha"], betas=(0.5, 0.999))
sgd = partial(torch.optim.SGD, lr=50.0)
rules, leads = {"Adam": adam, "SGD": sgd}, (1e-2, 1e-4)
races = {f"{name}, lead {lead:.2%}": race(rules[name], lead) for name in rules for lead in leads}
show(*retention.competition(races))

# %% [markdown]
# Both Adams end at the same weight, though one lead is a hundred times the other; plain SGD, with a step size of 50,
# tells them apart. The recorded search did just that.
# In its first step every $\alpha$ moved by the learning rate, 0.2, up or down, whatever the size of its gradient: each
# node then has operations of two kinds, whose weights differ by the factor $e^{0.4} = 1.49$.

# %% tags=["verdict"]
print("Adam, both leads:", round(races["Adam, lead 1.00%"][-1], 2), round(races["Adam, lead 0.01%"][-1], 2))
first = torch.tensor(history[0]["node_mix"])
ratio = (first.max(dim=1).values / first.min(dim=1).values).log() / 2
print("first step of alpha in the recorded search:", sorted({round(step, 2) for step in ratio.tolist()}))

# %% [markdown]
# In a search the gradients change sign from batch to batch, which slows a lead down. Still: *a weight says that an
# operation was ahead often, not by how much.* Keep that in mind when a rule cuts by weights.
#
# ## Pruning refinement
#
# The first rule, Algorithm 1 lines 8-13. In the paper's words, an operation is pruned if its weight "is the minimum for
# the current node and falls below a predetermined threshold":
#
# ```text
#  8:  while |A| > P do
#  9:    if min alpha_i < theta then
# 11:      A <- RefineSmallestWeight(A)
# 12:    end if
# 13:  end while
# ```
#
# (The paper writes $\alpha_i$ where the weight $m_i$ is meant: logits have no natural threshold.) For one node:


# %%
def prune_node(alpha, active, theta, top_p):
    weights = torch.where(active, alpha, -torch.inf).softmax(0)  # removed ones: exactly 0
    alive = active.nonzero().flatten()
    weakest = alive[weights[alive] == weights[alive].min()][-1]  # of equal ones the last
    kept = active.clone()
    if weights[weakest] < theta and len(alive) > top_p:
        kept[weakest] = False
    return kept


# %% tags=["verdict"]
alphas = 2 * torch.randn(200, 11, generator=rng)
masks = torch.rand(200, 11, generator=rng) < 0.6
masks[:, 0] = True
by_hand = torch.stack([prune_node(a, mask, 0.05, 2) for a, mask in zip(alphas, masks, strict=True)])
by_library = hsds.prune_step(alphas, masks, theta=0.05, top_p=2)
print("200 nodes, by hand as by the library:", torch.equal(by_hand, by_library))
print("pruned some and spared some:", 0 < int((masks != by_library).sum()) < 200)
tie = hsds.prune_step(torch.zeros(1, 11), torch.ones(1, 11, dtype=torch.bool), theta=0.5, top_p=2)
print("of 11 equal operations the last goes:", tie.tolist() == [[True] * 10 + [False]])

# %% [markdown]
# **Removed means renormalised.** The weights of a node are a softmax over what is left, so that whoever stays gains: if
# $k$ goes, every other weight is divided by $1 - m_k$. That can lift a weight above $\theta$ again, and pruning stops.
# Here are all removals in one node of the recorded search, by its weights after step 20, with $\theta = 0.07$:

# %%
before = torch.tensor(history[19]["node_mix"], dtype=torch.float64)[hsds.NODES.index("div")]
show(*pruning.node_cuts(before, theta=0.07, top_p=top_p))

# %% tags=["verdict"]
everything = torch.ones(1, 11, dtype=torch.bool)
after = hsds.prune_step(before.log()[None], everything, theta=0.07, top_p=2)[0]
gone = before[~after].sum()
renormalised = torch.where(after, before.log(), -torch.inf).softmax(0)
print("the others are divided by 1 - m_k:", torch.allclose(renormalised[after], before[after] / (1 - gone)))
print("below 0.07 at first:", int((before < 0.07).sum()))

# %% [markdown]
# **As written, line 8 need not end.** In the figure 7 operations are left, more than $P$, and none is below $\theta$.
# The body of the loop does nothing, the condition stays true, for ever. (Only above $\theta = 1/(P+1)$ is it sure to
# end: among $P + 1$ weights one is always below that.) The library removes at most one operation per
# node and step instead; the search itself is the loop. (The released code drops the threshold: after each epoch two
# operations go, whatever their weights, until three are left.)

# %% tags=["verdict"]
active, rounds = everything, 0
while int(active.sum()) > 2 and rounds < 1000:  # Algorithm 1 line 8, with an emergency brake
    active, rounds = hsds.prune_step(before.log()[None], active, theta=0.07, top_p=2), rounds + 1
print("rounds of line 8 before the brake:", rounds, "operations left:", int(active.sum()))

# %% [markdown]
# **How large may $\theta$ be?** The smallest of $n$ weights is at most $1/n$. So while $n > 1/\theta$ something is
# below $\theta$, whatever the search has found. With 11 operations that begins at $\theta = 1/11 = 0.091$: beyond,
# every node loses an operation in the first step that may prune, whether or not anything has been learned.

# %% tags=["verdict"]
near_start = 1e-3 * torch.randn(1000, 11, generator=rng)
full = torch.ones(1000, 11, dtype=torch.bool)
for theta in (0.05, 0.09, 0.1):
    pruned = int((hsds.prune_step(near_start, full, theta=theta, top_p=2) != full).sum())
    print(f"theta {theta}: {pruned} of 1000 nodes lose an operation though all weights are nearly equal")

# %% [markdown]
# ### Exercise 3.1
#
# Prune one node yourself, without looking up: `alpha` and `active` are `(11,)`; return the new mask. At most one
# operation goes, and of equally weak ones the last.


# %%
def my_prune(alpha, active, theta, top_p):
    return ...  # your code: a bool tensor of shape (11,)


# %% tags=["solution"]
def my_prune(alpha, active, theta, top_p):
    weights = alpha.masked_fill(~active, -torch.inf).softmax(0)
    lowest = weights[active].min()
    weakest = ((weights == lowest) & active).nonzero().max()
    kept = active.clone()
    kept[weakest] = bool(lowest >= theta) or int(active.sum()) <= top_p
    return kept


# %% tags=["verdict"]
check("3.1", my_prune)

# %% [markdown]
# ## Weight retention
#
# The second rule, Algorithm 1 line 15: at the end of the search every node keeps its $P$ strongest operations, *with*
# their weights, where DARTS keeps the strongest alone. The weights become $m_k / \sum_{j \in \text{top-}P} m_j$.


# %%
def retain_node(alpha, active, top_p):
    order = torch.where(active, alpha, -torch.inf).argsort(descending=True, stable=True)  # of equal ones the first
    kept = order[: min(top_p, int(active.sum()))]
    return torch.zeros_like(alpha).scatter(0, kept, alpha[kept].softmax(0))


# %% tags=["verdict"]
logits, alive = 2 * torch.randn(15, 11, generator=rng).double(), masks[:15]
rows = torch.stack([retain_node(a, mask, top_p) for a, mask in zip(logits, alive, strict=True)])
print("by hand as by the library:", torch.allclose(rows, hsds.retain(logits, alive, top_p=top_p, width=1.0).mix()))
m = logits[0].softmax(0)
two = retain_node(logits[0], everything[0], 2)
print("two weights divided by their sum:", torch.allclose(two[two > 0], m[two > 0] / m[two > 0].sum()))

# %% [markdown]
# The network that trains is *derived*: built anew from the genotype, the list of retained operations. Is that the same
# as cutting down the search network? Take a supernet, remove all that is not retained, copy what is left into the
# derived network, and compare every bit:

# %% tags=["verdict"]
from hsds_lib.runtime import seeded

with seeded(seed):
    supernet = hsds.Supernet(width=0.125).eval()
found = hsds.retain(logits, alive, top_p=top_p, width=0.125)
for place in hsds.NODES:
    for primitive in set(hsds.PRIMITIVES) - set(found.nodes[place]):
        supernet.remove(place, primitive)
derived = hsds.derive(found).eval()
derived.load_state_dict(supernet.state_dict())
pair = torch.rand(1, 2, 37, 50, generator=rng)
with torch.no_grad():
    same = torch.equal(derived(pair), supernet(pair, found.mix().float()))
print("pruned supernet and derived network, bit for bit:", same)

# %% [markdown]
# ### Exercise 3.2
#
# Retain the `top_p` largest of 11 *weights* (not logits), so that they sum to 1 again; the others become 0.


# %%
def my_retain(weights, top_p):
    return ...  # your code: a tensor of shape (11,)


# %% tags=["solution"]
def my_retain(weights, top_p):
    kept = torch.zeros_like(weights)
    best = weights.topk(top_p)
    kept[best.indices] = best.values
    return kept / kept.sum()


# %% tags=["verdict"]
check("3.2", my_retain)

# %% [markdown]
# ### Exercise 3.3
#
# Let `alpha` of one node stay as it is and prune again and again. How many operations are left when nothing changes any
# more? `alpha` is `(11,)`; all are active at first; return a whole number. (`prune_step` takes `alpha[None]`.)


# %%
def my_count(alpha, theta, top_p):
    return ...  # your code: a whole number


# %% tags=["solution"]
def my_count(alpha, theta, top_p):
    weights = alpha.softmax(0).sort(descending=True).values
    while len(weights) > top_p and weights[-1] < theta:
        weights = weights[:-1] / weights[:-1].sum()
    return len(weights)


# %% tags=["verdict"]
check("3.3", my_count)

# %% [markdown]
# ## $\theta$ and $P$ on a recorded search
#
# The record of the shipped model holds the weights of all active operations after every step. We can *replay* it with
# another $\theta$: same weights, other cuts. With its own $\theta$ the replay must give back what was recorded:


# %% tags=["verdict"]
def again(theta):
    return pruning.replay(history, theta=theta, top_p=top_p, from_epoch=recorded["prune_from_epoch"])


print("theta 0.05 gives back the record:", bool((again(recorded["theta"]) == plots.active_masks(history)).all()))
for theta in (0.05, 0.06, 0.07, 0.08):
    print(f"theta {theta}: {again(theta)[-1].sum()} operations left after {len(history)} steps")

# %% tags=["hero"]
options = {"top_p": top_p, "node": "i_2", "from_epoch": recorded["prune_from_epoch"], "features": label}
show(*pruning.replay_overview(history, thetas=(0.05, 0.06, 0.07, 0.08), **options))

# %% [markdown]
# Read the figure in three steps.
#
# - **Left above:** most goes soon after pruning begins, with the second epoch (shades tell the epochs apart). A larger
#   $\theta$ takes more.
# - **Right above:** nodes differ. At $\theta = 0.05$ three operations of $i_2$ are left, and ten of $x_3$ and $x_4$.
# - **Below:** node $i_2$. Its operation 1×1 dips when pruning begins; $\theta = 0.06$ and above would have cut it in
#   step 24. In the recorded search it stayed, and ended as the strongest of its node: a late bloomer. A larger
#   $\theta$ does not cut every operation sooner: one goes per step, and each removal lifts the weights of the others.

# %% tags=["verdict"]
row, column = hsds.NODES.index("i_2"), hsds.PRIMITIVES.index("conv_1x1")
print("strongest operation of i_2:", max(genotype.nodes["i_2"], key=genotype.nodes["i_2"].get))
for theta in (0.05, 0.06, 0.07):
    alive = again(theta)[:, row, column]
    print(f"1x1 in i_2, theta {theta}:", "stays" if alive[-1] else f"cut in step {alive.argmin() + 1}")

# %% [markdown]
# $P = 2$ made the second cut. How much of a node's weight do its two strongest hold at the end? If all eight or ten
# are nearly equal, little: then which two are retained is almost a matter of chance.

# %%
last = torch.tensor(history[-1]["node_mix"])
share = last.sort(dim=1, descending=True).values[:, :top_p].sum(dim=1)
alive = (last > 0).sum(dim=1)
rows = [(name, int(count), part) for name, count, part in zip(hsds.NODES, alive, share.tolist(), strict=True)]
Table(("node", "operations left", f"weight of the {top_p} strongest"), sorted(rows, key=lambda entry: entry[2]))

# %% tags=["verdict"]
print("nodes whose two strongest hold less than half of the weight:", int((last.topk(2).values.sum(1) < 0.5).sum()))
print("smallest share:", round(float(last.topk(2).values.sum(1).min()), 2), "of all-equal weights:", round(2 / 11, 2))

# %% [markdown]
# ## A replay is not a search
#
# The replay above holds the weights fixed. In a search they would have been others: whoever is removed no longer feeds
# the node, $\omega$ learns without it, the next gradient of $\alpha$ is another one. So search for real, three times,
# on the *same* batches from the *same* start; only $\theta$ differs. These searches are tiny (narrow network, small
# crops, a few steps; $\beta$ stays uniform, as only the structure is in question). They show what $\theta$ does, not
# which network is good.

# %%
small = hsds.PRESETS["tiny"].search.changed(
    seed=seed, width=0.125, crop=24, contrast="none", theta=0.0, top_p=top_p, prune_from_epoch=0
)
vgg = hsds.load_vgg16(small.features, seed=seed)
scenes, naturals = hsds.referenced_scenes(data, "train", seed=seed), hsds.load_naturals(data, "train", seed=seed)
shape = {"crop": small.crop, "batch_size": 2, "generator": torch.Generator().manual_seed(seed)}
streams = [hsds.Endless(hsds.PairBatches(half, naturals, **shape)) for half in hsds.halves(scenes, shape["generator"])]
batches = [(next(streams[0]), next(streams[1])) for _ in range(steps)]

# %%
searches = {theta: hsds.DualSearch(small.changed(theta=theta), vgg, device=nb.device) for theta in (0.0, 0.06, 0.08)}
for search in searches.values():
    for train, val in batches:
        search.step(train, val)

# %%
free = searches[0.0].history  # pruned nothing: every weight of every step is recorded
pruned = {theta: search.history for theta, search in searches.items() if theta}
show(*pruning.replay_against_search(free, pruned, top_p=top_p, features=vgg.label))

# %% tags=["verdict"]
played = {theta: pruning.replay(free, theta=theta, top_p=top_p) for theta in pruned}
real = {theta: plots.active_masks(pruned[theta]) for theta in pruned}
print("as many go in the first step:", all(played[theta][0].sum() == real[theta][0].sum() for theta in pruned))
print("others are left after the last:", all((played[theta][-1] != real[theta][-1]).any() for theta in pruned))
print("theta 0 keeps all:", free[-1]["n_active"] == len(hsds.NODES) * len(hsds.PRIMITIVES))

# %% [markdown]
# Up to the first cut replay and search are one (but for equal weights, which six recorded digits cannot tell apart);
# then they part. A figure of replays says what a rule *would cut from
# these weights*. Only a search says what $\theta$ does to a search.
#
# ### Searches to move through
#
# Here are longer searches, recorded: each $\theta$ is a search of its own, with three seeds, on the same batches. The
# loss weights stay equal in all of them, so that $\theta$ alone differs. Every network that $P = 1$, 2 or 3 retains at
# the end was trained in the same way and judged on scenes it never saw. Which nodes lose operations first? Do two
# values of $\theta$ agree about who survives? What do parameters and operations per pixel pay for?

# %%
from hsds_lib.course.explorers import thresholds
from hsds_lib.course.widgets import explore

explore(thresholds.explorer())

# %% [markdown]
# Mind what the two pictures are: first the search network itself at this step, with all operations that are left; then
# the network retained at the end of the search, trained. In the chart each ring is such a network; those of the state
# are filled. To explore a search of your own: `thresholds.explorer(run="runs/mine")`.
#
# Single states tempt to read more than there is. All ends of the recorded searches: what the search network worked, as
# a share of what it works without cuts, and MEF-SSIM of the trained networks, mean of three seeds ± half their range.

# %%
from hsds_lib.course.recording import FOLDER, read_recording

facts, _ = read_recording(FOLDER / "thresholds.zip")
last = max(state["step"] for state in facts["states"])
ends = {(state["theta"], state["seed"]): state for state in facts["states"] if state["step"] == last}
scored = {(one["theta"], one["top_p"], one["seed"]): one["scores"]["MEF-SSIM"] for one in facts["retained"]}
levels, draws = sorted({level for level, _ in ends}), sorted({number for _, number in ends})
groups = {(level, p): [scored[level, p, number] for number in draws] for level in levels for p in facts["top_ps"]}
worked = {level: sum(ends[level, number]["work"] for number in draws) / len(draws) for level in levels}
rows = [
    (thresholds.named(t), f"{worked[t]:.0%}", *(thresholds.spread(groups[t, p], 3) for p in facts["top_ps"]))
    for t in levels
]
Table(("θ", "work of the search", *(f"P = {p}" for p in facts["top_ps"])), rows)

# %% tags=["verdict"]
import numpy as np

for p in facts["top_ps"][1:]:
    ahead = [scored[level, p, number] > scored[level, p - 1, number] for level, number in ends]
    print(f"P = {p} ahead of P = {p - 1}: in {sum(ahead)} of {len(ahead)} searches")
for p in facts["top_ps"]:
    apart = np.ptp([np.mean(groups[level, p]) for level in levels])
    within = np.mean([np.ptp(groups[level, p]) for level in levels])
    print(f"P = {p}: means of θ are up to {apart:.3f} apart, seeds of one θ on average {within:.3f}")
print("baselines:", {name: round(found["MEF-SSIM"], 3) for name, found in facts["baselines"].items()})

# %% [markdown]
# **What $\theta$ buys is time.** The larger it is, the less a search works, down to a third. The trained networks of
# $P = 2$ and $P = 3$ do not differ by it: the means of the thresholds are about as far apart as the seeds of one.
# **What $P$ buys is safety.** After pruning, a single operation per node is often a bad choice. Two are not, and a
# third costs more and adds nothing beyond the scatter. Without pruning ($\theta = 0$) one operation was as good as
# two, so the quality that pruning costs is lost with $P = 1$ alone.
#
# That is said of these searches: 400 steps, a quarter of the width, three seeds, networks that were trained briefly.
# Those of $P = 2$ and 3 are ahead of the average, none is near Mertens, and a difference of .005 cannot be seen here.
#
# ## What do $\theta$ and $P$ cost?
#
# Parameters and multiply-accumulates (MACs) of a network are sums over its operations. One of them has
# $h \cdot w \cdot C_{\text{in}} \cdot C_{\text{out}}$ weights, and its batch normalisation two numbers for each output
# channel. It needs as many MACs per pixel as it has weights. Two nodes work at half resolution, on a quarter of the
# pixels; four are applied three times.

# %%
from hsds_lib.network.fusion_net import RETINEX_ITERATIONS, node_channels

channels = node_channels(1.0)  # the paper's: 16, 32 and 64
passes = {
    name: 1 / 4 if name in ("x_3", "y_3") else RETINEX_ITERATIONS if name[0] in "il" else 1 for name in hsds.NODES
}
taps = torch.tensor([kernel(name)[0] * kernel(name)[1] for name in hsds.PRIMITIVES])
weights = torch.stack([taps * channels[name][0] * channels[name][1] for name in hsds.NODES])  # (15, 11)
price = weights + 2 * torch.tensor([[channels[name][1]] for name in hsds.NODES])
work = weights * torch.tensor([[passes[name]] for name in hsds.NODES])

# %% [markdown]
# Two guides and the last convolution come on top. Proof against the networks themselves: PyTorch counts floating point
# operations, two for each MAC, and on the device `meta` tensors have a shape and no content, so that counting is quick.

# %% tags=["verdict"]
from torch.utils.flop_counter import FlopCounterMode

counted, summed = [], []
for p in (1, 2, 11):
    kept = hsds.retain(alphas[:15], torch.ones(15, 11, dtype=torch.bool), top_p=p, width=1.0)
    network = hsds.derive(kept).eval().to("meta")
    with FlopCounterMode(display=False) as counter:
        network(torch.empty(1, 2, 32, 32, device="meta"))
    numbers = sum(weight.numel() for weight in network.parameters())
    counted.append((numbers, counter.get_total_flops() / 2 / 32**2))
    summed.append((price[kept.mix() > 0].sum().item(), work[kept.mix() > 0].sum().item()))
rest = [{tuple(c - s for c, s in zip(*pair, strict=True))} for pair in zip(counted, summed, strict=True)]
print("counted minus summed is the same for P = 1, 2, 11:", rest[0] == rest[1] == rest[2])
print("parameters and MACs per pixel with all 11:", counted[-1][0], round(counted[-1][1]))

# %%
((extra_parameters, extra_macs),) = rest[0]


def cost(kept):  # a table of what is retained, bool (15, 11)
    return price[kept].sum().item() + extra_parameters, work[kept].sum().item() + extra_macs


def costs(alpha):
    everything = torch.ones(15, 11, dtype=torch.bool)
    return [cost(hsds.retain(alpha, everything, top_p=p, width=1.0).mix() > 0) for p in range(1, 12)]


curves = {"as searched (θ = 0)": costs(searches[0.0].alpha.detach().cpu())}
curves |= {"smallest kernels first": costs(-taps.expand(15, 11)), "largest kernels first": costs(taps.expand(15, 11))}

# %%
scattered = [costs(torch.randn(15, 11, generator=rng)) for _ in range(20)]
alive = {theta: torch.from_numpy(plots.active_masks(search.history)) for theta, search in searches.items()}
during = {f"θ = {theta:g}": [cost(kept)[1] for kept in masks] for theta, masks in alive.items()}
show(*retention.cost_curves(curves, scattered, during))

# %% tags=["verdict"]
parameters, macs = zip(*curves["as searched (θ = 0)"], strict=True)
print("P = 11 is the supernet:", parameters[-1] == sum(weight.numel() for weight in hsds.Supernet().parameters()))
small_two, large_two = (curves[f"{name} kernels first"][1][0] for name in ("smallest", "largest"))
print("parameters at P = 2, smallest and largest kernels:", small_two, large_two)
pruned_ends = (during["θ = 0.06"][-1], during["θ = 0.08"][-1])
print("pruning has made the search cheaper:", max(pruned_ends) < during["θ = 0"][-1])

# %% [markdown]
# $P$ sets how *many*, the search sets *which*, and which can matter more: at $P = 2$ the largest kernels have many
# times the parameters of the smallest. $\theta$ does not appear in the cost of the derived network at all, unless it
# changes which operations win. What it does save is the search: a removed operation is neither evaluated nor
# differentiated.

# %% [markdown]
# ### Exercise 3.4
#
# How many parameters has a node? `operations` is a list of names, `inputs` and `outputs` count channels.


# %%
def my_parameters(operations, inputs, outputs):
    return ...  # your code: a whole number


# %% tags=["solution"]
def my_parameters(operations, inputs, outputs):
    taps = sum(kernel(name)[0] * kernel(name)[1] for name in operations)
    return taps * inputs * outputs + 2 * outputs * len(operations)


# %% tags=["verdict"]
check("3.4", my_parameters)

# %% [markdown]
# ## Why not just DARTS?
#
# DARTS searches with all operations and then keeps one. The network that was searched is not the network that is
# built, and its weights were never trained alone: the *discretisation gap*. Measure it. Take the supernets of the three
# searches, leave out all but the $P$ strongest, copy $\omega$, train nothing, and compare the outputs.

# %%
from hsds_lib.network.operations import batch_statistics, softmax_active

test = next(iter(hsds.PairBatches(scenes, naturals, crop=32, batch_size=2, generator=torch.Generator(), augment=False)))
pair = test.over_under_y.to(nb.device)


def output(network, mix=None):
    with torch.no_grad(), batch_statistics(network):
        return network(pair, mix)


whole = {theta: output(search.network, search.node_mix().detach()) for theta, search in searches.items()}


# %%
def gap(theta, kept):
    network = hsds.derive(kept).to(nb.device)
    missing = network.load_state_dict(searches[theta].network.state_dict(), strict=False).missing_keys
    assert not missing  # what the derived network does not have is left out
    return 255 * (output(network) - whole[theta]).square().mean().sqrt().item()


def gap_at(theta, p):
    search = searches[theta]
    return gap(theta, hsds.retain(search.alpha.cpu(), search.active.cpu(), top_p=p, width=small.width))


# %%
def held(theta, p):  # share of the weights that the P strongest hold, mean over the nodes
    return searches[theta].node_mix().detach().cpu().topk(p).values.sum(dim=1).mean().item()


def drawn(p):
    order = torch.rand(15, 11, generator=rng).argsort(dim=1)
    mix = softmax_active(searches[0.0].alpha.detach().cpu().double(), order < p)
    return gap(0.0, hsds.Genotype.from_mix(mix, width=small.width))


# %%
places = range(1, 12)
gaps = {f"θ = {theta:g}": [gap_at(theta, p) for p in places] for theta in searches}
mass = {f"θ = {theta:g}": [held(theta, p) for p in places] for theta in searches}
by_chance = torch.tensor([[drawn(p) for p in places] for _ in range(3)]).numpy()
show(*retention.gap_curves(gaps, mass, by_chance, features=vgg.label))

# %% tags=["verdict"]
print("nothing left out, nothing lost:", gaps["θ = 0"][-1] < 0.01)
print("one operation instead of eleven changes the picture by more than a gray level:", gaps["θ = 0"][0] > 1)
print("pruning during the search leaves less to cut at its end:", mass["θ = 0.08"][1] > mass["θ = 0"][1])

# %% [markdown]
# The left figure says why: after a few steps the weights are still far from a decision, so that one operation of eleven
# holds a small share of a node, and the rest of the node is thrown away with the others. Keeping more narrows the gap;
# pruning during the search leaves less to throw away at its end, and need not narrow the gap at $P = 1$ (compare the
# curves). Operations drawn at random, the gray band, hold less of the weight, and most of them are
# farther from the supernet. But close to the supernet is not yet good: which of these networks is best after a
# *whole* search and a training, eight steps do not tell.
#
# Other failures of DARTS are known from the literature:
#
# - **Skip connections take over** (Zela et al. 2020; Chu et al. 2020; Liang et al. 2019): an operation without weights
#   needs no training, is ahead early, and wins. There is none among our 11; whether small kernels, which have
#   fewer weights to learn, have a similar advantage here, no figure of this notebook says.
# - **Weight is not worth** (Wang et al. 2021): the operation of the largest weight need not be the one whose
#   removal hurts most. The race above is one reason: Adam counts how often an operation was ahead.
# - **Pruning by a threshold during the search** is also older than WSRAS: ASAP (Noy et al. 2020) prunes while it lowers
#   a temperature, P-DARTS (Chen et al. 2019) in stages, both to narrow the gap.
#
# ## Seven conditions
#
# Table 3 takes the method apart. Each condition is a setting or two; `hsds.ablation(config, name)` makes it. Three of
# the seven change $\theta$ or $P$, three the judge of the loss ([notebook 5](05_dual_search.ipynb)), and *ours*
# nothing:

# %%
settings = {name: hsds.ablation(hsds.SearchConfig(), name) for name in hsds.ABLATIONS}
printed = hsds.table3()
fields = ("theta", "top_p", "contrast")
rows = [(n, *(getattr(c, f) for f in fields), printed[n]["SD"], printed[n]["MEF-SSIM"]) for n, c in settings.items()]
Table(("condition of Table 3", "θ", "P", "judge of the loss", "printed SD", "printed MEF-SSIM"), rows)

# %% tags=["verdict"]
varied = [
    n for n, c in settings.items() if (c.theta, c.top_p) != (hsds.SearchConfig().theta, hsds.SearchConfig().top_p)
]
print("conditions:", len(settings), "and those with another theta or P:", ", ".join(varied))
small_darts = {"theta": 0.0, "top_p": 1}
print("DARTS is theta 0 and P 1:", hsds.ABLATIONS["DARTS"] == small_darts)

# %% [markdown]
# The values of $\theta$ and $P$ are not in the paper; 0.05 and 2 are this course's. So *ours* of the table can be run
# here in kind, not in number. And note: the printed MEF-SSIM is best for *only WR*, which prunes nothing.
#
# ## Beyond the paper: a budget
#
# Neither $\theta$ nor $P$ knows what an operation costs. So give the search a budget $B$ in MACs per pixel, and let
# $\alpha$ pay for what its mixture exceeds it by. This is not in the paper, and off by default. $\alpha$ descends
#
# $$ L_\text{val} + \lambda \max\!\Big(0,\; \frac{E(m)}{B} - 1\Big), \qquad
#    E(m) = P \sum_{i=1}^{15} \sum_{k=1}^{11} m_{ik}\, c_{ik} + c_0, $$
#
# where $c_{ik}$ is what operation $k$ costs in node $i$, $c_0$ what the guides and the last convolution do, and
# $\lambda = 0.1$ unless set. $E(m)$ is the expected cost of a network that draws $P$ operations for each node by their
# weights.

# %%
from hsds_lib.network.budget import expected_macs, least_macs, operation_macs, over_budget

prices = operation_macs(1.0)
show(*retention.price_map(prices.numpy()))

# %% [markdown]
# Above the budget the slope of $E$ is $\partial E / \partial \alpha_{ik} = P\, m_{ik} (c_{ik} - \sum_j m_{ij} c_{ij})$:
# what costs more than its node on average is pushed down. Within the budget the slope is zero: $\alpha$ then follows
# the loss alone.

# %% tags=["verdict"]
a, at = torch.randn(15, 11, generator=rng).double().requires_grad_(), {"width": 1.0, "top_p": 2}
m, E = a.softmax(1), expected_macs(a.softmax(1), **at)
formula = 2 * m * (prices - (m * prices).sum(1, keepdim=True))
print("prices are the sums from above:", torch.equal(prices, work.double()))
print("the formula is autograd's slope:", torch.allclose(torch.autograd.grad(E, a)[0], formula, rtol=1e-9))
within = torch.autograd.grad(over_budget(a.softmax(1), budget=E.item(), **at), a)[0]
print("slope within the budget is zero:", not within.any())
dearest = prices.topk(2).values.sum().item() + extra_macs
print("cheapest and dearest network of P = 2, MACs per pixel:", round(least_macs(1.0, top_p=2)), round(dearest))

# %% [markdown]
# **What is expected is not what you get.** A mixture holds a little of everything; the derived network holds the $P$
# strongest operations whole, and nothing of the others. Here are both for the recorded searches of the explorer above,
# at their ends: none of them had a budget.

# %%
trained = [one for one in facts["retained"] if one["seed"] == 0]
bills = []
for one in trained:
    end = ends[one["theta"], 0]
    kept = thresholds.kept_of(end, one["top_p"], facts["width"])
    mean = expected_macs(torch.tensor(end["mix"]), width=kept.width, top_p=one["top_p"]).item()
    bills.append((round(one["theta"], 3), one["top_p"], round(mean), round(hsds.genotype_macs(kept))))
Table(("θ", "P", "expected MACs per pixel", "those of the derived network"), bills)

# %% tags=["verdict"]
print("as many as torch counted for the record:", [bill[3] for bill in bills] == [one["macs"] for one in trained])
ratios = sorted(bill[3] / bill[2] for bill in bills)
print("derived / expected: from", round(ratios[0], 2), "to", round(ratios[-1], 2))

# %% [markdown]
# Now the search with $\theta = 0$ from above once more, same start and same batches, with a budget halfway between the
# cheapest network and the even mixture that a search starts with:

# %%
priced = {"width": small.width, "top_p": top_p}
start_macs = expected_macs(torch.full((15, 11), 1 / 11), **priced).item()
budget = round((least_macs(**priced) + start_macs) / 2)
charged = hsds.DualSearch(small.changed(mac_budget=budget), vgg, device=nb.device)
for train, val in batches:
    charged.step(train, val)
both = {"no budget": searches[0.0], "budget": charged}
course = {n: [expected_macs(torch.tensor(r["node_mix"]), **priced).item() for r in s.history] for n, s in both.items()}
bill = {name: hsds.genotype_macs(search.genotype()) for name, search in both.items()}
show(*retention.budget_curves(course, bill, budget=budget, features=vgg.label))

# %% tags=["verdict"]
print("expected cost ends within 10 % of the budget:", abs(course["budget"][-1] / budget - 1) < 0.1)
print(f"cost of the derived network, with a budget / without: {bill['budget'] / bill['no budget']:.2f}")
print("and the derived network stays below the budget:", bill["budget"] < budget)
kernels = {name: taps[(search.genotype().mix() > 0).nonzero()[:, 1]].double().mean() for name, search in both.items()}
print("its kernels have fewer weights on average:", bool(kernels["budget"] < kernels["no budget"]))

# %% [markdown]
# The budget acts on the mixture, and the mixture comes to it. The derived network costs still less here: the strongest
# operations of its nodes now have smaller kernels. As the table shows, a network can also cost more than expected. So
# look at its own MACs, and search again with another budget if they do not suit you. What the cheaper network does to
# pictures, eight steps do not tell.
#
# ## What we measured

# %%
kept = int((genotype.mix() > 0).sum())
whole = len(hsds.NODES) * len(hsds.PRIMITIVES)
together = {theta: int((played[theta][-1] & real[theta][-1]).sum()) for theta in pruned}
rows = [
    ("operations of the recorded search: start, end, network", f"{whole}, {history[-1]['n_active']}, {kept}"),
    ("the same search replayed with θ = 0.08", f"{again(0.08)[-1].sum()} left"),
    (f"smallest share that the {top_p} strongest of a node hold there", f"{share.min():.2f}"),
    *((f"short search, θ = {t:g}: operations left", f"{h[-1]['n_active']}") for t, h in pruned.items()),
    *((f"of these, left in its replay too, θ = {t:g}", f"{count}") for t, count in together.items()),
    ("parameters at P = 1, 2, 11 (width 1)", ", ".join(f"{parameters[p - 1]:,}" for p in (1, 2, 11))),
    *((f"gap at P = 1 and 2, {name}, gray levels", f"{g[0]:.1f}, {g[1]:.1f}") for name, g in gaps.items()),
    *((f"{n}: MACs per pixel, expected and derived", f"{course[n][-1]:,.0f}, {bill[n]:,.0f}") for n in both),
]

# %%
from hsds_lib.course.tables import headline

numbers = {"operations retained": kept, "smallest share of the strongest": float(share.min())}
numbers |= {f"left, θ = {t:g}": int(h[-1]["n_active"]) for t, h in pruned.items()}
headline(numbers, Table(("what", "value"), rows))

# %% [markdown]
# ## Recap
#
# - A node is a weighted sum of 11 convolutions whose weights compete in a softmax; Adam makes leads of any size
#   grow alike.
# - $\theta$ cuts during the search, at most one operation per node and step, and the others gain. It saves computing
#   and changes the course of the search. $P$ cuts at the end, and sets what the network costs.
# - A pruned supernet *is* the derived network, bit for bit. What $P$ leaves out of an unpruned one is missing.
# - Beyond the paper, a budget lets $\alpha$ pay for MACs: for those its mixture expects, not for those of the network.
#
# **Pitfalls**
#
# - $\theta > 1/11$ prunes in the first step that may prune, whatever has been learned.
# - Algorithm 1 line 8 as written loops for ever once no weight is below $\theta$ and more than $P$ operations are left,
#   which for $\theta \le 1/(P+1)$ can happen.
# - A replay on recorded weights is not a search with another $\theta$.
# - The strongest two of eleven nearly equal operations are a draw, not a finding. Look at the weights.
#
# **Further reading**
#
# - Wu, Fu, Liu, Ma, Fan and Liu: *Hybrid-Supervised Dual-Search: Leveraging Automatic Learning for Loss-free
#   Multi-Exposure Image Fusion*, AAAI 2024: the section on WSRAS.
# - Liu, Simonyan and Yang: *DARTS: Differentiable Architecture Search*, ICLR 2019.
# - Zela, Elsken, Saikia, Marrakchi, Brox and Hutter: *Understanding and Robustifying Differentiable Architecture
#   Search*, ICLR 2020.
# - Wang, Cheng, Chen, Tang and Hsieh: *Rethinking Architecture Selection in Differentiable
#   NAS*, ICLR 2021.
# - Chu, Zhou, Zhang and Li: *Fair DARTS: Eliminating Unfair Advantages in Differentiable Architecture Search*,
#   ECCV 2020.
# - Liang, Zhang, Sun, He, Huang, Zhuang and Li: *DARTS+: Improved Differentiable Architecture Search with Early
#   Stopping*, arXiv 2019.
# - Noy, Nayman, Ridnik, Zamir, Doveh, Friedman, Giryes and Zelnik: *ASAP: Architecture Search, Anneal and Prune*,
#   AISTATS 2020.
# - Chen, Xie, Wu and Tian: *Progressive Differentiable Architecture Search*, ICCV 2019.
#
# **Next:** [4 · Hybrid contrast](04_hybrid_contrast.ipynb): who judges the loss.

# %%
nb.colophon(features=vgg.label)
