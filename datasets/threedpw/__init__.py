"""3DPW: people outdoors filmed with a moving phone, poses from IMUs (train, validation, test).

`sequence` reads one of the owner's files, `body` poses the actors, `people` combines both, and
`threedpw` is the builder.
"""
