"""Only names that TensorRT 8.6.1 and 10.16.1 share may be used, or offered by the emulation.

data/tensorrt-<version>.json holds the classes and members of TensorRT's Python API with the names
of the parameters of every overload, read off the real bindings. The functions of the module itself
have no signature there.
"""

import ast
import inspect
import json
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from trtlab.backend.emulated import tensorrt as emulated

VERSIONS = ("8.6.1", "10.16.1.11")
REPOSITORY = Path(__file__).parents[3]
MODULE_ATTRIBUTES = {"__version__"}  # of the module itself; no class, so not in the data
ONE_VERSION_SUFFICES = "lib/trtlab/backend/compat.py"

Members = dict[str, dict[str, list[list[str]]]]  # class -> member -> overloads -> parameters


def _read_api(version: str) -> Members:
    path = Path(__file__).with_name("data") / f"tensorrt-{version}.json"
    return json.loads(path.read_text())["members"]


API = {version: _read_api(version) for version in VERSIONS}


def instance_attributes(cls: type) -> set[str]:
    """Return the public names X of the assignments `self.X = ...` in a class's source."""
    found = set()
    for base in cls.__mro__:
        if base.__module__.startswith("trtlab."):
            tree = ast.parse(textwrap.dedent(inspect.getsource(base)))
            for node in ast.walk(tree):
                if (
                    isinstance(node, ast.Attribute)
                    and isinstance(node.ctx, ast.Store)
                    and isinstance(node.value, ast.Name)
                    and node.value.id == "self"
                    and not node.attr.startswith("_")
                ):
                    found.add(node.attr)
    return found


def own_members(cls: type) -> set[str]:
    """Return the members that the emulation, not Python, gives to a class."""
    bases = [base for base in cls.__mro__ if base.__module__.startswith("trtlab.")]
    names = {name for base in bases for name in vars(base)}
    return {name for name in names if not name.startswith("_")} | names & {"__init__"}


CLASSES = [name for name in emulated.__all__ if inspect.isclass(getattr(emulated, name))]


def accepts(overload: list[str], names: list[str], count: int) -> bool:
    """Say whether an overload takes its first `count` parameters under these names."""
    mine = [parameter.rstrip("=") for parameter in overload[:count]]
    rest_optional = all(parameter.endswith("=") for parameter in overload[count:])
    unnamed = all(parameter.startswith("arg") for parameter in mine)
    return len(mine) == count and rest_optional and (unnamed or mine == names[:count])


def disagreements(function, overloads: list[list[str]]) -> list[str]:
    """Return the ways to call `function` that no overload of the real one allows."""
    parameters = [p for p in inspect.signature(function).parameters.values() if p.name != "self"]
    names = [parameter.name for parameter in parameters]
    required = sum(parameter.default is parameter.empty for parameter in parameters)
    return [
        f"({', '.join(names[:count])})"
        for count in range(required, len(names) + 1)
        if not any(accepts(overload, names, count) for overload in overloads)
    ]


@pytest.mark.parametrize("version", VERSIONS)
def test_every_module_level_name_of_the_emulation_exists(version):
    unknown = set(emulated.__all__) - set(API[version])
    assert not unknown, f"tensorrt {version} has none of {sorted(unknown)}"


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", CLASSES)
def test_every_member_of_an_emulated_class_exists(version, name):
    cls = getattr(emulated, name)
    unknown = (own_members(cls) | instance_attributes(cls)) - set(API[version][name])
    assert not unknown, f"trt.{name} of {version} has none of {sorted(unknown)}"


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", CLASSES)
def test_every_method_of_an_emulated_class_is_called_as_the_real_one(version, name):
    cls, real = getattr(emulated, name), API[version][name]
    wrong = {}
    for member in own_members(cls):
        value = inspect.getattr_static(cls, member)
        if inspect.isroutine(value) and member in real and real[member]:
            bad = disagreements(value, real[member])
            if bad:
                wrong[member] = f"takes {bad}, TensorRT {real[member]}"
    assert not wrong


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", CLASSES)
def test_a_method_is_a_method_and_a_property_a_property(version, name):
    cls, real = getattr(emulated, name), API[version][name]
    for member in own_members(cls) & set(real) - {"__init__"}:
        value = inspect.getattr_static(cls, member)
        if not inspect.isclass(value):
            assert inspect.isroutine(value) == bool(real[member]), f"trt.{name}.{member}"


# What the library and the notebooks use


def sources() -> Iterator[tuple[str, str]]:
    """Yield (path, code) of every Python file and notebook in lib/trtlab and solutions."""
    for folder in ("lib/trtlab", "solutions"):
        for path in sorted((REPOSITORY / folder).rglob("*")):
            name = path.relative_to(REPOSITORY).as_posix()
            if path.suffix == ".py":
                yield name, path.read_text()
            elif path.suffix == ".ipynb" and ".ipynb_checkpoints" not in path.parts:
                for index, cell in enumerate(json.loads(path.read_text())["cells"]):
                    if cell["cell_type"] == "code":
                        yield f"{name}[{index}]", _without_magics("".join(cell["source"]))


def _without_magics(code: str) -> str:
    """Blank the lines that only IPython understands."""
    return "\n".join("pass" if line[:1] in ("%", "!") else line for line in code.splitlines())


def dotted(node: ast.Attribute) -> list[str] | None:
    """Return ['trt', 'Logger', 'WARNING'] for that expression, None if it starts otherwise."""
    parts: list[str] = []
    current: ast.expr = node
    while isinstance(current, ast.Attribute):
        parts.insert(0, current.attr)
        current = current.value
    return [current.id, *parts] if isinstance(current, ast.Name) else None


def used_names(code: str) -> set[tuple[str, ...]]:
    """Return ('Logger', 'WARNING') for every trt.Logger.WARNING in the code."""
    chains = (dotted(node) for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Attribute))
    return {tuple(chain[1:3]) for chain in chains if chain and chain[0] == "trt"}


def known(api: Members, chain: tuple[str, ...]) -> bool:
    """Say whether a version has trt.X, or trt.X.Y."""
    head, *member = chain
    if head in MODULE_ATTRIBUTES:
        return True
    return head in api and (not member or not api[head] or member[0] in api[head])


def unshared_members() -> set[str]:
    """Return the members that one of the two versions has and the other has nowhere.

    Only names with an underscore: `min`, `read` or `padding` mean other things elsewhere.
    """
    old, new = ({m for cls in API[version].values() for m in cls} for version in VERSIONS)
    return {name for name in old ^ new if "_" in name.strip("_")}


SOURCES = dict(sources())


@pytest.mark.parametrize("path", [path for path in SOURCES if "trt." in SOURCES[path]])
def test_every_trt_name_in_use_is_in_both_versions(path):
    enough = 1 if path == ONE_VERSION_SUFFICES else len(VERSIONS)
    for chain in used_names(SOURCES[path]):
        having = [version for version in VERSIONS if known(API[version], chain)]
        assert len(having) >= enough, f"trt.{'.'.join(chain)} is only in {having or 'neither'}"


@pytest.mark.parametrize("path", sorted(set(SOURCES) - {ONE_VERSION_SUFFICES}))
def test_no_method_of_one_version_is_in_use(path):
    tree = ast.parse(SOURCES[path])
    used = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    assert not used & unshared_members()


def test_the_checks_see_a_name_of_one_version_only():
    code = "trt.BuilderFlag.STRICT_TYPES; trt.Logger.WARNING; trt.int64; x.max_workspace_size"
    chains = used_names(code)
    assert {("BuilderFlag", "STRICT_TYPES"), ("Logger", "WARNING"), ("int64",)} <= chains
    assert [known(API[v], ("BuilderFlag", "STRICT_TYPES")) for v in VERSIONS] == [True, False]
    assert [known(API[v], ("int64",)) for v in VERSIONS] == [False, True]
    assert all(known(API[v], ("Logger", "WARNING")) for v in VERSIONS)
    assert {"max_workspace_size", "set_binding_shape", "progress_monitor"} <= unshared_members()


def test_the_checks_see_a_wrong_parameter():
    real = API["8.6.1"]["IExecutionContext"]["set_input_shape"]

    def renamed(self, tensor, shape): ...

    def longer(self, name, shape, strict=True): ...

    def right(self, name, shape): ...

    assert disagreements(renamed, real) == ["(tensor, shape)"]
    assert disagreements(longer, real) == ["(name, shape, strict)"]
    assert disagreements(right, real) == []
