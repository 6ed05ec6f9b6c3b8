"""The app: settings, tokens, GraphQL over HTTP, SSE and WebSocket, the chat relay, health. Starlette, stateless.

Knows how a request becomes a `graphql_schema.context.Context`; does not know what any field means, nor Ray, torch or
ONNX. Start it with `python -m api.server`.
"""
