"""Pictures: meshes rendered alone or over the video, attention, the viewer."""
