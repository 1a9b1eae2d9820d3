"""The original's own databases (*_db.pt): all nine datasets as it converted them.

`database` reads the files, `image_names` finds their pictures, and `maed_db` is the builder.
"""
