"""What a training step reads, writes and sends on GPUs: compiled for some, which need not be there.

    pip install 'jax[cuda13]'
    python scripts/gpu_traffic.py h200.txtpb [--clips N] [--images N] [--kernels N]
        [--devices N] [--fsdp N]

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
import numpy as np
from jax._src.cudnn import fused_attention_stablehlo
from jax.experimental import topologies

from maed_jax.bench import collectives, record, steps, traffic
from maed_jax.models import flash
from maed_jax.training import sharding


def main() -> None:
    doc = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=doc)
    parser.add_argument("gpu", type=Path, help="XLA's description of it")
    parser.add_argument("--clips", type=int, default=32, help="of 16 frames, a GPU; default: 32")
    parser.add_argument("--images", type=int, default=32, help="a GPU; default: 32")
    parser.add_argument("--devices", type=int, default=1, help="GPUs; default: 1")
    parser.add_argument("--fsdp", type=int, default=1, help="as config.mesh.fsdp; default: 1")
    parser.add_argument("--kernels", type=int, default=20, help="how many to list; default: 20")
    parser.add_argument("--text", type=Path, help="write the compiled program there")
    options = parser.parse_args()
    if not options.gpu.is_file():
        parser.error(f"there is no file {options.gpu}; XLA's repository holds some, see --help")
    compiled = compile_step(options)
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
    sent = collectives.totals(collectives.collectives(compiled.as_text(), options.devices))
    for kind, total in sent.items():
        print(f"{total['number']} {kind}, {total['payload'] / 1e6:.0f} MB")


def compile_step(options: argparse.Namespace) -> jax.stages.Compiled:
    # What asks the device at hand is answered for the one that is meant.
    fused_attention_stablehlo.check_cudnn_version = lambda: 91900
    fused_attention_stablehlo.check_compute_capability = lambda capability: True
    flash.has_kernel = lambda: True
    gpu, n = options.gpu.read_text(), options.devices
    topology = topologies.get_topology_desc(
        "gpu", platform="cuda", target_config=gpu, topology=f"1x1x{n}"
    )
    devices = np.array(topology.devices).reshape(n // options.fsdp, options.fsdp)
    mesh = jax.sharding.Mesh(devices, ("data", "fsdp"))
    config = record.load("stage2", ["--config.model.dtype=bfloat16"])
    function, state, key = steps.abstract(config, mesh)
    batch = {"clips": steps.label_shapes(n * options.clips, 16, 224)}
    if options.images:
        batch["images"] = steps.label_shapes(n * options.images, 1, 224)
    across = sharding.batch_sharding(mesh)
    batch = jax.tree.map(lambda a: a.update(sharding=across), batch)
    outputs = (jax.tree.map(lambda a: a.sharding, state), sharding.replicated(mesh))
    jitted = jax.jit(function, donate_argnums=0, out_shardings=outputs)
    lowered = jitted.trace(state, batch, key).lower(lowering_platforms=("cuda",))
    return lowered.compile({"xla_gpu_enable_triton_gemm": False})  # its kinds are chosen by trying


if __name__ == "__main__":
    main()
