"""The GraphQL documents of the demonstration, apart from those of its contributors (`oa.demo_people`)."""

TREE_TEXTS = """query TreeTexts($id: ID!) {
  node(id: $id) { ... on Tree { messages(first: 100) { nodes { text } } } } }"""

FREEZE = """mutation Freeze($input: FreezeSnapshotInput!) {
  freezeSnapshot(input: $input) {
    userErrors { code message path }
    snapshot { name version kind rows trees train validation } } }"""

LAUNCH = """mutation Launch($input: LaunchJobInput!) {
  launchJob(input: $input) { userErrors { code message path } job { id state } } }"""

JOB_EVENTS = """subscription JobEvents($jobId: ID!, $after: String) {
  jobEvents(jobId: $jobId, after: $after) { cursor type stage step total metrics message body } }"""

JOB = """query Job($id: ID!) {
  node(id: $id) { ... on Job {
    state error { code message } stages { name kind state seconds metrics } model { label version } } } }"""

PROMOTE = """mutation Promote($input: PromoteModelInput!) {
  promoteModel(input: $input) { userErrors { code message path } model { label } } }"""

CREATE_CHAT = """mutation CreateChat($input: CreateChatInput!) {
  createChat(input: $input) { userErrors { code message path } chat { id } } }"""

SEND = """mutation Send($input: SendMessageInput!) {
  sendMessage(input: $input) { userErrors { code message path } reply { id state } } }"""

REPLY_EVENTS = """subscription ChatReply($messageId: ID!, $after: Int! = 0) {
  chatReply(messageId: $messageId, after: $after) {
    seq text message { id state text seq modelVersion error { code message } } } }"""

RATE = """mutation Rate($input: RateReplyInput!) {
  rateReply(input: $input) { userErrors { code message path } reply { id score treeId } } }"""

REPLY_TREE = "query ReplyTree($id: ID!) { node(id: $id) { ... on ChatMessage { treeId } } }"

LINEAGE = """query WhyDoesItSayThis($id: ID!) {
  node(id: $id) { ... on ChatMessage {
    id modelVersion
    lineage {
      jobId
      model { label base checks }
      snapshots {
        name version kind trees messages rankings reviews
        sources(first: 2, kind: RANKING) { nodes { kind sourceId hash } }
      }
    } } } }"""
