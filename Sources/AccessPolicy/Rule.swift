/// One rule of a policy.
struct Rule: Sendable, Hashable {
    enum Effect: String, Sendable, CaseIterable {
        case allow
        case deny
    }

    var reference: RuleReference
    var effect: Effect
    var who: Who
    var actions: ActionSet
    /// nil where none are asked for: actions without a key set, or a deny rule for all of them.
    var keySets: KeySetSelector?
    /// nil for any, and for none.
    var models: [NamePattern]?
    /// An allow rule for key sets of other tenants than the principal's. A deny rule reaches there anyway.
    var acrossTenants = false
    var when = Conditions()
    var unless = Conditions()

    /// Whether it decides the request as far as it is concerned.
    ///
    /// An allow rule matches where everything that it asks for is known to hold, a deny rule where nothing of it is
    /// known not to hold.
    func matches(_ request: AccessRequest) -> Bool { mismatch(request) == nil }

    /// The first thing that keeps the rule from matching; nil where it matches.
    func mismatch(_ request: AccessRequest) -> Mismatch? {
        let asked = effect == .deny ? request.action.closure : [request.action]
        guard asked.intersects(actions) else { return .action }
        if let mismatch = who.mismatch(request.principal) { return mismatch }
        if effect == .allow, !acrossTenants, !ExactName.areEqual(request.tenant, request.principal.tenant) {
            return .otherTenant
        }
        if let keySets, let why = failure(keySets.contains(request, effect: effect)) {
            return .keySet(isUnknown: why.isUnknown)
        }
        if let models, let why = failure(Truth(request.model.map { name in models.contains { $0.matches(name) } })) {
            return .model(isUnknown: why.isUnknown)
        }
        for kind in Conditions.Kind.allCases {
            if let why = failure(when.hold(kind, for: request)) {
                return .when(kind, isUnknown: why.isUnknown)
            }
        }
        if !unless.isEmpty, let why = failure(!unless.hold(for: request)) {
            return .unless(isUnknown: why.isUnknown)
        }
        return nil
    }

    private struct Failure {
        let isUnknown: Bool
    }

    private func failure(_ truth: Truth) -> Failure? {
        switch truth {
        case .yes: nil
        case .no: Failure(isUnknown: false)
        case .unknown: effect == .allow ? Failure(isUnknown: true) : nil
        }
    }

    /// Whether it denies its actions to its principals whatever else holds.
    var deniesAlways: Bool {
        effect == .deny && (keySets == nil || keySets?.any == true) && models == nil && when.isEmpty && unless.isEmpty
    }
}

/// Why a rule does not match.
enum Mismatch: Hashable, Sendable {
    case action
    case issuer
    case subject
    case tenant
    case group
    case otherTenant
    case keySet(isUnknown: Bool)
    case model(isUnknown: Bool)
    case when(Conditions.Kind, isUnknown: Bool)
    case unless(isUnknown: Bool)

    /// For people.
    var text: String {
        switch self {
        case .action: "it is for other actions"
        case .issuer: "who.issuers: it is for principals of other issuers"
        case .subject: "who.subjects: it is for other subjects"
        case .tenant: "who.tenants: it is for principals of other tenants"
        case .group: "who.groups: the principal is in none of its groups"
        case .otherTenant: "the key set belongs to another tenant than the principal, and acrossTenants is not set"
        case .keySet(let isUnknown):
            isUnknown ? "keySets: id or owner of the key set is not known" : "keySets: it is for other key sets"
        case .model(let isUnknown): isUnknown ? "models: no model is named" : "models: it is for other models"
        case .when(let kind, let isUnknown): "when.\(kind.rawValue): \(Self.text(kind, isUnknown))"
        case .unless(let isUnknown):
            isUnknown ? "unless: it is not known whether this exception holds" : "unless: this exception holds"
        }
    }

    private static func text(_ kind: Conditions.Kind, _ isUnknown: Bool) -> String {
        switch kind {
        case .times: isUnknown ? "the time is not known" : "outside of these times"
        case .networks: isUnknown ? "the address is not known" : "from another address"
        case .decryptionsLeft:
            isUnknown ? "it is not known how many decryptions are left" : "fewer decryptions are left"
        case .audience: isUnknown ? "it is not known who may see the results" : "results are for another audience"
        }
    }
}
