"""Who may import whom: common <- certs <- {client, server} <- sims, and Flower in few places."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

MAY_IMPORT = {
    "common": {"common"},
    "certs": {"common", "certs"},
    "client": {"common", "certs", "client"},
    "server": {"common", "certs", "server"},
    "sims": {"common", "certs", "client", "server", "sims"},
}

KNOW_FLOWER = {
    "common/wire.py",
    "client/app.py",
    "client/gate.py",
    "server/app.py",
    "server/measure.py",
    "server/rounds.py",
    "server/strategy.py",
    "sims/apps.py",
    "sims/engine.py",
    "sims/simulate.py",
    "sims/sites.py",
    "sims/worker.py",
}

# What executes code that somebody else wrote into a file.
UNPICKLERS = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}

MOST_LINES = 300
LONGER: dict[str, str] = {}  # path: why it stays one module

MODULES = sorted(path for folder in MAY_IMPORT for path in (ROOT / folder).glob("*.py"))
EVERY_FILE = [*MODULES, ROOT / "src/fedward/__init__.py", *sorted((ROOT / "tests").rglob("*.py"))]


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def imports(tree: ast.AST) -> Iterator[str]:
    """Dotted names of all that a module imports, also inside functions; "." for relative ones."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                yield "."
            for alias in node.names:
                yield f"{node.module}.{alias.name}"


def test_the_reader_of_imports_sees_them_all() -> None:
    tree = ast.parse("import a.b\ndef f():\n    from c import d, e\n    from . import g")
    assert sorted(set(imports(tree))) == [".", "None.g", "a.b", "c.d", "c.e"]


def test_there_are_modules_in_every_folder() -> None:
    assert {path.parent.name for path in MODULES} == set(MAY_IMPORT)


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_imports_flow_one_way(path: Path) -> None:
    allowed = MAY_IMPORT[path.parent.name]
    floors = {parts[1] for parts in map(_parts, imports(parse(path))) if parts[0] == "fedward"}
    assert floors & set(MAY_IMPORT) <= allowed


@pytest.mark.parametrize("path", EVERY_FILE, ids=name)
def test_imports_are_absolute_and_by_the_package_name(path: Path) -> None:
    first = {dotted.split(".")[0] or "." for dotted in imports(parse(path))}
    assert not first & ({"."} | set(MAY_IMPORT)), "write `from fedward.common ...`"


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_few_modules_know_flower(path: Path) -> None:
    first = {dotted.split(".")[0] for dotted in imports(parse(path))}
    if name(path) not in KNOW_FLOWER:
        assert not first & {"flwr", "ray"}


@pytest.mark.parametrize("path", EVERY_FILE, ids=name)
def test_nothing_is_unpickled(path: Path) -> None:
    tree = parse(path)
    assert not {dotted.split(".")[0] for dotted in imports(tree)} & UNPICKLERS
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            assert (node.value.id, node.attr) not in {("torch", "load"), ("torch", "save")}
        if isinstance(node, ast.keyword) and node.arg == "allow_pickle":
            assert isinstance(node.value, ast.Constant)
            assert node.value.value is False


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_a_module_fits_the_mind(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert ast.get_docstring(ast.parse(text)), "say in a docstring what the module is"
    if name(path) not in LONGER:
        assert len(text.splitlines()) <= MOST_LINES, "split it, or list it in LONGER with a reason"


@pytest.mark.parametrize(
    ("module", "heavy"),
    [
        ("fedward.sims.cli", {"fedward.sims.simulate", "torch", "flwr"}),
        ("fedward.sims.folders", {"torch", "flwr"}),
        ("fedward.sims.recipes", {"torch", "flwr"}),
        ("fedward.sims.simulate", {"torch", "flwr"}),
        ("fedward.sims.worker", {"fedward.server", "sqlalchemy", "matplotlib", "opacus"}),
    ],
)
def test_what_has_to_start_fast_imports_little(module: str, heavy: set[str]) -> None:
    """A run's first process starts the hospitals' template before it imports torch itself."""
    code = f"import sys, {module}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not heavy & set(done.stdout.split())


def _parts(dotted: str) -> list[str]:
    return [*dotted.split("."), ""]
