import Attestation
import ServiceKit

/// One operation that was asked for, allowed or denied, as it goes on record.
///
/// Nothing in it is secret: no plaintext, key, seed or token belongs into any field. Texts longer than 256 bytes are
/// cut and end in a digest of the whole; lists are bounded as their fields say.
public struct AuditRecord: Sendable, Hashable {
    /// Who asked.
    public struct Caller: Sendable, Hashable {
        public let issuer: String
        public let subject: AuditIdentifier
        public let tenant: AuditIdentifier
        /// The first 32.
        public let groups: [AuditIdentifier]
        /// Of all.
        public let groupCount: Int

        static let maximumGroups = 32

        init(
            issuer: String, subject: AuditIdentifier, tenant: AuditIdentifier, groups: [AuditIdentifier],
            groupCount: Int
        ) {
            self.issuer = AuditText.bounded(issuer)
            self.subject = subject.bounded
            self.tenant = tenant.bounded
            self.groups = groups.prefix(Self.maximumGroups).map(\.bounded)
            self.groupCount = groupCount
        }

        public init(_ principal: Principal) {
            self.init(
                issuer: principal.issuer, subject: .plain(principal.subject), tenant: .plain(principal.tenant),
                groups: principal.groups.map(AuditIdentifier.plain), groupCount: principal.groups.count)
        }
    }

    /// What the operation is on.
    public struct Resource: Sendable, Hashable {
        public let keySet: AuditIdentifier?
        /// The version of the key set's manifest.
        public let keySetVersion: Int?
        public let model: String?
        /// The evaluation unit.
        public let unit: String?

        init(keySet: AuditIdentifier?, keySetVersion: Int?, model: String?, unit: String?) {
            self.keySet = keySet?.bounded
            self.keySetVersion = keySetVersion.map { max(0, $0) }
            self.model = model.map(AuditText.bounded)
            self.unit = unit.map(AuditText.bounded)
        }

        public init(keySet: String? = nil, keySetVersion: Int? = nil, model: String? = nil, unit: String? = nil) {
            self.init(
                keySet: keySet.map(AuditIdentifier.plain), keySetVersion: keySetVersion, model: model, unit: unit)
        }
    }

    /// Digests of the ciphertexts that went in or came out.
    public struct Ciphertexts: Sendable, Hashable {
        /// The first 64.
        public let digests: [Digest]
        /// Of all.
        public let count: Int
        /// Where there are more than 64: SHA-256 of all digests one after the other.
        public let all: Digest?

        static let maximumDigests = 64

        init(digests: [Digest], count: Int, all: Digest?) {
            self.digests = digests
            self.count = count
            self.all = all
        }

        public init(_ digests: [Digest]) {
            count = digests.count
            self.digests = Array(digests.prefix(Self.maximumDigests))
            all = count > Self.maximumDigests ? Digest(of: digests.flatMap(\.bytes)) : nil
        }
    }

    public enum Decision: String, Sendable, CaseIterable {
        case allowed, denied
    }

    /// nil where nobody was authenticated.
    public let caller: Caller?
    /// Such as `decrypt.job`.
    public let action: String
    public let resource: Resource
    /// What else describes the operation, at most 16, the first by name.
    public let parameters: [String: String]
    public let ciphertexts: Ciphertexts
    public let decision: Decision
    /// What decided: the rule of the policy, or why there was none to ask.
    public let rule: String
    public let requestID: String?
    /// The trace id of W3C Trace Context, 32 hex digits.
    public let traceID: String?
    /// `ok`, or the name of the problem that was answered.
    public let outcome: String
    /// From the request's arrival to the record.
    public let microseconds: Int

    static let maximumParameters = 16

    public init(
        caller: Caller?, action: String, resource: Resource = Resource(), parameters: [String: String] = [:],
        ciphertexts: Ciphertexts = Ciphertexts([]), decision: Decision, rule: String, requestID: String? = nil,
        traceID: String? = nil, outcome: String = "ok", microseconds: Int = 0
    ) {
        self.caller = caller
        self.action = AuditText.bounded(action)
        self.resource = resource
        var kept: [String: String] = [:]
        for name in parameters.keys.sorted(by: Self.precedes).prefix(Self.maximumParameters) {
            kept[AuditText.bounded(name)] = parameters[name].map(AuditText.bounded)
        }
        self.parameters = kept
        self.ciphertexts = ciphertexts
        self.decision = decision
        self.rule = AuditText.bounded(rule)
        self.requestID = requestID.map(AuditText.bounded)
        self.traceID = traceID.map(AuditText.bounded)
        self.outcome = AuditText.bounded(outcome)
        self.microseconds = max(0, microseconds)
    }

    /// The order of parameters on a line, that of their UTF-8: Swift's own order of text depends on Unicode's tables.
    static func precedes(_ left: String, _ right: String) -> Bool {
        left.utf8.lexicographicallyPrecedes(right.utf8)
    }

    /// The same with identifiers replaced as the policy asks.
    func replacingIdentifiers(_ policy: AuditIdentifierPolicy) -> AuditRecord {
        AuditRecord(
            caller: caller.map { caller in
                Caller(
                    issuer: caller.issuer, subject: policy.applied(to: caller.subject, .subject, within: caller.issuer),
                    tenant: policy.applied(to: caller.tenant, .tenant),
                    groups: caller.groups.map { policy.applied(to: $0, .groups, within: caller.issuer) },
                    groupCount: caller.groupCount)
            },
            action: action,
            resource: Resource(
                keySet: resource.keySet.map { policy.applied(to: $0, .keySet) },
                keySetVersion: resource.keySetVersion, model: resource.model, unit: resource.unit),
            parameters: parameters, ciphertexts: ciphertexts, decision: decision, rule: rule, requestID: requestID,
            traceID: traceID, outcome: outcome, microseconds: microseconds)
    }
}
