"""Format versions, stored in each file so that no reader misinterprets it."""


def check_format(found: int, known: int) -> None:
    """Raises: ValueError: a file's format is newer than `known`, the newest one supported."""
    if found > known:
        raise ValueError(f"it has format {found}, newer than {known}: update maed_jax")
