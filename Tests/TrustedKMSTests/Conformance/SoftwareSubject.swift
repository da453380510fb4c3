import KeyManagement
import SecretMemory
import TestSupport
import TrustedKMSSoftware

/// A keystore file of its own, under the cheapest cost.
struct SoftwareSubject: ConformanceSubject {
    private static let passphrase = "correct horse battery staple"
    private let folder: TemporaryFolder

    init() throws {
        folder = try TemporaryFolder()
        try SoftwareKMS.create(
            at: folder.file("keystore"), passphrase: try SecretBytes(copying: Self.passphrase.utf8),
            developmentOnly: false, scryptCost: .minimum)
    }

    func connect() async throws -> any TrustedKMS {
        try SoftwareKMS(
            opening: folder.file("keystore"), passphrase: try SecretBytes(copying: Self.passphrase.utf8))
    }

    var credentials: [[UInt8]] { [Array(Self.passphrase.utf8)] }

    var keySwitch: Power<KeySwitch> {
        .hasNot(reason: "A keystore's keys have no switch: a key is there or destroyed.")
    }
    var scheduledDeletion: Power<ScheduledDeletion> {
        .hasNot(reason: "A keystore destroys at once; a backup of the file is what remains.")
    }
    var otherPrincipal: Power<@Sendable (KMSKeyName) async throws -> any TrustedKMS> { .onePassphrase }
    var expiringCredential: Power<@Sendable () async throws -> ExpiringConnection> { .onePassphrase }
    var revocableCredential: Power<@Sendable () async throws -> RevocableConnection> { .onePassphrase }
    var replaceableCredential: Power<@Sendable () async throws -> RevocableConnection> { .onePassphrase }
    var network: Power<NetworkPath> { .noNetwork }
    var unknownAuthority: Power<@Sendable () async throws -> any TrustedKMS> { .noNetwork }
    var throttling: Power<@Sendable () async throws -> ThrottledConnection> { .noNetwork }

}

extension Power {
    /// Of a keystore in the process.
    fileprivate static var onePassphrase: Power {
        .hasNot(reason: "A keystore knows no principals: whoever has file and passphrase has every key.")
    }

    fileprivate static var noNetwork: Power { .hasNot(reason: "A keystore is a file: there is no network to fail.") }
}
