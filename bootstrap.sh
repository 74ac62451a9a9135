#!/usr/bin/env bash
# Makes .venv, with everything the course needs, next to this file. Every make target calls it first.
#
#   bash bootstrap.sh         install what is missing; does nothing when all is there
#   bash bootstrap.sh check   only say whether all is there (exit code 0 or 1)
#   bash bootstrap.sh lock    rewrite requirements.lock, torch.lock and constraints.txt from pyproject.toml (make
#                             lock); further arguments go to `uv pip compile`, for example --upgrade
#
# PYTHON             the interpreter to try first
# HSDS_TORCH_INDEX   take torch from this package index instead of the usual one: on Linux, PyPI's torch is the
#                    CUDA build (gigabytes); PyTorch's own index has a small one for CPUs. What comes from there is
#                    not compared with torch.lock: https and the hashes that the index itself states vouch for it
#
# pip's own settings (index-url, find-links, PIP_*) are honoured. Works with bash 3.2 and later.
set -euo pipefail

cd -- "$(dirname -- "${BASH_SOURCE[0]}")" >/dev/null
unset PYTHONHOME PYTHONPATH PIP_TARGET PIP_PREFIX PIP_USER # they would send the packages elsewhere
export PIP_DISABLE_PIP_VERSION_CHECK=1

readonly VENV=.venv
readonly VENV_PYTHON=$VENV/bin/python
readonly LOCK=requirements.lock
readonly TORCH_LOCK=torch.lock
# sha256 of PyTorch's own CPU builds, which PyPI does not have, with which this was tested: cp311, Linux x86_64.
readonly TORCH_CPU_HASHES="6746dbcbeb526eb61330b76b41ff1b4eb848951103a892eeb080dfa2b264667b"
# Two lines: this folder, then "unfinished" or the fingerprint of a finished set-up.
readonly STATE=$VENV/.hsds-state
readonly SUPPORTED="3.11, 3.12 or 3.13" # requires-python of pyproject.toml; a test compares them

say() { printf 'bootstrap: %s\n' "$*"; }

fail() {
    printf 'bootstrap: %s\n' "$*" >&2
    exit 1
}

# Running it is the only proof: a name on PATH may be a pyenv shim that fails, or lack Debian's python3-venv.
# Prints "3.11.7", nothing when it does not run, and "3.11.7 without ..." when a module is missing.
python_version() {
    "$1" -c '
import importlib.util as u, platform
missing = [m for m in ("venv", "ensurepip") if u.find_spec(m) is None]
print(platform.python_version() + (" without " + " and ".join(missing) if missing else ""))' 2>/dev/null || true
}

is_supported() { [[ "$1" =~ ^3\.(11|12|13)\.[0-9a-z+]+$ ]]; }

find_python() {
    local candidate version tried=""
    for candidate in ${PYTHON:+"$PYTHON"} python3.11 python3.12 python3.13 python3; do
        version=$(python_version "$candidate")
        if is_supported "$version"; then
            BASE_PYTHON=$candidate BASE_VERSION=$version
            return
        fi
        tried="$tried${tried:+, }$candidate (${version:-does not run})"
    done
    fail "no suitable Python found: need $SUPPORTED with the venv and ensurepip modules, tried $tried." \
        "Install one (Debian and Ubuntu: apt install python3.11-venv) or name it: PYTHON=/path/to/python make setup"
}

# What a finished set-up depends on, in one line; empty when the environment cannot be used.
fingerprint() {
    "$VENV_PYTHON" -I -c '
import hashlib, importlib.util, pathlib, platform, sys
if not all(importlib.util.find_spec(name) for name in ("torch", "papermill", "pytest", "hsds_lib")):
    sys.exit()
files = b"\0".join(pathlib.Path(name).read_bytes() for name in sys.argv[1:])
print("Python", platform.python_version(), hashlib.sha256(files).hexdigest())' \
        bootstrap.sh pyproject.toml "$LOCK" "$TORCH_LOCK" 2>/dev/null || true
}

state_line() { [ ! -f "$STATE" ] || sed -n "${1}p" "$STATE"; }

write_state() {
    printf '%s\n%s\n' "$PWD" "$1" >"$STATE.new"
    mv -f "$STATE.new" "$STATE"
}

is_ready() {
    local recorded
    recorded=$(state_line 2)
    [ -n "$recorded" ] && [ "$(state_line 1)" = "$PWD" ] && [ "$recorded" = "$(fingerprint)" ]
}

# One set-up at a time in this folder; the lock goes when the process and its children end, however they end.
take_turn() {
    mkdir -p "$VENV" 2>/dev/null || fail "cannot make the folder $PWD/$VENV: check that this folder is writable."
    command -v flock >/dev/null || return 0
    exec 9>"$VENV/.hsds-lock"
    flock -n 9 && return
    say "another set-up is running in this folder; waiting for it."
    flock 9
}

ensure_venv() {
    local reason=""
    if [ "$(state_line 2)" = unfinished ]; then
        reason="the last set-up did not finish"
    elif [ -f "$STATE" ] && [ "$(state_line 1)" != "$PWD" ]; then
        reason="this folder was moved or copied"
    elif [ ! -e "$VENV_PYTHON" ] && [ ! -L "$VENV_PYTHON" ]; then
        reason="first use"
    elif ! is_supported "$(python_version "$VENV_PYTHON")"; then
        reason="its Python does not run or is not $SUPPORTED"
    elif ! "$VENV_PYTHON" -m pip --version >/dev/null 2>&1; then
        reason="its pip does not run"
    fi
    if [ -n "$reason" ]; then
        find_python
        say "making $VENV ($reason) with Python $BASE_VERSION from $BASE_PYTHON; a few seconds."
        # All but the lock, which a waiting set-up has open. From scratch, because a half-copied package
        # looks installed; the package caches make the second time short.
        find "$VENV" -mindepth 1 -maxdepth 1 ! -name .hsds-lock -exec rm -rf {} +
        write_state unfinished
        "$BASE_PYTHON" -m venv "$VENV" || fail "$BASE_PYTHON could not make $VENV; see the lines above."
    fi
    write_state unfinished
}

# The part of the lock $3 that is (or, with "not", is not) the package $2.
lock_part() {
    awk -v which="$1" -v name="$2" '
        /^[a-zA-Z0-9]/ { split($0, word, "=="); found = (word[1] == name) }
        (which == "only") == (found == 1)' "$3"
}

# uv ignores pip's configuration, so hand it the parts that decide where packages come from.
translate_pip_settings() {
    local links index
    links=${PIP_FIND_LINKS:-$("$VENV_PYTHON" -m pip config get global.find-links 2>/dev/null || true)}
    index=${PIP_INDEX_URL:-$("$VENV_PYTHON" -m pip config get global.index-url 2>/dev/null || true)}
    links=$(printf '%s' "$links" | tr -s ' \n' ',,') # pip separates by spaces, uv by commas
    [ -n "${UV_FIND_LINKS:-}" ] || [ -z "$links" ] || export UV_FIND_LINKS="$links"
    [ -n "${UV_DEFAULT_INDEX:-}${UV_INDEX_URL:-}" ] || [ -z "$index" ] || export UV_DEFAULT_INDEX="$index"
}

ensure_uv() {
    UV=$VENV/bin/uv
    local wanted
    wanted=$(sed -n 's/^uv==\([^ ;]*\).*/\1/p' "$LOCK")
    [ "$("$UV" --version 2>/dev/null | cut -d' ' -f2)" = "$wanted" ] && return
    lock_part only uv "$LOCK" >"$VENV/.hsds-uv.txt"
    "$VENV_PYTHON" -m pip install --quiet --require-hashes --no-deps -r "$VENV/.hsds-uv.txt" && return
    say "uv cannot be had here; installing with pip alone, which takes some minutes longer."
    UV=""
}

install() {
    local quiet=--quiet
    [ ! -t 2 ] || quiet="" # progress bars only for a person who watches
    if [ -n "$UV" ]; then
        "$UV" pip install $quiet --python "$VENV_PYTHON" "$@" && return
        say "uv did not manage; trying the same with pip."
    fi
    "$VENV_PYTHON" -m pip install $quiet "$@"
}

# The wheel must be one whose hash is in torch.lock, and so must the CUDA parts that Linux's default build asks for.
install_torch() {
    local index=${HSDS_TORCH_INDEX:-} version
    case $index in
        "") ;;
        http://localhost[:/]* | http://127.* | [!h]* | https://*)
            say "torch comes from HSDS_TORCH_INDEX, whose word is taken for it: its hash is not compared with $TORCH_LOCK."
            install "$1" --index-url "$index" || fail "could not install $1: $blame"
            return
            ;;
        *) fail "HSDS_TORCH_INDEX is '$index', without https anybody on the way could change torch: give an https address." ;;
    esac
    # Which one pip's settings give, such as 2.13.0+cpu from a folder: only the full version goes with hashes.
    version=$("$VENV_PYTHON" -m pip install --quiet --dry-run --ignore-installed --no-deps --report - "$1" 2>/dev/null |
        sed -n 's/^ *"version": "\([0-9][^"]*\)".*/\1/p' | tail -n 1) || true
    lock_part only torch "$TORCH_LOCK" | sed "s/^torch==[^ ]*/torch==${version:-${1#torch==}}/" >"$VENV/.hsds-torch.txt"
    lock_part not torch "$TORCH_LOCK" >"$VENV/.hsds-cuda.txt"
    install --require-hashes --no-deps -r "$VENV/.hsds-torch.txt" ||
        fail "could not install $1: $blame Or the wheel found is not one of those in $TORCH_LOCK ('hash' in the lines" \
            "above): if you trust it, add the sha256 that 'pip hash WHEEL' gives there, or name its index in HSDS_TORCH_INDEX."
    "$VENV_PYTHON" -I -c 'import importlib.metadata as m; assert "nvidia" in str(m.requires("torch"))' 2>/dev/null ||
        return 0
    install --require-hashes --no-deps -r "$VENV/.hsds-cuda.txt" || fail "could not install torch's CUDA parts: $blame"
}

install_everything() {
    local blame="most often there is no network or no package index within reach (lines above); \
check the network and pip's index settings, then run the same command again."
    local torch
    torch=$(sed -n 's/.*"\(torch==[^"]*\)".*/\1/p' pyproject.toml)
    translate_pip_settings
    ensure_uv

    say "installing the packages of $LOCK; about a minute the first time."
    lock_part not uv "$LOCK" >"$VENV/.hsds-lock.txt"
    # --no-deps: the lock is complete but for torch, whose wheels differ from machine to machine.
    install --require-hashes --no-deps -r "$VENV/.hsds-lock.txt" || fail "could not install $LOCK: $blame"

    say "installing $torch; a CPU build is 0.2 GB, Linux's default CUDA build several GB and minutes."
    install_torch "$torch"

    say "installing this course itself."
    install --no-deps --no-build-isolation --editable . || fail "could not install this folder: see the lines above."
    "$VENV_PYTHON" -m pip check >"$VENV/.hsds-check.txt" || {
        cat "$VENV/.hsds-check.txt" >&2
        fail "the installed packages do not fit together (lines above): if you changed pyproject.toml," \
            "run make lock; else remove $VENV and run this again."
    }
}

setup() {
    local started=$SECONDS
    is_ready && say "ready ($(state_line 2 | cut -d' ' -f1,2))." && return
    case $(uname -s) in MINGW* | MSYS* | CYGWIN*) fail "on Windows, run this inside WSL (wsl --install)." ;; esac
    local lock
    for lock in "$LOCK" "$TORCH_LOCK"; do
        [ -s "$lock" ] || fail "$lock is missing or empty: restore it from git, or write it anew with make lock."
    done
    take_turn
    is_ready && say "ready ($(state_line 2 | cut -d' ' -f1,2))." && return
    ensure_venv
    install_everything
    write_state "$(fingerprint)"
    is_ready || fail "the set-up ended but torch, papermill, pytest or hsds_lib cannot be found; please report this."
    say "ready after $((SECONDS - started)) s ($(state_line 2 | cut -d' ' -f1,2))."
}

# Everything but torch, for every supported Python and system at once, with hashes. The override makes torch
# vanish from the resolution, also as a requirement of other packages, and rfc3987-syntax, with which jsonschema checks
# addresses in JSON, of which there are none here: it builds its grammar whenever it is imported, which took every
# process that reads a notebook two seconds. Then torch. No index or path is written.
write_lock() {
    take_turn
    is_supported "$(python_version "$VENV_PYTHON")" || ensure_venv
    [ -x "$VENV/bin/uv" ] || "$VENV_PYTHON" -m pip install --quiet uv || fail "make lock needs uv: see above."
    printf '%s\n' "torch ; sys_platform == 'never'" "rfc3987-syntax ; sys_platform == 'never'" \
        >"$VENV/.hsds-override.txt"
    # A local wheel folder must not decide what everybody gets.
    unset UV_FIND_LINKS
    set -- --quiet --universal --python-version 3.11 --generate-hashes --custom-compile-command "make lock" "$@"
    "$VENV/bin/uv" pip compile pyproject.toml --extra dev --group beside-torch \
        --override "$VENV/.hsds-override.txt" --no-emit-package torch --output-file "$LOCK" "$@" ||
        fail "could not resolve pyproject.toml; $LOCK is unchanged."
    # torch as PyPI has it, with the CUDA parts that are not in the lock.
    sed -n 's/.*"\(torch==[^"]*\)".*/\1/p' pyproject.toml >"$VENV/.hsds-torch.in"
    [ ! -f "$TORCH_LOCK" ] || cp "$TORCH_LOCK" "$VENV/.hsds-torch.lock" # so that versions that still fit are kept
    local packages
    packages=$(sed -n 's/^\([a-zA-Z0-9][^ =]*\)==.*/--no-emit-package \1/p' "$LOCK" | sort -u)
    # shellcheck disable=SC2086 # two words for each
    "$VENV/bin/uv" pip compile "$VENV/.hsds-torch.in" --constraint "$LOCK" $packages --no-annotate \
        --output-file "$VENV/.hsds-torch.lock" "$@" || fail "could not resolve torch; $TORCH_LOCK is unchanged."
    awk -v hashes="$TORCH_CPU_HASHES" '
        !/--hash/ || !seen[$1]++ { print }
        /^torch==/ { count = split(hashes, hash, " "); for (n = 1; n <= count; n++) {
            seen["--hash=sha256:" hash[n]] = 1
            print "    --hash=sha256:" hash[n] " \\"
        } }' "$VENV/.hsds-torch.lock" >"$TORCH_LOCK"
    {
        echo "# Written by make lock: the versions of $LOCK without hashes, for environment.yml and pip install -c."
        sed -n 's/^\([a-zA-Z0-9][^ ]*==[^\\]*[^\\ ]\) *\\\{0,1\}$/\1/p' "$LOCK"
    } >constraints.txt
    say "wrote $LOCK, $TORCH_LOCK and constraints.txt; the next make target installs them."
}

trap 'say "interrupted; run the same command again, it starts afresh." >&2; exit 130' INT TERM HUP

case ${1:-setup} in
    setup) setup ;;
    check)
        is_ready || fail "not set up, or out of date: run make setup."
        say "ready ($(state_line 2 | cut -d' ' -f1,2))."
        ;;
    lock) shift && write_lock "$@" ;;
    *) fail "unknown argument '$1': use setup, check or lock." ;;
esac
