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
# # 8 · Ablations: what does each part buy?
#
# **Promise.** You take the method apart as Table 3 of the paper does, look at what each part changes, and learn to tell
# what a part buys from what a seed buys.
#
# **Time** half a minute of computing, forty minutes of reading · **Needs** a CPU, no download ·
# **Before this** [5 · Dual search](05_dual_search.ipynb) for the search, [7 · Evaluation](07_evaluation.ipynb) for the
# metrics.

# %% [markdown]
# **You will**
#
# - derive from the settings which parts the seven conditions of Table 3 switch off, and which comparisons that allows;
# - run one condition yourself, and find the run in a recorded study of seven conditions and several seeds;
# - put an interval around a mean over seeds, and say how many seeds a difference needs;
# - compute what reporting the best of several runs is worth when nothing was improved.

# %% tags=["parameters"]
preset: str = "tiny"  # tiny | lesson | paper; the search that is run here has this size
data: str = "embedded"  # of the search that is run here: embedded, a data set in HSDS_DATA, or a folder
seed: int = 0  # of the search that is run here
condition: str = "only PR"  # the condition that is run here
runs: str = ""  # a recorded study (zip) to read; empty: the one that ships
metric: str = "MS-SSIM"  # what the study is judged by: SD, VIF, CC, TMQI, MS-SSIM, MEF-SSIM, Qabf, ...
device: str = "auto"  # auto (the CPU for tiny, else the best there is) | cpu | cuda | mps

# %%
import numpy as np
import torch

import hsds_lib as hsds
from hsds_lib.course import pictures, plots
from hsds_lib.course.checks import check
from hsds_lib.course.figures import ablation_pictures
from hsds_lib.course.session import start
from hsds_lib.course.show import show
from hsds_lib.course.tables import Table

nb = start(preset, notebook="08_ablations", data=data, seed=seed, device=device)

# %% [markdown]
# ## The question
#
# Table 3 takes the method apart: each row lacks something. Below, the printed numbers as differences to the whole
# method, in per cent. One row beats it in one column. Is that a discovery, or noise? The paper prints one number for
# each cell, so the table itself cannot say.

# %%
printed = hsds.table3()
show(*ablation_pictures.printed_gaps(printed))

# %% tags=["verdict"]
ours = printed["ours"]
ahead = [(name, m) for name, row in printed.items() for m in row if name != "ours" and row[m] > ours[m]]
print("conditions besides the whole method:", len(printed) - 1, "metrics:", len(ours))
print("ahead of the whole method:", ahead)
smallest = min(abs(row[m] - ours[m]) for name, row in printed.items() if name != "ours" for m in ("TMQI", "MEF-SSIM"))
print("smallest printed difference in TMQI or MEF-SSIM:", round(smallest, 3))

# %% [markdown]
# ### Exercise 8.1
#
# By how many per cent is `ours` better than `other`?


# %%
def my_gain(ours, other):
    return ...  # your code: a number, in per cent


# %% tags=["solution"]
def my_gain(ours, other):
    return 100 * (ours / other - 1)


# %% tags=["verdict"]
check("8.1", my_gain)

# %% [markdown]
# ## What is switched off
#
# A condition is the whole method with one or two settings changed. Do not trust names, read the settings:
# `contrast` is who judges the loss (hybrid: $\Gamma_R + \Gamma_N$; none: $\beta$ is not searched and stays uniform),
# `theta` the threshold of pruning refinement (0: nothing is pruned), `top_p` the $P$ of weight retention (1: the
# strongest operation alone, as in DARTS).

# %%
whole = nb.search
conditions = {name: hsds.ablation(whole, name) for name in hsds.ABLATIONS}
fields = ("contrast", "theta", "top_p")
changed = {name: [f for f in fields if getattr(c, f) != getattr(whole, f)] for name, c in conditions.items()}
rows = [(name, *(getattr(c, f) for f in fields), ", ".join(changed[name])) for name, c in conditions.items()]
Table(("condition of Table 3", *fields, "changed"), rows)

# %% tags=["verdict"]
print("conditions that change one setting:", sum(len(names) == 1 for names in changed.values()))
print("the one that changes two:", [name for name, names in changed.items() if len(names) == 2])
rest = [c.changed(**{f: getattr(whole, f) for f in fields}) == whole for c in conditions.values()]
print("nothing else differs:", all(rest))

# %% [markdown]
# So Table 3 is two small experiments with a common row. *Who judges the loss?* Four conditions on one axis. *What
# happens to the structure?* Pruning on or off, times one or several operations: a complete 2 × 2 design, where the
# effect of pruning can be read twice, with $P = 1$ (only PR against DARTS) and with $P > 1$ (ours against only WR).

# %%
cells = {(False, False): "DARTS", (True, False): "only PR", (False, True): "only WR", (True, True): "ours"}
effects = []
for name in ours:
    value = {key: printed[label][name] for key, label in cells.items()}
    single, several = value[True, False] - value[False, False], value[True, True] - value[False, True]
    retention = (value[False, True] - value[False, False], value[True, True] - value[True, False])
    effects.append((name, single, several, *retention))
header = ("printed effect on", "pruning, P = 1", "pruning, P > 1", "retention, no pruning", "retention, pruning")
Table(header, effects)

# %% tags=["verdict"]
opposite = [row[0] for row in effects if row[1] * row[2] < 0]
print("pruning helps with one P and hurts with the other in:", opposite or "none")
print("retention helps in every column without pruning:", all(row[3] >= 0 for row in effects))
print("and with pruning:", all(row[4] >= 0 for row in effects))

# %% [markdown]
# If the two effects of pruning have opposite signs, "pruning buys so much" is not a sentence one can say: its effect
# depends on $P$. And what the design cannot show: loss search *without* architecture search is not in the table, and
# parts that share a setting cannot be separated. One thing more differs between rows: the *size* of the network.
#
# ## Run one
#
# One condition, for real, at the size of the preset.

# %%
from hsds_lib.course.recording import FOLDER, RECORDED_STUDIES, SEEDS, read_recording

facts, stored = read_recording(runs or FOLDER / "ablations.zip")
small = RECORDED_STUDIES["tiny"].search.changed(seed=seed, data=data) if preset == "tiny" else whole
mine = hsds.run_search(hsds.ablation(small, condition), device=nb.device, show=False)

# %% tags=["verdict"]
kept = [len(operations) for operations in mine.genotype.nodes.values()]
wanted = hsds.ablation(small, condition)
print("operations in every node:", set(kept) == {wanted.top_p})
print("operations were pruned:", not bool(mine.search.active.all()), "as theta > 0 says:", wanted.theta > 0)
mix = torch.tensor(list(mine.loss_weights.mix.values()))
print(
    "the loss was searched:",
    bool((mix - mix.mean()).abs().max() > 1e-6),
    "as the contrast says:",
    wanted.contrast != "none",
)

# %% [markdown]
# Now the study: seven conditions, several seeds, each a search of 30 steps and a training of 100 on embedded scenes,
# recorded by `python -m notebooks.tools.recordings.ablations`. **These runs are tiny.** They show what each condition
# does and how far seeds scatter; they cannot confirm or refute Table 3. The training leaves out the three perceptual
# terms, and the four validation scenes are simulated from *one* photograph: whatever is found holds for it alone. On
# the machine that recorded it, your run above is one of them, operation by operation:

# %%
study_runs = {(run["condition"], run["seed"]): run for run in facts["runs"]}
seeds = sorted({number for _, number in study_runs})
twin = study_runs.get((condition, seed))
if twin is not None:
    ops = [{n: set(o) for n, o in nodes.items()} for nodes in (twin["genotype"], mine.genotype.nodes)]
    print("nodes with the same operations as the recorded run:", sum(ops[0][n] == ops[1][n] for n in ops[0]), "of 15")
first = {
    name: hsds.Genotype(nodes=study_runs[name, seeds[0]]["genotype"], width=small.width) for name in ("ours", "DARTS")
}
show(*plots.genotype_maps(first, features=facts["features"]))

# %% tags=["verdict"]
searched = RECORDED_STUDIES["tiny"].search
for name in hsds.ABLATIONS:
    found = [study_runs[name, number] for number in seeds]
    rule = hsds.ablation(searched, name)
    sizes = all(run["operations"] == len(hsds.NODES) * rule.top_p for run in found)
    cut = all((run["operations_left"] < len(hsds.NODES) * len(hsds.PRIMITIVES)) == (rule.theta > 0) for run in found)
    uniform = all(max(run["loss_mix"].values()) - min(run["loss_mix"].values()) < 1e-5 for run in found)
    print(
        f"{name}: size, pruning and loss are as its settings say:",
        sizes and cut and uniform == (rule.contrast == "none"),
    )

# %% [markdown]
# ### Which losses?
#
# The mean loss weights of each condition. Where nobody judges, all stay equal. DARTS and "only WR" have the same ones:
# neither prunes, and $P$ counts after the search only, so both are read from one and the same search. Do the judges
# agree?

# %%
mixes = {}
for name in hsds.ABLATIONS:
    found = [study_runs[name, number]["loss_mix"] for number in seeds]
    mixes[name] = {term: float(np.mean([weights[term] for weights in found])) for term in found[0]}
show(*ablation_pictures.loss_mixes(mixes, features=facts["features"]))

# %% [markdown]
# ### What does it cost?
#
# An ablation should change one thing. But a condition that retains one operation per node has a smaller network than
# one that retains two: part of what Table 3 calls the effect of retention may be the effect of size. The comparison of
# judges is not free of it either: two operations per node may be two small kernels or two large ones.

# %%
costs = []
for name in hsds.ABLATIONS:
    found = [study_runs[name, number] for number in seeds]
    costs.append(
        (name, found[0]["operations"], *(float(np.mean([run[k] for run in found])) for k in ("parameters", "macs")))
    )
Table(("condition", "operations", "parameters, mean", "MACs per pixel, mean"), costs)

# %% tags=["verdict"]
size = {name: parameters for name, _, parameters, _ in costs}
print("DARTS and only PR have smaller networks than ours:", max(size["DARTS"], size["only PR"]) < size["ours"])
alike = [parameters for _, operations, parameters, _ in costs if operations == 30]
print(
    "of the conditions with 30 operations, the largest network has", f"{max(alike) / min(alike):.2f} x the smallest's"
)

# %% [markdown]
# ## How sure is a mean over seeds?
#
# A run is one draw: other initial weights, other crops, another genotype. The mean $\bar x$ of $n$ runs with standard
# deviation $s$ (with $n - 1$) has the interval
#
# $$ \bar x \pm t_{n-1}\, \frac{s}{\sqrt{n}}, $$
#
# where $t_{n-1}$ is the quantile of Student's distribution, 4.30 for three runs and 95 %.

# %%
from scipy import stats


def run_score(run, metric=metric):  # the mean over the validation scenes
    return float(np.mean([scores[metric] for scores in run["scores"].values()]))


def half_width(values):
    s = np.std(values, ddof=1)
    return stats.t.ppf(0.975, len(values) - 1) * s / np.sqrt(len(values))


values = {name: [run_score(study_runs[name, number]) for number in seeds] for name in hsds.ABLATIONS}
widths = {name: half_width(found) for name, found in values.items()}

# %% tags=["hero"]
show(*ablation_pictures.seed_dots(values, widths, metric=metric, features=facts["features"]))

# %% tags=["verdict"]
check_values = values["ours"]
low, high = stats.t.interval(0.95, len(check_values) - 1, np.mean(check_values), stats.sem(check_values))
print("the interval by hand is scipy's:", np.isclose(high - low, 2 * half_width(check_values)))
print("conditions:", len(values), "seeds of each:", len(seeds))

# %% [markdown]
# An interval may reach beyond 1, the best score there is: Student's formula knows nothing of that limit, and three
# runs tell little. Read the figure before the next cell. How many of the intervals overlap? Then the differences to
# the whole method, *paired* by seed (the same data order, the same initial supernet). Pairing can remove scatter that
# the two runs of a pair share. The last column shows how much is left of what independent runs would have,
# $\sqrt{s_1^2 + s_2^2}$: near 1, pairing bought nothing; above 1, it did harm.


# %%
def against_ours(values):
    for name in [name for name in hsds.ABLATIONS if name != "ours"]:
        gaps = np.array(values[name]) - np.array(values["ours"])
        width = half_width(gaps)
        left = gaps.std(ddof=1) / np.hypot(*(np.std(values[each], ddof=1) for each in (name, "ours")))
        apart = "yes" if abs(gaps.mean()) > width else "no"
        yield name, float(gaps.mean()), float(width), apart, float(left)


paired = list(against_ours(values))
heads = ("condition minus ours", f"mean, {metric}", "half-width, 95 %", "apart from 0?", "scatter left by pairing")
Table(heads, paired)

# %% [markdown]
# With six comparisons one may be "apart from 0" by luck: at 5 % each, the chance that at least one is wrong would be
# $1 - 0.95^6$ if they were independent. They are not, as all six share the runs of ours. (Bonferroni needs no
# independence: ask each at $0.05 / 6$.) And the printed differences of Table 3 should be held against the
# scatter of *such* numbers, of which the paper prints none.

# %% tags=["verdict"]
print("chance of at least one false alarm in six independent ones:", round(1 - 0.95**6, 2))
print(
    "t quantile for 3 runs at 95 %:",
    round(stats.t.ppf(0.975, 2), 2),
    "and with Bonferroni:",
    round(stats.t.ppf(1 - 0.025 / 6, 2), 2),
)

# %% [markdown]
# ### Exercise 8.2
#
# The half-width of the interval of a mean: `values` are runs, `t` is the quantile.


# %%
def my_half_width(values, t):
    return ...  # your code: a number


# %% tags=["solution"]
def my_half_width(values, t):
    deviations = values - values.mean()
    s = (deviations.square().sum() / (len(values) - 1)).sqrt()
    return t * s / len(values) ** 0.5


# %% tags=["verdict"]
check("8.2", my_half_width)

# %% [markdown]
# ### Exercise 8.3
#
# How many seeds make the half-width at most `wanted`, if runs scatter with the standard deviation `spread`? Use 1.96
# for $t$, which is right for many seeds.


# %%
def my_seeds(spread, wanted):
    return ...  # your code: a whole number


# %% tags=["solution"]
def my_seeds(spread, wanted):
    return int(np.ceil((1.96 * spread / wanted) ** 2))


# %% tags=["verdict"]
check("8.3", my_seeds)

# %%
spread = float(np.mean([np.std(found, ddof=1) for found in values.values()]))
needs = [(f"{wanted:g}", int(np.ceil((1.96 * spread / wanted) ** 2))) for wanted in (0.05, 0.02, 0.01, 0.005)]
Table((f"half-width in {metric}", f"seeds needed here, where runs scatter by {spread:.3f}"), needs)

# %% [markdown]
# ## The same on photographs
#
# A second, larger study is recorded: the same conditions and seeds, searched on real pairs of exposures with 48 steps
# (the preset `lesson` has 120), trained with 200, and judged on validation scenes that neither saw. It too is far from
# the paper's size, and its VGG features are random. `python -m notebooks.tools.recordings.ablations photographs` makes
# it where the photographs are; they are not part of the course, so the pictures below are of an embedded scene.

# %%
photographs = RECORDED_STUDIES["photographs"]
larger, prints = read_recording(FOLDER / photographs.file)
real_runs = {(run["condition"], run["seed"]): run for run in larger["runs"]}
judge = metric if metric in photographs.metrics else "MS-SSIM"
real = {name: [run_score(real_runs[name, number], judge) for number in SEEDS] for name in hsds.ABLATIONS}
real_widths = {name: half_width(found) for name, found in real.items()}
show(*ablation_pictures.seed_dots(real, real_widths, metric=judge, features=larger["features"]))

# %%
real_paired = list(against_ours(real))
Table(("condition minus ours", f"mean, {judge}", *heads[2:]), real_paired)

# %% tags=["verdict"]
print("validation scenes:", len(larger["runs"][0]["scores"]), "runs:", len(larger["runs"]))
means = {name: (np.mean(values[name]), np.mean(real[name])) for name in hsds.ABLATIONS}
tau = stats.kendalltau(*zip(*means.values(), strict=True)).statistic
print(f"agreement of the two studies on the order of the conditions (Kendall's tau): {tau:.2f}")
print("apart from 0:", [row[0] for row in real_paired if row[3] == "yes"] or "none")

# %% [markdown]
# What happened on the way? The operations that are still alive, step by step: conditions that prune, seed by seed.
# `ours` and `only PR` differ after the search alone, so their lines lie on each other.

# %%
courses = {key: run["search_log"]["n_active"] for key, run in real_runs.items()}
show(*ablation_pictures.pruning_courses(courses, features=larger["features"]))

# %% [markdown]
# ## The best of several
#
# "We report the best of three runs." What is that worth if all runs are draws of one and the same thing? For a normal
# distribution the expected best of $n$ is
#
# $$ \mathbb{E}\max_{i \le n} x_i = \int x\, n\, \Phi(x)^{n-1} \varphi(x)\, dx $$
#
# standard deviations above the mean. Summed on a grid, and by simulation:

# %%
grid = np.linspace(-8, 8, 4001)
density, below = stats.norm.pdf(grid), stats.norm.cdf(grid)
expected = [float((grid * n * below ** (n - 1) * density).sum() * (grid[1] - grid[0])) for n in range(1, 11)]
show(*ablation_pictures.best_of_curve(expected, unit="standard deviations"))

# %% tags=["verdict"]
rng = np.random.default_rng(0)
drawn = rng.standard_normal((200_000, 3)).max(axis=1).mean()
print("best of 3 by integral and by simulation agree:", abs(expected[2] - drawn) < 0.01)
print("best of 1, 2, 3, 10:", [round(expected[n - 1], 2) for n in (1, 2, 3, 10)])

# %% [markdown]
# The best of three is 0.85 standard deviations of pure luck. The fair number from $n$ recorded runs is the *expected*
# best of $k$: order them, $x_{(1)} \le \dots \le x_{(n)}$, then
#
# $$ \sum_{i=1}^{n} x_{(i)} \binom{i-1}{k-1} \Big/ \binom{n}{k}. $$
#
# ### Exercise 8.4
#
# That formula.


# %%
def my_best_of(values, k):
    return ...  # your code: a number


# %% tags=["solution"]
def my_best_of(values, k):
    from math import comb

    ordered = values.sort().values
    ways = torch.tensor([comb(i, k - 1) for i in range(len(values))], dtype=values.dtype)
    return (ordered * ways).sum() / comb(len(values), k)


# %% tags=["verdict"]
check("8.4", my_best_of)

# %% [markdown]
# ## Look
#
# Pictures of one validation scene, by the networks of the first seed. Compare any two.

# %%
from io import BytesIO

from PIL import Image


def picture(run, stored=stored):
    pixels = np.array(Image.open(BytesIO(stored[run["picture"]])).convert("RGB"))
    return torch.from_numpy(pixels).permute(2, 0, 1) / 255


album = {name: picture(study_runs[name, seeds[0]]) for name in hsds.ABLATIONS}
captions = {name: f"{metric} {run_score(study_runs[name, seeds[0]]):.3f}" for name in album}
show(*pictures.picture_row(album, captions, title=f"Scene {facts['scene']}, seed {seeds[0]}", columns=4))

# %%
from hsds_lib.course.explorers import compare
from hsds_lib.course.widgets import explore

shot = next(scene for scene in hsds.load_scenes("embedded", "val", seed=0) if scene.name == facts["scene"])
explore(compare.explorer({"under": shot.under, "over": shot.over, **album}))

# %% [markdown]
# And by the networks of the larger study, arranged as the paper's Figures 5 (who judges the loss) and 6 (what happens
# to the structure), each with a part enlarged. The scene is an embedded one, of a photograph that none of them saw.

# %%
figures = {
    "Who judges the loss": ("w/o Gamma_H", "only Gamma_R", "only Gamma_N", "ours"),
    "What happens to the structure": ("only PR", "only WR", "DARTS", "ours"),
}
rows, columns = slice(20, 100), slice(80, 160)


def enlarged(image):  # a part, as large as the whole
    return torch.nn.functional.interpolate(image[None, :, rows, columns], image.shape[1:])[0]


# %%
for title, names in figures.items():
    large = {name: picture(real_runs[name, SEEDS[0]], prints) for name in names}
    parts = {f"{name}, enlarged": enlarged(image) for name, image in large.items()}
    notes = {name: f"mean {judge} {np.mean(real[name]):.3f}" for name in names}
    heading = f"{title}: scene {larger['scene']}, seed {SEEDS[0]}"
    show(*pictures.picture_row(large | parts, notes, title=heading, columns=4))

# %% [markdown]
# ## What we measured

# %%
from hsds_lib.course.tables import headline

headline(
    {
        "runs in the study": len(study_runs),
        f"mean {metric} of ours": float(np.mean(values["ours"])),
        f"best mean {metric} of any condition": max(float(np.mean(found)) for found in values.values()),
        "scatter of one condition over seeds (standard deviation, mean)": spread,
        "differences to ours that are apart from 0": sum(row[3] == "yes" for row in paired),
        "the same on photographs": sum(row[3] == "yes" for row in real_paired),
    }
)

# %% [markdown]
# **The full study** takes a GPU: seven searches and trainings of the paper's size, times the seeds. In a terminal, for
# each condition and seed,
#
# ```bash
# hsds search --preset paper --data sice --ablation "only WR" --seed 1 --out runs/only-WR-1
# hsds train --preset paper --run runs/only-WR-1 --seed 1
# ```
#
# No GPU was at hand when this was written, so none of these numbers is measured.
#
# ## Recap
#
# - A condition is a change of settings: read those, not the name. Table 3 is one axis of judges and a 2 × 2 design of
#   structure.
# - A number of one run is one draw. Report the mean, the interval and the number of seeds; pair by seed.
# - Conditions may differ in size as well; give parameters and MACs beside the quality.
#
# **Pitfalls**
#
# - The best of several runs is higher without being better.
# - Six comparisons are six chances to be fooled.
# - Not apart from 0 does not mean equal: with three seeds only large differences can show.
#
# **Further reading**
#
# - Li and Talwalkar: *Random Search and Reproducibility for Neural Architecture Search*, UAI 2019.
# - Dodge, Gururangan, Card, Schwartz and Smith: *Show Your Work: Improved Reporting of Experimental Results*,
#   EMNLP 2019: the expected best of $k$.
# - Bouthillier and others: *Accounting for Variance in Machine Learning Benchmarks*, MLSys 2021.
#
# **Next:** [9 · Reproducibility](09_reproducibility.ipynb): what does the released code do differently, measured?

# %%
nb.colophon(features=facts["features"])
