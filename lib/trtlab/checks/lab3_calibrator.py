"""Check of lab 3's calibrator: its side of TensorRT's calibration protocol."""

from typing import Literal

from trtlab.checks.evidence import Evidence
from trtlab.checks.findings import expect
from trtlab.checks.misconceptions import misconception
from trtlab.checks.registry import check
from trtlab.checks.verdict import Finding

HOST_POINTER = misconception(
    "calibrator-host-pointer",
    "Handing TensorRT host memory",
    "get_batch returns addresses that a kernel on the GPU reads. An array, a tensor on the CPU or "
    "its data pointer is memory of the host: the batch has to be copied to the device first.",
)
FREED_BUFFER = misconception(
    "calibrator-freed-buffer",
    "The buffer dies before TensorRT reads it",
    "Device memory is freed when the last Python reference to it goes. A buffer that only a local "
    "variable of get_batch holds is gone when get_batch returns, which is when TensorRT starts "
    "to read.",
)
BUFFER_PER_BATCH = misconception(
    "calibrator-buffer-per-batch",
    "A new device buffer for every batch",
    "All batches have one shape, and TensorRT is done with a batch before it asks for the next. A "
    "buffer for each costs an allocation a batch, and keeps all batches in GPU memory if you hold "
    "on to them.",
)
STALE_ROWS = misconception(
    "calibrator-stale-rows",
    "A short last batch in a full-size buffer",
    "Calibration runs at one fixed shape. If the last batch has fewer images, TensorRT still reads "
    "a full one: behind your images lie those of the batch before, which then count twice, or "
    "uninitialised memory.",
)
HIDDEN_EXCEPTION = misconception(
    "calibrator-hides-errors",
    "An error taken for the end of the data",
    "A broad `except` turns a damaged image or a full GPU into None, which means: no more batches. "
    "TensorRT then builds an engine from what it has seen so far, and nobody is told.",
)
NEVER_ENDS = misconception(
    "calibrator-never-ends",
    "Starting over instead of ending",
    "TensorRT calls get_batch until it returns None. A calibrator that starts a new round at the "
    "end of its data may calibrate for ever, and one that starts it after a None shows the next "
    "build images that nobody asked for. One calibrator serves one build.",
)
CACHE_REQUIRED = misconception(
    "calibrator-needs-a-cache",
    "Expecting a cache that is not there yet",
    "TensorRT asks for the cache before the first calibration too. That there is none is normal, "
    "and the answer None means: calibrate.",
)

Address = Literal["", "host", "freed", "malformed"]


class CalibratorEvidence(Evidence):
    """A calibrator driven as TensorRT drives it, over a loader of known batches.

    Attributes:
        batch_size: the loader's; reported: what get_batch_size returned, as text.
        full_batches: in the loader; right_batches: found at the address that get_batch gave.
        address: "" if all could be read; "host": no device memory; "freed": device memory that is
            gone; "malformed": no list of one address.
        ends: get_batch came to None; stays_ended: and it returned None again.
        buffers: different addresses; allocations: made after the first batch.
        partial: what became of the last, short batch: "dropped", "filled" up with whole images,
            "stale" rows behind it, or "none" seen because it never got there.
        images_shown: the calibrator's own count at the end, or None.
        images_right: what it should be.
        absent_cache: "None", or what reading an absent cache did instead.
        reads_cache, writes_cache: the very bytes.
        after_error: what the calibrator did with an exception of the loader.
    """

    batch_size: int = 0
    reported: str = ""
    full_batches: int = 0
    right_batches: int = 0
    address: Address = ""
    ends: bool = False
    stays_ended: bool = False
    buffers: int = 0
    allocations: int = 0
    partial: Literal["dropped", "filled", "stale", "none"] = "none"
    images_shown: int | None = None
    images_right: int = 0
    absent_cache: str = ""
    reads_cache: bool = False
    writes_cache: bool = False
    after_error: Literal["raised", "kept", "hidden", "none"] = "none"


_ADDRESSES: dict[Address, tuple[str, str, str | None]] = {
    "": ("", "Copy every batch into the buffer, whole and as float32, before you return.", None),
    "host": (
        "; the address is not device memory",
        "Allocate with cuda.mem_alloc, copy with cuda.memcpy_htod, and return [int(buffer)].",
        HOST_POINTER,
    ),
    "freed": (
        "; the memory had been freed when it was read",
        "Keep the allocation as an attribute of the calibrator.",
        FREED_BUFFER,
    ),
    "malformed": (
        "; get_batch returned no list of one address",
        "Return a list with one address for each name in `names`.",
        None,
    ),
}


@check("3.2")
def entropy_calibrator(evidence: CalibratorEvidence) -> list[Finding]:
    """Judge the calibrator's side of TensorRT's protocol."""
    where, what_to_do, address_key = _ADDRESSES[evidence.address]
    right = evidence.full_batches > 0 and evidence.right_batches == evidence.full_batches
    return [
        expect(
            "get_batch_size is the loader's",
            evidence.reported == str(evidence.batch_size),
            0.5,
            measured=evidence.reported,
            required=evidence.batch_size,
            next_step="The loader knows: loader.batch_size.",
        ),
        expect(
            "get_batch puts each batch on the device",
            right,
            1,
            measured=f"{evidence.right_batches} of {evidence.full_batches} full batches lay at the "
            f"address{where}",
            required=f"all {evidence.full_batches}",
            next_step=what_to_do,
            misconception=address_key,
        ),
        expect(
            "None at the end, and from then on",
            evidence.ends and evidence.stays_ended,
            0.5,
            measured="None, and again None"
            if evidence.stays_ended
            else "None once, then more batches"
            if evidence.ends
            else "still batches after all images had been shown",
            required="None, and again None",
            next_step="Make one iterator in __init__, ask it for the next batch, and return None "
            "when it has none.",
            misconception=None if evidence.stays_ended else NEVER_ENDS,
        ),
        expect(
            "one device buffer for all batches",
            right and evidence.buffers <= 2 and evidence.allocations == 0,
            0.5,
            measured=f"{evidence.buffers} buffer(s), {evidence.allocations} allocation(s) after "
            "the first batch",
            required="one buffer (two if you alternate), no allocation after the first batch",
            next_step="Allocate once, in __init__, for a batch of the loader's size.",
            misconception=BUFFER_PER_BATCH if right else None,
        ),
        _partial(evidence),
        expect(
            "images_shown counts what was handed over",
            evidence.images_shown is not None and evidence.images_shown == evidence.images_right,
            0.5,
            measured="no such attribute"
            if evidence.images_shown is None
            else evidence.images_shown,
            required=evidence.images_right,
            next_step="Add the images of a batch where you return it.",
        ),
        *_cache(evidence),
        expect(
            "an error is not taken for the end of the data",
            evidence.after_error in ("raised", "kept"),
            0.5,
            measured={
                "raised": "the loader's exception came through",
                "kept": "the loader's exception was kept on the calibrator",
                "hidden": "get_batch returned as if the data had ended",
                "none": "the calibrator did not get that far",
            }[evidence.after_error],
            required="raised, or kept for you to see",
            next_step="Catch StopIteration alone, or use next(iterator, None).",
            misconception=HIDDEN_EXCEPTION if evidence.after_error == "hidden" else None,
        ),
    ]


def _partial(evidence: CalibratorEvidence) -> Finding:
    return expect(
        "a short last batch is not shown as a full one",
        evidence.partial in ("dropped", "filled"),
        0.5,
        measured={
            "dropped": "dropped",
            "filled": "filled up with other images",
            "stale": "shown, with old content of the buffer behind it",
            "none": "the calibrator did not get that far",
        }[evidence.partial],
        required="dropped, or filled up with other images",
        next_step="Treat a batch with fewer than batch_size images as the end.",
        misconception=STALE_ROWS if evidence.partial == "stale" else None,
    )


def _cache(evidence: CalibratorEvidence) -> list[Finding]:
    absent = evidence.absent_cache == "None"
    return [
        expect(
            "the cache is read if it is there",
            absent and evidence.reads_cache,
            0.5,
            measured=f"without a file: {evidence.absent_cache}; with one: "
            + ("its bytes" if evidence.reads_cache else "not its bytes"),
            required="None, and the file's bytes",
            next_step="Look whether the file exists; open it with 'rb'.",
            misconception=None if absent else CACHE_REQUIRED,
        ),
        expect(
            "the cache is written",
            evidence.writes_cache,
            0.5,
            measured="the bytes are in the file" if evidence.writes_cache else "not in the file",
            required="the bytes that TensorRT gave",
            next_step="Open the file with 'wb' and write `cache` as it is.",
        ),
    ]
