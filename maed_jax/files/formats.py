"""Numbers of formats: a file says which it is of, so that no reader takes it for what it is not."""


def check_format(found: int, known: int) -> None:
    """Raises: ValueError: a file is of a newer format than `known`, the newest that is read."""
    if found > known:
        raise ValueError(f"it is of format {found}, newer than {known}: update maed_jax")
