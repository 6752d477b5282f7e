"""What of this machine a job sees in the sandbox: system, Python, the library, the GPU's driver."""

import glob
import importlib.util
import os
import sys
from pathlib import Path

import trtlab
import trtlab_grader
from trtlab_grader.sandbox.errors import SandboxError

# Of /etc, what loading libraries, fonts and the clock need.
_ETC = (
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/alternatives",
    "/etc/fonts",
    "/etc/localtime",
)
_SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
# OpenMP, torch and ONNX Runtime size their thread pools by these.
_PROCESSORS = ("/sys/devices/system/cpu", "/sys/devices/system/node")
_GPU_DEVICES = ("/dev/nvidia*", "/dev/nvidia-caps/*")
# The driver's libraries where they are not in /usr, and what CUDA asks about the PCI bus.
_GPU_FILES = ("/usr/local/nvidia", "/etc/OpenCL", "/etc/nvidia", "/sys/bus/pci", "/sys/devices")


def system_paths() -> tuple[list[str], dict[str, str]]:
    """Return the operating system's files and folders, and its links (/bin to usr/bin, say)."""
    paths = [path for path in (*_SYSTEM, *_ETC, *_PROCESSORS) if os.path.exists(path)]
    links = {path: os.readlink(path) for path in paths if os.path.islink(path)}
    return [path for path in paths if path not in links], links


def python_folders() -> list[str]:
    """Return the folders of this Python, its environment, and the course's library and weights."""
    library = Path(trtlab.__file__).resolve().parent
    datasets = library.parents[1] / "datasets"  # in a checkout; a wheel has them in the package
    interpreter = Path(os.path.realpath(sys.executable)).parents[1]
    folders = [
        *(os.path.abspath(prefix) for prefix in (sys.prefix, sys.base_prefix, sys.exec_prefix)),
        os.fspath(interpreter),
        os.path.dirname(os.path.abspath(sys.executable)),
        *_search_path("PYTHONPATH"),
        *_search_path("LD_LIBRARY_PATH"),
        *_pytorch_folder(),
        os.fspath(library),
        *([os.fspath(datasets)] if datasets.is_dir() else []),
    ]
    shown = [folder for folder in dict.fromkeys(folders) if not _is_below(folder, "/usr")]
    if "/" in shown:
        raise SandboxError("This Python is installed at /, and all of / would be shown with it.")
    return shown


def hidden_folders(shown: list[str]) -> list[str]:
    """Return what must not be seen in the folders shown: the grader, with rubric and solutions."""
    grader = os.fspath(Path(trtlab_grader.__file__).resolve().parent)
    return [grader] if any(_is_below(grader, folder) for folder in shown) else []


def gpu_devices() -> list[str]:
    """Return the device files of NVIDIA's driver."""
    found = (path for pattern in _GPU_DEVICES for path in sorted(glob.glob(pattern)))
    return [path for path in found if not os.path.isdir(path)]


def gpu_files() -> list[str]:
    """Return files and folders that CUDA and TensorRT load from, beyond the system's."""
    return [path for path in _GPU_FILES if os.path.exists(path)]


def environment(home: str) -> dict[str, str]:
    """Return the variables that every job gets; none of the grader's own is inherited."""
    variables = {
        "PATH": os.pathsep.join([f"{sys.prefix}/bin", "/usr/local/bin", "/usr/bin", "/bin"]),
        "HOME": home,
        "TMPDIR": os.path.dirname(home),
        "USER": "student",
        "LOGNAME": "student",
        "LANG": "C.UTF-8",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    # Where this Python itself, or what it imports, is found by these.
    if os.environ.get("PYTHONHOME"):
        variables["PYTHONHOME"] = os.environ["PYTHONHOME"]
    for name in ("PYTHONPATH", "LD_LIBRARY_PATH"):
        if _search_path(name):
            variables[name] = os.pathsep.join(_search_path(name))
    return variables


def _pytorch_folder() -> list[str]:
    """Return the folder that holds PyTorch's files and CUDA's, where an environment links to it."""
    spec = importlib.util.find_spec("torch")
    if spec is None or spec.origin is None:
        return []
    return [os.fspath(Path(os.path.realpath(spec.origin)).parents[1])]


def _search_path(name: str) -> list[str]:
    """Return the folders of a path variable that exist; a relative or empty entry is left out."""
    entries = os.environ.get(name, "").split(os.pathsep)
    return [entry for entry in entries if os.path.isabs(entry) and os.path.isdir(entry)]


def _is_below(path: str, folder: str) -> bool:
    return os.path.commonpath([path, folder]) == folder
