"""The GraphQL contract: types, queries, mutations, subscriptions, loaders and permissions on Strawberry.

Knows `core`'s records and services by what they offer; does not know HTTP, tokens, the document store's driver, Ray
or models. `schema.graphql` is the printed contract: `python -m graphql_schema.export` rewrites it, a test checks it.
"""
