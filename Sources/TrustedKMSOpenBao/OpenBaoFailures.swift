import KeyManagement

/// What an answer other than success means.
///
/// Texts of the server are compared and never shown: a proxy's error page may repeat the request, and
/// with it a seed.
extension OpenBaoKMS {
    static func malformed(_ operation: String) -> KMSError {
        .invalidResponse(reason: "the answer to \(operation) is not what Transit promises")
    }

    static func failure(
        _ answer: borrowing OpenBaoAnswer, _ operation: String, _ key: KMSKeyName?, mount: String
    ) -> KMSError {
        switch answer.status {
        case 400: return badRequest(operation, key) { answer.body.contains($0) }
        case 403:
            // To a token of least policy, a name that does not exist is one that it may not use.
            return .denied(
                reason: "OpenBao refused to \(operation)\(key.map { " \($0) at the mount '\(mount)'" } ?? ""): "
                    + "the token is not valid any more, or its policy does not allow this"
                    + (key == nil ? "" : "; or key or mount is misspelt"))
        case 404:
            if answer.body.contains("no handler for route") {
                return .invalidResponse(
                    reason: "nothing is mounted at '\(mount)'; run: bao secrets enable -path=\(mount) transit")
            }
            if answer.body.contains("namespace not found") {
                return .invalidResponse(reason: "OpenBao has no such namespace; see: bao namespace list")
            }
            // A key that is taken for missing may be made anew, or given up: a proxy's page must not say so.
            if let key, answer.isErrorList,
                answer.isEmptyErrorList || missingTexts.contains(where: { answer.body.contains($0) })
            {
                return .keyNotFound(key)
            }
            return .invalidResponse(
                reason: "something that is not OpenBao answered 404 to \(operation), or nothing is at '\(mount)'; "
                    + "see the address and the mount")
        case 429: return .throttled(retryAfterSeconds: answer.retryAfterSeconds)
        default: if answer.isNotServed { return answer.unavailable(operation) }
        }
        return .invalidResponse(reason: "OpenBao answered \(answer.status) to \(operation)")
    }

    private static let missingTexts = ["key not found", "no existing key named", "could not delete key; not found"]

    /// - Parameter contains: whether a text occurs in the server's.
    static func badRequest(_ operation: String, _ key: KMSKeyName?, _ contains: (String) -> Bool) -> KMSError {
        if contains("message authentication failed") || contains("invalid ciphertext") { return .cannotOpen }
        guard let key else {
            return .invalidResponse(reason: "OpenBao did not understand the request to \(operation)")
        }
        if missingTexts.contains(where: contains) { return .keyNotFound(key) }
        if contains("soft-deleted") { return softDeleted(key) }
        let reasons = [
            ("disallowed by policy (too old)", "the blob's version is below the key's minimum"),
            ("cannot set min decryption version", "it has no such version"),
            ("min available version", "versions below this are destroyed"),
            ("deletion is not allowed", "OpenBao does not let it be deleted"),
            ("does not support signing", "it is no key that signs"),
        ]
        for (text, reason) in reasons where contains(text) { return .keyUnusable(key, reason: reason) }
        return .invalidResponse(reason: "OpenBao did not understand the request to \(operation)")
    }
}

extension OpenBaoAnswer {
    /// What an answer that ``isNotServed`` means. A proxy in front of a sealed server may say no more than 503.
    func unavailable(_ operation: String) -> KMSError {
        if (300..<400).contains(status) {
            return .unavailable(
                reason: "OpenBao answered \(operation) by a redirect, which is not followed; "
                    + "name every server in addresses")
        }
        let state =
            body.contains("is sealed")
            ? ": it is sealed, and must be unsealed"
            : status == 503 ? ": it may be sealed, or not up yet; see bao status" : ""
        return .unavailable(reason: "OpenBao answered \(status) to \(operation)\(state)")
    }

    /// Whether the body is the JSON in which OpenBao and Vault tell of errors. Read in place, because it may hold a seed.
    fileprivate var isErrorList: Bool { body.withUnsafeBytes { Self.dense($0).starts(with: Self.errorList) } }

    /// What is answered to a path at which nothing is.
    fileprivate var isEmptyErrorList: Bool {
        body.withUnsafeBytes { Self.dense($0).elementsEqual(Self.errorList + Array("]}".utf8)) }
    }

    private static let errorList = Array(#"{"errors":["#.utf8)

    private static func dense(_ bytes: UnsafeRawBufferPointer) -> LazyFilterSequence<UnsafeRawBufferPointer> {
        bytes.lazy.filter { ![0x20, 0x09, 0x0A, 0x0D].contains($0) }
    }
}
