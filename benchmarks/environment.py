"""Where the benchmarks find things, and how they make what is missing."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
WORK = ROOT / "target" / "benchmarks"
VENV_PYTHON = WORK / "venv" / "bin" / "python"
RELEASE = ROOT / "target" / "release"
OURS = RELEASE / "s3insights"

# All that is measured runs in one thread.
ONE_THREAD = {
    name: "1"
    for name in ["OMP_NUM_THREADS", "ARROW_IO_THREADS", "POLARS_MAX_THREADS", "RAYON_NUM_THREADS"]
}


def say(text):
    print(text, file=sys.stderr, flush=True)


def make_venv():
    """Installs the pinned packages, once for every content of requirements.txt."""
    requirements = HERE / "requirements.txt"
    wanted = requirements.read_text()
    marker = WORK / "venv" / "requirements.txt"
    if marker.exists() and marker.read_text() == wanted:
        return
    say("installing the Python packages")
    subprocess.run([sys.executable, "-m", "venv", "--clear", WORK / "venv"], check=True)
    pip = [VENV_PYTHON, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "--requirement", requirements], check=True)
    marker.write_text(wanted)


def use_venv():
    """Goes on in the virtual environment, for scripts that import its packages."""
    make_venv()
    if Path(sys.prefix) != WORK / "venv":
        os.execv(VENV_PYTHON, [str(VENV_PYTHON), *sys.argv])


def build():
    say("building the release binaries")
    command = ["cargo", "build", "--release", "--package", "cli", "--package", "benchmarks"]
    subprocess.run(command, cwd=ROOT, check=True)


def rules():
    """The rules of the derived columns, see `write-reports --rules`."""
    command = [RELEASE / "write-reports", "--rules"]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


class Report:
    """A delivered report on disk."""

    def __init__(self, manifest):
        self.manifest = Path(manifest).resolve()
        content = json.loads(self.manifest.read_text())
        self.format = content["fileFormat"].lower()
        self.file_schema = content["fileSchema"]
        self.keys = [file["key"] for file in content["files"]]
        # The key of the manifest is `<prefix>/<bucket>/<configuration>/<stamp>/manifest.json`, and
        # the files are beside the stamp, whatever the prefix is.
        data = self.manifest.parents[1] / "data"
        self.files = [data / Path(key).name for key in self.keys]
        self.bytes = sum(file.stat().st_size for file in self.files)

    def consolidated(self, folder):
        """The consolidated files, in the order of the delivered ones."""
        return [Path(folder) / f"{stem(file)}.parquet" for file in self.files]

    def read_once(self):
        """Brings the files into the page cache."""
        for file in self.files:
            with file.open("rb") as opened:
                while opened.read(1 << 24):
                    pass


def stem(file):
    name = Path(file).name
    for ending in (".csv.gz", ".parquet", ".orc"):
        if name.endswith(ending):
            return name.removesuffix(ending)
    return name


def report(format, rows, row_group_rows=100_000, files=1, columns="predecessor"):
    """A synthetic report, made if there is none yet."""
    name = f"{format}-{rows}-{row_group_rows}-{files}-{columns}"
    folder = WORK / "data" / name
    sources = sorted((HERE / "src" / "bin" / "write-reports").glob("*.rs"))
    made_by = hashlib.sha256()
    for source in [*sources, HERE / "convert-to-orc.py", HERE / "requirements.txt"]:
        made_by.update(source.read_bytes())
    marker = folder / "made-by"
    if not marker.exists() or marker.read_text() != made_by.hexdigest():
        say(f"writing the report {name}")
        written_format = "parquet" if format == "orc" else format
        command = [RELEASE / "write-reports", "--to", folder, "--format", written_format]
        command += ["--rows", str(rows), "--row-group-rows", str(row_group_rows)]
        command += ["--files", str(files), "--columns", columns]
        written = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout
        if format == "orc":
            manifest = json.loads(written)["manifest"]
            subprocess.run([VENV_PYTHON, HERE / "convert-to-orc.py", manifest], check=True)
        marker.write_text(made_by.hexdigest())
    return Report(next(folder.glob("*/*/*/manifest.json")))
