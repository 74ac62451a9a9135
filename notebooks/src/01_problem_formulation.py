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
# # 1 · Problem formulation: why two levels, and what is a hypergradient?
#
# **Promise.** You see why one exposure is not enough, turn "which loss is right?" into a problem with two levels,
# and compute its gradient in four ways, one of them exact, on a toy that is solved with pencil and paper.
#
# **Time** about twenty seconds of computing, forty minutes of reading · **Needs** a CPU, no download ·
# **Before this** [0 · Start here](00_start_here.ipynb); you know the chain rule.

# %% [markdown]
# **You will**
#
# - measure what each single exposure of a scene loses;
# - solve a problem with two levels by hand, and derive its hypergradient;
# - prove that the first-order gradient of $\beta$ is zero, and get the right one from one forward-mode pass;
# - measure how far one step, $K$ steps and a finite difference are from the exact hypergradient;
# - run the search until it stands on the known solution, and see one that swings around it for ever.

# %% tags=["parameters"]
preset: str = "tiny"  # tiny | lesson | paper; the toys of this notebook are the same in all three
seed: int = 1  # of the scene's light
photo: str = "coffee"  # astronaut | chelsea | coffee | motorcycle | rocket
rate: float = 0.1  # step size of the lower level in the search
steps: int = 1000  # of each search

# %%
import torch

import hsds_lib as hsds
from hsds_lib.course.figures import formulation as figures
from hsds_lib.course.session import start
from hsds_lib.course.show import show
from hsds_lib.course.tables import Table

nb = start(preset, notebook="01_problem_formulation", seed=seed)

# %% [markdown]
# ## The question: is one exposure enough?
#
# A camera clips. Light above the sensor's limit becomes white, faint light becomes black. The camera model of this
# course gives a photograph's light $L$ an illumination of $s$ stops (one stop is a factor of two) that differs from
# place to place, and exposes it with $e$ stops: $\operatorname{clip}(L\,2^{s+e} + \text{noise})$, coded as 8-bit sRGB.
# Without noise, by hand:

# %% tags=["verdict"]
from hsds_lib.images import exposure

still = hsds.Camera(ev_jitter=0.0, full_well=1e15, read_noise=0.0)
picture = exposure.embedded_photographs()[photo]
lit = exposure.illumination(*picture.shape[-2:], edge=still.edge, generator=torch.Generator().manual_seed(seed))
light = exposure.srgb_to_linear(picture.double()) * torch.exp2(still.stops * lit)
by_hand = exposure.linear_to_srgb((light * 2**still.ev_under).clamp(0, 1))
under, over, _ = hsds.simulate_triple(picture, still, torch.Generator().manual_seed(seed))
apart = float((by_hand - under).abs().max())
print("the under-exposed picture by hand is the library's, to one of 255 levels:", apart <= 1 / 255)

# %% [markdown]
# What do two exposures make of the same light? Each gives most of its levels to the last stops below its own
# white, and none above.

# %%
show(*figures.camera_response(hsds.Camera()))

# %% [markdown]
# Now photograph one scene with 33 exposures, half a stop apart. A pixel is *lost* where its luma is within 2 % of
# black or of white.

# %%
from dataclasses import replace

from hsds_lib.course.pictures import lost

camera = hsds.Camera(ev_jitter=0.0)
pictures, shares = {}, {}
for ev in [half / 2 for half in range(-16, 17)]:
    rng = torch.Generator().manual_seed(seed)
    pictures[ev] = hsds.simulate_triple(picture, replace(camera, ev_under=ev), rng)[0]
    shares[ev] = tuple(mask.float().mean().item() for mask in lost(pictures[ev]))
under, over, _ = hsds.simulate_triple(picture, camera, torch.Generator().manual_seed(seed))
gone = [torch.stack(lost(image)).any(0) for image in (under, over)]
pair = (gone[0] & gone[1]).float().mean().item()
show(*figures.exposure_sweep({ev: pictures[ev] for ev in (-6, -3.5, -2, 0, 2.5)}, shares, pair=pair))

# %% tags=["verdict"]
best = min(sum(share) for share in shares.values())
print("every single exposure loses more than ten times what the pair loses:", best > 10 * pair)

# %% [markdown]
# How far apart may the two be? Move the gap between the exposures, and the light in the middle of it. Find the gap
# from which on there are pixels that *neither* exposure holds, and watch what two simple fusions make of the pair.

# %%
from hsds_lib.course.explorers import exposure_gap
from hsds_lib.course.widgets import explore

explore(exposure_gap.explorer())

# %% [markdown]
# So two pictures must be fused, and a network can learn how, if a loss tells it what is good. *Which* loss? Nobody
# knows the right picture: this is where the second level comes in.
#
# ## Two levels
#
# The network's weights $\omega$ are trained by a loss with weights $\beta$, in a structure $\alpha$. Whether $\alpha$
# and $\beta$ are good shows only *after* training (Eq. 1):
#
# $$
# \begin{aligned}
# & \min_{\alpha, \beta}\;
#   \mathcal{L}_{\text{search}}(\beta; \mathcal{F}(\mathbf{I}_o, \mathbf{I}_u; \omega^*; \alpha)) \\
# & \text{s.t. }\; \omega^* \in \arg\min_{\omega}\;
#   \mathcal{L}^f_{\text{train}}(\mathcal{F}(\mathbf{I}_o, \mathbf{I}_u; \omega; \alpha); \beta).
# \end{aligned} \tag{1}
# $$
#
# The upper level has two judges, applied in turn (Eq. 2; where the paper writes $\min$, $\arg\min$ is meant):
#
# $$
# \beta^{t+1} = \arg\min_{\beta}\; \Gamma_H(\beta, \omega; \alpha^t), \qquad
# \alpha^{t+1} = \arg\min_{\alpha}\; \mathcal{L}^f_{\text{val}}(\alpha, \omega; \beta^{t+1}). \tag{2}
# $$
#
# A toy with all of this and nothing else: $\omega$ is a point of the plane, and loss $k$ wants it at the corner $c_k$
# of a triangle. With $m = \operatorname{softmax}(\beta)$,
#
# $$ \text{lower: } \min_\omega \sum_k m_k \tfrac12 \lVert \omega - c_k \rVert^2, \qquad
#    \text{upper: } \min_\beta \Gamma(\omega^*), \quad \Gamma(\omega) = \tfrac12 \lVert \omega - g \rVert^2 . $$
#
# Set the lower gradient to zero: $\sum_k m_k (\omega - c_k) = 0$, so $\omega^* = \sum_k m_k c_k$.

# %%
from hsds_lib.course.bilevel import CORNERS, GOAL, SHARES, bowls, hypergradient_exact, hypergradient_unrolled

losses = bowls(CORNERS, torch.eye(2).double())


def judge(omega):
    return (omega - GOAL).square().sum() / 2


beta = torch.tensor([0.3, -0.4, 0.9], dtype=torch.float64, requires_grad=True)
mix = hsds.mixture(beta).detach()
descent = [torch.tensor([2.0, -1.0], dtype=torch.float64)]
for _ in range(60):
    descent.append(descent[-1] - 0.2 * torch.einsum("k,ki->i", mix, descent[-1] - CORNERS))

# %% tags=["verdict"]
print("training stops at the mean of the corners:", torch.allclose(descent[-1], mix @ CORNERS, atol=1e-4))

# %%
show(*figures.two_levels(CORNERS, GOAL, mix, losses, judge, torch.stack(descent)))

# %% [markdown]
# ### The hypergradient, by hand
#
# A **hypergradient** is the gradient of the upper objective *through the solution of the lower level*. Here
# $\partial \omega^* / \partial m_k = c_k$ and $\partial m_j / \partial \beta_k = m_j(\delta_{jk} - m_k)$, so
#
# $$ \frac{d\Gamma}{d\beta_k} = m_k \,\bigl\langle c_k - \omega^*,\; \omega^* - g \bigr\rangle . $$

# %% tags=["verdict"]
solved = mix @ CORNERS
by_hand = mix * ((CORNERS - solved) @ (solved - GOAL))
(through_solution,) = torch.autograd.grad(judge(hsds.mixture(beta) @ CORNERS), beta)
print("by hand equals autograd through the solution:", torch.allclose(by_hand, through_solution, rtol=1e-9))
library = hypergradient_exact(losses, judge, beta, solved)
print("and the implicit function theorem:", torch.allclose(by_hand, library, rtol=1e-9))

# %% [markdown]
# A network has no such formula. What can be done without one?
#
# ## Through one step
#
# **Cheapest: hold $\omega$ fixed** ("first-order"). By the chain rule
#
# $$ \frac{d\Gamma}{d\beta} = \frac{\partial \Gamma}{\partial \beta}\Big|_{\omega}
#    + \Bigl(\frac{d\omega^*}{d\beta}\Bigr)^{\!\top} \frac{\partial \Gamma}{\partial \omega}, $$
#
# and first order keeps the first part alone. *Claim:* for $\beta$ it is identically zero. *Proof:* $\Gamma$ is a
# function of the fused picture, which depends on $\omega$ and $\alpha$; $\beta$ does not occur in it. Hence
# $\partial\Gamma/\partial\beta = 0$ at every $\omega$, $\alpha$ and $\beta$. The whole hypergradient of $\beta$ is in
# the part that is dropped.
#
# Could a loss not judge itself, then? $\mathcal{L}_{\text{val}} = \sum_k m_k \ell_k$ does contain $\beta$, and first
# order gives $m_k(\ell_k - \sum_j m_j \ell_j)$. Descent raises the weight of whatever loss happens to be *small*; here
# with $\omega$ trained to the end each time. (The first line prints `None`: that is how autograd says that $\beta$ does
# not occur in $\Gamma$ at all, so that the gradient is zero.)

# %% tags=["verdict"]
(first_order,) = torch.autograd.grad(judge(solved.clone().requires_grad_()), beta, allow_unused=True)
print("first-order gradient of beta:", first_order)
own = torch.zeros(3, dtype=torch.float64)
for _ in range(4000):
    m, values = hsds.mixture(own), losses(hsds.mixture(own) @ CORNERS)
    own -= 0.5 * m * (values - (m * values).sum())
print("a loss that judges itself puts more than 95 % on one term:", bool(hsds.mixture(own).max() > 0.95))
print("the solution has on that term:", round(float(SHARES[hsds.mixture(own).argmax()]), 2))

# %% [markdown]
# **One step.** Let $\beta$ act through a single step of training,
# $\omega' = \omega - \xi \sum_k m_k \nabla\ell_k(\omega)$, as DARTS does. Then
# $\partial\omega'/\partial m_k = -\xi\nabla\ell_k(\omega)$. With $v = \xi\,\nabla\Gamma(\omega')$ and
# $J_k = \langle\nabla\ell_k(\omega), v\rangle$ the softmax gives
#
# $$ \frac{d\Gamma(\omega')}{d\beta_k} = -m_k \Bigl(J_k - \sum_j m_j J_j\Bigr). $$
#
# $J$ is a Jacobian times a vector: one forward-mode pass, no second backward. Written out, against a double
# backward, against the library:

# %% tags=["verdict"]
xi, omega = 0.3, torch.tensor([2.0, -1.0], dtype=torch.float64, requires_grad=True)
(slope,) = torch.autograd.grad(hsds.weighted_loss(losses(omega), hsds.mixture(beta)), omega, create_graph=True)
after = omega - xi * slope
double_backward, at_after = torch.autograd.grad(judge(after), [beta, after])
v = xi * at_after
J = (omega.detach() - CORNERS) @ v  # the slope of loss k is omega - c_k
written_out = -mix * (J - (mix * J).sum())
jvp = hsds.jacobian_vector(lambda at: losses(at["omega"]), {"omega": omega.detach()}, {"omega": v})
print("J by hand equals jacobian_vector:", torch.allclose(J, jvp, rtol=1e-9))
print("the formula equals a double backward:", torch.allclose(written_out, double_backward, rtol=1e-9))
print("beta_gradient is the formula:", torch.allclose(hsds.beta_gradient(mix, jvp), written_out, rtol=1e-9))

# %% [markdown]
# ### What Adam changes, and what $\alpha$ needs
#
# With Adam the factor between gradient and step is not $\xi$ but a number $D_i$ for each weight: `preconditioner`, with
# the second moment held fixed. And $\mathcal{L}_{\text{val}}(\alpha, \omega')$ contains $\alpha$: there is a
# first-order part, and `alpha_correction` is what it leaves out. Both proven against a backward through the step:

# %% tags=["verdict"]
from hsds_lib.search.hypergradient import alpha_correction

weight = torch.nn.Parameter(omega.detach().clone())
adam = torch.optim.Adam([weight], lr=0.02)
hsds.weighted_loss(losses(weight), mix).backward()
adam.step()
D = hsds.preconditioner(adam, weight)
(slope,) = torch.autograd.grad(hsds.weighted_loss(losses(omega), hsds.mixture(beta)), omega, create_graph=True)
after = omega - D * slope
double_backward, at_after = torch.autograd.grad(judge(after), [beta, after])
print("Adam's first step is D times the gradient:", torch.allclose(after, weight, rtol=1e-9))
jvp = hsds.jacobian_vector(lambda at: losses(at["omega"]), {"omega": omega.detach()}, {"omega": D * at_after})
same = torch.allclose(hsds.beta_gradient(mix, jvp), double_backward, rtol=1e-9)
print("with D held fixed the formula is exact:", same)

# %% tags=["verdict"]
alpha = torch.tensor([0.5, -0.2], dtype=torch.float64, requires_grad=True)


def structured(at, alpha):  # alpha stretches the plane before the losses see it
    return hsds.weighted_loss(losses(at * (1 + alpha.softmax(0))), mix)


train_loss = structured(omega, alpha)
(slope,) = torch.autograd.grad(train_loss, omega, create_graph=True)
after = omega - xi * slope
whole, at_after = torch.autograd.grad(structured(after, alpha), [alpha, after], retain_graph=True)
(first,) = torch.autograd.grad(structured(after.detach(), alpha), alpha)
correction = alpha_correction(train_loss, {"omega": omega}, alpha, {"omega": xi * at_after})
print("first order + correction is the whole:", torch.allclose(first + correction, whole, rtol=1e-9))
print("first order alone is not:", not torch.allclose(first, whole, rtol=0.05))

# %% [markdown]
# ### Finite differences, and their radius
#
# The released code does not use forward mode. It evaluates $\nabla_\beta \mathcal{L}_{\text{train}}$ at two points,
# $\omega \pm \epsilon v$ with $\epsilon = r / \lVert v\rVert$ and $r = 0.01$, and divides the difference by $2\epsilon$
# (`central_difference`).
# Where all is smooth its error falls with $r^2$ until rounding takes over. But $\ell_1$ and ReLUs have kinks, and
# training with $\ell_1$ leads to them: the minimum of such a mixture is a weighted median, which lies on a kink. Take
# losses $\sum_i |\omega_i - c_{ki}|$ at a point $10^{-4}$ beside theirs, and a smooth version of them.

# %%
from hsds_lib.search.hypergradient import central_difference


def radius_error(radius, *, soft, dtype=torch.float64):
    corners, m, side = (x.to(dtype) for x in (CORNERS, mix, torch.tensor([1.0, 0.5])))
    at, along = {"omega": corners[2] + 1e-4 * side}, {"omega": side}

    def beta_slope(at):  # of the training loss
        values = ((at["omega"] - corners).square() + soft**2).sqrt().sum(dim=1)
        return m * (values - (m * values).sum())

    exact = torch.func.jvp(beta_slope, (at,), (along,))[1]
    return float((central_difference(beta_slope, at, along, radius=radius) - exact).norm() / exact.norm())


# %%
radii = [10 ** (-power / 2) for power in range(0, 15)]
cases = {"smooth, float64": {"soft": 0.3}, "smooth, float32": {"soft": 0.3, "dtype": torch.float32}}
cases["kink, float64"] = {"soft": 0.0}
errors = {name: [radius_error(radius, **case) for radius in radii] for name, case in cases.items()}
show(*figures.radius_errors(radii, errors, used=0.01, kink=1.118e-4))

# %% tags=["verdict"]
ratio = radius_error(1e-2, soft=0.3) / radius_error(1e-3, soft=0.3)
print("smooth: a tenth of the radius, a hundredth of the error:", 95 < ratio < 105)
beside = [radius_error(radius, soft=0.0) for radius in (0.01, 0.001)]
print("kink: wrong by more than 50 % at the radius of the released code:", beside[0] > 0.5)
print("kink: so it is at a tenth of that radius:", beside[1] > 0.5)

# %% [markdown]
# ## Further than one step
#
# $K$ steps can be unrolled by autograd, at $K$ times the memory. How good is the result? Start at $\omega^*$ and let
# $H$ be the Hessian of the mixed loss. All the hypergradients are then *the same formula*, with another $D$ in
# $v = D\,\nabla\Gamma$:
#
# | | $D$ |
# |---|---|
# | one step | $\xi I$ |
# | $K$ steps | $\xi \sum_{i<K} (I - \xi H)^i = \bigl(I - (I - \xi H)^K\bigr) H^{-1}$ |
# | exact (implicit function theorem) | $H^{-1}$ |
#
# The sum is a Neumann series. It converges to $H^{-1}$ if $\xi < 2 / \lambda_{\max}$, as slowly as
# $\max_i |1 - \xi\lambda_i|^K$: for small steps that is the flattest direction, near the limit the steepest. Give the
# bowls a common curvature $A$ with eigenvalues 0.1 and 1.4; $\omega^*$ stays the mean of the corners.

# %%
A = torch.tensor([[0.5, -0.6], [-0.6, 1.0]], dtype=torch.float64)  # here H = A: the mixture has sum 1
valley = bowls(CORNERS, A)
exact = hypergradient_exact(valley, judge, beta, solved)


def through(k, xi):
    return hypergradient_unrolled(valley, judge, beta, solved, rate=xi, steps=k)


# %% tags=["verdict"]
print("exact is still the formula by hand:", torch.allclose(exact, by_hand, rtol=1e-9))
series = []
for k in (1, 2, 10, 50):
    D = (torch.eye(2).double() - torch.linalg.matrix_power(torch.eye(2).double() - 0.3 * A, k)) @ A.inverse()
    J = torch.einsum("ki,ij,j->k", solved - CORNERS, A, D @ (solved - GOAL))
    series.append(torch.allclose(hsds.beta_gradient(mix, J), through(k, 0.3), rtol=1e-8))
print("K steps are the Neumann series:", series)

# %%
counts = (1, 2, 3, 5, 8, 13, 20, 32, 50, 80, 126)
unrolled = {size: {k: through(k, size) for k in counts} for size in (0.05, 0.3, 1.0, 1.5)}
show(*figures.unrolling_errors(exact, unrolled))


# %% tags=["verdict"]
def error(g):
    return float((g - exact).norm() / exact.norm())


off = {size: [error(g) for g in row.values()] for size, row in unrolled.items()}
print("stable steps: 126 are better than 1:", all(off[size][-1] < off[size][0] for size in (0.05, 0.3, 1.0)))
print("too long steps (1.5 > 2 / 1.4): 126 are worse:", off[1.5][-1] > 100 * off[1.5][0])
one = {size: row[1] / row[1].norm() for size, row in unrolled.items()}
same = all(torch.allclose(one[0.05], g) for g in one.values())
print("one step from the solution points the same way whatever its size:", same)
untrained = hypergradient_unrolled(valley, judge, beta, descent[0], rate=0.05, steps=1)
print("one step from untrained weights points uphill:", bool(untrained @ exact < 0))

# %% [markdown]
# From $\omega^*$, one step gives a gradient whose length is set by $\xi$, and whose direction is off by 30 degrees:
# it knows nothing of the valley. The length hardly matters to an upper level that is stepped with Adam. The direction
# is downhill *here*. From weights that are far from trained it can point uphill: the judge then looks at an
# $\omega'$ that has little to do with $\omega^*$. So one step is a fair approximation only while $\omega$ keeps up with
# $\beta$; a warm-up of $\omega$ and a small rate of $\beta$ are meant to see to that.
#
# ## The search lands on the solution
#
# One step on $\omega$ (Algorithm 1 line 3), one on $\beta$ (Algorithm 1 line 5), again and again, from
# $m = (1/3, 1/3, 1/3)$. The solution is known: the mixture $(0.2, 0.5, 0.3)$, and $\omega = g$.


# %%
def both_levels(omega, beta, lower, upper):
    before, mix = omega.detach().clone(), hsds.mixture(beta).detach()
    lower.zero_grad()
    hsds.weighted_loss(losses(omega), mix).backward()
    lower.step()
    v = {"omega": hsds.preconditioner(lower, omega) * torch.autograd.grad(judge(omega), omega)[0]}
    beta.grad = hsds.beta_gradient(mix, hsds.jacobian_vector(lambda at: losses(at["omega"]), {"omega": before}, v))
    upper.step()


# %%
def search(inner, lr, *, falling):
    omega = torch.nn.Parameter(torch.tensor([2.0, -1.0], dtype=torch.float64))
    beta, path = torch.zeros(3, dtype=torch.float64, requires_grad=True), [omega.detach().clone()]
    lower, upper = inner([omega], lr=lr), torch.optim.Adam([beta], lr=0.02, betas=(0.5, 0.999))
    for step in range(steps):
        for optimiser, start_rate in ((lower, lr), (upper, 0.02)):
            optimiser.param_groups[0]["lr"] = start_rate * (1 - step / steps if falling else 1)
        both_levels(omega, beta, lower, upper)
        path.append(omega.detach().clone())
    return torch.stack(path), hsds.mixture(beta).detach()


# %%
runs = {
    "SGD below, rates fall": search(torch.optim.SGD, rate, falling=True),
    "Adam below, constant rates": search(torch.optim.Adam, 0.02, falling=False),
    "Adam below, rates fall": search(torch.optim.Adam, 0.02, falling=True),
}
control, _ = search(torch.optim.SGD, rate, falling=False)  # is it the optimiser, or the falling rate?

# %% tags=["hero"]
show(*figures.search_paths(CORNERS, GOAL, {name: path for name, (path, _) in runs.items()}))

# %% tags=["verdict"]
sgd, circling, settling = runs.values()
print("SGD lands on the mixture:", [round(share, 2) for share in sgd[1].tolist()])
print("and omega on the goal:", torch.allclose(sgd[0][-1], GOAL, atol=1e-3))
late = {name: float((path[-steps // 5 :] - GOAL).norm(dim=1).max()) for name, (path, _) in runs.items()}
print("two Adams with constant rates do not settle:", late["Adam below, constant rates"] > 0.05)
print("with falling rates they do:", late["Adam below, rates fall"] < 0.01)
print("SGD below settles at a constant rate as well:", bool((control[-1] - GOAL).norm() < 1e-3))

# %% [markdown]
# The upper level is Adam in all of them. With SGD below, the search settles even at constant rates; with Adam below, it
# keeps swinging through the goal until the rates fall. A likely reason, not proven here: both levels move at once,
# each aims at where the other *was*, and Adam's steps hardly shrink with the gradient.

# %% [markdown]
# ## Exercises
#
# ### Exercise 1.1
#
# You know `slope`, $d\Gamma/dm_k$. Turn it into $d\Gamma/d\beta_k$ for $m = \operatorname{softmax}(\beta)$. (In a step,
# $d\Gamma/dm_k = -J_k$: then it is `beta_gradient`.)


# %%
def my_through_softmax(mix, slope):
    return ...


# %% tags=["solution"]
def my_through_softmax(mix, slope):
    return mix * (slope - (mix * slope).sum())


# %% tags=["verdict"]
from hsds_lib.course.checks import check

check("1.1", my_through_softmax)

# %% [markdown]
# ### Exercise 1.2
#
# The hypergradient through one step of size `xi` on the triangle, for any `corners` `(3, 2)`, start `omega` and `goal`.
# By hand, without autograd.


# %%
def my_one_step(mix, corners, omega, goal, xi):
    return ...


# %% tags=["solution"]
def my_one_step(mix, corners, omega, goal, xi):
    after = omega - xi * (omega - mix @ corners)
    J = (omega - corners) @ (xi * (after - goal))
    return -mix * (J - (mix * J).sum())


# %% tags=["verdict"]
check("1.2", my_one_step)

# %% [markdown]
# ### Exercise 1.3
#
# The hypergradient through `steps` steps, by autograd. `losses(omega)` gives the vector of losses, `judge(omega)` a
# number. The tensors come without `requires_grad`.


# %%
def my_unroll(losses, judge, beta, omega, xi, steps):
    return ...


# %% tags=["solution"]
def my_unroll(losses, judge, beta, omega, xi, steps):
    beta, omega = beta.requires_grad_(), omega.requires_grad_()
    for _ in range(steps):
        loss = (beta.softmax(0) * losses(omega)).sum()
        omega = omega - xi * torch.autograd.grad(loss, omega, create_graph=True)[0]
    return torch.autograd.grad(judge(omega), beta)[0]


# %% tags=["verdict"]
check("1.3", my_unroll)

# %% [markdown]
# ### Exercise 1.4
#
# The exact hypergradient for $\ell_k = \frac12 (\omega - c_k)^\top A_k (\omega - c_k)$ and
# $\Gamma = \frac12\lVert\omega - g\rVert^2$, where every loss has a curvature of its own: `centres` `(K, d)`,
# `curvatures` `(K, d, d)`. Is $\omega^*$ still the mean?


# %%
def my_exact(mix, centres, curvatures, goal):
    return ...


# %% tags=["solution"]
def my_exact(mix, centres, curvatures, goal):
    H = torch.einsum("k,kij->ij", mix, curvatures)
    solved = torch.linalg.solve(H, torch.einsum("k,kij,kj->i", mix, curvatures, centres))
    slopes = torch.einsum("kij,kj->ki", curvatures, solved - centres)
    J = slopes @ torch.linalg.solve(H, solved - goal)
    return -mix * (J - (mix * J).sum())


# %% tags=["verdict"]
check("1.4", my_exact)

# %% [markdown]
# ## What we measured

# %%
angles = [torch.cosine_similarity(through(k, 0.3), exact, dim=0).acos().rad2deg().item() for k in (1, 126)]
rows = [("share lost by the best single exposure", best), ("share lost by both of the pair", pair)]
rows += [(f"hypergradient, ξ = 0.3, K = {k}: relative error", error(through(k, 0.3))) for k in (1, 126)]
rows += [("the same, K = 1: angle to the exact one (degrees)", angles[0]), ("K = 126", angles[1])]
rows += [("r = 0.01, smooth loss: relative error", f"{radius_error(0.01, soft=0.3):.1e}")]
rows += [("r = 0.01, beside a kink: relative error", beside[0])]
rows += [(f"{name}: farthest from the goal, last fifth", f"{distance:.1e}") for name, distance in late.items()]
Table(("quantity", "value"), rows)

# %% [markdown]
# ## Recap
#
# - No single exposure holds the scene; a network must fuse several, and the loss that teaches it is itself unknown.
# - Two levels: $\omega$ is trained, $\alpha$ and $\beta$ are judged by what training led to. A hypergradient is the
#   gradient through training.
# - One formula for all: $-m_k(J_k - \sum_j m_j J_j)$ with $v = D\,\nabla\Gamma$; $D$ is $\xi$, a Neumann series, or
#   $H^{-1}$.
#
# **Pitfalls**
#
# - "First order" for $\beta$ means no gradient at all. The paper speaks of a "first-order one-step truncated
#   approximation"; for $\beta$ only the one step can be meant.
# - More unrolled steps help only below $\xi = 2/\lambda_{\max}$. Above, the error grows without bound.
# - A radius that is right for a smooth loss says nothing about one with kinks (notebook 09 measures it in the network).
# - A search that moves for ever has not converged: let the rates fall.
#
# **Further reading**
#
# - Liu, Simonyan and Yang: *DARTS: Differentiable Architecture Search*, ICLR 2019: the one-step approximation.
# - Lorraine, Vicol and Duvenaud: *Optimizing Millions of Hyperparameters by Implicit Differentiation*, AISTATS 2020:
#   the Neumann series.
# - Liu, Gao, Zhang, Meng and Lin: *Investigating Bi-level Optimization for Learning and Vision from a Unified
#   Perspective*, IEEE TPAMI 2022.
#
# **Next:** [2 · Loss search space](02_loss_search_space.ipynb): what each of the 19 losses rewards.

# %%
nb.colophon()
