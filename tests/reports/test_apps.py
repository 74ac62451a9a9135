"""Who can reach what is served: Voila and JupyterLab on this machine only, JupyterLab with its token."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from hsds_lib.reports.apps import arguments

ROOT = Path(__file__).resolve().parents[2]
# Ends where the server would begin to serve, and says on which addresses it listens.
SERVE = """
import os
from tornado.web import Application

listen = Application.listen


def told(application, *args, **options):
    server = listen(application, *args, **options)
    print("listens on", *sorted({one.getsockname()[0] for one in server._sockets.values()}), flush=True)
    os._exit(0)


Application.listen = told
from hsds_lib.reports.apps import main

main(["--no-browser", "--port=0", "--Voila.port_retries=0"])
"""


@pytest.mark.slow
def test_voila_listens_on_loopback_only_whatever_the_reader_has_set(tmp_path: Path) -> None:
    (tmp_path / "voila.json").write_text('{"Voila": {"ip": "0.0.0.0"}, "ServerApp": {"ip": "0.0.0.0"}}')
    private = {"JUPYTER_CONFIG_DIR": str(tmp_path), "HOME": str(tmp_path), "IPYTHONDIR": str(tmp_path / "ipython")}
    command = [sys.executable, "-c", SERVE]
    done = subprocess.run(command, env={**os.environ, **private}, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.stdout == "listens on 127.0.0.1\n", done.stderr[-2000:]


def test_nothing_that_is_started_opens_a_server_or_takes_its_token_away() -> None:
    assert "--Voila.ip=127.0.0.1" in arguments(Path("page.ipynb"))
    [lab] = [text for text in (ROOT / "Makefile").read_text(encoding="utf-8").split("\n\n") if text.startswith("lab:")]
    assert "-m jupyterlab" in lab and not any(word in lab for word in ("ip=", "token", "password", "allow", "Identity"))
