"""The body: skeleton, rotations, SMPL, camera and the built-in mannequin. Pure functions and data."""
