"""The training plane: pulls a job from the object store, runs its stages on Ray, publishes what they made.

Knows job specs, frozen snapshots, tensors, checkpoints and the object store. Does not know the database, GraphQL or
people: a worker holds no database credentials and can stand anywhere that reaches the bucket.
"""
