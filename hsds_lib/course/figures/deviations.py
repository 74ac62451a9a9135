"""Where this course differs from the paper, as data: each entry names the place in the library."""

from __future__ import annotations

DEVIATIONS: tuple[tuple[str, str, str, str], ...] = (
    (
        "Algorithm 1 line 3 has no step size",
        "Adam, 2e-4",
        "beta's gradient is proportional to it",
        "search.dual.DualSearch",
    ),
    (
        "Algorithm 1 line 5: first order",
        "exact, through one Adam step (second moment fixed)",
        "a first-order gradient is identically zero",
        "search.hypergradient.beta_gradient",
    ),
    (
        "Algorithm 1 lines 8-13: until P are left",
        "at most one removal per node and step",
        "as written the loop need not end",
        "search.wsras.prune_step",
    ),
    (
        "theta, P, initial values not given",
        "theta 0.05 (tiny 0.06), P 2, logits 0",
        "design decisions",
        "config.SearchConfig",
    ),
    ("Table 1 row 5: -PSNR", "-PSNR / 40", "it would drown the other 18 terms", "losses.terms.PSNR_SCALE"),
    (
        "ImageNet VGG-16",
        "the same if the file is at hand, else seeded random weights",
        "weights cannot be bundled; figures say which",
        "losses.features.load_vgg16",
    ),
    (
        "running statistics of the Retinex nodes not given",
        "tiny, lesson: one set per iteration; paper: one set",
        "the three distributions differ",
        "network.operations.BatchNorm",
    ),
    (
        "references chosen by people",
        "without references: the best of classical fusions by MEF-SSIM",
        "people are not at hand",
        "runs.scenes.attach_references",
    ),
    (
        "colour handling not given",
        "luma is fused; chroma is weighted by its distance from neutral, and made paler where it would leave RGB",
        "as released, without the rounding bias and without clipping, which changes luma",
        "images.color.colourise",
    ),
)
"""What the paper says, what is done here, why, and the place below ``hsds_lib``."""
