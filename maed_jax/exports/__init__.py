"""Exports for other programs: people as GLB, BVH, OBJ and PC2; the model as one file."""
