"""The model node: an ONNX engine that batches continuously, its HTTP door, and the follower of promoted models.

Knows onnxruntime, tokenizers, chat templates, OpenAI's chat form and the object store. Does not know conversation
trees, training, GraphQL or the document store, and loads neither torch nor transformers.
"""
