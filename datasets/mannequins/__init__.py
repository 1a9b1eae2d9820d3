"""People of the built-in body in motion, rendered with everything about them known.

`motion` and `mocap` move a person, `scene` gives place, light and camera, `mannequins` is the builder.
"""
