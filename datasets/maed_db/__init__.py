"""The original's own databases (*_db.pt): all nine datasets as the original converted them.

`database` reads the files, `image_names` finds their images, and `maed_db` is the builder.
"""
