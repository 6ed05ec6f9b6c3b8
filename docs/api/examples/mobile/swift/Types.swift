// What the documents in ../operations ask for. A test of the project compares each type, field by field, with the schema
// and the documents. `Task` hides Swift's own: write `_Concurrency.Task` where you mean that, or rename this one.
import Foundation

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

struct WatchTasksData: Decodable {
    let taskAvailable: [TaskAvailability]
}
