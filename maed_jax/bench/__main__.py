from maed_jax.bench import main
from maed_jax.cli import run

run(main)
