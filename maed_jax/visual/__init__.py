"""Rendered meshes, alone or over the video; attention; the viewer."""
