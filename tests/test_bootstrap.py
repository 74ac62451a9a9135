"""bootstrap.sh with stand-ins for Python, pip and uv: what it runs, in which order, and how it recovers."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).resolve().parents[1]

# A base interpreter: tells its version, and makes a .venv whose python is the second stand-in.
BASE_PYTHON = """#!/bin/sh
case "$1 $2" in
"-c "*) echo "{version}" ;;
"-m venv") echo "venv" >>"$CALLS"; mkdir -p "$3/bin"; cp "$FAKES/venv-python" "$3/bin/python" ;;
esac
"""
# The python of .venv: answers the questions of the script and logs every installation by pip.
VENV_PYTHON = """#!/bin/sh
case "$1 $2 $3" in
"-c "*) echo 3.11.9 ;;
"-I -c import importlib.metadata"*) [ -n "$CUDA" ] ;;
"-I "*) [ ! -e .venv/complete ] || echo "Python 3.11.9 $(cat bootstrap.sh pyproject.toml *.lock | cksum)" ;;
"-m pip --version" | "-m pip check") ;;
"-m pip config") exit 1 ;;
"-m pip install")
    shift 3
    case "$*" in
    *--dry-run*) [ -z "$BUILD" ] || printf '{\n "version": "1",\n "install": [{\n  "version": "%s"}]}\n' "$BUILD" ;;
    *hsds-uv.txt) [ -z "$NO_UV" ] || exit 1; echo "get uv" >>"$CALLS"; cp "$FAKES/uv" .venv/bin/uv ;;
    *) exec "$FAKES/install" pip "$@" ;;
    esac ;;
*) echo "unexpected: $*" >&2; exit 9 ;;
esac
"""
UV = """#!/bin/sh
case "$1 $2" in
"--version ") echo "uv 1.2.3" ;;
"pip install") shift 2; exec "$FAKES/install" uv "$@" ;;
*) echo "unexpected: $*" >&2; exit 9 ;;
esac
"""
# Logs what is installed by whom, and misbehaves on request.
INSTALL = """#!/bin/sh
tool=$1; shift
for word in "$@"; do # a file of requirements by what is in it
    case "$word" in *hsds-*.txt) set -- "$@" $(grep -o '^[a-z][a-z]*==[^ ]*' "$word") ;; esac
done
echo "$tool: $* links=$UV_FIND_LINKS" >>"$CALLS"
case "$tool: $*" in
*"${FAIL_ON:-nothing}"*) exit 1 ;;
*"${KILL_ON:-nothing}"*) kill -9 $PPID; exit 1 ;;
esac
case "$*" in
*torch*) sleep "${SLOW:-0}" ;;
*editable*) touch .venv/complete ;;
esac
"""
LOCK = """# a lock of two packages
numpy==2.0.0 \\
    --hash=sha256:aa
    # via hsds-mef
uv==1.2.3 ; python_version > '3' \\
    --hash=sha256:bb
zipp==1.0.0 \\
    --hash=sha256:cc
"""


TORCH_LOCK = """torch==2.13.0 \\
    --hash=sha256:dd \\
    --hash=sha256:ee
triton==3.0.0 ; sys_platform == 'linux' \\
    --hash=sha256:ff
"""


class Sandbox:
    """A project folder, stand-in programs and the log of what they were asked to do."""

    def __init__(self, folder: Path) -> None:
        self.project, self.fakes, self.calls = folder / "a project", folder / "fakes", folder / "calls"
        self.project.mkdir()
        self.fakes.mkdir()
        for name in ("bootstrap.sh", "pyproject.toml"):
            shutil.copy(ROOT / name, self.project / name)
        (self.project / "requirements.lock").write_text(LOCK)
        (self.project / "torch.lock").write_text(TORCH_LOCK)
        for name in ("python3.11", "python3.12", "python3.13", "python3"):
            self.add(name, BASE_PYTHON.format(version="3.11.9"))
        self.add("venv-python", VENV_PYTHON)
        self.add("uv", UV)
        self.add("install", INSTALL)

    def add(self, name: str, script: str) -> None:
        (self.fakes / name).write_text(script)
        (self.fakes / name).chmod(0o755)

    def start(self, *arguments: str, **variables: str) -> subprocess.Popen[str]:
        hidden = re.compile(r"PIP_|UV_|HSDS_|PYTHON$")
        kept = {name: value for name, value in os.environ.items() if not hidden.match(name)}
        paths = {"PATH": f"{self.fakes}:{kept['PATH']}", "FAKES": str(self.fakes), "CALLS": str(self.calls)}
        return subprocess.Popen(
            ["bash", str(self.project / "bootstrap.sh"), *arguments],
            env=kept | paths | variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, *arguments: str, **variables: str) -> tuple[int, str]:
        self.calls.write_text("")
        process = self.start(*arguments, **variables)
        output, _ = process.communicate(timeout=60)
        return process.returncode, output

    def log(self) -> list[str]:
        return self.calls.read_text().splitlines()


@pytest.fixture
def sandbox(tmp_path: Path) -> Sandbox:
    return Sandbox(tmp_path)


def test_installs_lock_then_torch_then_project(sandbox: Sandbox) -> None:
    code, output = sandbox.run()
    assert code == 0, output
    venv, get_uv, lock, torch, project = sandbox.log()
    assert (venv, get_uv) == ("venv", "get uv")
    assert lock.startswith("uv:")
    assert "--require-hashes --no-deps" in lock
    assert "torch==2.13.0" in torch
    assert "--no-deps --no-build-isolation --editable ." in project
    assert output.splitlines()[-1].startswith("bootstrap: ready")
    assert (sandbox.project / ".venv" / ".hsds-uv.txt").read_text().split()[0] == "uv==1.2.3"
    rest = (sandbox.project / ".venv" / ".hsds-lock.txt").read_text()
    assert re.findall(r"^\w+(?===)", rest, flags=re.MULTILINE) == ["numpy", "zipp"]


def test_second_run_does_nothing(sandbox: Sandbox) -> None:
    sandbox.run()
    code, output = sandbox.run()
    assert (code, sandbox.log()) == (0, [])
    assert output == "bootstrap: ready (Python 3.11.9).\n"
    assert sandbox.run("check")[0] == 0


@pytest.mark.parametrize("step", ["hsds-lock", "torch==", "--editable"])
@pytest.mark.parametrize("trouble", ["FAIL_ON", "KILL_ON"])
def test_unfinished_set_up_is_made_afresh(sandbox: Sandbox, step: str, trouble: str) -> None:
    code, output = sandbox.run(**{trouble: step})
    assert code != 0
    assert "ready" not in output
    assert sandbox.run("check")[0] == 1
    code, output = sandbox.run()
    assert code == 0, output
    assert "did not finish" in output
    assert sandbox.log()[0] == "venv"
    assert sandbox.run("check")[0] == 0


@pytest.mark.parametrize("name", ["pyproject.toml", "torch.lock"])
def test_changed_requirements_are_installed_into_the_same_venv(sandbox: Sandbox, name: str) -> None:
    sandbox.run()
    with (sandbox.project / name).open("a") as file:
        file.write("# changed\n")
    assert sandbox.run("check")[0] == 1
    code, _ = sandbox.run()
    assert code == 0
    assert "venv" not in sandbox.log()
    assert any("torch" in line for line in sandbox.log())


def test_moved_folder_gets_a_new_venv(sandbox: Sandbox) -> None:
    sandbox.run()
    sandbox.project = sandbox.project.rename(sandbox.project.with_name("elsewhere"))
    code, output = sandbox.run()
    assert code == 0
    assert "moved or copied" in output
    assert sandbox.log()[0] == "venv"


def test_two_at_once_install_once(sandbox: Sandbox) -> None:
    if shutil.which("flock") is None:
        pytest.skip("no flock on this system: simultaneous set-ups are not kept apart")
    both = [sandbox.start(SLOW="0.5") for _ in range(2)]
    outputs = [process.communicate(timeout=60)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], outputs
    assert sum("torch==" in line for line in sandbox.log()) == 1


def test_pip_takes_over_where_uv_cannot_be_had(sandbox: Sandbox) -> None:
    code, output = sandbox.run(NO_UV="1")
    assert code == 0, output
    assert [line.split()[0] for line in sandbox.log()] == ["venv", "pip:", "pip:", "pip:"]
    assert "pip alone" in output


def test_pip_tries_what_uv_could_not_install(sandbox: Sandbox) -> None:
    code, output = sandbox.run(
        FAIL_ON="uv: --quiet --python .venv/bin/python --require-hashes --no-deps -r .venv/.hsds-t"
    )
    assert code == 0, output
    tools = [line.split()[0] for line in sandbox.log() if "torch==" in line]
    assert tools == ["uv:", "pip:"]


def test_pip_settings_reach_uv(sandbox: Sandbox) -> None:
    sandbox.run(PIP_FIND_LINKS="wheels-a wheels-b")
    assert all(line.endswith("links=wheels-a,wheels-b") for line in sandbox.log() if line.startswith("uv:"))


def test_torch_index_is_used_for_torch_only(sandbox: Sandbox) -> None:
    sandbox.run(HSDS_TORCH_INDEX="my-index")
    with_index = [line for line in sandbox.log() if "--index-url my-index" in line]
    assert len(with_index) == 1
    assert "torch==" in with_index[0]


@pytest.mark.parametrize("build", ["", "2.13.0", "2.13.0+cpu"])
@pytest.mark.parametrize("cuda", ["", "1"])
def test_torch_and_its_cuda_parts_are_installed_by_hash(sandbox: Sandbox, build: str, cuda: str) -> None:
    code, output = sandbox.run(BUILD=build, CUDA=cuda)
    assert code == 0, output
    torch, *parts = (line for line in sandbox.log() if "torch==" in line or "triton==" in line)
    assert "--require-hashes --no-deps" in torch and f"torch=={build or '2.13.0'} " in torch
    wanted = (sandbox.project / ".venv" / ".hsds-torch.txt").read_text()
    assert wanted.split() == [f"torch=={build or '2.13.0'}", "\\", "--hash=sha256:dd", "\\", "--hash=sha256:ee"]
    assert len(parts) == len(cuda) and all("--require-hashes --no-deps" in part for part in parts)


def test_a_torch_of_another_hash_is_refused_with_ways_out(sandbox: Sandbox) -> None:
    code, output = sandbox.run(BUILD="2.13.0+mine", FAIL_ON="torch==2.13.0+mine")
    assert code == 1 and not any("editable" in line for line in sandbox.log())
    for words in ("not one of those in torch.lock", "add the sha256 that 'pip hash WHEEL' gives", "HSDS_TORCH_INDEX"):
        assert words in output.splitlines()[-1]


@pytest.mark.parametrize(
    ("index", "taken"),
    [
        ("https://a.example/cpu", True),
        ("file:///a/folder", True),
        ("http://localhost:3141/x", True),
        ("http://127.0.0.1/x", True),
        ("http://a.example/cpu", False),
        ("http://localhost.example/cpu", False),
    ],
)
def test_an_index_for_torch_is_said_and_asked_by_https_only(sandbox: Sandbox, index: str, taken: bool) -> None:
    code, output = sandbox.run(HSDS_TORCH_INDEX=index)
    assert code == (0 if taken else 1), output
    assert any(f"--index-url {index} " in line for line in sandbox.log()) == taken
    assert ("its hash is not compared with torch.lock" if taken else "give an https address") in output


def test_failure_is_one_sentence_with_a_way_out(sandbox: Sandbox) -> None:
    _, output = sandbox.run(FAIL_ON="torch==")
    assert output.splitlines()[-1].startswith("bootstrap: could not install torch==2.13.0: ")
    assert "check the network" in output.splitlines()[-1]


def python_versions() -> list[str]:
    return ["3.8.18", "3.10.13", "3.11.0", "3.11.15", "3.12.1", "3.13.0", "3.13.12", "3.14.0", "3.20.1"]


@pytest.mark.parametrize("version", python_versions())
def test_accepts_exactly_the_pythons_of_pyproject(sandbox: Sandbox, version: str) -> None:
    for name in ("python3.11", "python3.12", "python3.13", "python3"):
        sandbox.add(name, BASE_PYTHON.format(version=version))
    supported = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
    code, output = sandbox.run()
    assert (code == 0) == SpecifierSet(supported).contains(version), output


def test_refusal_names_what_was_tried(sandbox: Sandbox) -> None:
    sandbox.add("mine", BASE_PYTHON.format(version="3.10.4"))
    sandbox.add("python3.11", "#!/bin/sh\necho 'pyenv: python3.11: command not found' >&2\nexit 127\n")
    sandbox.add("python3.12", BASE_PYTHON.format(version="3.12.3 without ensurepip"))
    sandbox.add("python3.13", BASE_PYTHON.format(version="3.9.2"))
    sandbox.add("python3", BASE_PYTHON.format(version="3.9.2"))
    code, output = sandbox.run(PYTHON="mine")
    assert code == 1
    (sentence,) = output.splitlines()
    for words in ("need 3.11, 3.12 or 3.13", "mine (3.10.4)", "python3.11 (does not run)", "without ensurepip"):
        assert words in sentence
    assert not (sandbox.project / ".venv" / "bin").exists()


def test_python_that_does_not_run_is_passed_over(sandbox: Sandbox) -> None:
    sandbox.add("python3.11", "#!/bin/sh\nexit 127\n")
    sandbox.add("python3.12", BASE_PYTHON.format(version="3.12.4"))
    code, output = sandbox.run()
    assert code == 0
    assert "Python 3.12.4 from python3.12" in output


def test_chosen_python_comes_first(sandbox: Sandbox) -> None:
    sandbox.add("mine", BASE_PYTHON.format(version="3.13.1"))
    assert "Python 3.13.1 from mine" in sandbox.run(PYTHON="mine")[1]


@pytest.mark.parametrize("name", ["requirements.lock", "torch.lock"])
def test_missing_lock_is_explained(sandbox: Sandbox, name: str) -> None:
    (sandbox.project / name).unlink()
    code, output = sandbox.run()
    assert code == 1
    assert f"{name} is missing" in output


def test_this_environment_is_complete() -> None:
    """On the real thing: nothing left to install, and saying so changes nothing."""
    check = subprocess.run(["bash", "bootstrap.sh", "check"], cwd=ROOT, capture_output=True, text=True)
    if check.returncode != 0:
        pytest.skip("the tests run in an environment that bootstrap.sh did not make, or made for older requirements")
    state = ROOT / ".venv" / ".hsds-state"
    before = state.stat().st_mtime_ns
    again = subprocess.run(["bash", "bootstrap.sh"], cwd=ROOT, capture_output=True, text=True)
    assert again.returncode == 0
    assert re.fullmatch(r"bootstrap: ready \(Python 3\.1[123]\.\d+\)\.\n", again.stdout)
    assert state.stat().st_mtime_ns == before
