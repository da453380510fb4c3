import Attestation

#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

/// What an installation's seals are to become.
public struct RewrapRequest: Sendable, Hashable {
    public enum Kind: String, Sendable, Codable {
        /// Under the latest version of the same KMS's keys.
        case rotate
        /// From one KMS to another.
        case migrate
    }
    public var kind: Kind
    /// Names of KMSs in the configuration; the same one for a rotation.
    public var from: String
    public var to: String
    /// Whether HKMS adds the version; false where an administrator has done so in the KMS.
    public var addsVersion: Bool
    /// Whether the old versions are destroyed at the end, so that what was destroyed before is shredded.
    public var retiresOldVersions: Bool
    /// Key sets a second at most; nil for no limit.
    public var rate: Double?
    /// Key sets at a time.
    public var width: Int
    /// Only counts what would be done.
    public var isDryRun: Bool
    /// How long a KMS or store is waited for that does not answer, before the job ends where it stands.
    public var patience: Duration

    public init(
        kind: Kind, from: String, to: String, addsVersion: Bool = true, retiresOldVersions: Bool = false,
        rate: Double? = nil, width: Int = 8, isDryRun: Bool = false, patience: Duration = .seconds(120)
    ) {
        self.kind = kind
        self.from = from
        self.to = to
        self.addsVersion = addsVersion
        self.retiresOldVersions = retiresOldVersions
        self.rate = rate
        self.width = width
        self.isDryRun = isDryRun
        self.patience = patience
    }
}

/// How far a job is. Nothing secret.
public struct RewrapProgress: Sendable, Hashable, Codable {
    public enum Phase: String, Sendable, Codable {
        /// A version is added to the key.
        case rotating
        /// Key sets are sealed anew.
        case rewrapping
        /// Old versions are destroyed, and what that shreds is marked.
        case retiring
        case complete
        case cancelled
    }
    public var phase: Phase = .rotating
    public var seen = 0
    public var rewrapped = 0
    public var upToDate = 0
    /// Those that move when their principals come.
    public var waiting = 0
    public var destroyed = 0
    public var failed = 0
    /// Destroyed key sets that nobody can open any more since.
    public var shredded = 0
    /// Why the first of those that failed did: key set and reason.
    public var failures: [String] = []

    static let shownFailures = 20

    public init() {}

    mutating func count(_ outcome: RewrapOutcome) {
        seen += 1
        switch outcome {
        case .rewrapped, .wouldRewrap: rewrapped += 1
        case .upToDate: upToDate += 1
        case .waitsForPrincipal: waiting += 1
        case .destroyed: destroyed += 1
        }
    }

    /// What a further pass finds: who was sealed anew, what failed this time.
    mutating func beginPass(isFirst: Bool) {
        (failed, failures) = (0, [])
        if isFirst { (seen, rewrapped, upToDate, waiting, destroyed) = (0, 0, 0, 0, 0) }
    }

    mutating func count(failure: String) {
        seen += 1
        failed += 1
        if failures.count < Self.shownFailures { failures.append(failure) }
    }
}

/// The job that is under way, or the last one: what another process goes on from.
public struct RewrapJob: Sendable, Hashable {
    public let kind: RewrapRequest.Kind
    public let from: String
    public let to: String
    public let started: Date
    public let updated: Date
    public let progress: RewrapProgress

    init(_ row: RewrapJobRow) {
        kind = row.kind
        from = row.from
        to = row.to
        started = row.started
        updated = row.updated
        progress = row.progress
    }

    public var isUnfinished: Bool { progress.phase != .complete && progress.phase != .cancelled }
}

/// One job an installation at a time.
struct RewrapJobRow: AuthenticatedRow {
    static let collection = "rewraps"
    static let id = "current"

    /// Rows of key sets that it has sealed anew bear it.
    var job: String
    var kind: RewrapRequest.Kind
    var from: String
    var to: String
    /// The process that is at it; another that takes over writes its own name.
    var runner: String
    var started: Date
    var updated: Date
    var addsVersion: Bool
    var retiresOldVersions: Bool
    /// Latest version of the shared key before one was added.
    var versionBefore: Int
    /// What every seal must have at least, and below which versions are destroyed; nil before it was added. Whatever is
    /// added meanwhile by others changes nothing.
    var version: Int?
    /// Versions of this key below this one are destroyed, or about to be, by this job or one before it: a server of the
    /// KMS that lags may still seal under them, and nothing that it sealed is taken.
    var retired: SealingPlace?
    var progress: RewrapProgress
}
