"""Downloads: the files of a data set, fetched, verified and unpacked."""
