"""Rendered people in motion, made with the built-in body, with complete ground truth.

`motion` and `mocap` move a person, `scene` and `surroundings` set up how and where the person is
seen, `film` makes records from that, and `mannequins` is the builder.
"""
