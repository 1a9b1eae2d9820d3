"""Compiles a training step for GPUs or TPUs you do not have: what it moves, sends and stores.

    pip install 'jax[cuda13]'        or        pip install 'jax[tpu]'
    python scripts/compile_elsewhere.py h200.txtpb [--clips N] [--images N] [--kernels N]
    python scripts/compile_elsewhere.py v5e:2x4 --devices 8 [--fsdp 8] [--clips N] [--images N]

A file describes a GPU to XLA; XLA's repository has such files in
xla/backends/gpu/target_config/specs. Anything else is a TPU topology. This compiles the paper's
network in bfloat16 and runs nothing. For GPUs, matmuls use cuBLAS without autotuning, so kernels on
real hardware may differ, but fusions and array layouts can be seen. For a TPU it takes minutes.
--config.KEY=VALUE changes a setting of the configuration stage2.
"""

from __future__ import annotations

import argparse
import collections
import os
from pathlib import Path

os.environ.setdefault("XLA_FLAGS", "--xla_gpu_autotune_level=0")  # autotuning would run kernels
os.environ["JAX_PLATFORMS"] = "cpu"
# A TPU machine tells its compiler these; otherwise it queries the network.
os.environ.setdefault("TPU_SKIP_MDS_QUERY", "1")
os.environ.setdefault("TPU_WORKER_HOSTNAMES", "localhost")
os.environ.setdefault("TPU_ACCELERATOR_TYPE", "v5litepod-8")

import jax
import numpy as np
from jax._src.cudnn import fused_attention_stablehlo
from jax.experimental import topologies
from ml_collections import ConfigDict

from maed_jax.bench import record, steps, traffic
from maed_jax.bench.collectives import collectives, totals
from maed_jax.models import flash


def main() -> None:
    doc = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=doc)
    parser.add_argument("device", help="file with XLA's description of a GPU, or a TPU topology")
    parser.add_argument("--clips", type=int, default=32, help="per device; default: 32")
    parser.add_argument("--frames", type=int, default=16, help="per clip; default: 16")
    parser.add_argument("--images", type=int, default=32, help="per device; default: 32")
    parser.add_argument("--devices", type=int, default=1, help="number of devices; default: 1")
    parser.add_argument("--fsdp", type=int, default=1, help="as config.mesh.fsdp; default: 1")
    parser.add_argument("--kernels", type=int, default=20, help="kernels to list; default: 20")
    parser.add_argument("--text", type=Path, help="write the compiled program to this file")
    options, overrides = parser.parse_known_args()
    on_gpu = options.device.endswith(".txtpb")
    if on_gpu and not Path(options.device).is_file():
        parser.error(f"there is no file {options.device}; XLA's repository has some, see --help")
    config = record.load("stage2", ["--config.model.dtype=bfloat16", *overrides])
    devices = gpus(options) if on_gpu else tpus(options.device)
    compiled = compile_step(config, options, devices)
    text = compiled.as_text()
    if options.text:
        options.text.write_text(text)
    taken = compiled.memory_analysis()
    print(f"{taken.temp_size_in_bytes / 2**30:.1f} GiB in addition to arguments of", end=" ")
    print(f"{taken.argument_size_in_bytes / 2**30:.1f} GiB")
    for kind, total in totals(collectives(text, options.devices)).items():
        print(f"{total['number']} {kind}, {total['payload'] / 1e6:.0f} MB")
    if on_gpu:
        print_kernels(text, options.kernels)


def print_kernels(text: str, listed: int) -> None:
    found = traffic.kernels(text)
    by_name = collections.Counter()
    for kernel in found:
        by_name[kernel.name] += kernel.bytes
    print(f"{by_name.total() / 1e9:.1f} GB moved by {len(found)} kernels")
    for name, moved in by_name.most_common(12):
        print(f"{moved / 1e9:8.2f} GB  {name}")
    for kernel in sorted(found, key=lambda kernel: -kernel.bytes)[:listed]:
        print(f"{kernel.bytes / 1e9:8.2f} GB  {kernel.name}  {kernel.result}  {kernel.origin}")


def gpus(options: argparse.Namespace) -> list:
    # Answer queries about the local device for the target device.
    fused_attention_stablehlo.check_cudnn_version = lambda: 91900
    fused_attention_stablehlo.check_compute_capability = lambda capability: True
    flash.has_kernel = lambda: True
    described, n = Path(options.device).read_text(), options.devices
    return topologies.get_topology_desc(
        "gpu", platform="cuda", target_config=described, topology=f"1x1x{n}"
    ).devices


def tpus(topology: str) -> list:
    return topologies.get_topology_desc(topology, platform="tpu").devices


def compile_step(
    config: ConfigDict, options: argparse.Namespace, devices: list
) -> jax.stages.Compiled:
    n = options.devices
    laid_out = np.array(devices[:n]).reshape(n // options.fsdp, options.fsdp)
    mesh = jax.sharding.Mesh(laid_out, ("data", "fsdp"))
    jitted, arguments = steps.abstract(config, mesh, options.clips, options.frames, options.images)
    platform = "cuda" if devices[0].platform in ("gpu", "cuda") else "tpu"
    lowered = jitted.trace(*arguments).lower(lowering_platforms=(platform,))
    # XLA would have to run Triton kernels to choose among them.
    return lowered.compile({"xla_gpu_enable_triton_gemm": False} if platform == "cuda" else None)


if __name__ == "__main__":
    main()
