"""Data: where they come from, what they have to be, and which agent has which.

    scheme       what `--partition` says
    partition    from labels, agents and a generator to rows of a data set
    labelled     a data set: inputs, labels, columns
    idx          MNIST, Fashion-MNIST, EMNIST: bytes of IDX files
    tables       a user's own: bytes of .npz and CSV files
    mixture      the synthetic mixture of the FedEM paper, drawn
    inputs       of samples: one tensor, or several that belong together
    datasets     data sets and loaders of PyTorch and Hugging Face, as tensors
    mapped       the same in files, where memory is too small
    splitting    one data set as three, and shared out
    files        with `mapped` the only one of these that touches a disk
    picture      who has which labels: a table of text, and a figure

Nothing is imported here, so that the command line can read `--partition` without numpy.
"""
