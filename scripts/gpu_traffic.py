"""What a training step reads and writes on a GPU: compiled for one, which need not be there.

    pip install 'jax[cuda13]'
    python scripts/gpu_traffic.py h200.txtpb [--clips N] [--images N] [--kernels N]

The file describes a GPU to XLA; XLA's repository holds such files, in
xla/backends/gpu/target_config/specs. The paper's network in bfloat16, products by cuBLAS. Nothing
is tuned and nothing is run: on a real one kernels may be others, but what XLA joins and how it lays
arrays out can be seen.
"""

from __future__ import annotations

import argparse
import collections
import os
from pathlib import Path

os.environ.setdefault("XLA_FLAGS", "--xla_gpu_autotune_level=0")  # would run kernels
os.environ["JAX_PLATFORMS"] = "cpu"

import jax
from jax._src.cudnn import fused_attention_stablehlo
from jax.experimental import topologies

from maed_jax.bench import record, steps, traffic
from maed_jax.models import flash


def main() -> None:
    doc = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=doc)
    parser.add_argument("gpu", type=Path, help="XLA's description of it")
    parser.add_argument("--clips", type=int, default=32, help="of 16 frames; default: 32")
    parser.add_argument("--images", type=int, default=32, help="default: 32")
    parser.add_argument("--kernels", type=int, default=20, help="how many to list; default: 20")
    parser.add_argument("--text", type=Path, help="write the compiled program there")
    options = parser.parse_args()
    if not options.gpu.is_file():
        parser.error(f"there is no file {options.gpu}; XLA's repository holds some, see --help")
    compiled = compile_step(options.gpu.read_text(), options.clips, options.images)
    if options.text:
        options.text.write_text(compiled.as_text())
    found = traffic.kernels(compiled.as_text())
    by_name = collections.Counter()
    for kernel in found:
        by_name[kernel.name] += kernel.bytes
    taken = compiled.memory_analysis().temp_size_in_bytes
    print(f"{by_name.total() / 1e9:.1f} GB by {len(found)} kernels, which take", end=" ")
    print(f"{taken / 2**30:.1f} GiB beside their arguments")
    for name, moved in by_name.most_common(12):
        print(f"{moved / 1e9:8.2f} GB  {name}")
    for kernel in sorted(found, key=lambda kernel: -kernel.bytes)[: options.kernels]:
        print(f"{kernel.bytes / 1e9:8.2f} GB  {kernel.name}  {kernel.result}  {kernel.origin}")


def compile_step(gpu: str, clips: int, images: int) -> jax.stages.Compiled:
    # What asks the device at hand is answered for the one that is meant.
    fused_attention_stablehlo.check_cudnn_version = lambda: 91900
    fused_attention_stablehlo.check_compute_capability = lambda capability: True
    flash.has_kernel = lambda: True
    topology = topologies.get_topology_desc(
        "gpu", platform="cuda", target_config=gpu, topology="1x1x1"
    )
    device = jax.sharding.SingleDeviceSharding(topology.devices[0])
    function, state, key = steps.abstract(record.load("stage2", ["--config.model.dtype=bfloat16"]))
    batch = {"clips": steps.label_shapes(clips, 16, 224)}
    if images:
        batch["images"] = steps.label_shapes(images, 1, 224)
    arguments = jax.tree.map(
        lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=device), (state, batch, key)
    )
    traced = jax.jit(function, donate_argnums=0).trace(*arguments)
    lowered = traced.lower(lowering_platforms=("cuda",))
    return lowered.compile({"xla_gpu_enable_triton_gemm": False})  # its kinds are chosen by trying


if __name__ == "__main__":
    main()
