// From nothing to a task done and work followed live.
import Foundation

/// `browser` opens an address and answers the address with which the browser came back: `SystemBrowser.open`. `keep`
/// writes the tokens down; `say` shows what happens.
func tenMinutes(
    issuer: String, clientId: String, redirect: String,
    browser: (URL) async throws -> URL, keep: @escaping @Sendable (Tokens) throws -> Void, say: (String) -> Void
) async throws {
    // 1. Sign in.
    let signIn = SignIn(issuer: issuer, clientId: clientId, redirect: redirect)
    let attempt = try signIn.begin()
    let tokens = try await signIn.finish(attempt, at: try await browser(attempt.address))
    try keep(tokens)
    let session = Session(signIn, tokens, keep: keep)
    guard let url = URL(string: "\(issuer)/graphql") else { return say("\(issuer) is no address") }
    let client = Client(url: url) { try await session.token() }

    // 2. What is there to do?
    guard let viewer = try await client.viewer(langs: ["en"]) else { return say("nobody is signed in") }
    say("signed in: \(viewer.user.displayName)")
    let open = viewer.availableTasks.filter { $0.count > 0 }.map { "\($0.count) \($0.kind)" }
    say("open: \(open.joined(separator: ", "))")

    // 3. Take a task and answer it. Sending the same answer again is safe: it counts once.
    guard let task = try await client.takeTask(langs: ["en"], kind: "INITIAL_PROMPT") else { return say("nothing to do") }
    let message = try await client.prompt(task, text: "Why do leaves fall? (\(task.id))")
    say("written: \(message?.text ?? "")")

    // 4. Follow open work; the first event comes at once.
    try await client.watchTasks(langs: ["en"]) { open in
        say("live: \(open.count) kinds of work")
        return false
    }
}
