"""Bodies and models for other programs: GLB, BVH and OBJ files, and the compiled model."""
