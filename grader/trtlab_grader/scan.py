"""Looks for code that reaches for the machinery around it, so that a person can look at it.

No protection: the sandbox and the evidence from outside are that. But what is noted in the
student's own process (see docs/grading.md) could be forged there, and code that does so has to
touch one of these things. Nothing is executed.
"""

import ast
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec

from nbformat import NotebookNode

from trtlab_grader.parsing import notebook_trees, trees_of
from trtlab_grader.records import Flag, FlagKind

_MODULES: Mapping[str, str] = {
    "trtlab.lab.watching": "the watch on TensorRT's methods",
    "trtlab.lab.recording": "the recorder of builds",
    "trtlab.lab.probe": "the probes",
    "trtlab.lab.probes": "the probes",
    "trtlab.lab.exchange": "the probes' files",
    "trtlab.lab.session": "the checks' session",
    "trtlab.lab.device_link": "the devices of task 5.1 and 5.2",
    "trtlab.checks": "the checks",
    "trtlab_grader": "the grader",
    "unittest.mock": "patching",
    "ctypes": "raw memory",
    "mmap": "raw memory",
    "gc": "other objects in the process",
    "inspect": "other frames and sources",
    "socket": "the network",
    "urllib": "the network",
    "http": "the network",
    "requests": "the network",
    "subprocess": "other processes",
    "multiprocessing": "other processes",
    "threading": "threads",
    "_thread": "threads",
    "concurrent.futures": "threads",
    "atexit": "what runs when the process ends",
    "signal": "other processes",
    "pickle": "pickled objects",
    "marshal": "pickled objects",
    "importlib": "modules by name",
    "runpy": "modules by name",
    "sys.modules": "other modules",
    "sys.meta_path": "other modules",
    "sys._getframe": "other frames",
    "sys.settrace": "other frames",
    "sys.setprofile": "other frames",
    "os._exit": "ending the process",
    "os.fork": "other processes",
    "os.kill": "other processes",
    "os.system": "other processes",
    "os.popen": "other processes",
    "os.execv": "other processes",
    "os.symlink": "links",
    "os.link": "hard links",
    "builtins": "the language's own functions",
}
_REFERENCE: Mapping[str, str] = {
    "trtlab.infer": "the library's own inference class",
    "trtlab.build": "the library's own builds",
    "trtlab.calibrate": "the library's own calibrators",
    "trtlab.export": "the library's own export",
    "trtlab.pipeline": "the library's own pipeline",
    "trtlab.benchmark": "the library's own benchmarks",
    "trtlab.accuracy": "the library's own accuracy",
    "trtlab.report": "the library's own report",
    "trtlab.plots": "the library's own charts",
    "trtlab.lab.artifacts": "what the course provides",
    "trtlab.lab.artifact": "what the course provides",
    "trtlab.lab.provided": "what the course provides",
    "trtlab.lab.evaluation": "the library's own accuracy",
}
"""Where a name that the release does not import itself does the work which the tasks are about."""

_PATCHED = frozenset(
    (
        "trt",
        "cuda",
        "np",
        "numpy",
        "torch",
        "time",
        "onnx",
        "onnxruntime",
        "onnxsim",
        "trtlab",
        "statistics",
        "math",
        "random",
        "os",
        "sys",
        "io",
        "json",
        "pathlib",
        "pydantic",
        "IPython",
    )
)
"""Modules whose attributes a solution has no reason to assign to."""
_JUDGING = ("trtlab.lab", "trtlab.checks", "trtlab.thresholds")
"""Whoever assigns to an attribute of these attacks the grade."""
_SHELL = (
    "ast_transformers",
    "input_transformers_post",
    "input_transformers_cleanup",
    "display_formatter",
    "display_pub",
    "set_custom_exc",
    "user_ns",
    "run_cell",
)
_INNARDS = frozenset(
    (
        "__globals__",
        "__subclasses__",
        "__builtins__",
        "__code__",
        "__closure__",
        "__loader__",
        "f_globals",
        "f_locals",
        "f_back",
        "tb_frame",
        "gi_frame",
        "cr_frame",
    )
)
"""Ways from any function or object to everything else in the process."""
_MAGIC: Mapping[str, str] = {
    **dict.fromkeys(("bash", "sh", "script", "sx", "system", "perl", "ruby"), "a shell"),
    **dict.fromkeys(("run", "load", "writefile", "python", "python3", "pypy"), "code in a file"),
    **dict.fromkeys(("load_ext", "reload_ext", "config"), "IPython's own hooks"),
}
_CALLS = frozenset(("exec", "eval", "__import__", "compile", "globals", "breakpoint"))
_LINKS = ("symlink_to", "hardlink_to")
_TEXTS = (
    *("/proc/", "/etc/", "../..", "/box/", "sys.modules", "TRTLAB_"),
    *(".secret", "gradebook.db", "course.toml", "submitted"),
)
_FORGED = "observed.json"
"""The file that a probe answers in."""

Found = tuple[str, FlagKind]


@dataclass(frozen=True)
class _Names:
    """What names in a notebook stand for.

    Attributes:
        stands_for: name -> "trtlab.lab.session", from imports and from plain assignments of them.
        released: dotted names that the release imports; None if nobody knows.
    """

    stands_for: dict[str, str] = field(default_factory=dict)
    released: frozenset[str] | None = None

    def dotted(self, node: ast.AST) -> str:
        """Return "a.b.c" of a chain of names, imports resolved, or "" of anything else."""
        if isinstance(node, ast.Name):
            return self.stands_for.get(node.id, node.id)
        if isinstance(node, ast.Attribute):
            before = self.dotted(node.value)
            return f"{before}.{node.attr}" if before else ""
        return ""


def scan(notebook: NotebookNode, released: NotebookNode | None = None) -> list[Flag]:
    """Return a flag for each thing that a person should look at, once per cell and thing.

    Args:
        notebook: the submission.
        released: what students got. Given, using the library to do a task's work is found as well,
            but for what this imports itself.
    """
    parsed = [
        (cell, trees_of(cell.source))
        for cell in notebook.cells
        if cell.cell_type == "code" and not cell.metadata.get("nbgrader", {}).get("locked")
    ]
    names = _Names(
        _stands_for([tree for _, trees in parsed for tree in trees]),
        None if released is None else _imported(released),
    )
    flags = []
    for cell, trees in parsed:
        found: dict[Found, int] = {}
        for thing, line in (pair for tree in trees for pair in _findings(tree, names)):
            found.setdefault(thing, line)
        name = cell.metadata.get("nbgrader", {}).get("grade_id") or cell.get("id", "a cell")
        flags += [
            Flag(
                kind=kind,
                code="attacks-the-checks" if kind == "attack" else "reaches-for-machinery",
                text=f"Cell {name}, line {line}, reaches for {what}.",
            )
            for (what, kind), line in found.items()
        ]
    return flags


def _imported(released: NotebookNode) -> frozenset[str]:
    return frozenset(path for tree in notebook_trees(released) for _, path in _imports(tree))


def _imports(tree: ast.AST) -> Iterator[tuple[str, str]]:
    """Yield the names that imports bind, and what each stands for."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                top = alias.name.split(".")[0]
                yield (alias.asname, alias.name) if alias.asname else (top, top)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                yield alias.asname or alias.name, f"{node.module}.{alias.name}"


def _stands_for(trees: list[ast.Module]) -> dict[str, str]:
    found = {name: path for tree in trees for name, path in _imports(tree)}
    for node in (node for tree in trees for node in ast.walk(tree)):
        if isinstance(node, ast.Assign) and isinstance(node.value, (ast.Name, ast.Attribute)):
            path = _Names(found).dotted(node.value)
            if path.split(".")[0] in _TOPS:
                found |= {t.id: path for t in node.targets if isinstance(t, ast.Name)}
    return found


_TOPS = frozenset(path.split(".")[0] for path in (*_MODULES, "trtlab"))


def _findings(tree: ast.Module, names: _Names) -> Iterator[tuple[Found, int]]:
    """Yield what a cell reaches for, and the line."""
    for node in ast.walk(tree):
        for found in _of_node(node, names):
            yield found, node.lineno  # type: ignore[attr-defined]


def _of_node(node: ast.AST, names: _Names) -> Iterator[Found]:
    match node:
        case ast.Import(names=aliases):
            for alias in aliases:
                yield from _named(alias.name, names)
                yield from _own_module(alias.name)
        case ast.ImportFrom(module=str(module), names=aliases):
            yield from _own_module(module)
            for alias in aliases:
                yield from _named(f"{module}.{alias.name}", names)
        case ast.Attribute():
            yield from _of_attribute(node, names)
        case ast.Call(func=ast.Attribute(value=ast.Attribute(attr="events"), attr="register")):
            yield "IPython's own hooks", "human"
        case ast.Name(id="__builtins__"):
            yield "the language's own functions", "human"
        case ast.Call(func=ast.Attribute(attr=("system" | "getoutput")), args=[_]):
            yield "a shell", "human"
        case ast.Call(
            func=ast.Attribute(attr=("run_line_magic" | "run_cell_magic")),
            args=[ast.Constant(value=str(magic)), *_],
        ) if magic in _MAGIC:
            yield _MAGIC[magic], "human"
        case ast.Call(func=ast.Name(id=called)) if called in _CALLS:
            yield f"{called}()", "human"
        case ast.Call(func=ast.Name(id=("setattr" | "delattr")), args=[target, *_]):
            yield from _assigned(f"{names.dotted(target)}.*", _shown(target))
        case ast.Constant(value=str(text)):
            if _FORGED in text:
                yield "the file that probes answer in", "attack"
            yield from ((f"the path {part!r}", "human") for part in _TEXTS if part in text)


def _of_attribute(node: ast.Attribute, names: _Names) -> Iterator[Found]:
    path = names.dotted(node)
    if isinstance(node.ctx, (ast.Store, ast.Del)):
        yield from _assigned(path, _shown(node))
        return
    if node.attr in _INNARDS:
        yield f"{node.attr}, the inside of the process", "human"
    if node.attr in _LINKS:
        yield "links", "human"
    if node.attr in _SHELL:
        yield "IPython's own hooks", "human"
    if path in _MODULES or (path and path.rpartition(".")[0] in _REFERENCE):
        yield from _named(path, names)


def _assigned(path: str, shown: str) -> Iterator[Found]:
    """Yield what is wrong with an assignment to an attribute."""
    root, _, rest = path.partition(".")
    patched = {root, shown} & _PATCHED
    if not rest or not patched or path.startswith("torch.backends."):  # documented as assignments
        return
    judging = any(path.startswith(f"{package}.") for package in _JUDGING)
    whose = shown if shown in _PATCHED else root
    yield f"an attribute of {whose}", "attack" if judging else "human"


def _shown(node: ast.AST) -> str:
    """Return the name that a chain of attributes begins with, as it is written."""
    while isinstance(node, ast.Attribute):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""


def _own_module(module: str) -> Iterator[Found]:
    """Yield a module that is not installed: it can be a file that the notebook wrote."""
    top = module.split(".")[0]
    if top not in sys.modules and find_spec(top) is None:
        yield "code in a file", "human"


def _named(path: str, names: _Names) -> Iterator[Found]:
    """Yield what a module or a name in it is for, if it or one above it is listed."""
    parts = path.split(".")
    for end in range(len(parts), 0, -1):
        prefix = ".".join(parts[:end])
        if prefix in _MODULES:
            yield _MODULES[prefix], "human"
            return
        if prefix in _REFERENCE and names.released is not None and path not in names.released:
            yield _REFERENCE[prefix], "human"
            return
