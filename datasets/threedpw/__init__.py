"""3DPW: people outdoors filmed with a moving phone, their pose from IMUs (train, validation, test).

`sequence` reads one of the owner's files, `body` poses the actors, `people` puts both together and
`threedpw` is the builder.
"""
