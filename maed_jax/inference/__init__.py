"""From video to people: detection, tracking, reconstruction, smoothing, attention, results."""
