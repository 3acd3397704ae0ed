"""Compiled dynamics of many replicas of one small molecule: sixteen replicas are one block, one lane each.

Each pair of atoms costs the same few vector instructions for all sixteen, and nothing ever crosses lanes. A block runs
through all steps asked for before the next one starts: its state and its work space stay in the cache, and threads
share nothing. `replica_steps` has the compiled entry points, `replica_kernel` the class that everybody else uses.
"""
