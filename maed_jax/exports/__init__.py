"""Exports for other programs: people as GLB, BVH, OBJ, PC2 and AMASS; the model as one file."""
