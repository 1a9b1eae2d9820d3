"""The body: skeleton, rotations, SMPL, camera, files and the built-in mannequin. No Flax."""
