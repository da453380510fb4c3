import KeyManagement
import SecretMemory
import Testing

// Who asks, and for how long.
extension TrustedKMSConformance {
    static func otherPrincipalIsDenied(_ subject: any ConformanceSubject) async throws -> ConformanceOutcome {
        guard case .has(let connect) = subject.otherPrincipal else {
            return .notApplicable(reason: subject.otherPrincipal.reason)
        }
        try await withConnection(to: subject) { kms in
            let (own, foreign) = (try await freshKey(kms), try await freshKey(kms))
            let ownSealed = try await sealed(kms, own)
            let foreignSealed = try await sealed(kms, foreign)
            try await withConnection(try await connect(own)) { other in
                try await expectOpens(other, ownSealed.blob, own, as: ownSealed.secret)
                await expectDenied(other, foreign, foreignSealed.blob)
                // Nor does the own key open what the other sealed.
                let error = await failure {
                    _ = try await other.open(foreignSealed.blob, under: own, context: context, as: .service)
                }
                #expect(error == .cannotOpen)
            }
            try await expectOpens(kms, foreignSealed.blob, foreign, as: foreignSealed.secret)
        }
        return .passed
    }

    static func expiredCredentialIsDenied(_ subject: any ConformanceSubject) async throws -> ConformanceOutcome {
        guard case .has(let connect) = subject.expiringCredential else {
            return .notApplicable(reason: subject.expiringCredential.reason)
        }
        let connection = try await connect()
        return try await withConnection(connection.kms) { kms in
            let key = try await withConnection(to: subject) { try await freshKey($0) }
            let sealed = try await sealed(kms, key)
            try await expectOpens(kms, sealed.blob, key, as: sealed.secret)
            try await Task.sleep(for: connection.lifetime)
            await expectDenied(kms, key, sealed.blob)
            return .passed
        }
    }

    static func revokedCredentialIsDenied(_ subject: any ConformanceSubject) async throws -> ConformanceOutcome {
        guard case .has(let connect) = subject.revocableCredential else {
            return .notApplicable(reason: subject.revocableCredential.reason)
        }
        let connection = try await connect()
        return try await withConnection(connection.kms) { kms in
            let key = try await withConnection(to: subject) { try await freshKey($0) }
            let sealed = try await sealed(kms, key)
            try await expectOpens(kms, sealed.blob, key, as: sealed.secret)
            try await connection.revoke()
            await expectDenied(kms, key, sealed.blob)
            return .passed
        }
    }

    static func withdrawnCredentialIsReplaced(_ subject: any ConformanceSubject) async throws -> ConformanceOutcome {
        guard case .has(let connect) = subject.replaceableCredential else {
            return .notApplicable(reason: subject.replaceableCredential.reason)
        }
        let connection = try await connect()
        return try await withConnection(connection.kms) { kms in
            let key = try await withConnection(to: subject) { try await freshKey($0) }
            let sealed = try await sealed(kms, key)
            let blob = sealed.blob
            for _ in 0..<3 {
                try await expectOpens(kms, sealed.blob, key, as: sealed.secret)
                try await connection.revoke()
                try await withThrowingTaskGroup(of: Void.self) { group in
                    for _ in 0..<16 {
                        group.addTask { _ = try await kms.open(blob, under: key, context: context, as: .service) }
                    }
                    try await group.waitForAll()
                }
            }
            return .passed
        }
    }
}

extension Power {
    /// Why the backend has no such thing.
    var reason: String {
        if case .hasNot(let reason) = self { reason } else { "" }
    }
}
