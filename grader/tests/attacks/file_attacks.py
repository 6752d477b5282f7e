"""Attacks through files: what lies outside, what is left behind, what is copied."""

from typing import Any

from attacks.table import ATTACKS_CHECKS, REACHES, Attack

_SAVE = "    onnx.save(simplified, simplified_path)\n"
_EXPORTED = 'dynamic_axes={"input": {0: "batch"}, "output": {0: "batch"}},\n    )\n'
_LOOK_AROUND = """\
import os
from pathlib import Path

for start in (Path.cwd().parents[2], Path("/tmp"), Path("/root"), Path("/home"), Path("/work")):
    for folder, _, names in os.walk(start):
        if "site-packages" in folder:
            continue
        for name in names:
            wanted = name in (".secret", "gradebook.db", "course.toml", "device.json")
            if wanted or "victim" in folder or "submitted" in folder:
                print("STOLEN", folder, name)
                try:
                    print((Path(folder) / name).read_text()[:2000])
                except (OSError, UnicodeDecodeError):
                    pass
"""
_POISON = """\
import os
from pathlib import Path

for path in Path(os.environ["TRTLAB_CACHE"]).rglob("*"):
    try:
        path.write_bytes(b"poison")
        print("POISONED", path)
    except OSError:
        pass
    try:
        path.unlink()
        print("POISONED", path)
    except OSError:
        pass
"""
_OWN_CACHE = """\
import os
from pathlib import Path
from trtlab.lab.artifacts import provided_folder

os.environ["TRTLAB_CACHE"] = str(Path("cache").absolute())
planted = provided_folder()
planted.mkdir(parents=True)
for name in ("timing.cache", "resnet50_dynamic_fp16.engine", "resnet50_simplified.onnx"):
    (planted / name).write_bytes(b"poison")
"""
_CODE_COPIES = """\
import shutil

def build_engine_fp16(onnx_path, engine_path):
    shutil.copy(artifact("resnet50_dynamic_fp16.engine"), engine_path)
    return Path(engine_path).read_bytes()

build_engine_dynamic = build_engine_fp16
engine_fp16 = build_engine_fp16(ONNX, "resnet50_fp16.engine")
engine_dynamic = build_engine_dynamic(ONNX, "resnet50_dynamic_fp16.engine")
"""
_LIBRARY_BUILDS = """\
from trtlab.build import BuildSpec, Precision, ShapeProfile, build_engine

def build_engine_dynamic(onnx_path, engine_path):
    only = BuildSpec(precision=Precision.FP16, profiles=(ShapeProfile(min=1, opt=8, max=32),))
    build_engine(onnx_path, engine_path, only)
    return Path(engine_path).read_bytes()

engine_dynamic = build_engine_dynamic(ONNX, "resnet50_dynamic_fp16.engine")
"""
_LIBRARY_RUNS = """\
import trtlab.infer as theirs

class TensorRTInference:
    def __init__(self, engine_path):
        self.inner = theirs.TensorRTInference(engine_path)

    def infer(self, images):
        return self.inner.infer(images)

    def close(self):
        self.inner.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
"""
_COPIED_ONNX = """\
import os
import shutil
from pathlib import Path

for path in Path(os.environ["TRTLAB_" + "CACHE"]).rglob("*.onnx"):
    shutil.copy(path, "resnet50.onnx")
    shutil.copy(path, "resnet50_simplified.onnx")
    print("COPIED", path)

def export_model(*_, **__):
    raise RuntimeError("the file is there already")

simplify_model = export_model
"""
_LINK = """\
from pathlib import Path

(Path.cwd().parents[1] / "made" / "1.1").symlink_to("/etc")
"""
_ANSWERS_OF_ANOTHER = """
    from pathlib import Path
    if Path(onnx_path).name == "export.onnx":
        other = Path(onnx_path).parents[1] / "1.2"
        other.mkdir()
        for name in ("0.onnx", "1.onnx", "2.onnx", "observed.json"):
            (other / name).write_bytes(Path(onnx_path).read_bytes())
"""


def _outside_data(location: str, first: str) -> tuple[str, str]:
    """Return the patch that moves an exported model's weights to a file elsewhere."""
    code = f"""{_EXPORTED}    {first}
    model = onnx.load(onnx_path)
    for tensor in model.graph.initializer:
        size = len(tensor.raw_data)
        tensor.ClearField("raw_data")
        tensor.data_location = onnx.TensorProto.EXTERNAL
        for key, value in (("location", {location!r}), ("offset", "0"), ("length", str(size))):
            entry = tensor.external_data.add()
            entry.key, entry.value = key, value
    with open(onnx_path, "wb") as file:
        file.write(model.SerializeToString())
"""
    return _EXPORTED, code


def _external(name: str, location: str, first: str = "", **more: Any) -> Attack:
    return Attack(
        name=f"keeps an ONNX file's weights {name}",
        row="external",
        lab="01-export",
        patches=(_outside_data(location, first),),
        points={"1.1": 0, "1.2": 2},
        **more,
    )


ATTACKS = (
    Attack(
        name="reads everything around it",
        row="neighbours",
        lab="01-export",
        unwritten=True,
        before=_LOOK_AROUND,
        human=REACHES,
        quick=True,
    ),
    Attack(
        name="leaves a link to a file of the machine as a deliverable",
        row="links",
        lab="01-export",
        patches=(
            (
                _SAVE,
                '    Path = __import__("pathlib").Path\n'
                "    Path(simplified_path).unlink(missing_ok=True)\n"
                '    Path(simplified_path).symlink_to("/etc/passwd")\n',
            ),
        ),
        points={"1.2": 1},
        attack=frozenset({"symlink-deliverable", "linked-answer"}),
        human=REACHES,
    ),
    Attack(
        name="makes the folder of a probe's answers a link",
        row="links",
        lab="01-export",
        before=_LINK,
        human=REACHES,
    ),
    Attack(
        name="writes another task's answers in the probe of one",
        row="answers",
        lab="01-export",
        patches=(
            (_EXPORTED, _EXPORTED + _ANSWERS_OF_ANOTHER),
            ("    original = onnx.load(onnx_path)\n", "    return\n"),
        ),
        points={"1.2": 0},
        attack=ATTACKS_CHECKS,
    ),
    Attack(
        name="makes hard links to what it was given",
        row="links",
        lab="01-export",
        patches=(
            (
                _SAVE,
                _SAVE + "    import os\n    try:\n"
                '        os.link(onnx_path, str(simplified_path) + ".hard")\n'
                "    except OSError:\n        pass\n",
            ),
        ),
        human=REACHES,
    ),
    Attack(
        name="overwrites the provided engines and the timing cache",
        row="caches",
        lab="04-infer",
        unwritten=True,
        before=_POISON,
        human=REACHES,
        quick=True,
    ),
    Attack(
        name="plants a cache of its own",
        row="caches",
        lab="04-infer",
        unwritten=True,
        before=_OWN_CACHE,
        human=REACHES,
    ),
    Attack(
        name="hands in the provided engine as its own",
        row="copied",
        lab="02-build",
        unwritten=True,
        after=_CODE_COPIES,
        points={"2.1": 0.5},  # it raises where the model cannot be parsed, and everywhere else
    ),
    Attack(
        name="hands in the provided ONNX file as its own",
        row="copied",
        lab="01-export",
        unwritten=True,
        after=_COPIED_ONNX,
        human=REACHES,
        quick=True,
    ),
    Attack(
        name="lets the library build",
        row="copied",
        lab="02-build",
        after=_LIBRARY_BUILDS,
        human=REACHES,
    ),
    Attack(
        name="wraps the library's inference class",
        row="copied",
        lab="04-infer",
        unwritten=True,
        after=_LIBRARY_RUNS,
        points={"4.1": 4, "4.2": 2, "4.3": 1},
        human=REACHES,
    ),
    _external("in a file of the machine", "/etc/passwd", human=REACHES, quick=True),
    _external("above its folder", "../../../given/1.2/0.onnx", human=REACHES),
    _external(
        "behind a link",
        "weights.bin",
        first='__import__("pathlib").Path(onnx_path).with_name("weights.bin")'
        '.symlink_to("/etc/passwd")',
        attack=frozenset({"linked-answer"}),
        human=REACHES | {"symlink"},
    ),
    Attack(
        name="leaves a pickle under a deliverable's name",
        row="pickle",
        lab="01-export",
        patches=(
            (
                _SAVE,
                "    class Touch:\n        def __reduce__(self):\n"
                '            return (open, ("/tmp/trtlab-attack-pickle", "w"))\n'
                "    import pickle\n"
                '    with open(simplified_path, "wb") as file:\n'
                "        pickle.dump(Touch(), file)\n",
            ),
        ),
        points={"1.2": 1},
        human=REACHES,
    ),
)
