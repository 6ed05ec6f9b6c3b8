"""What the product is: its rules, its records and its two stores.

Knows conversation trees, tasks, reviews, rankings, consensus, chats, snapshots, jobs and models as plain records; the
rules over them as pure functions; and, behind small modules, the document store (MongoDB protocol) and the object
store (S3 protocol). Does not know GraphQL, HTTP, training or inference: it imports none of the other rooms, and
importing `core` loads no driver (a module that needs one imports it).
"""

__version__ = "0.1.0"
