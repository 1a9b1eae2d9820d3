"""Human3.6M: people in a motion capture studio, four cameras (train: five subjects, test: two).

`metadata`, `poses` and `labels` read the owner's and other people's files, `people` combines them,
and `h36m` is the builder.
"""
