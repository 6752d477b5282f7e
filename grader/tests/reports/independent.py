"""Two more solutions of labs 2 and 5, written apart from the reference and from each other."""

LAB2_ADA = '''
def build_engine_fp16(onnx_path, engine_path):
    """Build TensorRT engine with FP16 precision, for a batch of 1"""
    with open(onnx_path, "rb") as f:
        model_bytes = f.read()
    b = trt.Builder(TRT_LOGGER)
    net = b.create_network(explicit_batch_flags(trt))
    p = trt.OnnxParser(net, TRT_LOGGER)
    ok = p.parse(model_bytes)
    if not ok:
        raise ValueError("parsing failed: " + str(p.get_error(0)))
    cfg = b.create_builder_config()
    cfg.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, 2147483648)
    if b.platform_has_fast_fp16:
        cfg.set_flag(trt.BuilderFlag.FP16)
    prof = b.create_optimization_profile()
    for i in range(net.num_inputs):
        inp = net.get_input(i)
        shape = [1 if d == -1 else d for d in inp.shape]
        prof.set_shape(inp.name, shape, shape, shape)
    cfg.add_optimization_profile(prof)
    cfg.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    plan = b.build_serialized_network(net, cfg)
    assert plan is not None, "build failed"
    f = open(engine_path, "wb")
    f.write(plan)
    f.close()
    return plan


def build_engine_dynamic(onnx_path, engine_path):
    """Build TensorRT engine with FP16 precision and dynamic batch size, 1 to 32"""
    def shape_of(batch):
        return (batch, 3, 224, 224)

    b = trt.Builder(TRT_LOGGER)
    cfg = b.create_builder_config()
    cfg.set_flag(trt.BuilderFlag.FP16)
    prof = b.create_optimization_profile()
    prof.set_shape("input", min=shape_of(1), opt=shape_of(8), max=shape_of(32))
    assert cfg.add_optimization_profile(prof) >= 0
    net = b.create_network(explicit_batch_flags(trt))
    p = trt.OnnxParser(net, TRT_LOGGER)
    if not p.parse_from_file(str(onnx_path)):
        raise ValueError("parsing failed: " + str(p.get_error(0)))
    cfg.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, 2147483648)
    plan = b.build_serialized_network(net, cfg)
    assert plan is not None, "build failed"
    with open(engine_path, "wb") as f:
        f.write(plan)
    return plan
'''

LAB2_BOB = '''
class _Build:
    GIB = 1 << 30

    def __init__(self, path, shapes):
        self.builder = trt.Builder(TRT_LOGGER)
        self.network = self.builder.create_network(explicit_batch_flags(trt))
        self.parser = trt.OnnxParser(self.network, TRT_LOGGER)
        self.path, self.shapes = Path(path), shapes

    def parse(self):
        if self.parser.parse_from_file(str(self.path)):
            return
        problems = []
        while self.parser.num_errors > len(problems):
            problems.append(self.parser.get_error(len(problems)).desc())
        raise RuntimeError("\\n".join(problems) or "unknown")

    def configure(self):
        config = self.builder.create_builder_config()
        profile = self.builder.create_optimization_profile()
        profile.set_shape(self.network.get_input(0).name, *self.shapes)
        config.add_optimization_profile(profile)
        for flag in (trt.BuilderFlag.FP16,):
            config.set_flag(flag)
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, 2 * self.GIB)
        return config

    def run(self, target):
        self.parse()
        blob = self.builder.build_serialized_network(self.network, self.configure())
        if blob:
            Path(target).write_bytes(bytes(blob))
        return blob


def build_engine_fp16(onnx_path, engine_path):
    """Build TensorRT engine with FP16 precision, for a batch of 1"""
    return _Build(onnx_path, [(1, 3, 224, 224)] * 3).run(engine_path)


def build_engine_dynamic(onnx_path, engine_path):
    """Build TensorRT engine with FP16 precision and dynamic batch size, 1 to 32"""
    shapes = [(batch, 3, 224, 224) for batch in (1, 8, 32)]
    return _Build(onnx_path, shapes).run(engine_path)
'''

LAB5_ADA = '''
def benchmark_latency(model, input_data, num_iterations=1000, warmup=10, synchronize=synchronize):
    """Benchmark inference latency"""
    def timed_call():
        t0 = time.perf_counter_ns()
        model(input_data)
        synchronize()
        t1 = time.perf_counter_ns()
        return (t1 - t0) / 1_000_000

    for i in range(warmup):
        timed_call()
    samples = np.array([timed_call() for i in range(num_iterations)])
    ordered = np.sort(samples)
    result = dict(mean_ms=samples.mean(), median_ms=np.median(ordered), std_ms=samples.std())
    for q in (95, 99):
        result["p%d_ms" % q] = np.percentile(ordered, q)
    return result


def benchmark_throughput(model, batch_size, duration_sec=60, synchronize=synchronize):
    """Benchmark throughput"""
    x = np.zeros((batch_size, 3, 224, 224), np.float32)
    for _ in range(3):
        model(x)
    synchronize()
    calls = 0
    begin = time.perf_counter()
    end = begin
    while True:
        if end - begin >= duration_sec:
            break
        model(x)
        calls = calls + 1
        synchronize()
        end = time.perf_counter()
    return batch_size * calls / (end - begin)


def evaluate_accuracy(model, val_loader, num_samples=1000):
    """Evaluate model accuracy on validation set"""
    all_logits, all_labels, count = [], [], 0
    if hasattr(model, "eval"):
        model.eval()
    for batch, target in val_loader:
        all_logits.append(np.asarray(model(batch.numpy())))
        all_labels.append(target.numpy())
        count += len(target)
        if count >= num_samples:
            break
    logits = np.concatenate(all_logits)[:num_samples]
    labels = np.concatenate(all_labels)[:num_samples]
    top1 = np.mean(np.argmax(logits, 1) == labels) * 100.0
    order = np.argpartition(logits, -5, axis=1)[:, -5:]
    top5 = np.mean([label in row for label, row in zip(labels, order)]) * 100.0
    return top1, top5
'''

LAB5_BOB = '''
def benchmark_latency(model, input_data, num_iterations=1000, warmup=10, synchronize=synchronize):
    """Benchmark inference latency"""
    durations = []
    iteration = -warmup
    while iteration < num_iterations:
        if iteration == 0:
            synchronize()
        started = time.time()
        model(input_data)
        synchronize()
        took = time.time() - started
        if iteration >= 0:
            durations.append(1000 * took)
        iteration += 1
    durations.sort()
    n = len(durations)
    average = sum(durations) / n
    variance = sum((d - average) ** 2 for d in durations) / n
    at = lambda p: durations[min(n - 1, int(p * n / 100))]
    return {"mean_ms": average, "median_ms": at(50), "p95_ms": at(95), "p99_ms": at(99),
            "std_ms": variance ** 0.5}


def benchmark_throughput(model, batch_size, duration_sec=60, synchronize=synchronize):
    """Benchmark throughput"""
    data = torch.rand(batch_size, 3, 224, 224).numpy()
    model(data); synchronize()
    deadline = time.monotonic() + duration_sec
    total, t0 = 0, time.monotonic()
    now = t0
    while now < deadline:
        model(data)
        synchronize()
        total += len(data)
        now = time.monotonic()
    return total / (now - t0)


def evaluate_accuracy(model, val_loader, num_samples=1000):
    """Evaluate model accuracy on validation set"""
    getattr(model, "eval", lambda: None)()
    hits = {1: 0, 5: 0}
    n = 0
    for x, y in val_loader:
        out = torch.as_tensor(model(x.numpy()))
        _, ranked = out.topk(5, dim=1)
        correct = ranked.eq(y.view(-1, 1))
        for row in correct:
            if n == num_samples:
                break
            hits[1] += int(row[0])
            hits[5] += int(row.any())
            n += 1
    return [100.0 * hits[k] / n for k in (1, 5)]
'''
