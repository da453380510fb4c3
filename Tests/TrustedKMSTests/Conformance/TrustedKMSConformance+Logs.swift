import Foundation
import KeyManagement
import Logging
import SecretMemory
import TestSupport
import Testing

// What a process says of its secrets: nothing, at any level, in success and in failure.
extension TrustedKMSConformance {
    static func noSecretIsLogged(_ subject: any ConformanceSubject) async throws -> ConformanceOutcome {
        var needles = Needles()
        for credential in subject.credentials { needles.add(credential) }
        var errors: [KMSError?] = []
        let said = try await OutputCapture.during {
            try await withConnection(to: subject) { kms in
                let key = try await freshKey(kms)
                for _ in 0..<3 {
                    let sealed = try await sealed(kms, key)
                    needles.add(sealed.secret.withUnsafeBytes { Array($0) })
                    let dataKey = try await kms.generateDataKey(under: key, context: context, as: .service).take()
                    needles.add(dataKey.withUnsafeBytes { Array($0) })
                    try await expectOpens(kms, sealed.blob, key, as: sealed.secret)
                    try await kms.rotateKey(key)
                    _ = try await kms.rewrap(sealed.blob, under: key, context: context, as: .service)
                    _ = try await kms.describeKey(key)
                    errors += await failed(kms, key, sealed)
                }
                try await kms.checkHealth()
                try await kms.destroyKey(key)
            }
            errors += try await failedOnTheWay(subject, &needles)
        }
        let told = errors.map { "\(String(describing: $0)) \($0?.description ?? "")" }.joined(separator: "\n")
        #expect(!needles.areFound(in: said))
        #expect(!needles.areFound(in: Array(told.utf8)))
        // A search that finds nothing where there is something would prove nothing.
        for planted in needles.spellings {
            let logged = try await OutputCapture.during(repeats: false) {
                Logger(label: "control").trace("\(planted)")
            }
            #expect(needles.areFound(in: logged), "a planted secret in a log line")
            let printed = try await OutputCapture.during(repeats: false) {
                FileHandle.standardError.write(Data(planted.utf8))
            }
            #expect(needles.areFound(in: printed), "a planted secret in standard error")
        }
        return .passed
    }

    private static func failed(
        _ kms: any TrustedKMS, _ key: KMSKeyName, _ sealed: borrowing SealedSecret
    ) async -> [KMSError?] {
        let blob = sealed.blob
        var altered = blob
        altered.bytes[blob.bytes.count / 2] ^= 1
        let alteredBlob = altered
        let missing = freshName()
        return [
            await failure { _ = try await kms.open(blob, under: key, context: otherContext, as: .service) },
            await failure { _ = try await kms.open(alteredBlob, under: key, context: context, as: .service) },
            await failure { _ = try await kms.open(blob, under: missing, context: context, as: .service) },
            await failure { _ = try await Self.sealed(kms, missing) },
            await failure { try await kms.setMinimumVersion(99, of: key) },
        ]
    }

    /// The same through a network that fails.
    private static func failedOnTheWay(
        _ subject: any ConformanceSubject, _ needles: inout Needles
    ) async throws -> [KMSError?] {
        guard case .has(let network) = subject.network else { return [] }
        let proxy = try await FaultProxy(to: network.port)
        var errors: [KMSError?] = []
        try await withConnection(try await network.connect(proxy.port)) { kms in
            let key = try await freshKey(kms)
            let sealed = try await sealed(kms, key)
            needles.add(sealed.secret.withUnsafeBytes { Array($0) })
            let faults: [FaultProxy.Fault] = [.resetting(afterBytes: 20), .stalling, .refusing]
            for fault in faults {
                try await proxy.set(fault)
                errors.append(
                    await failure {
                        _ = try await kms.open(sealed.blob, under: key, context: context, as: .service)
                    })
                try await proxy.set(.none)
            }
        }
        try await proxy.stop()
        return errors
    }
}

/// Secrets in every spelling that a log line would have them in.
private struct Needles {
    private var scan = SecretScan()
    /// Too short to be looked for by its windows: a PIN.
    private var short: [[UInt8]] = []
    /// Texts that must be found wherever they are.
    private(set) var spellings: [String] = []

    mutating func add(_ secret: [UInt8]) {
        let base64 = Data(secret).base64EncodedString()
        let hex = secret.map { String($0 >> 4, radix: 16) + String($0 & 15, radix: 16) }.joined()
        let texts = [base64, hex] + (String(bytes: secret, encoding: .ascii).map { [$0] } ?? [])
        spellings += texts
        if secret.count >= 16 {
            scan.add(secret: secret, "secret")
        } else {
            short += texts.map { Array($0.utf8) }
        }
    }

    func areFound(in bytes: [UInt8]) -> Bool {
        let data = Data(bytes)
        return scan.finds(in: bytes) || short.contains { data.range(of: Data($0)) != nil }
    }
}
