"""Files are written whole or not at all; seeds and devices behave."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from hsds_lib.runtime import atomic_path, fingerprint, pick_device, provenance, read_json, seeded, write_json


def test_an_interrupted_write_leaves_the_old_file_and_no_litter(tmp_path: Path) -> None:
    target = tmp_path / "result.json"
    write_json(target, {"kept": True})
    with pytest.raises(KeyboardInterrupt), atomic_path(target) as temporary:
        temporary.write_text("half")
        raise KeyboardInterrupt
    assert read_json(target) == {"kept": True}
    assert [path.name for path in tmp_path.iterdir()] == ["result.json"]


def test_written_files_are_as_readable_as_others(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", [1])
    (tmp_path / "b.json").write_text("[1]")
    assert (tmp_path / "a.json").stat().st_mode == (tmp_path / "b.json").stat().st_mode


def test_nan_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "a.json", float("nan"))
    assert list(tmp_path.iterdir()) == []


def test_missing_and_broken_json_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"gone\.json does not exist; give the folder or file"):
        read_json(tmp_path / "gone.json")
    (tmp_path / "half.json").write_text('{"a": ')
    with pytest.raises(ValueError, match=r"half\.json is not valid JSON"):
        read_json(tmp_path / "half.json")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b'{"a": 1, "a": 2}', "a key is there twice among a, a"),
        (b"[NaN]", "NaN is not a finite number"),
        (b"[1e999]", "1e999 is not a finite number"),
        (b'["\\ud800"]', "surrogates not allowed"),
        (b"\xff\xfe1", "can't decode byte 0xff"),
        (b"[" * 150 + b"]" * 150, "nested deeper than 100 levels"),
        (b'{"a":' * 100_000, "recursion"),
        (b"9" * 5000, "4300 digits"),
        (b"", "Expecting value"),
    ],
)
def test_json_that_could_not_be_written_again_is_refused(content: bytes, reason: str, tmp_path: Path) -> None:
    (tmp_path / "odd.json").write_bytes(content)
    with pytest.raises(
        ValueError, match=r"odd\.json is not valid JSON \(.*" + reason + r".*\); correct it, or write it again"
    ):
        read_json(tmp_path / "odd.json")
    with pytest.raises(FileNotFoundError, match="does not exist"):
        read_json(tmp_path)


def test_seeded_repeats_inside_and_leaves_the_outside_alone() -> None:
    torch.manual_seed(5)
    with seeded(1):
        first = torch.rand(3)
    after = torch.rand(3)
    torch.manual_seed(5)
    with seeded(1):
        assert torch.equal(torch.rand(3), first)
    assert torch.equal(torch.rand(3), after)


def test_devices_are_checked() -> None:
    assert pick_device("cpu").type == "cpu"
    assert pick_device("auto").type in {"cpu", "cuda", "mps"}
    with pytest.raises(ValueError, match="device 'tpu' is unknown; choose auto, cpu, cuda or mps"):
        pick_device("tpu")
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match="'cuda' is not present on this machine"):
            pick_device("cuda")


def test_fingerprint_tells_pixels_and_shapes_apart() -> None:
    image = torch.arange(12.0).reshape(3, 2, 2)
    assert fingerprint([image]) == fingerprint([image.clone()])
    assert fingerprint([image]) != fingerprint([image + 1e-6])
    assert fingerprint([image]) != fingerprint([image.reshape(3, 1, 4)])


def test_provenance_names_versions_and_no_place() -> None:
    facts = provenance(seed=3)
    assert facts["seed"] == 3 and facts["packages"]["torch"] == torch.__version__
    assert str(Path.home()) not in str(facts) and str(Path.cwd()) not in str(facts)
