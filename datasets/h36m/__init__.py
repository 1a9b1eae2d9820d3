"""Human3.6M: people in a motion capture studio, four cameras (train: five subjects, test: two).

`metadata`, `poses` and `labels` read the owner's and others' files, `people` puts them together and
`h36m` is the builder.
"""
