import importlib.metadata
import shutil
import subprocess
import sys

import torch

import labutils as lab
from labutils.base import installation


def rows(found):
    return {row["what"]: row for _, row in found.data.iterrows()}


def test_everything_is_green_here():
    found = lab.check_installation()
    assert found.data["ok"].all(), found.data.to_string()
    assert rows(found)["torch"]["found"] == importlib.metadata.version("torch")
    assert rows(found)["MNIST"]["found"] == "55,000 + 5,000 + 10,000 digits, verified"
    assert f"CPU, {torch.get_num_threads()} threads" in rows(found)["computes on"]["found"]
    shown = found.to_html()
    assert "✗" not in shown
    assert installation.RED not in shown
    assert shown.count("✓ ok") == len(found.data)


def test_each_red_row_has_a_remedy(tmp_path, monkeypatch):
    real = importlib.metadata.version

    def version(name):
        if name == "pandas":
            raise importlib.metadata.PackageNotFoundError(name)
        return "0.1" if name == "numpy" else real(name)

    monkeypatch.setattr(installation.importlib.metadata, "version", version)
    monkeypatch.setenv("EAI_LAB_HOME", str(tmp_path / "gone"))
    monkeypatch.setattr(installation, "lab_home", lambda: tmp_path / "gone")
    monkeypatch.setattr(installation, "FREE_DISK", shutil.disk_usage(tmp_path).total * 2)
    found = lab.check_installation()
    red = {name: row["to do"] for name, row in rows(found).items() if not row["ok"]}
    assert set(red) == {"pandas", "numpy", "MNIST", "pretrained network", "free disk"}
    assert 'pip install "numpy>=' in red["numpy"]
    assert "EAI_LAB_HOME" in red["MNIST"]
    assert "on the disk that holds" in red["free disk"]
    shown = found.to_html()
    assert shown.count("✗ fix") == len(red)
    assert installation.RED in shown
    assert "numpy&gt;=" in shown  # escaped
    assert not (tmp_path / "gone").exists()


def test_package_that_was_not_installed(monkeypatch):
    monkeypatch.setattr(installation, "DISTRIBUTION", "no-such-package")
    assert "start.py" in rows(lab.check_installation())["labutils"]["to do"]


def test_package_without_its_requirements():
    """With a bare Python, importing labutils says how to start the right one."""
    code = (
        "import sys\n"
        "class Missing:\n"
        "    def find_spec(self, name, *rest):\n"
        "        if name == 'torch': raise ModuleNotFoundError(f'No {name}', name=name)\n"
        "sys.meta_path.insert(0, Missing())\n"
        "import labutils"
    )
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert process.returncode != 0
    last = process.stderr.strip().splitlines()[-1]
    assert "torch" in last
    assert sys.executable in last
    assert "start.py" in last


def test_data_that_cannot_be_read_is_a_red_row(monkeypatch):
    def fail():
        raise OSError("disk full")

    monkeypatch.setattr(installation, "load_mnist", fail)
    row = rows(lab.check_installation())["MNIST"]
    assert (row["ok"], row["to do"]) == (False, "disk full")
