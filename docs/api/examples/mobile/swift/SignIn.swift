// Sign-in from an app (RFC 8252): authorization code with PKCE in the system's browser, then refresh.
import AuthenticationServices
import CryptoKit
import Foundation

/// A sign-in that was begun: open `address`; the rest is needed when the browser comes back.
struct Attempt: Codable {
    let address: URL
    let state: String
    let verifier: String
}

/// `refresh` belongs in the Keychain, `access` in memory.
struct Tokens: Codable {
    let access: String
    let expiresAt: Date
    let refresh: String?
}

struct SignIn {
    let issuer: String
    let clientId: String
    let redirect: String

    func begin(scope: String = "read profile tasks offline_access") throws -> Attempt {
        let state = random()
        let verifier = random()
        let query = form([
            "response_type": "code", "client_id": clientId, "redirect_uri": redirect, "scope": scope, "state": state,
            "code_challenge": encode(Data(SHA256.hash(data: Data(verifier.utf8)))), "code_challenge_method": "S256",
        ])
        guard let address = URL(string: "\(issuer)/oauth/authorize?\(query)") else {
            throw ApiError(code: "BAD_INPUT", message: "\(issuer) is no address")
        }
        return Attempt(address: address, state: state, verifier: verifier)
    }

    /// The tokens, of the address with which the browser came back.
    func finish(_ attempt: Attempt, at address: URL) async throws -> Tokens {
        let items = URLComponents(url: address, resolvingAgainstBaseURL: false)?.queryItems ?? []
        let answer = Dictionary(items.map { ($0.name, $0.value ?? "") }, uniquingKeysWith: { first, _ in first })
        // Not the answer to what we asked, or of another server (RFC 9207): neither is to be believed in anything.
        guard answer["state"] == attempt.state, answer["iss"] == issuer else {
            throw ApiError(code: "FORBIDDEN", message: "not our answer")
        }
        guard let code = answer["code"] else {
            let error = answer["error"] ?? "server_error"
            throw ApiError(code: error, message: answer["error_description"] ?? error)
        }
        return try await token([
            "grant_type": "authorization_code", "code": code, "code_verifier": attempt.verifier,
            "redirect_uri": redirect,
        ])
    }

    /// New tokens; the old refresh token is used up, and using it again ends the session.
    func refresh(_ refresh: String) async throws -> Tokens {
        try await token(["grant_type": "refresh_token", "refresh_token": refresh])
    }

    private struct Granted: Decodable { let access_token: String; let expires_in: Double; let refresh_token: String? }
    private struct Refused: Decodable { let error: String; let error_description: String? }

    private func token(_ fields: [String: String]) async throws -> Tokens {
        guard let url = URL(string: "\(issuer)/oauth/token") else {
            throw ApiError(code: "BAD_INPUT", message: "\(issuer) is no address")
        }
        var request = URLRequest(url: url, timeoutInterval: 30)
        request.httpMethod = "POST"
        request.setValue("application/x-www-form-urlencoded", forHTTPHeaderField: "content-type")
        request.httpBody = Data(form(fields.merging(["client_id": clientId]) { _, new in new }).utf8)
        let (bytes, response) = try await URLSession.shared.data(for: request)
        guard (response as? HTTPURLResponse)?.statusCode == 200 else {
            let said = try JSONDecoder().decode(Refused.self, from: bytes)
            throw ApiError(code: said.error, message: said.error_description ?? said.error)
        }
        let said = try JSONDecoder().decode(Granted.self, from: bytes)
        let expiresAt = Date().addingTimeInterval(said.expires_in)
        return Tokens(access: said.access_token, expiresAt: expiresAt, refresh: said.refresh_token)
    }
}

/// The one place of an app that renews its tokens. `keep` writes them down before they are used.
actor Session {
    private let signIn: SignIn
    private let keep: @Sendable (Tokens) throws -> Void
    private var tokens: Tokens
    private var renewal: _Concurrency.Task<Tokens, Error>?

    init(_ signIn: SignIn, _ tokens: Tokens, keep: @escaping @Sendable (Tokens) throws -> Void) {
        self.signIn = signIn
        self.tokens = tokens
        self.keep = keep
    }

    /// An access token that is good for another minute. Where it throws `invalid_grant`, sign in again.
    func token() async throws -> String {
        // Whoever comes while it is being renewed waits for that: a second refresh would end the session.
        if let renewal { return try await renewal.value.access }
        guard let refresh = tokens.refresh, tokens.expiresAt < Date().addingTimeInterval(60) else { return tokens.access }
        let started = _Concurrency.Task { [signIn, keep] in
            let renewed = try await signIn.refresh(refresh)
            try keep(renewed)
            return renewed
        }
        renewal = started
        defer { renewal = nil }
        tokens = try await started.value
        return tokens.access
    }
}

/// The system's browser: the app never sees what is typed there. `scheme` is that of the redirect URI.
@MainActor
final class SystemBrowser: NSObject, ASWebAuthenticationPresentationContextProviding {
    private let window: ASPresentationAnchor
    private let scheme: String
    private var session: ASWebAuthenticationSession?

    init(window: ASPresentationAnchor, scheme: String) {
        self.window = window
        self.scheme = scheme
    }

    /// The address with which the browser came back.
    func open(_ address: URL) async throws -> URL {
        try await withCheckedThrowingContinuation { continuation in
            let session = ASWebAuthenticationSession(url: address, callbackURLScheme: scheme) { back, error in
                if let back {
                    continuation.resume(returning: back)
                } else {
                    continuation.resume(throwing: error ?? ApiError(code: "access_denied", message: "the browser was closed"))
                }
            }
            session.presentationContextProvider = self
            self.session = session
            session.start()
        }
    }

    func presentationAnchor(for session: ASWebAuthenticationSession) -> ASPresentationAnchor { window }
}

private func random() -> String { encode(SymmetricKey(size: .bits256).withUnsafeBytes { Data($0) }) }

private func encode(_ bytes: Data) -> String {
    bytes.base64EncodedString()
        .replacingOccurrences(of: "+", with: "-")
        .replacingOccurrences(of: "/", with: "_")
        .replacingOccurrences(of: "=", with: "")
}

private func form(_ fields: [String: String]) -> String {
    var parts = URLComponents()
    parts.queryItems = fields.map { URLQueryItem(name: $0.key, value: $0.value) }
    // In a form a plus is a space, and URLComponents leaves it as it is.
    return (parts.percentEncodedQuery ?? "").replacingOccurrences(of: "+", with: "%2B")
}
