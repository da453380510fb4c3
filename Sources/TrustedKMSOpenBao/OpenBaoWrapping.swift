import KeyManagement
import SecretMemory

/// Response wrapping: a secret ID that reaches the gateway inside a token which gives it once.
enum OpenBaoWrapping {
    /// The secret ID that `token` wraps.
    /// - Parameter file: where the token came from.
    /// - Throws: ``KMSError/denied(reason:)`` where the token was used before, which is an alarm, or wraps anything
    ///   else.
    static func secretID(
        _ token: OpenBaoToken, of file: String, roleMount mount: String, _ transport: OpenBaoTransport
    ) async throws(KMSError) -> OpenBaoToken {
        // Somebody who opened the wrapping can wrap another secret ID, but not at this path of the server's own.
        let lookup = try await transport.send(.POST, "sys/wrapping/lookup", body: .empty, token: token)
        try check(lookup, of: file, roleMount: mount)
        let isSecretID = lookup.body.withUnsafeBytes { body in
            guard let path = (try? SecretJSON.string("data", "creation_path", in: body)).flatMap({ $0 }) else {
                return false
            }
            return Self.isSecretIDPath(String(decoding: path, as: UTF8.self), mount: mount)
        }
        guard isSecretID else {
            throw .denied(
                reason: "ALARM: the wrapping token in \(file) was not made by auth/\(mount)/role/ROLE/secret-id; "
                    + "somebody may have put another secret into its place")
        }
        // Sent twice it would look like a theft.
        let answer = try await transport.send(
            .POST, "sys/wrapping/unwrap", body: .empty, token: token, .once)
        try check(answer, of: file, roleMount: mount)
        let secretID: OpenBaoToken?
        do {
            secretID = try answer.body.withUnsafeBytes { body in
                guard let text = try SecretJSON.string("data", "secret_id", in: body) else { return nil }
                return OpenBaoToken(taking: try SecretBytes(copying: text))
            }
        } catch let error as SecretMemoryError {
            throw .memory(error)
        } catch {
            secretID = nil
        }
        guard let secretID else { throw .invalidResponse(reason: "what was unwrapped holds no secret ID") }
        return secretID
    }

    private static func check(
        _ answer: borrowing OpenBaoAnswer, of file: String, roleMount mount: String
    ) throws(KMSError) {
        if answer.isNotServed { throw answer.unavailable("the unwrapping") }
        switch answer.status {
        case 200: return
        case 400, 403, 404:
            throw .denied(
                reason: "ALARM: the wrapping token in \(file) is not valid: it has expired or was used before. Where "
                    + "this gateway did not use it, somebody else may have the secret ID: destroy it by its accessor, "
                    + "which `bao list auth/\(mount)/role/ROLE/secret-id` shows (`bao write "
                    + "auth/\(mount)/role/ROLE/secret-id-accessor/destroy secret_id_accessor=ACCESSOR`), and wrap a "
                    + "new one")
        case 429: throw .throttled(retryAfterSeconds: answer.retryAfterSeconds)
        default: throw .invalidResponse(reason: "OpenBao answered \(answer.status) to the unwrapping")
        }
    }

    /// Whether it is `auth/<mount>/role/<role>/secret-id` and nothing longer: a path that only ends so is of another
    /// engine.
    private static func isSecretIDPath(_ path: String, mount: String) -> Bool {
        let parts = path.split(separator: "/", omittingEmptySubsequences: false)
        let start: [Substring] = ["auth"] + mount.split(separator: "/") + ["role"]
        return parts.count == start.count + 2 && parts.starts(with: start) && parts.last == "secret-id"
    }
}
