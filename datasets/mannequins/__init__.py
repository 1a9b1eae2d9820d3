"""People of the built-in body in motion, rendered with everything about them known.

`motion` and `mocap` move a person, `scene` and `surroundings` say how and where, `film` makes
records of it and `mannequins` is the builder.
"""
