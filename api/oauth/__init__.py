"""Sign-in over HTTP: our OAuth 2.1 authorization server, its pages, and sign-in through others.

Knows requests, forms, cookies and redirects; what is stored and what is right about it is in `core.sign_in`.
"""
