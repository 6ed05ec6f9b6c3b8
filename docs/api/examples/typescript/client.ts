// A small typed client: one function for queries and mutations, one for subscriptions that comes back by itself.
// Knows HTTP, server-sent events and the two kinds of error; does not know any operation.
import type { TypedDocumentNode } from "@graphql-typed-document-node/core";
import { print } from "graphql";
import { createClient } from "graphql-sse";

/** An error that the API gave: act on its code. */
export class ApiError extends Error {
  constructor(readonly code: string, message: string, readonly path: string[] = [], readonly retryAfter?: number | null) {
    super(message);
  }
}

interface Problem { code: string; message: string; path: string[]; retryAfter?: number | null }
interface GraphQLProblem { message: string; extensions?: { code?: string; path?: string[]; retryAfter?: number } }

function raise(problems: readonly GraphQLProblem[] | undefined): void {
  const first = problems?.[0];
  if (first) {
    const about = first.extensions ?? {};
    throw new ApiError(about.code ?? "INTERNAL", first.message, about.path, about.retryAfter);
  }
}

/** `payload`, unless it says what the caller did wrong. */
export function done<T extends { userErrors: Problem[] }>(payload: T): T {
  const first = payload.userErrors[0];
  if (first) throw new ApiError(first.code, first.message, first.path, first.retryAfter);
  return payload;
}

export class Client {
  constructor(readonly url: string, readonly token?: string) {}

  private get headers(): Record<string, string> {
    return this.token ? { authorization: `Bearer ${this.token}` } : {};
  }

  /** Run a query or mutation. Mutations on tasks may be repeated safely: they are idempotent. */
  async run<Data, Variables>(document: TypedDocumentNode<Data, Variables>, variables: Variables): Promise<Data> {
    const response = await fetch(this.url, {
      method: "POST",
      headers: { "content-type": "application/json", accept: "application/json", ...this.headers },
      body: JSON.stringify({ query: print(document), variables }),
    });
    const answer = await response.json() as { data?: Data; errors?: GraphQLProblem[] };
    raise(answer.errors);
    return answer.data as Data;
  }

  /** Follow a subscription; leaving the loop ends it. */
  async *follow<Data, Variables extends Record<string, unknown>>(
    document: TypedDocumentNode<Data, Variables>, variables: Variables,
  ): AsyncGenerator<Data> {
    const events = createClient({ url: this.url, headers: this.headers, retryAttempts: 0 });
    for await (const event of events.iterate<Data>({ query: print(document), variables })) {
      raise(event.errors as GraphQLProblem[] | undefined);
      if (event.data) yield event.data;
    }
  }
}
