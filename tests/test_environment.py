"""The set-up files agree with each other: pyproject, lock, constraints, conda file, Makefile, CI and metadata."""

from __future__ import annotations

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import tomllib
import warnings
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

import hsds_lib

ROOT = Path(__file__).resolve().parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
WRITTEN_BY_LOCK = ("requirements.lock", "torch.lock", "constraints.txt")
# What the lock must serve. Only the fields that its markers may ask for differ.
MACHINES = [
    {"python_full_version": full, "python_version": full.rpartition(".")[0], "sys_platform": system}
    for full in ("3.11.7", "3.12.1", "3.13.0")
    for system in ("linux", "darwin")
]


def direct_requirements() -> list[Requirement]:
    project = PYPROJECT["project"]
    lines = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    return [Requirement(line) for line in lines + PYPROJECT["dependency-groups"]["beside-torch"]]


def pins(name: str) -> list[Requirement]:
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    return [Requirement(line.rstrip("\\ ")) for line in lines if re.match(r"[A-Za-z0-9]", line)]


def pinned_version(requirement: Requirement, machine: dict[str, str]) -> str | None:
    """Give the one version the lock would install on that machine, or None."""
    versions = [
        str(pin.specifier).removeprefix("==")
        for pin in pins("requirements.lock")
        if canonicalize_name(pin.name) == canonicalize_name(requirement.name)
        and (pin.marker is None or pin.marker.evaluate(machine))
    ]
    assert len(versions) <= 1, f"{requirement.name} is pinned twice for {machine}: {versions}"
    return versions[0] if versions else None


@pytest.mark.parametrize("requirement", direct_requirements(), ids=lambda requirement: requirement.name)
def test_lock_holds_every_direct_dependency(requirement: Requirement) -> None:
    if requirement.name == "torch":
        assert re.fullmatch(r"==\d+\.\d+\.\d+", str(requirement.specifier)), "torch is outside the lock: pin it"
        return
    for machine in MACHINES:
        version = pinned_version(requirement, machine)
        assert version is not None, f"{requirement.name} is not in requirements.lock for {machine}; run make lock"
        assert requirement.specifier.contains(version), f"{requirement} is not met by {version}; run make lock"


def test_lock_leaves_torch_to_the_machine() -> None:
    names = {canonicalize_name(pin.name) for pin in pins("requirements.lock")}
    unwanted = {name for name in names if re.match(r"torch$|torchvision|nvidia|cuda|triton", name)}
    assert len(names) > 100
    assert not unwanted


def test_lock_holds_what_torch_itself_needs() -> None:
    needed = [Requirement(line) for line in importlib.metadata.requires("torch") or []]
    for requirement in needed:
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        if re.match(r"nvidia|cuda|triton", requirement.name):
            continue  # parts of the CUDA build, which are in torch.lock
        version = pinned_version(requirement, MACHINES[0])
        assert version is not None, f"torch needs {requirement}: add it to the group beside-torch"
        assert requirement.specifier.contains(version)


def test_torch_lock_holds_the_pinned_torch_and_for_linux_the_parts_of_its_cuda_build() -> None:
    (wanted,) = (requirement for requirement in direct_requirements() if requirement.name == "torch")
    torch, *parts = sorted(pins("torch.lock"), key=lambda pin: pin.name != "torch")
    assert str(torch) == str(wanted)
    assert len(parts) > 10 and all(re.match(r"nvidia|cuda|triton", pin.name) for pin in parts)
    mac = {**MACHINES[0], "sys_platform": "darwin"}
    assert all(pin.marker is not None and not pin.marker.evaluate(mac) for pin in parts)
    text = (ROOT / "torch.lock").read_text(encoding="utf-8")
    (cpu,) = re.findall(r'TORCH_CPU_HASHES="(.*)"', (ROOT / "bootstrap.sh").read_text(encoding="utf-8"))
    assert all(f"--hash=sha256:{digest} " in text for digest in cpu.split()), "make lock writes them there"


@pytest.mark.parametrize("name", ["requirements.lock", "torch.lock"])
def test_every_lock_entry_has_a_hash(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    entries = re.split(r"^(?=[A-Za-z0-9])", text, flags=re.MULTILINE)[1:]
    assert entries
    assert [entry.splitlines()[0] for entry in entries if "--hash=sha256:" not in entry] == []


@pytest.mark.parametrize("name", [*WRITTEN_BY_LOCK, "environment.yml", "pyproject.toml"])
def test_no_machine_or_host_is_named(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    for pattern in (r"://", r"--(extra-)?index", r"--find-links", r"\bfile:", r" @ ", r"(^|[\s='\"])/\w"):
        assert not re.search(pattern, text, flags=re.MULTILINE), f"{name} contains {pattern}"


def test_constraints_are_the_lock_without_hashes() -> None:
    assert "--hash" not in (ROOT / "constraints.txt").read_text(encoding="utf-8")
    assert [str(pin) for pin in pins("constraints.txt")] == [str(pin) for pin in pins("requirements.lock")]


def test_conda_file_installs_this_project_with_the_tested_versions() -> None:
    conda = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    assert conda["name"] == PYPROJECT["project"]["name"]
    assert conda["channels"] == ["conda-forge"]
    plain = [entry for entry in conda["dependencies"] if isinstance(entry, str)]
    (python,) = [entry for entry in plain if entry.startswith("python=")]
    assert SpecifierSet(PYPROJECT["project"]["requires-python"]).contains(python.partition("=")[2] + ".0")
    assert "pip" in plain
    assert len(plain) == 2, "pyproject.toml is the source; conda only brings Python and pip"
    (pip,) = [entry["pip"] for entry in conda["dependencies"] if isinstance(entry, dict)]
    assert pip == ["-c constraints.txt", "-e .[dev]"]


def makefile_rules() -> dict[str, list[str]]:
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    rules = re.findall(r"^([a-z][\w-]*):([^=#\n]*)", text, flags=re.MULTILINE)
    return {target: prerequisites.split() for target, prerequisites in rules}


def plain_environment(**more: str) -> dict[str, str]:
    """Give the environment without what an outer make or test run put there."""
    hidden = re.compile(r"MAKE|MFLAGS|HSDS_|PYTEST_|PYTHON$")
    return {name: value for name, value in os.environ.items() if not hidden.match(name)} | more


def test_make_help_lists_every_target() -> None:
    listed = subprocess.run(
        ["make", "--no-print-directory"], cwd=ROOT, env=plain_environment(), capture_output=True, text=True
    )
    assert listed.returncode == 0, listed.stderr
    assert set(re.findall(r"^ +make (\S+) +\S", listed.stdout, flags=re.MULTILINE)) == set(makefile_rules())


def test_every_working_target_sets_up_first() -> None:
    rules = makefile_rules()
    targets = {"setup", "lab", "report", "apps", "site", "test", "lint", "notebooks", "lock", "clean", "help"}
    assert targets == set(rules)
    without = {target for target, prerequisites in rules.items() if "setup" not in prerequisites}
    assert without == {"help", "setup", "lock", "clean"}, "lock brings its own tool; help and clean need none"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Make a folder with only .ci/run and a Makefile that shows what it was given, and fails."""
    folder = tmp_path / "somewhere" / "main"
    (folder / ".ci").mkdir(parents=True)
    shutil.copy(ROOT / ".ci" / "run", folder / ".ci" / "run")
    (folder / "Makefile").write_text('test:\n\t@echo "[$$HSDS_DATA] [$$HSDS_FIXTURES]"; exit 7\n')
    return folder


def run_ci(checkout: Path, **more: str) -> str:
    done = subprocess.run(
        ["bash", str(checkout / ".ci" / "run")],
        env=plain_environment(HSDS_CHROMIUM="", **more),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2, "make reports a failed recipe by 2, and so must .ci/run"
    return done.stdout.strip()


def test_ci_uses_the_shared_folder_where_there_is_one(checkout: Path) -> None:
    assert run_ci(checkout) == "[] []"
    shared = checkout.parent / "shared"
    (shared / "data").mkdir(parents=True)
    assert run_ci(checkout) == f"[{shared / 'data'}] []"
    (shared / "parity").mkdir()
    assert run_ci(checkout) == f"[{shared / 'data'}] [{shared}]"


def test_ci_leaves_chosen_folders_alone(checkout: Path) -> None:
    (checkout.parent / "shared" / "data").mkdir(parents=True)
    (checkout.parent / "shared" / "parity").mkdir()
    assert run_ci(checkout, HSDS_DATA="mine", HSDS_FIXTURES="") == "[mine] []"


def test_importing_the_package_is_light() -> None:
    code = "import sys, hsds_lib; print(' '.join(sorted({name.partition('.')[0] for name in sys.modules})))"
    loaded = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    heavy = {"torch", "numpy", "matplotlib", "IPython", "ipywidgets", "jupyter_core", "kornia", "cv2", "skimage"}
    assert "hsds_lib" in loaded.stdout.split()
    assert heavy.isdisjoint(loaded.stdout.split())


def test_package_data_covers_every_file_that_is_not_code() -> None:
    package = ROOT / "hsds_lib"
    patterns = PYPROJECT["tool"]["setuptools"]["package-data"]["hsds_lib"]
    covered = {path for pattern in patterns for path in package.glob(pattern)}
    files = {path for path in package.rglob("*") if path.is_file() and path.suffix not in {".py", ".pyc"}}
    missing = sorted(str(path.relative_to(ROOT)) for path in files - covered)
    assert missing == [], "these would be left out of an installed package: see package-data in pyproject.toml"


def test_citation_names_this_version_and_the_paper() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == hsds_lib.__version__
    assert citation["license"] == PYPROJECT["project"]["license"] == "MIT"
    (paper,) = citation["references"]
    assert [author["family-names"] for author in paper["authors"]] == ["Wu", "Fu", "Liu", "Ma", "Fan", "Liu"]
    assert (paper["year"], paper["volume"], paper["start"], paper["end"]) == (2024, 38, "5985", "5993")


@pytest.mark.parametrize("category", [DeprecationWarning, PendingDeprecationWarning])
def test_deprecations_in_our_code_are_errors(category: type[Warning]) -> None:
    with pytest.raises(category):
        warnings.warn("a test of the pytest settings", category, stacklevel=1)
    with pytest.raises(category):
        warnings.warn_explicit("the same, in the library", category, "file.py", 1, module="hsds_lib.images.io")
