"""A folder of labelled images → arrays to train on, with a report of what was found."""
