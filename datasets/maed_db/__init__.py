"""The original's own databases (*_db.pt): all nine datasets as converted by it.

`database` reads the files, `image_names` finds their images, and `maed_db` is the builder.
"""
