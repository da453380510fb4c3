import KeyManagement

/// An adapter before its real backend, with the hands of that backend's administrator and of whoever sits on the
/// network between the two.
///
/// A subject is made for one case. What its backend has no notion of is a ``Power/hasNot(reason:)``, whose reason
/// docs/kms/conformance.md repeats.
protocol ConformanceSubject: Sendable {
    /// A further connection to the one backend, by a credential that may do everything. The adapter itself, without
    /// ``CompletedKMS``; the suite shuts it down.
    func connect() async throws -> any TrustedKMS

    /// What the connection proves itself by, such as a token or a PIN: nothing of it may be logged.
    var credentials: [[UInt8]] { get }

    /// An administrator switches a key off, and on again.
    var keySwitch: Power<KeySwitch> { get }
    /// An administrator has a key deleted after a waiting time, and thinks better of it.
    var scheduledDeletion: Power<ScheduledDeletion> { get }
    /// A connection of somebody whom the backend lets use the given key and no other.
    var otherPrincipal: Power<@Sendable (KMSKeyName) async throws -> any TrustedKMS> { get }
    /// A connection whose credential ends soon, and cannot be replaced.
    var expiringCredential: Power<@Sendable () async throws -> ExpiringConnection> { get }
    /// A connection whose credential is withdrawn, and cannot be replaced.
    var revocableCredential: Power<@Sendable () async throws -> RevocableConnection> { get }
    /// A connection that gets itself another credential, or session, where the one that it has is withdrawn.
    var replaceableCredential: Power<@Sendable () async throws -> RevocableConnection> { get }
    /// The network between adapter and backend.
    var network: Power<NetworkPath> { get }
    /// A connection that does not know the authority of the backend's certificate.
    var unknownAuthority: Power<@Sendable () async throws -> any TrustedKMS> { get }
    /// A backend that asks to come back later.
    var throttling: Power<@Sendable () async throws -> ThrottledConnection> { get }

    /// Stops and removes what the subject made outside of its backend's keys.
    func shutdown() async
}

extension ConformanceSubject {
    func shutdown() async {}
}

/// Something that can be done to one backend and not to another.
enum Power<Means: Sendable>: Sendable {
    case has(Means)
    case hasNot(reason: String)
}

struct KeySwitch: Sendable {
    var disable: @Sendable (KMSKeyName) async throws -> Void
    var enable: @Sendable (KMSKeyName) async throws -> Void
}

struct ScheduledDeletion: Sendable {
    var schedule: @Sendable (KMSKeyName) async throws -> Void
    var cancel: @Sendable (KMSKeyName) async throws -> Void
}

struct ExpiringConnection: Sendable {
    var kms: any TrustedKMS
    /// How long to wait until it certainly has ended.
    var lifetime: Duration
}

struct RevocableConnection: Sendable {
    var kms: any TrustedKMS
    var revoke: @Sendable () async throws -> Void
}

struct NetworkPath: Sendable {
    /// Of the backend, on the loopback interface.
    var port: Int
    /// Whether HTTP goes over it in the clear, so that a proxy can answer in the backend's place.
    var isPlainHTTP: Bool
    /// A connection to another port of the loopback interface instead, which gives one call up after a few seconds.
    var connect: @Sendable (Int) async throws -> any TrustedKMS
}

struct ThrottledConnection: Sendable {
    var kms: any TrustedKMS
    /// Whether the backend says when to come back.
    var tellsWhen: Bool
    var begin: @Sendable () async throws -> Void
    var end: @Sendable () async throws -> Void
}

/// How a case ended that did not fail.
enum ConformanceOutcome: Sendable, Hashable {
    case passed
    /// The backend has no such thing. The reason is a sentence for docs/kms/conformance.md.
    case notApplicable(reason: String)
}
