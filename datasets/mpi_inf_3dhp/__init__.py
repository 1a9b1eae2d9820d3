"""MPI-INF-3DHP: people in a studio and outdoors, markerless motion capture (train, test).

`annotations` reads the owner's files, `people` makes people from them, and `mpi_inf_3dhp` is the
builder.
"""
