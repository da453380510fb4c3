import KeyManagement
import TrustedKMSPKCS11

/// A token that scripts/test makes, by one mechanism.
struct PKCS11Subject: ConformanceSubject {
    private let token: PKCS11TestToken
    private let mechanism: PKCS11MechanismChoice

    init(_ token: PKCS11TestToken, _ mechanism: PKCS11MechanismChoice) {
        self.token = token
        self.mechanism = mechanism
    }

    func connect() async throws -> any TrustedKMS { try await token.connect(mechanism) }

    var credentials: [[UInt8]] { [token.pin] }

    // MARK: Keys

    /// Not the adapter's own means: attributes that an administrator sets.
    var keySwitch: Power<KeySwitch> {
        .has(
            KeySwitch(
                disable: { try set(false, of: $0) },
                enable: { try set(true, of: $0) }))
    }

    private func set(_ isEnabled: Bool, of key: KMSKeyName) throws {
        let uses =
            mechanism == .keyWrapPad
            ? [TokenAdministrator.wrap, TokenAdministrator.unwrap]
            : [TokenAdministrator.encrypt, TokenAdministrator.decrypt]
        try token.administer { administrator in
            for object in try administrator.objects(key.value) {
                for use in uses { try administrator.set(use, [isEnabled ? 1 : 0], of: object) }
            }
        }
    }

    var scheduledDeletion: Power<ScheduledDeletion> { .hasNot(reason: "A token destroys an object at once.") }

    // MARK: Credentials

    var otherPrincipal: Power<@Sendable (KMSKeyName) async throws -> any TrustedKMS> {
        .hasNot(reason: "A token has one user, who may use every key in it; principals are kept apart by tokens.")
    }
    var expiringCredential: Power<@Sendable () async throws -> ExpiringConnection> {
        .hasNot(reason: "A PIN does not end by itself.")
    }
    var revocableCredential: Power<@Sendable () async throws -> RevocableConnection> {
        .hasNot(reason: "A login to a token lasts as long as its sessions; another PIN counts from the next login on.")
    }

    /// The login ends and all sessions with it.
    var replaceableCredential: Power<@Sendable () async throws -> RevocableConnection> {
        .has {
            RevocableConnection(kms: try await token.connect(mechanism)) {
                try token.administer { $0.closeAllSessions() }
            }
        }
    }

    // MARK: Network

    var network: Power<NetworkPath> { .inTheProcess }
    var unknownAuthority: Power<@Sendable () async throws -> any TrustedKMS> { .inTheProcess }
    var throttling: Power<@Sendable () async throws -> ThrottledConnection> { .inTheProcess }
}

extension Power {
    fileprivate static var inTheProcess: Power {
        .hasNot(reason: "A module is a library in the gateway's process; what is behind it is the module's business.")
    }
}
