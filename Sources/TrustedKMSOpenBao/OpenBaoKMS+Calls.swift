import KeyManagement
import NIOHTTP1

/// Authenticated calls, and what is done about a refused token, a busy server and one that is away.
extension OpenBaoKMS {
    /// One authenticated call; its answer is 200, 204 or one of `accepted`.
    /// - Parameter time: how long the call may be begun again; nil for what is configured.
    func call(
        _ method: HTTPMethod, _ path: String, body: OpenBaoRequestBody?, _ operation: String, _ key: KMSKeyName?,
        as caller: KMSCaller = .service, _ repetition: OpenBaoRepetition = .always, accepting accepted: [Int] = [],
        time: Duration? = nil
    ) async throws(KMSError) -> OpenBaoAnswer {
        if let key, !Self.isTransitName(key) { throw .keyNotFound(key) }
        let attempts = transport.attempts(repetition, time: time)
        switch caller {
        case .service: return try await serviceCall(method, path, body, operation, key, accepted, attempts)
        case .principal(let credential):
            return try await callerCall(method, path, body, operation, key, credential, nil, attempts)
        }
    }

    private func serviceCall(
        _ method: HTTPMethod, _ path: String, _ body: OpenBaoRequestBody?, _ operation: String, _ key: KMSKeyName?,
        _ accepted: [Int], _ start: OpenBaoAttempts
    ) async throws(KMSError) -> OpenBaoAnswer {
        var attempts = start
        var isReplaced = false
        while true {
            let lease = try await credential.current()
            switch await transport.sendOnce(method, path, body: body, token: lease.token) {
            case .failure(let failure):
                guard await attempts.areLeft(after: failure) else { throw failure.error }
            case .success(let answer):
                if [200, 204].contains(answer.status) || accepted.contains(answer.status) { return answer }
                if answer.status == 403, !isReplaced, try await credential.replacement(for: lease) != nil {
                    isReplaced = true
                    continue
                }
                guard await attempts.areLeft(after: answer) else {
                    throw Self.failure(answer, operation, key, mount: mount)
                }
            }
        }
    }

    /// With the caller's token and no other. Every attempt takes one of its own: a server that did not answer may have
    /// spent the one before.
    /// - Parameter lease: for the first attempt, where there is one.
    func callerCall(
        _ method: HTTPMethod, _ path: String, _ body: OpenBaoRequestBody?, _ operation: String, _ key: KMSKeyName?,
        _ credential: KMSCredential, _ lease: OpenBaoCallers.Lease?, _ start: OpenBaoAttempts
    ) async throws(KMSError) -> OpenBaoAnswer {
        guard let callers else { throw Self.withoutDelegation }
        var attempts = start
        var isReplaced = false
        var first = lease
        while true {
            let lease =
                if let first { first } else {
                    try await callers.lease(for: credential, time: attempts.timeLeft)
                }
            first = nil
            switch await transport.sendOnce(method, path, body: body, token: lease.token) {
            case .failure(let failure):
                guard await attempts.areLeft(after: failure) else { throw failure.error }
            case .success(let answer):
                if [200, 204].contains(answer.status) { return answer }
                if answer.status == 403 {
                    await callers.forget(lease, of: credential)
                    // A kept token may have been revoked or spent; a fresh one was refused by policy.
                    if !lease.isFresh, !isReplaced {
                        isReplaced = true
                        continue
                    }
                    throw .denied(
                        reason: "OpenBao refused the caller's own token to \(operation)\(key.map { " \($0)" } ?? ""), "
                            + "and nobody else's is tried: no policy of the caller allows this")
                }
                guard await attempts.areLeft(after: answer) else {
                    throw Self.failure(answer, operation, key, mount: mount)
                }
            }
        }
    }

    static let withoutDelegation = KMSError.notSupported(
        operation: "calls with callers' own credentials: configure kms.openbao.delegated")

    /// Transit's names start and end with a letter, a digit or `_`.
    static func isTransitName(_ name: KMSKeyName) -> Bool {
        for end in [name.value.utf8.first, name.value.utf8.last] {
            if end == UInt8(ascii: "-") || end == UInt8(ascii: ".") { return false }
        }
        return true
    }
}
