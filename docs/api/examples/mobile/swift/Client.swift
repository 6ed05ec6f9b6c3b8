// A small client for iOS and macOS: Foundation alone. The documents are ../operations/*.graphql, put into the bundle.
// The types below have the fields that those documents ask for; a test of the project compares them with the schema.
import Foundation

/// An error that the API gave: act on its code.
struct ApiError: Error {
    let code: String
    let message: String
    let retryAfter: Double?
}

struct UserError: Decodable {
    let code: String
    let message: String
    let path: [String]
    let retryAfter: Double?
}

struct Message: Decodable {
    let id: String
    let role: String
    let text: String
    let mine: Bool
}

struct LabelQuestion: Decodable {
    let name: String
    let widget: String
    let mandatory: Bool
}

struct RankingCandidate: Decodable {
    let id: String
    let text: String
}

/// Its `__typename` says which of the last three fields it has.
struct Task: Decodable {
    let __typename: String
    let id: String
    let kind: String
    let lang: String
    let expiresAt: String
    let draft: String?
    let thread: [Message]?
    let labels: [LabelQuestion]?
    let replies: [RankingCandidate]?
}

struct TaskAvailability: Decodable {
    let kind: String
    let count: Int
}

struct User: Decodable {
    let id: String
    let displayName: String
}

struct Viewer: Decodable {
    let user: User
    let availableTasks: [TaskAvailability]
}

protocol Payload: Decodable {
    var userErrors: [UserError] { get }
}

struct DevelopmentSignInPayload: Payload {
    let userErrors: [UserError]
    let token: String?
    let expiresAt: String?
}

struct RequestTaskPayload: Payload {
    let userErrors: [UserError]
    let task: Task?
}

struct SubmitPromptPayload: Payload {
    let userErrors: [UserError]
    let message: Message?
}

struct SubmitReplyPayload: Payload {
    let userErrors: [UserError]
    let message: Message?
}

struct SignInData: Decodable {
    let developmentSignIn: DevelopmentSignInPayload
}

struct DashboardData: Decodable {
    let viewer: Viewer?
}

struct TakeTaskData: Decodable {
    let requestTask: RequestTaskPayload
}

struct WritePromptData: Decodable {
    let submitPrompt: SubmitPromptPayload
}

struct WriteReplyData: Decodable {
    let submitReply: SubmitReplyPayload
}

/// What comes back over HTTP.
struct Answer<Data: Decodable>: Decodable {
    struct Problem: Decodable { let message: String; let extensions: Extensions? }
    struct Extensions: Decodable { let code: String?; let retryAfter: Double? }
    let data: Data?
    let errors: [Problem]?
}

final class Client {
    let url: URL
    var token: String?

    init(url: URL, token: String? = nil) {
        self.url = url
        self.token = token
    }

    /// Run the document of that name. Mutations on tasks may be sent again safely: they are idempotent.
    func run<Data: Decodable>(_ name: String, _ variables: [String: Any], as: Data.Type) async throws -> Data {
        guard let file = Bundle.main.url(forResource: name, withExtension: "graphql") else {
            throw ApiError(code: "BAD_QUERY", message: "no document \(name) in the bundle", retryAfter: nil)
        }
        var request = URLRequest(url: url)
        request.httpMethod = "POST"
        request.setValue("application/json", forHTTPHeaderField: "content-type")
        if let token { request.setValue("Bearer \(token)", forHTTPHeaderField: "authorization") }
        let body: [String: Any] = ["query": try String(contentsOf: file, encoding: .utf8), "variables": variables]
        request.httpBody = try JSONSerialization.data(withJSONObject: body)
        let (bytes, _) = try await URLSession.shared.data(for: request)
        let answer = try JSONDecoder().decode(Answer<Data>.self, from: bytes)
        if let first = answer.errors?.first {
            let about = first.extensions
            throw ApiError(code: about?.code ?? "INTERNAL", message: first.message, retryAfter: about?.retryAfter)
        }
        guard let data = answer.data else {
            throw ApiError(code: "INTERNAL", message: "an answer without data", retryAfter: nil)
        }
        return data
    }

    /// `payload`, unless it says what the caller did wrong.
    func done<T: Payload>(_ payload: T) throws -> T {
        if let first = payload.userErrors.first {
            throw ApiError(code: first.code, message: first.message, retryAfter: first.retryAfter)
        }
        return payload
    }

    /// A task of any kind in one of these languages; nil when there is nothing to do.
    func takeTask(langs: [String]) async throws -> Task? {
        do {
            let data = try await run("TakeTask", ["input": ["langs": langs]], as: TakeTaskData.self)
            return try done(data.requestTask).task
        } catch let error as ApiError where error.code == "NOTHING_TO_DO" {
            return nil
        }
    }

    /// The message that a reply became.
    func reply(to task: Task, text: String) async throws -> Message? {
        let input = ["input": ["taskId": task.id, "text": text]]
        return try done(try await run("WriteReply", input, as: WriteReplyData.self).submitReply).message
    }
}
