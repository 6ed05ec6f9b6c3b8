// Sign in, take whatever task is there, answer it; then chat. Run it against `oa up`:
//   npm install && npm run generate && npm start -- http://127.0.0.1:8000/graphql
import { ApiError, Client, done } from "./client.js";
import {
  KeepDraftDocument, MeDocument, NewChatDocument, OpenWorkDocument, RankDocument, ReplyDocument, ReviewDocument,
  SayDocument, SignInDocument, TakeTaskDocument, TreesDocument, WritePromptDocument, WriteReplyDocument,
} from "./generated.js";
import type { TakeTaskMutation, TreesQuery } from "./generated.js";

type Task = NonNullable<TakeTaskMutation["requestTask"]["task"]>;

/** Answer a task; the compiler knows by `__typename` what each kind shows. */
async function answer(client: Client, task: Task): Promise<string> {
  switch (task.__typename) {
    case "InitialPromptTask":
      return written(client, task);
    case "PrompterReplyTask":
    case "AssistantReplyTask": {
      const last = task.thread[task.thread.length - 1];
      const input = { taskId: task.id, text: `About "${last?.text ?? ""}": it depends. (${task.id})` };
      return done((await client.run(WriteReplyDocument, { input })).submitReply).message?.state ?? "";
    }
    case "LabelInitialPromptTask":
    case "LabelPrompterReplyTask":
    case "LabelAssistantReplyTask": {
      const labels = task.labels.filter((label) => label.mandatory).map(({ name }) => ({ name, value: 0 }));
      return done((await client.run(ReviewDocument, { input: { taskId: task.id, labels } })).submitReview).task?.state ?? "";
    }
    case "RankPrompterRepliesTask":
    case "RankAssistantRepliesTask": {
      const ranking = [...task.replies].sort((one, other) => other.text.length - one.text.length).map((reply) => reply.id);
      return done((await client.run(RankDocument, { input: { taskId: task.id, ranking } })).submitRanking).task?.state ?? "";
    }
  }
}

async function written(client: Client, task: Extract<Task, { __typename: "InitialPromptTask" }>): Promise<string> {
  const input = { taskId: task.id, text: task.draft ?? `How does a sundial work? (${task.id})` };
  done((await client.run(KeepDraftDocument, { input })).saveDraft); // another device could go on from here
  return done((await client.run(WritePromptDocument, { input })).submitPrompt).message?.state ?? "";
}

/** Every tree, page by page. */
async function* trees(client: Client): AsyncGenerator<string> {
  for (let after: string | null = null; ;) {
    const { trees: page }: TreesQuery = await client.run(TreesDocument, { first: 50, after });
    for (const tree of page.nodes) yield tree.id;
    if (!page.pageInfo.hasNextPage) return;
    after = page.pageInfo.endCursor;
  }
}

/** Say something and collect the reply; after a broken connection it goes on behind the last token. */
async function chat(client: Client, text: string): Promise<string> {
  const made = done((await client.run(NewChatDocument, { input: { maxTokens: 32 } })).createChat);
  const input = { chatId: made.chat!.id, text, idempotencyKey: crypto.randomUUID() };
  const messageId = done((await client.run(SayDocument, { input })).sendMessage).reply!.id;
  for (let after = 0, tries = 0; ; tries += 1) {
    try {
      for await (const { chatReply: event } of client.follow(ReplyDocument, { messageId, after })) {
        after = event.seq;
        if (event.message) return `${event.message.state}: ${event.message.text || event.message.error?.code}`;
      }
    } catch (error) {
      if (error instanceof ApiError || tries >= 5) throw error; // only a broken connection is worth another try
    }
  }
}

const url = process.argv[2] ?? "http://127.0.0.1:8000/graphql";
const signed = done((await new Client(url).run(SignInDocument, { input: { name: "example" } })).developmentSignIn);
const client = new Client(url, signed.token ?? undefined);

for await (const { taskAvailable: open } of client.follow(OpenWorkDocument, { langs: ["en"] })) {
  console.log("open:", open.map(({ kind, count }) => `${count} ${kind}`).join(", "));
  break;
}
try {
  const task = done((await client.run(TakeTaskDocument, { input: { langs: ["en"] } })).requestTask).task!;
  console.log(task.__typename, await answer(client, task));
} catch (error) {
  if (!(error instanceof ApiError)) throw error;
  console.log(error.code, error.message);
}
let count = 0;
for await (const _ of trees(client)) count += 1;
console.log(count, "trees");
const { viewer } = await client.run(MeDocument, {});
console.log(viewer?.user.displayName, viewer?.standing);
if (process.argv.includes("--chat")) console.log(await chat(client, "What is a sundial?"));
