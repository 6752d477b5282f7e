"""Wrong solutions of lab 3."""

from mutants import Mutant

SHRINK = {
    "CALIBRATION_IMAGES = 500 if torch.cuda.is_available() else 100": "CALIBRATION_IMAGES = 68",
    "STUDY_IMAGES = 16": "STUDY_IMAGES = 2",
}

PREPROCESS = "        return workload.preprocess(image)"
FIT = "TF.center_crop(image if image.size == (224, 224) else TF.resize(image, 256), 224)"
TORCHVISION = "        import torchvision.transforms.functional as TF\n"
NORMALISE = "TF.normalize({}, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))"

NEXT_BATCH = "        batch = next(self.batches, None)\n"
COPY = "        cuda.memcpy_htod(self.device_input, host_batch)\n"
RETURN_ADDRESS = "        return [int(self.device_input)]"
COUNT = "        self.images_shown += len(batch)\n"
NO_ENGINE = {"3.3": 3, "3.4": 2, "3.5": 1}  # what is lost where the build fails

MUTANTS = [
    Mutant(
        "forgets to normalise",
        "3.1",
        PREPROCESS,
        f"{TORCHVISION}        return TF.to_tensor({FIT})",
        {"3.1": 1, "3.3": None, "3.4": None},
        "calibration-not-normalised",
    ),
    Mutant(
        "feeds pixels from 0 to 255",
        "3.1",
        PREPROCESS,
        f"{TORCHVISION}        return TF.pil_to_tensor({FIT}).float()",
        {"3.1": 1, "3.3": 1, "3.4": 1},
        "calibrated-on-other-inputs",
    ),
    Mutant(
        "swaps red and blue",
        "3.1",
        PREPROCESS,
        "        return workload.preprocess(Image.fromarray(np.array(image)[:, :, ::-1].copy()))",
        {"3.1": 1},
        "calibration-bgr",
    ),
    Mutant(
        "squeezes every image into a square",
        "3.1",
        PREPROCESS,
        f"{TORCHVISION}        return "
        + NORMALISE.format("TF.to_tensor(TF.resize(image, [224, 224]))"),
        {"3.1": 1},
        "calibration-other-resize",
    ),
    Mutant(
        "forgets that some images are grey",
        "3.1",
        '        image = Image.open(self.files[idx]).convert("RGB")\n' + PREPROCESS,
        f"{TORCHVISION}        image = Image.open(self.files[idx])\n        tensor = "
        f"TF.to_tensor({FIT})\n        return tensor if len(tensor) == 1 else "
        + NORMALISE.format("tensor"),
        {"3.1": 2},
    ),
    Mutant(
        "keeps the first files of a sorted folder",
        "3.1",
        "random.Random(0).sample(files, min(num_samples, len(files)))",
        "files[:num_samples]",
        {"3.1": 0.5},
        "calibration-one-class",
    ),
    Mutant(
        "ignores num_samples",
        "3.1",
        "random.Random(0).sample(files, min(num_samples, len(files)))",
        "files",
        {"3.1": 0.5},
    ),
    Mutant(
        "draws other images every time",
        "3.1",
        "random.Random(0).sample(",
        "random.sample(",
        {"3.1": 0.5},
    ),
    Mutant(
        "calibrates on validation images",
        "3.1",
        'workload.dataset("calibration", size=',
        'workload.dataset("validation", size=',
        {"3.1": 0.5},
        "calibration-on-validation",
    ),
    Mutant(
        "calibrates on forty images",
        "3.1",
        "size=CALIBRATION_IMAGES)",
        "size=40)",
        {"3.1": 0.5, "3.3": 0.5},
        "too-few-calibration-images",
    ),
    Mutant(
        "calibrates on noise",
        "3.1",
        PREPROCESS,
        "        return torch.randn(3, 224, 224)",
        {"3.1": 1.5, "3.3": 1, "3.4": 1},
        "calibrated-on-other-inputs",
    ),
    Mutant(
        "returns a host address",
        "3.2",
        RETURN_ADDRESS,
        "        return [batch.data_ptr()]",
        {"3.2": 1.5, **NO_ENGINE},
        "calibrator-host-pointer",
    ),
    Mutant(
        "keeps the buffer in a local variable",
        "3.2",
        COPY + COUNT + RETURN_ADDRESS,
        "        device_input = cuda.mem_alloc(host_batch.nbytes)\n"
        "        cuda.memcpy_htod(device_input, host_batch)\n"
        + COUNT
        + "        return [int(device_input)]",
        {"3.2": 1.5, **NO_ENGINE},
        "calibrator-freed-buffer",
    ),
    Mutant(
        "allocates a buffer for each batch",
        "3.2",
        COPY,
        "        self.device_input = cuda.mem_alloc(host_batch.nbytes)\n" + COPY,
        {"3.2": 0.5},
        "calibrator-buffer-per-batch",
    ),
    Mutant(
        "forgets to copy the batch",
        "3.2",
        COPY,
        "",
        {"3.2": 1.5, **NO_ENGINE},
    ),
    Mutant(
        "shows a short last batch",
        "3.2",
        "if batch is None or len(batch) < self.batch_size:",
        "if batch is None:",
        {"3.2": 0.5},
        "calibrator-stale-rows",
    ),
    Mutant(
        "takes every exception for the end",
        "3.2",
        NEXT_BATCH,
        "        try:\n            batch = next(self.batches)\n"
        "        except Exception:\n            batch = None\n",
        {"3.2": 0.5},
        "calibrator-hides-errors",
    ),
    Mutant(
        "starts over after the end",
        "3.2",
        "        self.batches = iter(calibration_loader)\n",
        "        def rounds():\n"
        "            while True:\n"
        "                yield from calibration_loader\n"
        "                yield None\n"
        "        self.batches = rounds()\n",
        {"3.2": 0.5},
        "calibrator-never-ends",
    ),
    Mutant(
        "counts batches for images",
        "3.2",
        COUNT,
        "        self.images_shown += 1\n",
        {"3.2": 0.5, "3.3": 0.5},
        "too-few-calibration-images",
    ),
    Mutant(
        "says that a batch is one image",
        "3.2",
        "        return self.batch_size\n",
        "        return 1\n",
        {"3.2": 0.5, "3.3": 0.5},
    ),
    Mutant(
        "reads a cache that is not there",
        "3.2",
        "        if not self.cache_file.exists():\n            return None\n",
        "",
        {"3.2": 0.5},
        "calibrator-needs-a-cache",
    ),
    Mutant(
        "does not write the cache",
        "3.2",
        "        self.cache_file.write_bytes(cache)\n",
        "        pass\n",
        {"3.2": 0.5, "3.3": 0.5},
    ),
    Mutant(
        "forgets the INT8 flag",
        "3.3",
        "    config.set_flag(trt.BuilderFlag.INT8)\n",
        "",
        {"3.3": 2, "3.4": 1, "3.5": 1},
        "int8-in-name-only",
    ),
    Mutant(
        "forgets the FP16 flag",
        "3.3",
        "    config.set_flag(trt.BuilderFlag.FP16)\n",
        "",
        {"3.3": 0.5},
        "int8-without-fp16",
    ),
    Mutant(
        "forgets the calibration profile",
        "3.3",
        "    config.set_calibration_profile(calibration_profile)\n",
        "",
        {"3.3": 0.5},
        "calibrated-at-opt",
    ),
    Mutant(
        "uses the calibration's batch for the engine",
        "3.3",
        '"input", (1, 3, 224, 224), (8, 3, 224, 224), (32, 3, 224, 224))',
        '"input", *[(calibrator.get_batch_size(), 3, 224, 224)] * 3)',
        {"3.3": 0.5, "3.4": 1},
        "calibration-profile-is-no-profile",
    ),
    Mutant(
        "leaves the verbosity at names",
        "3.3",
        "    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED\n",
        "",
        {"3.3": 1, "3.4": 1, "3.5": 1},
        "int8-layers-unknown",
    ),
]

UNCHECKED = ("clip-view", "clip-slider", "study", "measure-3-4", "sizes")
