// A small client for iOS and macOS: Foundation alone. The documents are ../operations/*.graphql, put into the bundle.
import Foundation

/// An error that the API gave: act on its code.
struct ApiError: Error {
    let code: String
    let message: String
    var retryAfter: Double?
}

/// What comes back over HTTP, and in each event of a subscription.
struct Answer<Value: Decodable>: Decodable {
    struct Problem: Decodable { let message: String; let extensions: Extensions? }
    struct Extensions: Decodable { let code: String?; let retryAfter: Double? }
    let data: Value?
    let errors: [Problem]?

    /// What was asked for.
    func value() throws -> Value {
        if let first = errors?.first {
            let about = first.extensions
            throw ApiError(code: about?.code ?? "INTERNAL", message: first.message, retryAfter: about?.retryAfter)
        }
        guard let data else { throw ApiError(code: "INTERNAL", message: "an answer without data") }
        return data
    }
}

final class Client {
    let url: URL
    /// Asked anew for each request: `Session.token`, so that one that has run out is renewed first.
    let token: () async throws -> String?

    init(url: URL, token: @escaping () async throws -> String? = { nil }) {
        self.url = url
        self.token = token
    }

    /// Run the document of that name. Mutations on tasks may be sent again safely: they are idempotent.
    func run<Value: Decodable>(_ name: String, _ variables: [String: Any], as type: Value.Type) async throws -> Value {
        let request = try await self.request(name, variables, accept: "application/json", wait: 30)
        let (bytes, _) = try await URLSession.shared.data(for: request)
        return try JSONDecoder().decode(Answer<Value>.self, from: bytes).value()
    }

    /// Follow the subscription of that name by server-sent events until it ends or `each` answers false.
    func follow<Value: Decodable>(
        _ name: String, _ variables: [String: Any], as type: Value.Type, each: (Value) throws -> Bool
    ) async throws {
        let request = try await self.request(name, variables, accept: "text/event-stream", wait: 90)
        let (bytes, response) = try await URLSession.shared.bytes(for: request)
        if (response as? HTTPURLResponse)?.statusCode != 200 {
            let text = try await bytes.lines.reduce("", +)
            _ = try JSONDecoder().decode(Answer<Value>.self, from: Data(text.utf8)).value()
        }
        var event = ""
        for try await line in bytes.lines {
            if line.hasPrefix("event: ") {
                event = String(line.dropFirst(7))
                if event == "complete" { return }
            } else if line.hasPrefix("data: "), event == "next" {
                let said = try JSONDecoder().decode(Answer<Value>.self, from: Data(line.dropFirst(6).utf8))
                let wanted = try each(said.value())
                if !wanted { return }
            }
        }
    }

    private func request(
        _ name: String, _ variables: [String: Any], accept: String, wait: TimeInterval
    ) async throws -> URLRequest {
        guard let file = Bundle.main.url(forResource: name, withExtension: "graphql") else {
            throw ApiError(code: "BAD_QUERY", message: "no document \(name) in the bundle")
        }
        var request = URLRequest(url: url, timeoutInterval: wait)
        request.httpMethod = "POST"
        request.setValue("application/json", forHTTPHeaderField: "content-type")
        request.setValue(accept, forHTTPHeaderField: "accept")
        if let token = try await token() { request.setValue("Bearer \(token)", forHTTPHeaderField: "authorization") }
        let body: [String: Any] = ["query": try String(contentsOf: file, encoding: .utf8), "variables": variables]
        request.httpBody = try JSONSerialization.data(withJSONObject: body)
        return request
    }

    /// `payload`, unless it says what the caller did wrong.
    func done<T: Payload>(_ payload: T) throws -> T {
        if let first = payload.userErrors.first {
            throw ApiError(code: first.code, message: first.message, retryAfter: first.retryAfter)
        }
        return payload
    }

    /// Who is signed in, and how much there is to do.
    func viewer(langs: [String]) async throws -> Viewer? {
        try await run("Dashboard", ["langs": langs], as: DashboardData.self).viewer
    }

    /// A task in one of these languages, of any kind or of `kind`; nil when there is nothing to do.
    func takeTask(langs: [String], kind: String? = nil) async throws -> Task? {
        var input: [String: Any] = ["langs": langs]
        if let kind { input["kind"] = kind }
        do {
            let data = try await run("TakeTask", ["input": input], as: TakeTaskData.self)
            return try done(data.requestTask).task
        } catch let error as ApiError where error.code == "NOTHING_TO_DO" {
            return nil
        }
    }

    /// The message that a first prompt became.
    func prompt(_ task: Task, text: String) async throws -> Message? {
        let input = ["input": ["taskId": task.id, "text": text]]
        return try done(try await run("WritePrompt", input, as: WritePromptData.self).submitPrompt).message
    }

    /// The message that a reply became.
    func reply(to task: Task, text: String) async throws -> Message? {
        let input = ["input": ["taskId": task.id, "text": text]]
        return try done(try await run("WriteReply", input, as: WriteReplyData.self).submitReply).message
    }

    /// How much there is to do, at once and whenever it changes, until `each` answers false.
    func watchTasks(langs: [String], each: ([TaskAvailability]) throws -> Bool) async throws {
        try await follow("WatchTasks", ["langs": langs], as: WatchTasksData.self) { try each($0.taskAvailable) }
    }
}
