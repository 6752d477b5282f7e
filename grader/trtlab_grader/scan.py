"""Looks for code that reaches for the machinery around it, so that a person can look at it.

No protection: the sandbox and the evidence from outside are that. But what is noted in the
student's own process (see docs/grading.md) could be forged there, and code that does so has to
touch one of these things. Nothing is executed.
"""

import ast
from collections.abc import Iterator, Mapping
from itertools import chain

from nbformat import NotebookNode

from trtlab_grader.records import Flag

_MODULES: Mapping[str, str] = {
    "trtlab.lab.watching": "the watch on TensorRT's methods",
    "trtlab.lab.recording": "the recorder of builds",
    "trtlab.lab.probe": "the probes",
    "trtlab.lab.probes": "the probes",
    "trtlab.lab.exchange": "the probes' files",
    "trtlab.lab.session": "the checks' session",
    "trtlab.checks": "the checks",
    "trtlab_grader": "the grader",
    "unittest.mock": "patching",
    "ctypes": "raw memory",
    "gc": "other objects in the process",
    "inspect": "other frames and sources",
    "socket": "the network",
    "subprocess": "other processes",
    "multiprocessing": "other processes",
    "pickle": "pickled objects",
    "sys.modules": "other modules",
    "sys._getframe": "other frames",
    "sys.settrace": "other frames",
    "os._exit": "ending the process",
    "os.fork": "other processes",
    "os.kill": "other processes",
    "os.system": "other processes",
    "os.symlink": "links",
    "os.link": "hard links",
    "builtins": "the language's own functions",
}
_PATCHED = ("trt", "cuda", "np", "numpy", "torch", "time", "onnx", "onnxruntime", "trtlab")
"""Modules whose attributes a solution has no reason to assign to."""
_SHELL = (
    "ast_transformers",
    "input_transformers_post",
    "input_transformers_cleanup",
    "display_formatter",
    "display_pub",
    "set_custom_exc",
    "events",
)
_TEXTS = ("/proc/", "/etc/", "../../", "observed.json", "/box/")


def scan(notebook: NotebookNode) -> list[Flag]:
    """Return a flag for each thing that a person should look at, once per cell and thing."""
    flags = []
    for cell in notebook.cells:
        if cell.cell_type != "code" or cell.metadata.get("nbgrader", {}).get("locked"):
            continue
        found: dict[str, int] = {}
        for what, line in _findings(cell.source):
            found.setdefault(what, line)
        name = cell.metadata.get("nbgrader", {}).get("grade_id") or cell.get("id", "a cell")
        flags += [
            Flag(
                kind="human",
                code="reaches-for-machinery",
                text=f"Cell {name}, line {line}, reaches for {what}.",
            )
            for what, line in found.items()
        ]
    return flags


def _findings(source: str) -> Iterator[tuple[str, int]]:
    """Yield what a cell reaches for, and the line."""
    try:
        # Lines of IPython's own are no Python; a cell of magic alone has nothing to find but them.
        tree = ast.parse(
            "\n".join("" if line[:1] in "!%" else line for line in source.splitlines())
        )
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return
    for number, line in enumerate(source.splitlines(), 1):
        if line.startswith(("!", "%%bash", "%%script")):
            yield "a shell", number
    for node in ast.walk(tree):
        yield from ((what, node.lineno) for what in _of_node(node))  # type: ignore[attr-defined]


def _of_node(node: ast.AST) -> Iterator[str]:
    match node:
        case ast.Import(names=names):
            yield from chain.from_iterable(_named(alias.name) for alias in names)
        case ast.ImportFrom(module=str(module), names=names):
            yield from _named(module)
            for alias in names:
                yield from (w for w in _named(f"{module}.{alias.name}") if not any(_named(module)))
        case ast.Attribute():
            yield from _of_attribute(node)
        case ast.Call(func=ast.Name(id=("exec" | "eval" | "__import__" | "compile") as name)):
            yield f"{name}()"
        case ast.Call(func=ast.Name(id="setattr"), args=[target, *_]) if _root(target) in _PATCHED:
            yield f"an attribute of {_root(target)}"
        case ast.Constant(value=str(text)):
            yield from (f"the path {part!r}" for part in _TEXTS if part in text)


def _of_attribute(node: ast.Attribute) -> Iterator[str]:
    path = _dotted(node)
    if isinstance(node.ctx, (ast.Store, ast.Del)):
        if _root(node) in _PATCHED and path.count(".") >= 1 and not _is_setting(path):
            yield f"an attribute of {_root(node)}"
        return
    if node.attr in _SHELL and "ipython" in ast.unparse(node.value).lower():
        yield "IPython's own hooks"
    if path in _MODULES:
        yield _MODULES[path]


def _named(module: str) -> Iterator[str]:
    """Yield what a module is for, if it or one above it is listed."""
    parts = module.split(".")
    for end in range(len(parts), 0, -1):
        prefix = ".".join(parts[:end])
        if prefix in _MODULES:
            yield _MODULES[prefix]
            return


def _dotted(node: ast.AST) -> str:
    """Return "a.b.c" of a chain of names, or "" of anything else."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        before = _dotted(node.value)
        return f"{before}.{node.attr}" if before else ""
    return ""


def _root(node: ast.AST) -> str:
    return _dotted(node).split(".")[0]


def _is_setting(path: str) -> bool:
    """Whether it is one of the switches that PyTorch documents as assignments."""
    return path.startswith("torch.backends.")
