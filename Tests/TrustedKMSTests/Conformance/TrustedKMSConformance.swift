import KeyManagement
import SecretMemory
import Testing

/// What every adapter of ``TrustedKMS`` promises, behind ``CompletedKMS``. One suite runs it unchanged against each
/// ``ConformanceSubject``; docs/kms/conformance.md has the outcome.
///
/// A case makes keys of its own under fresh names and destroys none of others. What a KMS seals is asked of its
/// capabilities: one that seals data keys alone keeps the same promises with those.
enum TrustedKMSConformance: String, CaseIterable, Sendable, CustomTestStringConvertible {
    // Sealing and opening
    case capabilities
    case roundTripOfEveryLength
    case roundTripOfTheLongestSecret
    case lengthsOutOfRangeAreRefused
    case sealingTwiceDiffers
    case otherConnectionOpens
    case otherContextDoesNotOpen
    case otherKeyDoesNotOpen
    case swappedBlobsDoNotOpen
    case everyAlteredByteIsNoticed
    case malformedBlobsDoNotOpen
    case dataKeysOpenAndDiffer
    case dataKeyIsBoundToItsContext
    // Versions
    case rotationKeepsOldBlobs
    case rewrapGivesTheLatestVersion
    case rewrapKeepsKeyAndContext
    case rewrapTakesManyAtOnce
    case minimumVersionShutsOldBlobsOut
    case minimumVersionMustExist
    case destroyedVersionsOpenNothing
    // Keys
    case disabledKeyIsUsedForNothing
    case keyScheduledForDeletionIsUsedForNothing
    case destroyedKeyOpensNothing
    case recreatedKeyOpensNothingOld
    case missingKeyIsNamedAndNotMade
    case creatingAnExistingKeyChangesNothing
    // The service
    case concurrentUse
    case randomBytes
    case signing
    case health
    // Credentials
    case otherPrincipalIsDenied
    case expiredCredentialIsDenied
    case revokedCredentialIsDenied
    case withdrawnCredentialIsReplaced
    // Faults
    case refusedConnectionIsUnavailable
    case answerCutShortIsUnavailable
    case slowBackendIsUnavailable
    case unknownAuthorityIsUnavailable
    case proxyAnswersAreNamed
    case throttlingIsNamed
    // What is left behind
    case tenThousandOperationsLeakNothing
    case noSecretIsLogged

    var testDescription: String { rawValue }

    private enum Check {
        /// Needs one connection.
        case promise(@Sendable (any TrustedKMS) async throws -> Void)
        /// Needs more of the subject.
        case outcome(@Sendable (any ConformanceSubject) async throws -> ConformanceOutcome)
    }

    private var check: Check {
        switch self {
        case .capabilities: .promise(Self.capabilities)
        case .roundTripOfEveryLength: .promise(Self.roundTripOfEveryLength)
        case .roundTripOfTheLongestSecret: .promise(Self.roundTripOfTheLongestSecret)
        case .lengthsOutOfRangeAreRefused: .promise(Self.lengthsOutOfRangeAreRefused)
        case .sealingTwiceDiffers: .promise(Self.sealingTwiceDiffers)
        case .otherConnectionOpens: .outcome(Self.otherConnectionOpens)
        case .otherContextDoesNotOpen: .promise(Self.otherContextDoesNotOpen)
        case .otherKeyDoesNotOpen: .promise(Self.otherKeyDoesNotOpen)
        case .swappedBlobsDoNotOpen: .promise(Self.swappedBlobsDoNotOpen)
        case .everyAlteredByteIsNoticed: .promise(Self.everyAlteredByteIsNoticed)
        case .malformedBlobsDoNotOpen: .promise(Self.malformedBlobsDoNotOpen)
        case .dataKeysOpenAndDiffer: .promise(Self.dataKeysOpenAndDiffer)
        case .dataKeyIsBoundToItsContext: .promise(Self.dataKeyIsBoundToItsContext)
        case .rotationKeepsOldBlobs: .promise(Self.rotationKeepsOldBlobs)
        case .rewrapGivesTheLatestVersion: .promise(Self.rewrapGivesTheLatestVersion)
        case .rewrapKeepsKeyAndContext: .promise(Self.rewrapKeepsKeyAndContext)
        case .rewrapTakesManyAtOnce: .promise(Self.rewrapTakesManyAtOnce)
        case .minimumVersionShutsOldBlobsOut: .promise(Self.minimumVersionShutsOldBlobsOut)
        case .minimumVersionMustExist: .promise(Self.minimumVersionMustExist)
        case .destroyedVersionsOpenNothing: .outcome(Self.destroyedVersionsOpenNothing)
        case .disabledKeyIsUsedForNothing: .outcome(Self.disabledKeyIsUsedForNothing)
        case .keyScheduledForDeletionIsUsedForNothing: .outcome(Self.keyScheduledForDeletionIsUsedForNothing)
        case .destroyedKeyOpensNothing: .promise(Self.destroyedKeyOpensNothing)
        case .recreatedKeyOpensNothingOld: .promise(Self.recreatedKeyOpensNothingOld)
        case .missingKeyIsNamedAndNotMade: .promise(Self.missingKeyIsNamedAndNotMade)
        case .creatingAnExistingKeyChangesNothing: .promise(Self.creatingAnExistingKeyChangesNothing)
        case .concurrentUse: .promise(Self.concurrentUse)
        case .randomBytes: .promise(Self.randomBytes)
        case .signing: .outcome(Self.signing)
        case .health: .promise(Self.health)
        case .otherPrincipalIsDenied: .outcome(Self.otherPrincipalIsDenied)
        case .expiredCredentialIsDenied: .outcome(Self.expiredCredentialIsDenied)
        case .revokedCredentialIsDenied: .outcome(Self.revokedCredentialIsDenied)
        case .withdrawnCredentialIsReplaced: .outcome(Self.withdrawnCredentialIsReplaced)
        case .refusedConnectionIsUnavailable: .outcome(Self.refusedConnectionIsUnavailable)
        case .answerCutShortIsUnavailable: .outcome(Self.answerCutShortIsUnavailable)
        case .slowBackendIsUnavailable: .outcome(Self.slowBackendIsUnavailable)
        case .unknownAuthorityIsUnavailable: .outcome(Self.unknownAuthorityIsUnavailable)
        case .proxyAnswersAreNamed: .outcome(Self.proxyAnswersAreNamed)
        case .throttlingIsNamed: .outcome(Self.throttlingIsNamed)
        case .tenThousandOperationsLeakNothing: .outcome(Self.tenThousandOperationsLeakNothing)
        case .noSecretIsLogged: .outcome(Self.noSecretIsLogged)
        }
    }

    func run(on subject: any ConformanceSubject) async throws -> ConformanceOutcome {
        switch check {
        case .promise(let promise):
            try await Self.withConnection(to: subject) { try await promise($0) }
            return .passed
        case .outcome(let outcome): return try await outcome(subject)
        }
    }

    /// A case that needs one connection, with what stands before the adapter left to the caller.
    func runPromise(on kms: any TrustedKMS) async throws {
        guard case .promise(let promise) = check else { throw ConformanceFailure("\(title) needs a subject") }
        try await promise(kms)
    }
}

// MARK: - Tools

struct ConformanceFailure: Error, CustomStringConvertible {
    let description: String

    init(_ description: String) { self.description = description }
}

/// A secret, and what the KMS made of it.
struct SealedSecret: ~Copyable, Sendable {
    let secret: SecretBytes
    let blob: KMSSealedBlob
}

extension TrustedKMSConformance {
    static let context = SealingContext.forTests(["hkms", "installation", "tenant", "key set 1", "seed"])
    static let otherContext = SealingContext.forTests(["hkms", "installation", "tenant", "key set 2", "seed"])

    /// Runs `body` with what the flows see of a new connection, and shuts that down whatever happens.
    static func withConnection<Result: Sendable>(
        to subject: any ConformanceSubject, _ body: (any TrustedKMS) async throws -> Result
    ) async throws -> Result {
        try await withConnection(try await subject.connect(), body)
    }

    static func withConnection<Result: Sendable>(
        _ adapter: any TrustedKMS, _ body: (any TrustedKMS) async throws -> Result
    ) async throws -> Result {
        let kms = CompletedKMS(adapter)
        do {
            let result = try await body(kms)
            await kms.shutdown()
            return result
        } catch {
            await kms.shutdown()
            throw error
        }
    }

    static func freshName() -> KMSKeyName {
        let random = String(UInt64.random(in: .min ... .max), radix: 36)
        guard let name = KMSKeyName("conformance-\(random)") else {
            preconditionFailure("a name of this form is allowed")
        }
        return name
    }

    static func freshKey(_ kms: any TrustedKMS) async throws -> KMSKeyName {
        let name = freshName()
        try await kms.createKey(name)
        return name
    }

    /// 32 random bytes, or a data key where the KMS seals nothing else.
    static func sealed(
        _ kms: any TrustedKMS, _ key: KMSKeyName, _ context: SealingContext = context
    ) async throws -> SealedSecret {
        guard kms.capabilities.sealing == .secrets else {
            let dataKey = try await kms.generateDataKey(under: key, context: context, as: .service)
            let blob = dataKey.sealed
            return SealedSecret(secret: dataKey.take(), blob: blob)
        }
        let secret = try SecretBytes(randomCount: 32)
        let blob = try await kms.seal(secret, under: key, context: context, as: .service)
        return SealedSecret(secret: secret, blob: blob)
    }

    static func expectOpens(
        _ kms: any TrustedKMS, _ blob: KMSSealedBlob, _ key: KMSKeyName, _ context: SealingContext = context,
        as secret: borrowing SecretBytes, _ comment: Comment? = nil
    ) async throws {
        let opened = try await kms.open(blob, under: key, context: context, as: .service)
        let isSame = opened.equals(secret)
        #expect(isSame, comment)
    }

    /// Seals, generates, opens and rewraps: nothing of it may succeed with `blob` and `key`.
    static func expectUnusable(_ kms: any TrustedKMS, _ key: KMSKeyName, _ blob: KMSSealedBlob) async {
        for (operation, error) in await failures(kms, key, blob) {
            guard case .keyUnusable(key, _) = error else {
                Issue.record("\(operation): \(String(describing: error))")
                continue
            }
        }
    }

    static func expectDenied(_ kms: any TrustedKMS, _ key: KMSKeyName, _ blob: KMSSealedBlob) async {
        for (operation, error) in await failures(kms, key, blob) {
            guard case .denied = error else {
                Issue.record("\(operation): \(String(describing: error))")
                continue
            }
        }
    }

    /// How every use of `key` fails; nil for one that does not.
    static func failures(
        _ kms: any TrustedKMS, _ key: KMSKeyName, _ blob: KMSSealedBlob
    ) async -> [(operation: String, error: KMSError?)] {
        [
            ("seal", await failure { _ = try await sealed(kms, key) }),
            (
                "generateDataKey",
                await failure { _ = try await kms.generateDataKey(under: key, context: context, as: .service) }
            ),
            ("open", await failure { _ = try await kms.open(blob, under: key, context: context, as: .service) }),
            ("rewrap", await failure { _ = try await kms.rewrap(blob, under: key, context: context, as: .service) }),
        ]
    }
}

/// The ``KMSError`` that `body` throws; nil where it succeeds or throws something else.
func failure(_ body: () async throws -> Void) async -> KMSError? {
    do {
        try await body()
        return nil
    } catch {
        return error as? KMSError
    }
}
